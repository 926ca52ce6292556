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
from renderer.gl import context, memory
from renderer.gl.kit import Kit
from renderer.gl.targets import Targets
from renderer.ink import Ink, Text
from renderer.layout import is_flat
from renderer.scene import CLEAN, EVERYTHING, Dirty, Scene

SAMPLES, SAMPLES_LARGE = 16, 8  # jittered frames that make one still picture, at most; one of over LARGE pixels
LARGE = 2_000_000
Letter = Callable[[Ink], None]


@dataclass(frozen=True, eq=False)
class Part:
    """A frame of a picture with the layers that draw it. `clip`: where a raised picture may (None: on its stage)."""

    frame: frames.Frame
    layers: Sequence[layers.Layer]
    clip: Rect | None = None


@dataclass(frozen=True, eq=False)
class _Kept:
    """What a layer laid on the picture, and the key that it was made for."""

    layer: layers.Layer
    key: object
    shapes: NDArray[np.float32]
    texts: list[Text]


@dataclass(eq=False)
class _Still:
    """A picture that gets better sample by sample, of which `drawn` are in the sum."""

    parts: Sequence[Part]
    letter: Letter | None
    samples: int
    drawn: int = 0


def jitter(samples: int) -> NDArray[np.float64]:
    """Sub-pixel shifts (n, 2) in (-1/2, 1/2): the first of SAMPLES, which begin at the pixel's middle, go on by the R2
    sequence (M. Roberts 2018, "The unreasonable effectiveness of quasirandom sequences") and have the mean 0."""
    g = 1.32471795724474602596
    k = np.arange(1, SAMPLES)[:, None]
    shifts: NDArray[np.float64] = (0.5 + k * np.array([1 / g, 1 / g**2])) % 1.0 - 0.5
    return np.concatenate([np.zeros((1, 2)), shifts - shifts.mean(0)])[:samples]


