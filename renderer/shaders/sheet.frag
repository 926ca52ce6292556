#version 330 core
// The sheet, pixel by pixel. A flat one (few large triangles) is inked at once. Of a raised one, whose triangles are small,
// only the place on the grid is written (WHERE), and shade.frag inks each pixel once: a rasteriser shades blocks of four by
// four pixels for each triangle that touches them.
//
// HOLES: something may be missing or cut. PATCHES: hatch what was not measured, mark what diverged, leave the rest.
#include "ink.glsl"
uniform vec4 diverged_ink;
uniform float cut;             // unit values above it are not drawn
in vec2 grid;
#ifdef WHERE
out vec2 where;

void main() {
#ifdef HOLES
    if (absent(grid) || a * texture(field, place(grid)).r + b > cut) discard;
#endif
    where = grid;
}
#else
out vec4 colour;

void main() {
#ifdef PATCHES
    ivec2 at = nearest(grid);
    float r = texelFetch(raw, at, 0).r;
    bool none = r < -1e37;
#ifdef DRAFT
    none = none && texelFetch(draft, at, 0).r < -1e37;
#endif
    if (!none) discard;
    vec2 p = gl_FragCoord.xy;
    bool diverged = r < -1.5e38;
    float mark = stripes(p.x - p.y, 9.0 * unit_px, 1.1 * unit_px);
    if (diverged) mark = max(mark, stripes(p.x + p.y, 9.0 * unit_px, 1.1 * unit_px));
    vec4 c = diverged ? diverged_ink : missing_ink;
    float alpha = c.a * mix(diverged ? 0.10 : 0.06, 1.0, mark);
    colour = vec4(c.rgb * alpha, alpha);
#else
    // Derivatives before any discard.
    vec2 across = vec2(length(vec2(dFdx(grid.x), dFdy(grid.x))), length(vec2(dFdx(grid.y), dFdy(grid.y))));
#ifdef BLANK
    float s = 0.0, change = 0.0;
#else
    float s = a * texture(field, place(grid)).r + b;
    float change = length(vec2(dFdx(s), dFdy(s)));
#endif
#ifdef HOLES
    if (absent(grid) || s > cut) discard;
#endif
    vec4 ink = inked(grid, s, vec2(0.0), 0.0, across, change);
    if (ink.a <= 0.0) discard;
    colour = ink;
#endif
}
#endif
