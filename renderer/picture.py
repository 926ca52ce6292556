"""A scene to pixels. Windows, PNGs, previews and videos draw through this class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import moderngl
import numpy as np
from numpy.typing import NDArray

from renderer import frame as frames
from renderer import layers
from renderer.camera import Rect
from renderer.gl import context
from renderer.gl.kit import Kit
from renderer.gl.targets import Targets
from renderer.ink import Ink
from renderer.scene import EVERYTHING, Dirty, Scene

SAMPLES, SAMPLES_LARGE = 16, 8  # jittered frames that make one still picture; one of over LARGE pixels
LARGE = 2_000_000
Letter = Callable[[Ink], None]


@dataclass(frozen=True, eq=False)
class Part:
    """A frame of a picture with the layers that draw it. `clip`: where in a raised picture it may (None: anywhere)."""

    frame: frames.Frame
    layers: Sequence[layers.Layer]
    clip: Rect | None = None


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
        width: float = 1280,
        height: float = 800,
        scale: float = 1.0,
        *,
        dirty: Dirty = EVERYTHING,
        samples: int | None = None,
        letter: Letter | None = None,
    ) -> frames.Frame:
        """Draw into an own framebuffer: `samples` jittered frames, averaged, with the lettering over them, that of
        `letter(ink)` last."""
        with self.ctx:  # another renderer of this process may have made its own context the current one
            frame = frames.make(scene, width, height, scale)
            self.ready(frame.layout.size)
            self.kit.store.sync(scene, dirty)
            return self.paint([Part(frame, self.layers)], [dirty], samples, letter)[0]

    def ready(self, size: tuple[int, int]) -> None:
        """Make the framebuffers of a picture of `size` pixels, with none of the old ones bound."""
        self._idle.use()  # a framebuffer that is bound must not be released
        if self._targets is None or self._targets.size != size:
            if self._targets is not None:
                self._targets.release()
                self._targets = None
            self._targets = Targets(self.ctx, self.kit.programs, size)
        self._idle.use()

    def paint(
        self, parts: Sequence[Part], dirty: Sequence[Dirty], samples: int | None, letter: Letter | None = None
    ) -> list[frames.Frame]:
        """Draw parts of one picture, after `ready` and with their stores in step; `letter(ink)` adds what belongs to
        none of them. `dirty` says what changed in each. The context is the caller's to make current."""
        assert self._targets is not None
        targets = self._targets
        self.kit.text.trim()
        for part, changed in zip(parts, dirty):
            for layer in part.layers:
                layer.sync(part.frame, changed)
        if len(parts) > 1:
            parts = [replace(part, frame=replace(part.frame, alone=False)) for part in parts]
        if samples is None:
            samples = SAMPLES if targets.size[0] * targets.size[1] <= LARGE else SAMPLES_LARGE
        if samples == 1:
            parts = [replace(part, frame=replace(part.frame, live=True)) for part in parts]
        for k, (dx, dy) in enumerate(jitter(samples)):
            self._scene(parts, (float(dx), float(dy)) if samples > 1 else None, targets)
            if samples > 1:
                targets.add(1.0 / samples, first=k == 0)
        if samples > 1:
            targets.take()
        self._overlay(parts, targets, letter)
        return [part.frame for part in parts]

    def _scene(self, parts: Sequence[Part], shift: tuple[float, float] | None, targets: Targets) -> None:
        targets.frame.use()
        targets.frame.viewport = (0, 0, *targets.size)
        targets.frame.scissor = None  # type: ignore[assignment]
        if parts:
            targets.frame.clear(*parts[0].frame.theme.paper, depth=1.0)
        for part in parts:
            frame = frames.shifted(part.frame, *shift) if shift else part.frame
            if frame.scene.axes is None:
                continue
            clip = frame.layout.plot if frame.layout.flat else part.clip
            if clip is not None:
                w, h = int(clip.width), int(clip.height)
                targets.frame.scissor = (int(clip.x0), targets.size[1] - int(clip.y1), w, h)
            self.ctx.enable(moderngl.BLEND)
            self.ctx.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
            for layer in part.layers:
                layer.scene(frame)
            targets.frame.scissor = None  # type: ignore[assignment]

    def _overlay(self, parts: Sequence[Part], targets: Targets, letter: Letter | None) -> None:
        ink = Ink()
        for part in parts:
            for layer in part.layers:
                layer.overlay(part.frame, ink)
        if letter is not None:
            letter(ink)
        self._letter(ink, targets.frame, targets.size)

    def show(self, screen: moderngl.Framebuffer, ink: Ink | None = None) -> None:
        """Copy the last picture drawn onto a window's framebuffer, which is of its size, and draw `ink` over it: what
        is the window's and not the picture's (hud.py), and may change without the picture being drawn anew."""
        assert self._targets is not None, "draw first"
        self._targets.show(screen)
        if ink is not None:
            self._letter(ink, screen, self._targets.size)

    def _letter(self, ink: Ink, target: moderngl.Framebuffer, size: tuple[int, int]) -> None:
        target.use()
        self.ctx.disable(moderngl.DEPTH_TEST)
        self.ctx.enable(moderngl.BLEND)
        self.ctx.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        self.kit.shapes.draw(ink.array(), size)
        self.kit.text.draw(ink.texts, size)

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
