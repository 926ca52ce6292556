#version 330 core
// One instance a shape: a quad around it, two pixels larger, in pixels with y downwards.
//
//      +----------------------+
//      |  (p0)----------(p1)  |  r: half the line's width, or the glyph's radius
//      +----------------------+
//
uniform vec2 picture;  // pixels
uniform vec2 jitter;   // pixels
in vec3 p0;
in vec3 p1;
in vec2 shape;  // radius, kind
in vec4 c0;
in vec4 c1;
out vec2 at;
flat out vec2 a;
flat out vec2 b;
flat out vec2 form;
flat out vec4 first;
flat out vec4 second;

void main() {
    vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
    float pad = shape.x + 2.0;
    vec2 axis = p1.xy - p0.xy;
    float length_ = length(axis);
    float depth;
    if (shape.y == 1.0 || shape.y == 5.0 || shape.y == 7.0) {  // rectangle, hatch, panel: p0 and p1 are corners
        at = mix(min(p0.xy, p1.xy) - 1.0, max(p0.xy, p1.xy) + 1.0, corner);
        depth = p0.z;
    } else {
        vec2 u = length_ > 1e-6 ? axis / length_ : vec2(1.0, 0.0);
        vec2 v = vec2(-u.y, u.x);
        at = p0.xy + u * mix(-pad, length_ + pad, corner.x) + v * mix(-pad, pad, corner.y);
        depth = mix(p0.z, p1.z, corner.x);
    }
    a = p0.xy;
    b = p1.xy;
    form = shape;
    first = c0;
    second = c1;
    vec2 ndc = (at + jitter) / picture * 2.0 - 1.0;
    gl_Position = vec4(ndc.x, -ndc.y, clamp(depth, -1.0, 1.0), 1.0);
}