class Renderer:
    """Draws scenes with one GL context. Raises InputError (`unavailable`) where the machine has no OpenGL."""

    def __init__(self, ctx: moderngl.Context | None = None) -> None:
        memory.return_large()
        self.ctx = ctx or context.standalone()
        self._targets: Targets | None = None
        with self.ctx:
            self.name = context.renderer_name(self.ctx)  # asked once: moderngl keeps what it heard first
            self.kit = Kit.make(self.ctx)
            self.layers = layers.make(self.kit)
            self._idle = self.ctx.simple_framebuffer((1, 1))
        self.watch = frames.Watch()
        self._inks: dict[int, _Kept] = {}  # by layer
        self._inked: tuple[list[object], NDArray[np.float32], list[Text]] = ([], Ink().array(), [])
        self._last: _Still | None = None

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
        interacting: bool = False,
    ) -> frames.Frame:
        """Draw into an own framebuffer: `samples` jittered frames (1 to SAMPLES; None: what a still needs), averaged,
        with the lettering over them, that of `letter(ink)` last. `dirty` says what changed since the last call.

        One sample is the frame of a window: labels stay where they were, and an automatic camera holds still while rows
        come. `interacting` draws fewer vertices. `refine` then improves the picture, sample by sample.
        """
        with self.ctx:  # another renderer of this process may have made its own context the current one
            if (dirty.all or dirty.path) and not is_flat(scene.view):
                self.watch.lens(scene, anew=True)
            frame = frames.make(scene, width, height, scale, self.watch)
            self.ready(frame.layout.size)
            self.kit.store.sync(scene, dirty)
            return self.paint([Part(frame, self.layers)], [dirty], samples, letter, interacting)[0]

    def ready(self, size: tuple[int, int]) -> None:
        """Make the framebuffers of a picture of `size` pixels, with none of the old ones bound."""
        self._idle.use()  # a framebuffer that is bound must not be released
        if self._targets is None or self._targets.size != size:
            if self._targets is not None:
                self._targets.release()
                self._targets = None
            self._targets = Targets(self.ctx, self.kit.programs, size)
            self._last = None  # of another size
        self._idle.use()

    def paint(
        self,
        parts: Sequence[Part],
        dirty: Sequence[Dirty],
        samples: int | None,
        letter: Letter | None = None,
        interacting: bool = False,
    ) -> list[frames.Frame]:
        """Draw parts of one picture, after `ready` and with their stores in step; `letter(ink)` adds what belongs to
        none of them. `dirty` says what changed in each. The context is the caller's to make current."""
        assert self._targets is not None
        targets = self._targets
        self.kit.text.trim()
        most = SAMPLES if targets.size[0] * targets.size[1] <= LARGE else SAMPLES_LARGE
        samples = most if samples is None else min(samples, SAMPLES)
        alone = len(parts) == 1
        if not alone:
            parts = [replace(part, frame=replace(part.frame, alone=False)) for part in parts]
        self._last = _Still(parts, letter, max(most, samples))
        if samples == 1:
            parts = [replace(part, frame=replace(part.frame, live=True, coarse=interacting)) for part in parts]
        for part, changed in zip(parts, dirty):
            for layer in part.layers:
                layer.sync(part.frame, changed)
        if samples == 1:
            self._scene(parts, (0.0, 0.0), targets)
            self._overlay(parts, targets, letter)
            targets.rest()
        else:
            while self._last.drawn < samples:
                self._sample(self._last, targets)
            self._finish(self._last, targets)
        return [part.frame for part in parts]

    def refine(self) -> bool:
        """Add one sample to the last picture; False, with nothing drawn, when it is as good as a still.

        After n calls the picture is the one of `draw(samples=n)`. The first call begins anew, in full detail, if the
        last frame was a window's. What is shown must not have changed since.
        """
        still, targets = self._last, self._targets
        if still is None or targets is None or still.drawn >= still.samples:
            return False
        with self.ctx:
            if still.drawn == 0:
                for part in still.parts:
                    for layer in part.layers:
                        layer.sync(part.frame, CLEAN)
            self._sample(still, targets)
            self._finish(still, targets)
            if still.drawn == still.samples:  # a window may now rest for hours
                self._idle.use()
                self._idle.clear()
                memory.return_free()
        return True

    def _sample(self, still: _Still, targets: Targets) -> None:
        dx, dy = jitter(SAMPLES)[still.drawn]
        self._scene(still.parts, (float(dx), float(dy)), targets)
        targets.add(1.0 / SAMPLES, first=still.drawn == 0)
        still.drawn += 1

    def _finish(self, still: _Still, targets: Targets) -> None:
        targets.take(SAMPLES / still.drawn)
        if still.drawn >= still.samples:
            targets.rest()
        self._overlay(still.parts, targets, still.letter)

    def _scene(self, parts: Sequence[Part], shift: tuple[float, float], targets: Targets) -> None:
        targets.frame.use()
        targets.frame.viewport = (0, 0, *targets.size)
        targets.frame.scissor = None  # type: ignore[assignment]
        if parts:
            targets.frame.clear(*parts[0].frame.theme.paper, depth=1.0)
        for part in parts:
            frame = frames.shifted(part.frame, *shift) if any(shift) else part.frame
            if frame.scene.axes is None:
                continue
            clip = frame.layout.plot if frame.layout.flat else part.clip or frame.layout.stage
            if clip is not None:
                w, h = int(clip.width), int(clip.height)
                targets.frame.scissor = (int(clip.x0), targets.size[1] - int(clip.y1), w, h)
            self.ctx.enable(moderngl.BLEND)
            self.ctx.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
            for layer in part.layers:
                layer.scene(frame)
            targets.frame.scissor = None  # type: ignore[assignment]

    def _overlay(self, parts: Sequence[Part], targets: Targets, letter: Letter | None) -> None:
        kept = [self._ink(layer, part.frame) for part in parts for layer in part.layers]
        held, shapes, texts = self._inked
        if len(held) != len(kept) or any(a is not b for a, b in zip(held, kept)):
            shapes = np.concatenate([k.shapes for k in kept]) if kept else Ink().array()
            texts = [text for k in kept for text in k.texts]
            self._inked = (list(kept), shapes, texts)
            self._inks = {id(k.layer): k for k in kept}  # layers that are gone are not kept
        self._over(targets.frame)
        self.kit.shapes.draw(shapes, targets.size)
        self.kit.text.draw(texts, targets.size)
        if letter is not None:
            ink = Ink()
            letter(ink)
            self._letter(ink, targets.frame, targets.size)

    def _ink(self, layer: layers.Layer, frame: frames.Frame) -> _Kept:
        """What a layer lays on the picture, from the last time where nothing that it tells has changed."""
        key = layer.key(frame)
        kept = self._inks.get(id(layer))
        if kept is None or key is None or kept.key != key or kept.layer is not layer:
            ink = Ink()
            layer.overlay(frame, ink)
            kept = self._inks[id(layer)] = _Kept(layer, key, ink.array(), ink.texts)
        return kept

    def show(self, screen: moderngl.Framebuffer, ink: Ink | None = None) -> None:
        """Copy the last picture drawn onto a window's framebuffer, which is of its size, and draw `ink` over it: what
        is the window's and not the picture's (hud.py), and may change without the picture being drawn anew."""
        assert self._targets is not None, "draw first"
        self._targets.show(screen)
        if ink is not None:
            self.kit.text.trim()  # a read-out that follows the pointer has new words for every place
            self._letter(ink, screen, self._targets.size)

    def _over(self, target: moderngl.Framebuffer) -> None:
        """Get ready to draw over everything in `target`."""
        target.use()
        self.ctx.disable(moderngl.DEPTH_TEST)
        self.ctx.enable(moderngl.BLEND)
        self.ctx.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA

    def _letter(self, ink: Ink, target: moderngl.Framebuffer, size: tuple[int, int]) -> None:
        self._over(target)
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
