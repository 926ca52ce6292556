"""Framebuffers of one picture: the frame being drawn, and the sum of jittered frames."""

from __future__ import annotations

import moderngl

from protocol.errors import InputError
from renderer.gl.programs import Programs, put


class Targets:
    """Everything is drawn into framebuffers of its own; windows, PNGs and videos share this path."""

    def __init__(self, ctx: moderngl.Context, programs: Programs, size: tuple[int, int]) -> None:
        most = ctx.info["GL_MAX_TEXTURE_SIZE"]
        if max(size) > most:
            raise InputError(f"picture: {size[0]} x {size[1]} pixels, this OpenGL draws at most {most} a side")
        self.ctx, self.size, self.program = ctx, size, programs["resolve"]
        self._vao = ctx.vertex_array(self.program, [])
        self._colour = ctx.texture(size, 4)
        self._depth = ctx.depth_renderbuffer(size)
        self.frame = ctx.framebuffer([self._colour], self._depth)
        self._sum: moderngl.Texture | None = None
        self._sums: moderngl.Framebuffer | None = None
        self._flat = ctx.framebuffer([self._colour])

    def add(self, weight: float, first: bool) -> None:
        """Add the frame, weighted, to the sum: 16-bit fixed point, which is finer than half floats."""
        if self._sum is None or self._sums is None:  # a window that is never idle needs none
            self._sum = self.ctx.texture(self.size, 4, dtype="nu2")
            self._sums = self.ctx.framebuffer([self._sum])
        self._sums.use()
        self._sums.viewport = (0, 0, *self.size)
        self.ctx.disable(moderngl.DEPTH_TEST)
        if first:
            self.ctx.disable(moderngl.BLEND)
        else:
            self.ctx.enable(moderngl.BLEND)
            self.ctx.blend_func = moderngl.ONE, moderngl.ONE
        self._colour.use(0)
        put(self.program, source=0, weight=weight)
        self._vao.render(moderngl.TRIANGLES, vertices=3)

    def take(self, factor: float) -> None:
        """Copy the sum times `factor` back into the frame, which is then bound for what lies on the picture."""
        self.frame.use()
        self.ctx.disable(moderngl.DEPTH_TEST | moderngl.BLEND)
        assert self._sum is not None, "add first"
        self._sum.use(0)
        put(self.program, source=0, weight=factor)
        self._vao.render(moderngl.TRIANGLES, vertices=3)

    def rest(self) -> None:
        """Free the sum, which nothing is added to for now: half of the memory of a picture."""
        for thing in (self._sums, self._sum):
            if thing is not None:
                thing.release()
        self._sums = self._sum = None

    def show(self, screen: moderngl.Framebuffer) -> None:
        """Copy the frame onto a window's framebuffer, which is then bound. A blit, from a framebuffer without depth:
        blits of depth fail where its formats differ. Drawing it as a texture took 60 times as long on llvmpipe."""
        screen.scissor = None  # type: ignore[assignment]
        self.ctx.copy_framebuffer(screen, self._flat)
        screen.use()
        screen.viewport = (0, 0, *self.size)

    def release(self) -> None:
        for thing in (self.frame, self._sums, self._flat, self._colour, self._sum, self._depth, self._vao):
            if thing is not None:
                thing.release()
