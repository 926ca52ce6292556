#version 330 core
uniform sampler2D atlas;
in vec2 texel;
flat in vec4 colour_;
out vec4 colour;

void main() {
    float alpha = texture(atlas, texel / vec2(textureSize(atlas, 0))).r * colour_.a;
    if (alpha <= 0.0) discard;
    colour = vec4(colour_.rgb * alpha, alpha);
}
