#version 330 core
// A jittered frame, weighted, to be added to the accumulation buffer; or that buffer to the picture.
uniform sampler2D source;
uniform float weight;
out vec4 colour;

void main() {
    colour = texelFetch(source, ivec2(gl_FragCoord.xy), 0) * weight;
}
