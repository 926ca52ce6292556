#version 330 core
// The display field: measured values to (unit value, its gradient a measured cell along x and y, state), k times as fine.
// Catmull & Rom 1974, "A class of local interpolating splines". The CPU twin is field.py.
//
//   measured   o-------o-------o       raw, R32F, (value - offset) / spread, sentinels below -1e37
//   display    x-x-x-x-x-x-x-x-x       k = 4
//
// unit = a * T(raw + shift) + b, with T the logarithm or the identity: 0 at the low end of the scale, 1 at the high one.
uniform sampler2D raw;
uniform int k;
uniform bool logarithmic;
uniform bool cubic;
uniform float shift;
uniform float a;
uniform float b;
uniform float least;  // raw + shift is held above it before the logarithm
uniform float ceiling;  // unit values are held below it: a spline through 1e6 beside 1 would dip far under the 1
out vec4 field;

const float SENTINEL = -1e37;

float unit(float r) {
    return min(a * (logarithmic ? log2(max(r + shift, least)) * 0.30103 : r) + b, ceiling);
}

// A measured value; a missing one borrows the mean of valid ones beside it, else of those two away, else 1/2.
float sample_(ivec2 at) {
    ivec2 size = textureSize(raw, 0);
    float r = texelFetch(raw, at, 0).r;
    if (r > SENTINEL) return unit(r);
    for (int reach = 1; reach <= 2; reach++) {
        float total = 0.0, count = 0.0;
        for (int dy = -reach; dy <= reach; dy++)
            for (int dx = -reach; dx <= reach; dx++) {
                ivec2 p = at + ivec2(dx, dy);
                if (max(abs(dx), abs(dy)) != reach || any(lessThan(p, ivec2(0))) || any(greaterThanEqual(p, size))) continue;
                float q = texelFetch(raw, p, 0).r;
                if (q > SENTINEL) { total += unit(q); count += 1.0; }
            }
        if (count > 0.0) return total / count;
    }
    return 0.5;
}

// The rim goes on linearly.
float extended(ivec2 at) {
    ivec2 size = textureSize(raw, 0);
    ivec2 p = clamp(at, ivec2(0), size - 1);
    ivec2 beyond = at - p;
    float v = sample_(p);
    if (beyond.x != 0) v += v - sample_(p - ivec2(beyond.x, 0));
    if (beyond.y != 0) v += v - sample_(p - ivec2(0, beyond.y));
    return v;
}

void main() {
    ivec2 d = ivec2(gl_FragCoord.xy);
    ivec2 size = textureSize(raw, 0);
    ivec2 cell = min(d / k, size - 2);
    vec2 t = vec2(d - cell * k) / float(k);
    ivec2 nearest = (d + k / 2) / k;
    float r = texelFetch(raw, min(nearest, size - 1), 0).r;
    float state = r > SENTINEL ? 1.0 : 0.0;
    if (k == 1) {
        float v = sample_(d);
        vec2 g = 0.5 * vec2(extended(d + ivec2(1, 0)) - extended(d - ivec2(1, 0)),
                            extended(d + ivec2(0, 1)) - extended(d - ivec2(0, 1)));
        field = vec4(v, g, state);
        return;
    }
    if (!cubic) {
        float v00 = sample_(cell), v10 = sample_(cell + ivec2(1, 0));
        float v01 = sample_(cell + ivec2(0, 1)), v11 = sample_(cell + ivec2(1, 1));
        field = vec4(mix(mix(v00, v10, t.x), mix(v01, v11, t.x), t.y), mix(v10 - v00, v11 - v01, t.y),
                     mix(v01 - v00, v11 - v10, t.x), state);
        return;
    }
    vec4 wx, wy, gx, gy;
    {
        vec2 t2 = t * t, t3 = t2 * t;
        wx = 0.5 * vec4(-t3.x + 2.0 * t2.x - t.x, 3.0 * t3.x - 5.0 * t2.x + 2.0, -3.0 * t3.x + 4.0 * t2.x + t.x, t3.x - t2.x);
        wy = 0.5 * vec4(-t3.y + 2.0 * t2.y - t.y, 3.0 * t3.y - 5.0 * t2.y + 2.0, -3.0 * t3.y + 4.0 * t2.y + t.y, t3.y - t2.y);
        gx = 0.5 * vec4(-3.0 * t2.x + 4.0 * t.x - 1.0, 9.0 * t2.x - 10.0 * t.x, -9.0 * t2.x + 8.0 * t.x + 1.0, 3.0 * t2.x - 2.0 * t.x);
        gy = 0.5 * vec4(-3.0 * t2.y + 4.0 * t.y - 1.0, 9.0 * t2.y - 10.0 * t.y, -9.0 * t2.y + 8.0 * t.y + 1.0, 3.0 * t2.y - 2.0 * t.y);
    }
    vec3 sum = vec3(0.0);
    for (int i = 0; i < 4; i++) {
        vec2 row = vec2(0.0);
        for (int j = 0; j < 4; j++) {
            float v = extended(cell + ivec2(j - 1, i - 1));
            row += v * vec2(wx[j], gx[j]);
        }
        sum += vec3(row.x * wy[i], row.y * wy[i], row.x * gy[i]);
    }
    field = vec4(sum, state);
}
