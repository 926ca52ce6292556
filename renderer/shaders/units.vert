#version 330 core
// One triangle over the whole target; a scissor limits it to the rows that changed.
void main() {
    gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0);
}
