#version 330 core
// One triangle over the whole target, at the far end: behind everything that was drawn.
void main() {
    gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 1.0, 1.0);
}
