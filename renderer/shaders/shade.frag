#version 330 core
// Inks a raised sheet: one pixel, one place on the grid, as sheet.frag wrote it down. The depth test passes where something
// is nearer than the far end, which is the sheet; or one of several (SHARED), of which each has its own record.
//
// How fast the grid passes from pixel to pixel follows from the surface and the camera, and not from the neighbouring
// pixels, which may lie behind a ridge: the surface's two tangents, projected, are the columns of d(pixel)/d(grid); its
// inverse turns gradients on the grid into gradients on the picture.
#include "ink.glsl"
uniform sampler2D where;   // measured cells; negative where there is no sheet
uniform mat4 camera;
uniform vec4 viewport;     // pixels: x, y, width, height
uniform float floor_z;
uniform sampler2D axis_x;  // world x of the measured columns
uniform sampler2D axis_y;
out vec4 colour;

// World coordinate and its growth a cell along an uneven axis.
vec2 along(sampler2D axis, float g) {
    int last = textureSize(axis, 0).x - 1;
    int j = clamp(int(floor(g)), 0, last - 1);
    float low = texelFetch(axis, ivec2(j, 0), 0).r, high = texelFetch(axis, ivec2(j + 1, 0), 0).r;
    return vec2(mix(low, high, g - float(j)), high - low);
}

void main() {
    vec2 grid = texelFetch(where, ivec2(gl_FragCoord.xy), 0).rg;
    vec2 uv = place(grid);
    float s = a * texture(field, uv).r + b;
    vec2 gradient = a * texture(slope, uv).rg;
    float steep = steepness(s);
    vec2 ndc = (gl_FragCoord.xy - viewport.xy) / viewport.zw * 2.0 - 1.0;
#ifdef UNEVEN
    vec2 x = along(axis_x, grid.x), y = along(axis_y, grid.y);
#else
    vec2 half_sides = 0.5 * cell * vec2(textureSize(raw, 0) - 1);
    vec2 x = vec2(grid.x * cell.x - half_sides.x, cell.x), y = vec2(grid.y * cell.y - half_sides.y, cell.y);
#endif
    float z = floor_z + clamp(s, 0.0, 1.0) * rise;  // only for the distance; the curve of logarithms changes it little
    float w = dot(vec4(camera[0].w, camera[1].w, camera[2].w, camera[3].w), vec4(x.x, y.x, z, 1.0));
    vec3 tx = camera[0].xyw * x.y + camera[2].xyw * (steep * gradient.x);
    vec3 ty = camera[1].xyw * y.y + camera[2].xyw * (steep * gradient.y);
    vec2 scale = viewport.zw * 0.5 / w;
    vec2 px = (tx.xy - ndc * tx.z) * scale, py = (ty.xy - ndc * ty.z) * scale;  // pixels a cell
    float det = abs(px.x * py.y - px.y * py.x);
    float per = 1.0 / max(det, 1e-9);
    vec2 across = vec2(length(py), length(px)) * per;
    float change = length(gradient.x * vec2(py.y, -py.x) + gradient.y * vec2(-px.y, px.x)) * per;
    colour = inked(grid, s, gradient, steep, across, change);
#ifdef SHARED
    if (grid.x < -0.5) colour = vec4(0.0);
#endif
}
