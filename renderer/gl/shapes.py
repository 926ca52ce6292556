"""Draws the shapes of a display list (ink.py): one instanced quad each."""

from __future__ import annotations

import moderngl
import numpy as np
from numpy.typing import NDArray

from renderer.gl.programs import Programs, put
from renderer.ink import FLOATS


class Shapes:
    """An instance buffer that grows as needed."""

    def __init__(self, ctx: moderngl.Context, programs: Programs) -> None:
        self.ctx, self.program = ctx, programs["shapes"]
        self._buffer: moderngl.Buffer | None = None
        self._vao: moderngl.VertexArray | None = None

    def draw(
        self,
        shapes: NDArray[np.float32],
        picture: tuple[int, int],
        jitter: tuple[float, float] = (0.0, 0.0),
        opacity: float = 1.0,
    ) -> None:
        """Draw shapes (n, FLOATS) into the bound framebuffer, of `picture` pixels; depth state is the caller's."""
        if not len(shapes):
            return
        data = np.ascontiguousarray(shapes, np.float32)
        if self._buffer is None or self._buffer.size < data.nbytes:
            self.release()
            self._buffer = self.ctx.buffer(reserve=max(2 * data.nbytes, 64 * FLOATS * 4), dynamic=True)
            content = [(self._buffer, "3f 3f 2f 4f 4f /i", "p0", "p1", "shape", "c0", "c1")]
            self._vao = self.ctx.vertex_array(self.program, content)
        assert self._vao is not None
        self._buffer.orphan()
        self._buffer.write(data.tobytes())
        put(self.program, picture=picture, jitter=jitter, opacity=opacity)
        self._vao.render(moderngl.TRIANGLE_STRIP, vertices=4, instances=len(data))

    def release(self) -> None:
        for thing in (self._vao, self._buffer):
            if thing is not None:
                thing.release()
        self._vao = self._buffer = None
