"""A scene to pixels. Windows, PNGs, previews and videos draw through this class."""

from __future__ import annotations

from dataclasses import replace

import moderngl
import numpy as np
from numpy.typing import NDArray

from renderer import frame as frames
from renderer import layers
from renderer.gl import context
from renderer.gl.kit import Kit
from renderer.gl.targets import Targets
from renderer.ink import Ink
from renderer.scene import EVERYTHING, Dirty, Scene

SAMPLES, SAMPLES_LARGE = 16, 8  # jittered frames that make one still picture; one of over LARGE pixels
LARGE = 2_000_000


def jitter(samples: int) -> NDArray[np.float64]:
    """Sub-pixel shifts (n, 2) in (-1/2, 1/2): the R2 sequence (M. Roberts 2018, "The unreasonable effectiveness of
    quasirandom sequences"); one sample is the pixel's middle."""
    if samples == 1:
        return np.zeros((1, 2))
    g = 1.32471795724474602596
    k = np.arange(1, samples + 1)[:, None]
    shifts: NDArray[np.float64] = (0.5 + k * np.array([1 / g, 1 / g**2])) % 1.0 - 0.5
    return shifts - shifts.mean(0)


class Renderer:
    """Draws scenes with one GL context. Raises InputError (`unavailable`) where the machine has no OpenGL."""

    def __init__(self, ctx: moderngl.Context | None = None) -> None:
        self.ctx = ctx or context.standalone()
        self._targets: Targets | None = None
        with self.ctx:
            self.name = context.renderer_name(self.ctx)  # asked once: moderngl keeps what it heard first
            self.kit = Kit.make(self.ctx)
            self.layers = layers.make(self.kit)
            self._idle = self.ctx.simple_framebuffer((1, 1))

    def draw(
        self,
        scene: Scene,
        width: int = 1280,
        height: int = 800,
        scale: float = 1.0,
        *,
        dirty: Dirty = EVERYTHING,
        samples: int | None = None,
    ) -> frames.Frame:
        """Draw into an own framebuffer: `samples` jittered frames, averaged, with the lettering over them."""
        with self.ctx:  # another renderer of this process may have made its own context the current one
            return self._draw(scene, frames.make(scene, width, height, scale), dirty, samples)

    def _draw(self, scene: Scene, frame: frames.Frame, dirty: Dirty, samples: int | None) -> frames.Frame:
        size = frame.layout.size
        self._idle.use()  # a framebuffer that is bound must not be released
        if self._targets is None or self._targets.size != size:
            if self._targets is not None:
                self._targets.release()
                self._targets = None
            self._targets = Targets(self.ctx, self.kit.programs, size)
        targets = self._targets
        self._idle.use()
        self.kit.store.sync(scene, dirty)
        self.kit.text.trim()
        for layer in self.layers:
            layer.sync(frame, dirty)
        if samples is None:
            samples = SAMPLES if size[0] * size[1] <= LARGE else SAMPLES_LARGE
        shifts = jitter(samples)
        if samples == 1:
            frame = replace(frame, live=True)
        for k, (dx, dy) in enumerate(shifts):
            self._scene(frames.shifted(frame, float(dx), float(dy)) if samples > 1 else frame, targets)
            if samples > 1:
                targets.add(1.0 / samples, first=k == 0)
        if samples > 1:
            targets.take()
        self._overlay(frame, targets)
        return frame

    def _scene(self, frame: frames.Frame, targets: Targets) -> None:
        targets.frame.use()
        targets.frame.viewport = (0, 0, *targets.size)
        targets.frame.scissor = None  # type: ignore[assignment]
        targets.frame.clear(*frame.theme.paper, depth=1.0)
        if frame.scene.axes is None:
            return
        if frame.layout.flat:
            plot = frame.layout.plot
            w, h = int(plot.width), int(plot.height)
            targets.frame.scissor = (int(plot.x0), targets.size[1] - int(plot.y1), w, h)
        self.ctx.enable(moderngl.BLEND)
        self.ctx.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        for layer in self.layers:
            layer.scene(frame)
        targets.frame.scissor = None  # type: ignore[assignment]

    def _overlay(self, frame: frames.Frame, targets: Targets) -> None:
        ink = Ink()
        for layer in self.layers:
            layer.overlay(frame, ink)
        targets.frame.use()
        self.ctx.disable(moderngl.DEPTH_TEST)
        self.ctx.enable(moderngl.BLEND)
        self.ctx.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        self.kit.shapes.draw(ink.array(), frame.layout.size)
        self.kit.text.draw(ink.texts, frame.layout.size)

    def pixels(self) -> NDArray[np.uint8]:
        """The last picture drawn, (h, w, 3) uint8, top row first."""
        assert self._targets is not None, "draw first"
        w, h = self._targets.size
        with self.ctx:
            data = np.frombuffer(self._targets.frame.read(components=3, alignment=1), np.uint8)
        return data.reshape(h, w, 3)[::-1]

    def release(self) -> None:
        """Free everything, the context too."""
        with self.ctx:
            self._idle.use()
            if self._targets is not None:
                self._targets.release()
            self.kit.release()
        self.ctx.release()
