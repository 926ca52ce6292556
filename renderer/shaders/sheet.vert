#version 330 core
// The grid as triangle strips without any vertex buffer: gl_VertexID says which vertex of which strip.
//
//   strip r:   1---3---5---7   row r + 1      2 (n + 2) vertices a strip: the first and the last come twice,
//              | \ | \ | \ |                  which joins the strips by triangles of no area
//              0---2---4---6   row r
//
// Each `stride`-th display vertex is used (level of detail); the last row and column always are. Strips come nearest to
// the eye first, so that most of what is hidden is never shaded.
uniform sampler2D field;   // coded values (reference.py), display vertices
uniform float a, b;        // coded to unit value
uniform bool backwards;
uniform sampler2D axis_x;  // world x of the measured columns
uniform sampler2D axis_y;
uniform int k;             // display cells a measured cell
uniform int stride;
uniform mat4 camera;
uniform float floor_z;
uniform float rise;        // world height of unit value 1 over the floor; 0 draws flat
uniform float decades;     // > 0: values are logarithms over so many decades, and heights are not
uniform float plateau;     // unit values are held below it
out vec2 grid;             // measured cells

float height(float s) {
    s = clamp(s, -0.02, plateau);
    if (decades <= 0.0) return s;
    float q = exp2(-decades * 3.32192809);
    return (exp2((s - 1.0) * decades * 3.32192809) - q) / (1.0 - q);
}

float along(sampler2D axis, float g) {
    int last = textureSize(axis, 0).x - 1;
    int j = clamp(int(floor(g)), 0, last - 1);
    return mix(texelFetch(axis, ivec2(j, 0), 0).r, texelFetch(axis, ivec2(j + 1, 0), 0).r, g - float(j));
}

void main() {
    ivec2 size = textureSize(field, 0);
    int columns = (size.x - 2) / stride + 2;  // vertices a strip side
    int in_strip = 2 * columns + 2;
    int strip = gl_VertexID / in_strip;
    strip = backwards ? (size.y - 2) / stride - strip : strip;
    int v = clamp(gl_VertexID % in_strip - 1, 0, 2 * columns - 1);
    ivec2 at = min(ivec2(v / 2, strip + v % 2) * stride, size - 1);
    float s = a * texelFetch(field, at, 0).r + b;
    grid = vec2(at) / float(k);
    gl_Position = camera * vec4(along(axis_x, grid.x), along(axis_y, grid.y), floor_z + rise * height(s), 1.0);
}
