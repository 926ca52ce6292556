#version 330 core
// One instance a line of text: its bitmap's rectangle in the atlas, turned about the pen.
uniform vec2 picture;  // pixels
in vec4 place;   // pen x, y (pixels, y downwards), cos, sin of the angle
in vec4 bitmap;  // corner from the pen dx, dy; width, height
in vec2 source;  // corner in the atlas
in vec4 ink;
out vec2 texel;
flat out vec4 colour_;

void main() {
    vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
    vec2 p = bitmap.xy + corner * bitmap.zw;
    vec2 turned = vec2(p.x * place.z + p.y * place.w, -p.x * place.w + p.y * place.z);
    texel = source + corner * bitmap.zw;
    colour_ = ink;
    vec2 ndc = (place.xy + turned) / picture * 2.0 - 1.0;
    gl_Position = vec4(ndc.x, -ndc.y, -1.0, 1.0);
}
