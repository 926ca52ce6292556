#version 330 core
// The sheet's ink: colour, shading, isolines, mesh lines, hatching, each read from the full display field.
//
//   coverage of a line of width w pixels at distance d pixels: clamp(w / 2 + 1/2 - d, 0, 1)
//   d = |s - level| / |grad s|, with the Euclidean length of (dFdx, dFdy): fwidth is its L1 norm and draws lines up to
//   41 % too wide (I. Quilez, "distance estimation"; measured against contourpy in tests/test_renderer_lines.py)
//
// Variants, by #define, because a software rasteriser runs both sides of a branch: FILL_MAP, FILL_PAPER, LIT (shading),
// TILES (one flat colour a measured point), MESH, LEVELS, MAP_INK (isolines in the colour map's colour), EVERYWHERE (no
// holes), DRAFT (rows not measured yet, pale and hatched), and PATCHES (hatch what was not measured, mark what diverged,
// leave the rest).
uniform sampler2D field;
uniform sampler2D raw;
uniform sampler2D draft;       // raw, with drafts in rows that are not measured yet
uniform sampler2D table;       // the colour map
uniform int k;
uniform bool logarithmic;
uniform float shift, a, b, least;  // raw to unit value, as in field.frag
uniform float decades_color;   // > 0: values are logarithms over so many decades, and colours are not
uniform float decades;         // the same for heights (sheet.vert)
uniform float plateau;
uniform float cut;             // unit values above it are not drawn
uniform float rise;
uniform vec2 cell;             // world size of a measured cell
uniform vec3 sun;              // towards the light, world
uniform float light;           // strength of the shading
uniform vec4 paper;
uniform sampler2D levels;      // unit value, opacity (negative: light ink), width in pixels, gap to the next level
uniform sampler2D finder;      // unit value to the index of the first level above the start of its bin
uniform vec4 dark_ink, light_ink;
uniform float crowded;         // pixels between isolines under which minor ones fade
uniform float mesh_width;      // pixels
uniform vec2 mesh_step;        // measured cells between mesh lines
uniform vec4 mesh_ink;
uniform bool mesh_map;
uniform vec4 missing_ink, diverged_ink;
uniform float unit_px;
in vec2 grid;
out vec4 colour;

float convert(float s, float d) {
    if (d <= 0.0) return s;
    float q = exp2(-d * 3.32192809);
    return (exp2((s - 1.0) * d * 3.32192809) - q) / (1.0 - q);
}

vec3 mapped(float s) {
    float c = clamp(convert(s, decades_color), 0.0, 1.0);
    return texture(table, vec2((c * 255.0 + 0.5) / 256.0, 0.5)).rgb;
}

float line(float distance_, float width) {
    // thinner than a pixel: a pixel wide and fainter, so that the ink stays width times length
    return clamp(max(width, 1.0) * 0.5 + 0.5 - distance_, 0.0, 1.0) * min(width, 1.0);
}

vec4 over(vec4 top, vec4 under) { return top + under * (1.0 - top.a); }

float stripes(float x, float period, float width) {
    float d = abs(x / period - round(x / period)) * period * 0.7071;
    return clamp(width * 0.5 + 0.5 - d, 0.0, 1.0);
}

