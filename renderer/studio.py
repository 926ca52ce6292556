"""The stage to pixels: for the window, for a picture, for a stream, each at its own size, all by one renderer."""

from __future__ import annotations

import copy

import moderngl
import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.view import View
from renderer import frame as frames
from renderer.frame import Frame
from renderer.headless import MOST_PIXELS
from renderer.moves import Place
from renderer.picture import Letter, Renderer
from renderer.scene import CLEAN, Scene
from renderer.stage import Stage


def bare(view: View) -> View:
    """The view without words around the plot."""
    off = dict.fromkeys(("title", "legend", "colorbar", "provenance", "axes"), False)
    return msgspec.structs.replace(view, layers=msgspec.structs.replace(view.layers, **off))


def as_seen(scene: Scene, view: View) -> Scene:
    """The scene under another view; it shares the values and must be drawn before they change."""
    if view == scene.view:
        return scene
    other = copy.copy(scene)
    other.apply(view)
    return other


class Studio:
    """Draws a stage with one GL context. Raises InputError (`unavailable`) where the machine has no OpenGL."""

    def __init__(self, stage: Stage, ctx: moderngl.Context | None = None) -> None:
        self.stage = stage
        self.renderer = Renderer(ctx)
        self._empty = Scene()

    def frame(self, size: tuple[int, int], scale: float) -> Frame:
        """Where everything stands in a picture of `size` pixels, without drawing it."""
        return frames.make(self._scene(self.stage.view), size[0] / scale, size[1] / scale, scale)

    def place(self, size: tuple[int, int], scale: float) -> Place:
        """What moves the camera (moves.py) needs to know of the picture."""
        return Place.of(self.frame(size, scale), size[0] / scale, size[1] / scale, scale)

    def draw(
        self,
        size: tuple[int, int],
        scale: float,
        *,
        still: bool,
        view: View | None = None,
        letter: Letter | None = None,
    ) -> Frame:
        """Draw the stage at `size` pixels: one quick frame, or the `still` picture in full quality."""
        if size[0] * size[1] > MOST_PIXELS:
            raise InputError(
                f"picture: {size[0]} x {size[1]} is over {MOST_PIXELS // 2**20} million pixels: ask for a smaller one",
                code="too_large",
            )
        view = view or self.stage.view
        scene = self._scene(view)
        dirty = self.stage.shown[0].dirty if self.stage.shown else CLEAN
        frame = self.renderer.draw(
            scene,
            size[0] / scale,
            size[1] / scale,
            scale,
            dirty=dirty,
            samples=None if still else 1,
            letter=letter,
        )
        self.stage.drawn()
        return frame

    def pixels(self) -> NDArray[np.uint8]:
        """The picture drawn last, (h, w, 3) uint8, top row first."""
        return self.renderer.pixels()

    def show(self, screen: moderngl.Framebuffer) -> None:
        """The picture drawn last, on a window's framebuffer of its size."""
        self.renderer.show(screen)

    def _scene(self, view: View) -> Scene:
        if self.stage.shown:
            return as_seen(self.stage.shown[0].scene, view)
        self._empty.apply(view)
        return self._empty

    def release(self) -> None:
        self.renderer.release()
