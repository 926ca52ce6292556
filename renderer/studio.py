"""The stage to pixels: for the window, for pictures and streams, each at its own size."""

from __future__ import annotations

import time

import moderngl
import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.view import View
from renderer import frame as frames
from renderer.frame import Frame
from renderer.headless import MOST_PIXELS
from renderer.ink import Ink
from renderer.layout import Layout
from renderer.moves import Place
from renderer.panels import Panels
from renderer.picture import Renderer
from renderer.scene import EVERYTHING, Dirty, Scene
from renderer.stage import Stage

Size = tuple[int, int]  # device pixels


def bare(view: View) -> View:
    """The view without words around the plot."""
    off = dict.fromkeys(("title", "legend", "colorbar", "provenance", "axes"), False)
    return msgspec.structs.replace(view, layers=msgspec.structs.replace(view.layers, **off))


class Studio:
    """Draws a stage with one renderer. Two of them may share a GL context; each knows what it has not drawn yet.

    Raises InputError (`unavailable`) where the machine has no OpenGL.
    """

    def __init__(self, stage: Stage, ctx: moderngl.Context | None = None) -> None:
        self.stage = stage
        self.renderer = Renderer(ctx)
        self.panels = Panels(self.renderer)
        self._empty = Scene()
        self._mirrors: dict[str, Scene] = {}  # the stage's scenes under a view of the studio's own
        self._frames: tuple[object, list[Frame]] | None = None
        self.drawn = 0  # pictures, refined ones too: another one than before where it grew

    def draw(
        self, size: Size, scale: float, *, still: bool, view: View | None = None, interacting: bool = False
    ) -> list[Frame]:
        """Draw the stage at `size` pixels: one quick frame (quicker while a person turns it: `interacting`), or the
        `still` picture in full quality. The frame of each surface, at least one. Raises InputError for a picture that
        is too large."""
        if size[0] * size[1] > MOST_PIXELS:
            raise InputError(
                f"picture: {size[0]} x {size[1]} is over {MOST_PIXELS // 2**20} million pixels: ask for a smaller one",
                code="too_large",
            )
        scenes, dirty = self._scenes(self.stage.view if view is None else view)
        made = self.panels.draw(
            scenes,
            size[0] / scale,
            size[1] / scale,
            scale,
            dirty=dirty,
            samples=None if still else 1,
            interacting=interacting,
        )
        self.drawn += 1
        for shown in self.stage.shown:
            shown.drawn_by(self)
        if view is None or view == self.stage.view:
            self._frames = (self._key(size, scale), made)
        return made

    def refine(self, budget_s: float) -> bool:
        """Improve the picture drawn last for about so long, under the same view of the same values; whether it is as
        good as a still now."""
        until = time.monotonic() + budget_s
        while self.renderer.refine():
            self.drawn += 1
            if time.monotonic() >= until:
                return False
        return True

    def frames(self, size: Size, scale: float) -> list[Frame]:
        """Where everything stands in a picture of `size` pixels under the stage's view."""
        if self._frames is None or self._frames[0] != self._key(size, scale):
            if len(self.stage.shown) > 1:
                return self.draw(size, scale, still=False)
            scene = self._scenes(self.stage.view)[0][0]
            made = frames.make(scene, size[0] / scale, size[1] / scale, scale, self.renderer.watch)
            self._frames = (self._key(size, scale), [made])
        return self._frames[1]

    def at(self, size: Size, scale: float, x: float, y: float) -> tuple[int, Frame]:
        """Which surface is meant by a place in the picture, in its pixels, and its frame."""
        made = self.frames(size, scale)
        k = min(self.panels.at(x, y), len(made) - 1)
        return k, made[k]

    def place(self, size: Size, scale: float, k: int = 0, made: list[Frame] | None = None) -> Place:
        """What moves the camera (moves.py) needs to know, for the panel of surface k, or of the last one; `made`: of
        these frames, as `draw` gave them."""
        made = self.frames(size, scale) if made is None else made
        k = min(k, len(made) - 1)  # a surface may go while its panel is dragged
        width, height = size[0] / scale, size[1] / scale
        found = Place.of(made[k], width, height, scale)
        if len(made) == 1 or self.stage.view.arrange == "overlay":
            return found

        def layout(view: View) -> Layout:
            return self.panels.layout(view, width, height, scale, k)

        return Place(layout, found.sides, found.azimuth, found.elevation)

    def pixels(self) -> NDArray[np.uint8]:
        """The picture drawn last, (h, w, 3) uint8, top row first."""
        return self.renderer.pixels()

    def show(self, screen: moderngl.Framebuffer, ink: Ink) -> None:
        """The picture drawn last, and `ink` over it, on a window's framebuffer of its size."""
        self.renderer.show(screen, ink)

    def _key(self, size: Size, scale: float) -> object:
        return (self.stage.revision, size, scale)

    def _scenes(self, view: View) -> tuple[list[Scene], list[Dirty]]:
        """What to draw, and what changed in each since this studio drew it."""
        if not self.stage.shown:
            changed = self._empty.apply(view)
            return [self._empty], [changed | EVERYTHING]
        if view == self.stage.view:
            return self.stage.scenes, [shown.dirty_for(self) for shown in self.stage.shown]
        scenes, dirty = [], []
        for shown in self.stage.shown:
            mirror = self._mirrors.setdefault(shown.key, Scene())
            mirror.__dict__.update(vars(shown.scene))  # values are shared: a row that comes later is seen by both
            mirror.apply(view)
            scenes.append(mirror)
            dirty.append(shown.dirty_for(self) | Dirty(view=True))
        for key in self._mirrors.keys() - set(self.stage.keys):
            del self._mirrors[key]
        return scenes, dirty
