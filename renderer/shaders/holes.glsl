// Measured values with holes filled, and one ring of linear continuation around the grid. The CPU twin is field.py.
//
//     + + + + + +       o  measured, (W, H), R32F: coded as in reference.py, sentinels below -1e37
//     + o o o o +       +  ring, made here: twice the rim less its inner neighbour
//     + o o o o +
//     + + + + + +
uniform sampler2D raw;
uniform float least;    // values are held above it: where a logarithmic scale begins, if something has no logarithm
uniform float ceiling;  // and below it: a spline through 1e6 beside 1 would dip far under the 1

const float SENTINEL = -1e37;

float held(float r) { return clamp(r, least, ceiling); }

// A measured value; a missing one borrows the mean of valid ones beside it, else of those two away, else 1/2.
float sample_(ivec2 at) {
    ivec2 size = textureSize(raw, 0);
    float r = texelFetch(raw, at, 0).r;
    if (r > SENTINEL) return held(r);
    for (int reach = 1; reach <= 2; reach++) {
        float total = 0.0, count = 0.0;
        for (int dy = -reach; dy <= reach; dy++)
            for (int dx = -reach; dx <= reach; dx++) {
                ivec2 p = at + ivec2(dx, dy);
                if (max(abs(dx), abs(dy)) != reach || any(lessThan(p, ivec2(0))) || any(greaterThanEqual(p, size))) continue;
                float q = texelFetch(raw, p, 0).r;
                if (q > SENTINEL) { total += held(q); count += 1.0; }
            }
        if (count > 0.0) return total / count;
    }
    return 0.5;
}

// At a measured point, or one of the ring.
float filled(ivec2 at) {
    ivec2 size = textureSize(raw, 0);
    ivec2 p = clamp(at, ivec2(0), size - 1);
    ivec2 beyond = at - p;
    float v = sample_(p);
    float rim = v;
    if (beyond.x != 0) v += rim - sample_(p - ivec2(beyond.x, 0));
    if (beyond.y != 0) v += rim - sample_(p - ivec2(0, beyond.y));
    return v;
}
