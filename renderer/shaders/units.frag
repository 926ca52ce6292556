#version 330 core
// Coded values with holes filled and a ring around, so that the spline of field.frag reads sixteen texels and asks nothing.
#include "holes.glsl"
out float unit_value;

void main() {
    unit_value = filled(ivec2(gl_FragCoord.xy) - 1);
}
