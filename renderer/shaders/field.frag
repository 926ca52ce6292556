#version 330 core
// The display field, k times as fine as the measured grid: coded value, and its gradient a measured cell along x and y.
// Catmull & Rom 1974, "A class of local interpolating splines": passes through the samples. The CPU twin is field.py.
//
//   measured   o-------o-------o       units, R32F, with a ring around (units.frag)
//   display    x-x-x-x-x-x-x-x-x       k = 4
//
// Beside a clipped value a spline would dip under its neighbours: along each axis in turn, what reads a value at the
// ceiling, or lies on a line that reaches up to one, is held above the lower of the two samples that it lies between.
// Axis by axis, so that cells meet.
//
// SAME: a grid fine enough to be shown as it is, k = 1, is read as it was measured.
layout(location = 0) out float value;
layout(location = 1) out vec2 slope;
#ifdef SAME
#include "holes.glsl"

void main() {
    ivec2 d = ivec2(gl_FragCoord.xy);
    value = filled(d);
    slope = 0.5 * vec2(filled(d + ivec2(1, 0)) - filled(d - ivec2(1, 0)), filled(d + ivec2(0, 1)) - filled(d - ivec2(0, 1)));
}
#else
uniform sampler2D units;
uniform int k;
uniform bool cubic;
uniform float ceiling;  // of holes.glsl

float at(ivec2 p) { return texelFetch(units, p + 1, 0).r; }

bool clipped(vec4 v) { return max(max(v.x, v.y), max(v.z, v.w)) >= ceiling; }

void main() {
    ivec2 d = ivec2(gl_FragCoord.xy);
    ivec2 size = textureSize(units, 0) - 2;
    ivec2 cell = min(d / k, size - 2);
    vec2 t = vec2(d - cell * k) / float(k);
    if (!cubic) {
        float v00 = at(cell), v10 = at(cell + ivec2(1, 0)), v01 = at(cell + ivec2(0, 1)), v11 = at(cell + ivec2(1, 1));
        value = mix(mix(v00, v10, t.x), mix(v01, v11, t.x), t.y);
        slope = vec2(mix(v10 - v00, v11 - v01, t.y), mix(v01 - v00, v11 - v10, t.x));
    } else {
        vec2 t2 = t * t, t3 = t2 * t;
        vec4 wx = 0.5 * vec4(-t3.x + 2.0 * t2.x - t.x, 3.0 * t3.x - 5.0 * t2.x + 2.0, -3.0 * t3.x + 4.0 * t2.x + t.x, t3.x - t2.x);
        vec4 wy = 0.5 * vec4(-t3.y + 2.0 * t2.y - t.y, 3.0 * t3.y - 5.0 * t2.y + 2.0, -3.0 * t3.y + 4.0 * t2.y + t.y, t3.y - t2.y);
        vec4 gx = 0.5 * vec4(-3.0 * t2.x + 4.0 * t.x - 1.0, 9.0 * t2.x - 10.0 * t.x, -9.0 * t2.x + 8.0 * t.x + 1.0, 3.0 * t2.x - 2.0 * t.x);
        vec4 gy = 0.5 * vec4(-3.0 * t2.y + 4.0 * t.y - 1.0, 9.0 * t2.y - 10.0 * t.y, -9.0 * t2.y + 8.0 * t.y + 1.0, 3.0 * t2.y - 2.0 * t.y);
        vec4 line, steep;
        bool up = false;
        for (int i = 0; i < 4; i++) {
            ivec2 p = cell + ivec2(-1, i - 1);
            vec4 v = vec4(at(p), at(p + ivec2(1, 0)), at(p + ivec2(2, 0)), at(p + ivec2(3, 0)));
            line[i] = dot(v, wx);
            steep[i] = dot(v, gx);
            if (clipped(v) && line[i] < min(v.y, v.z)) {
                line[i] = min(v.y, v.z);
                steep[i] = 0.0;
            }
            up = up || max(v.y, v.z) >= ceiling;
        }
        value = dot(line, wy);
        slope = vec2(dot(steep, wy), dot(line, gy));
        if ((up || clipped(line)) && value < min(line.y, line.z)) {
            value = min(line.y, line.z);
            slope.y = 0.0;
        }
    }
}
#endif
