#version 330 core
// Signed distance to a shape, in pixels, to coverage: clamp(1/2 - distance). Distances after I. Quilez,
// "2D distance functions". Kinds as in ink.py: 0 capsule, 1 rectangle, 2 diamond, 3 triangle, 4 ring, 5 hatch, 6 cross,
// 7 panel (rounded corners, the second colour is its border).
in vec2 at;
flat in vec2 a;
flat in vec2 b;
flat in vec2 form;
flat in vec4 first;
flat in vec4 second;
uniform float opacity;
out vec4 colour;

float segment(vec2 p, vec2 from, vec2 to) {
    vec2 d = to - from;
    float t = dot(d, d) > 1e-12 ? clamp(dot(p - from, d) / dot(d, d), 0.0, 1.0) : 0.0;
    return length(p - from - d * t);
}

float box(vec2 p, vec2 lo, vec2 hi) {  // coverage of an axis-aligned rectangle, exact for whole pixels
    vec2 inside = clamp(min(p - lo, hi - p) + 0.5, 0.0, 1.0);
    return inside.x * inside.y;
}

void main() {
    float r = form.x;
    int kind = int(form.y + 0.5);
    vec2 q = at - a;
    float coverage;
    vec4 ink = first;
    if (kind == 0) {
        vec2 d = b - a;
        float t = dot(d, d) > 1e-12 ? clamp(dot(q, d) / dot(d, d), 0.0, 1.0) : 0.0;
        ink = mix(first, second, t);
        // a line thinner than a pixel is a pixel wide and fainter
        coverage = clamp(max(r, 0.5) + 0.5 - length(q - d * t), 0.0, 1.0) * min(1.0, 2.0 * r);
    } else if (kind == 1) {
        coverage = box(at, min(a, b), max(a, b));
    } else if (kind == 2) {
        coverage = clamp(0.5 - (abs(q.x) + abs(q.y) - r) * 0.7071, 0.0, 1.0);
    } else if (kind == 3) {
        float d = max(abs(q.x) * 0.866 - q.y * 0.5 - r * 0.5, q.y - r * 0.5);
        coverage = clamp(0.5 - d, 0.0, 1.0);
    } else if (kind == 4) {
        coverage = clamp(0.5 - (abs(length(q) - r) - max(0.16 * r, 0.75)), 0.0, 1.0);
    } else if (kind == 5) {
        vec2 stripes = vec2(at.x + at.y, at.x - at.y) / r;
        vec2 d = abs(stripes - round(stripes)) * r * 0.7071;
        float w = max(r * 0.09, 0.5);
        float line = clamp(w + 0.5 - d.x, 0.0, 1.0);
        if (second.r > 0.5) line = max(line, clamp(w + 0.5 - d.y, 0.0, 1.0));
        coverage = line * box(at, min(a, b), max(a, b));
    } else if (kind == 7) {
        vec2 d = abs(at - 0.5 * (a + b)) - 0.5 * abs(b - a) + r;
        float out_ = length(max(d, 0.0)) + min(max(d.x, d.y), 0.0) - r;
        coverage = clamp(0.5 - out_, 0.0, 1.0);
        ink = mix(first, second, clamp(out_ + 1.5, 0.0, 1.0));
    } else {
        float k = r * 0.7071;
        float d = min(segment(q, vec2(-k), vec2(k)), segment(q, vec2(-k, k), vec2(k, -k)));
        coverage = clamp(0.5 + max(0.2 * r, 0.75) - d, 0.0, 1.0);
    }
    float alpha = ink.a * coverage * opacity;
    if (alpha <= 0.0) discard;
    colour = vec4(ink.rgb * alpha, alpha);
}