void main() {
    // Derivatives before any discard.
    vec2 size = vec2(textureSize(field, 0));
    vec4 f = texture(field, (grid * float(k) + 0.5) / size);
    float s = f.x;
    float slope = length(vec2(dFdx(s), dFdy(s)));
    vec2 across = vec2(length(vec2(dFdx(grid.x), dFdy(grid.x))), length(vec2(dFdx(grid.y), dFdy(grid.y))));
    ivec2 nearest = clamp(ivec2(floor(grid + 0.5)), ivec2(0), textureSize(raw, 0) - 1);
    float r = texelFetch(raw, nearest, 0).r;
    bool invalid = r < -1e37;
#ifdef EVERYWHERE
    invalid = false;
#endif
#ifdef DRAFT
    bool drafted = invalid && texelFetch(draft, nearest, 0).r > -1e37;
    invalid = invalid && !drafted;
#endif

#ifdef PATCHES
    if (!invalid) discard;
    vec2 p = gl_FragCoord.xy;
    bool diverged = r < -1.5e38;
    float mark = stripes(p.x - p.y, 9.0 * unit_px, 1.1 * unit_px);
    if (diverged) mark = max(mark, stripes(p.x + p.y, 9.0 * unit_px, 1.1 * unit_px));
    vec4 c = diverged ? diverged_ink : missing_ink;
    float alpha = c.a * mix(diverged ? 0.10 : 0.06, 1.0, mark);
    colour = vec4(c.rgb * alpha, alpha);
#else
    if (invalid || s > cut) discard;

    vec4 ink = vec4(0.0);
#ifdef FILL_PAPER
    ink = paper;
#endif
#ifdef FILL_MAP
    float shown = s;
#ifdef TILES
    shown = a * (logarithmic ? log2(max(r + shift, least)) * 0.30103 : r) + b;
#endif
    ink = vec4(mapped(shown), 1.0);
#endif
#ifdef LIT
    {
        float e = 1e-3;
        float steep = s >= plateau ? 0.0 : (convert(s + e, decades) - convert(s - e, decades)) / (2.0 * e);
        vec3 normal = normalize(vec3(-f.yz * steep * rise / cell, 1.0));
        float lit = 0.5 + 0.5 * dot(normal, sun), even = 0.5 + 0.5 * sun.z;
        float shade = mix(1.0, clamp(lit / even, 0.0, 1.35), light);
        ink.rgb = shade <= 1.0 ? ink.rgb * shade : mix(ink.rgb, vec3(1.0), (shade - 1.0) * 0.45);
    }

#endif
#ifdef MESH
    {
        vec2 g = grid / mesh_step;
        vec2 d = abs(g - round(g)) * mesh_step / max(across, 1e-9);
        float c = max(line(d.x, mesh_width), line(d.y, mesh_width));
        vec4 m = mesh_map ? vec4(mapped(s), 1.0) : mesh_ink;
        m = vec4(m.rgb, 1.0) * (m.a * c);
        ink = over(m, ink);
    }

#endif
#ifdef LEVELS
    if (slope > 0.0 && s < plateau) {
        int above = int(texelFetch(finder, ivec2(clamp(s, 0.0, 0.9999) * float(textureSize(finder, 0).x), 0), 0).r);
        vec4 level = texelFetch(levels, ivec2(above, 0), 0);
        for (int i = -1; i <= 1; i += 2) {
            vec4 other = texelFetch(levels, ivec2(max(above + i, 0), 0), 0);
            if (abs(s - other.x) < abs(s - level.x)) level = other;
        }
        float room = clamp(level.w / slope / crowded - 0.5, 0.0, 1.0);
        float opacity = abs(level.y);
        float c = line(abs(s - level.x) / slope, level.z) * opacity * mix(room, 1.0, step(0.99, opacity) * 0.5);
#ifdef MAP_INK
        vec4 l = vec4(mapped(level.x), 1.0);
#else
        vec4 l = level.y < 0.0 ? light_ink : dark_ink;
#endif
        l = vec4(l.rgb, 1.0) * (l.a * c);
        ink = over(l, ink);
    }
#endif
#ifdef DRAFT
    if (drafted) {
        float mark = stripes(gl_FragCoord.x - gl_FragCoord.y, 9.0 * unit_px, 1.0 * unit_px) * 0.75;
        ink = mix(ink, vec4(paper.rgb * ink.a, ink.a), 0.5);
        ink = over(vec4(missing_ink.rgb, 1.0) * mark, ink);
    }
#endif
    if (ink.a <= 0.0) discard;
    colour = ink;
#endif
}
