// The sheet's ink: colour, shading, mesh lines, isolines. Included by sheet.frag and shade.frag, which say where on the
// grid a pixel lies and how fast grid and value change from pixel to pixel.
//
//   coverage of a line of width w pixels at distance d pixels: clamp(w / 2 + 1/2 - d, 0, 1)
//   d = |s - level| / |grad s|, with the Euclidean length of the gradient in pixels: fwidth is its L1 norm and draws lines
//   up to 41 % too wide (I. Quilez, "distance estimation"; measured against contourpy in tests/test_renderer_lines.py)
//
// Variants, by #define, because a software rasteriser runs both sides of a branch: FILL_MAP, FILL_PAPER, LIT (shading),
// CURVED (heights are not linear in values), TILES (one flat colour a measured point), MESH, MESH_MAP, LEVELS, DRAFT (rows
// not measured yet, pale and hatched).
//
// Everything that depends on the value alone is looked up: `ramp` holds colours (rgb) and the nearest isoline (a) of BINS
// unit values, `curve` how steep heights are there; `levels` the isolines: unit value, and the gap to the next one, negative
// for a minor one; `level_ink` their colours.
uniform sampler2D field;       // coded values (reference.py)
uniform sampler2D slope;       // their gradient a measured cell
uniform sampler2D raw;         // coded values as measured
uniform sampler2D draft;       // raw, with drafts in rows that are not measured yet
uniform sampler2D ramp;
uniform sampler2D curve;
uniform sampler2D levels;
uniform sampler2D level_ink;
uniform int k;                 // display cells a measured cell
uniform float a, b;            // coded to unit value
uniform float plateau;
uniform float rise;            // world height of unit value 1
uniform vec2 cell;             // world size of a measured cell
uniform vec3 sun;              // towards the light, world
uniform float light;           // strength of the shading
uniform vec4 paper;
uniform float crowded;         // pixels between isolines under which minor ones fade
uniform vec2 line_width;       // pixels, of minor and of major isolines
uniform float mesh_width;      // pixels
uniform vec2 mesh_step;        // measured cells between mesh lines
uniform vec4 mesh_ink;
uniform vec4 missing_ink;
uniform float unit_px;

const int BINS = 4096;

vec2 place(vec2 grid) { return (grid * float(k) + 0.5) / vec2(textureSize(field, 0)); }

int bin(float s) { return int(clamp(s, 0.0, 1.0) * float(BINS - 1) + 0.5); }

ivec2 nearest(vec2 grid) { return clamp(ivec2(floor(grid + 0.5)), ivec2(0), textureSize(raw, 0) - 1); }

float line(float distance_, float width) {
    // thinner than a pixel: a pixel wide and fainter, so that the ink stays width times length
    return clamp(max(width, 1.0) * 0.5 + 0.5 - distance_, 0.0, 1.0) * min(width, 1.0);
}

vec4 over(vec4 top, vec4 under) { return top + under * (1.0 - top.a); }

float stripes(float x, float period, float width) {
    float d = abs(x / period - round(x / period)) * period * 0.7071;
    return clamp(width * 0.5 + 0.5 - d, 0.0, 1.0);
}

// How steep world heights are in unit values, at a unit value.
float steepness(float s) {
#ifdef CURVED
    float steep = texelFetch(curve, ivec2(bin(s), 0), 0).r;
#else
    float steep = 1.0;
#endif
    return s >= plateau ? 0.0 : steep * rise;
}

// Ink, premultiplied, at a place of the grid with unit value s, its gradient a measured cell (for LIT), and what grid
// (measured cells) and s change a pixel.
vec4 inked(vec2 grid, float s, vec2 gradient, float steep, vec2 across, float change) {
    vec4 ink = vec4(0.0);
    vec4 looked = texelFetch(ramp, ivec2(bin(s), 0), 0);
#ifdef FILL_PAPER
    ink = paper;
#endif
#ifdef FILL_MAP
    ink = vec4(looked.rgb, 1.0);
#ifdef TILES
    ink.rgb = texelFetch(ramp, ivec2(bin(a * texelFetch(raw, nearest(grid), 0).r + b), 0), 0).rgb;
#endif
#endif
#ifdef LIT
    {
        vec3 normal = vec3(-gradient * steep / cell, 1.0);
        float lit = 0.5 + 0.5 * dot(normal, sun) * inversesqrt(dot(normal, normal)), even = 0.5 + 0.5 * sun.z;
        float shade = mix(1.0, clamp(lit / even, 0.0, 1.35), light);
        ink.rgb = mix(ink.rgb * min(shade, 1.0), vec3(1.0), max(shade - 1.0, 0.0) * 0.45);
    }
#endif
#ifdef MESH
    {
        vec2 g = grid / mesh_step;
        vec2 last = vec2(textureSize(raw, 0) - 1);  // where the sheet ends there is a line, whatever the step
        vec2 d = min(abs(g - round(g)) * mesh_step, abs(grid - last)) / max(across, 1e-9);
        float c = max(line(d.x, mesh_width), line(d.y, mesh_width));
#ifdef MESH_MAP
        vec4 m = vec4(looked.rgb, mesh_ink.a);
#else
        vec4 m = mesh_ink;
#endif
        m = vec4(m.rgb, 1.0) * (m.a * c);
        ink = over(m, ink);
    }
#endif
#ifdef LEVELS
    {
        int index = int(looked.a * 255.0 + 0.5);
        vec2 level = texelFetch(levels, ivec2(index, 0), 0).rg;
        vec4 l = texelFetch(level_ink, ivec2(index, 0), 0);
        float per = 1.0 / max(change, 1e-12);
        bool major = level.y > 0.0;
        float gap = abs(level.y) * per;  // pixels to the next isoline
        float room = mix(clamp(gap / crowded - 0.5, 0.0, 1.0), 1.0, major ? 0.5 : 0.0) * min(gap, 1.0);
        float c = line(abs(s - level.x) * per, major ? line_width.y : line_width.x) * room;
        c = change > 0.0 && s < plateau ? c : 0.0;
        l = vec4(l.rgb, 1.0) * (l.a * c);
        ink = over(l, ink);
    }
#endif
#ifdef DRAFT
    {
        ivec2 at = nearest(grid);
        bool drafted = texelFetch(raw, at, 0).r < -1e37 && texelFetch(draft, at, 0).r > -1e37;
        float mark = stripes(gl_FragCoord.x - gl_FragCoord.y, 9.0 * unit_px, 1.0 * unit_px) * 0.75;
        vec4 pale = mix(ink, vec4(paper.rgb * ink.a, ink.a), 0.5);
        pale = over(vec4(missing_ink.rgb, 1.0) * mark, pale);
        ink = drafted ? pale : ink;
    }
#endif
    return ink;
}

// Whether nothing is drawn there: not measured nor drafted, diverged, or cut away.
bool absent(vec2 grid) {
    ivec2 at = nearest(grid);
    bool invalid = texelFetch(raw, at, 0).r < -1e37;
#ifdef DRAFT
    invalid = invalid && texelFetch(draft, at, 0).r < -1e37;
#endif
    return invalid;
}
