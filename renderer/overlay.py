"""Two surfaces in one box: the first as ever, the second as lines through which the first is seen. Pure but for Wires.

On one plane each lies at its own place; surfaces of different planes fill the same box (comparing.ground says which).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace

import moderngl
import msgspec
import numpy as np

from protocol.view import Ink as LineInk
from protocol.view import View
from renderer import comparing
from renderer.camera import Projection
from renderer.frame import Frame
from renderer.gl.kit import Kit
from renderer.ink import Ink
from renderer.layers.labels import Labels
from renderer.scene import Dirty, Scene
from renderer.theme import fade, hexa

CLEAR = 3.0  # of a label's size: how far from a label of the other surface it stands
WIRE = {"light": hexa("05070a", 0.62), "dark": hexa("f4f7fb", 0.62)}  # the second surface in a box


def hull(scenes: Sequence[Scene]) -> Scene:
    """What the axes of an overlay show: the first scene, or on one plane the ranges of both."""
    first, second = scenes
    out = copy.copy(first)
    if first.axes is None:
        out.axes = second.axes
    elif second.axes is not None and comparing.ground(scenes) == "plane":
        out.axes = tuple(  # type: ignore[assignment]
            np.array([min(a[0], b[0]), max(a[-1], b[-1])]) for a, b in zip(first.axes, second.axes)
        )
    return out


def moved(around: Frame, frame: Frame, joint: bool) -> Projection:
    """The hull's projection for a scene's own box: at its place in the hull's ranges (`joint`), else filling the
    hull."""
    hull, own = around.scene.axes, frame.scene.axes
    if hull is None or own is None:
        return around.projection
    move = np.eye(4)
    for k in (0, 1):
        big, small = hull[k] if joint else own[k], own[k]
        width = float(big[-1] - big[0])
        move[k, k] = around.sides[k] / frame.sides[k] * float(small[-1] - small[0]) / width
        move[k, 3] = around.sides[k] * float(small[0] + small[-1] - big[0] - big[-1]) / width
    return Projection(around.projection.matrix @ move, around.projection.size, around.projection.eye)


def _as(scene: Scene, view: View) -> Scene:
    """The scene with another view for drawing alone: values, scale and field stay the scene's."""
    if scene.axes is not None:
        _ = scene.field  # made before, so that it is kept from frame to frame
    out = copy.copy(scene)
    out.view = view
    return out


def _with(view: View, ink: LineInk | None = None, **layers: bool) -> View:
    change = msgspec.structs.replace
    contours = view.contours if ink is None else change(view.contours, ink=ink, width=1.3 * view.contours.width)
    return change(view, layers=change(view.layers, **layers), contours=contours)


def bare(scene: Scene) -> Scene:
    """The scene without the mesh on the floor, which would shine through the second surface."""
    return _as(scene, _with(scene.view, base=False)) if scene.view.layers.base else scene


def first(scene: Scene, flat: bool) -> Scene:
    """The first of two in a box: seen from above, filled colours leave the lines to the second."""
    if flat and scene.view.layers.surface:
        return _as(scene, _with(scene.view, contours=False))
    return bare(scene)


def one_path(scenes: Sequence[Scene]) -> bool:
    """Whether both surfaces have the same path."""
    a, b = (scene.path for scene in scenes)
    return len(a) == len(b) and all(np.allclose(a[name], b[name]) for name in ("alpha", "beta"))


def second(scene: Scene, lines: bool, path: bool = True) -> Scene:
    """The second of two in a box: isolines in one ink, or a mesh (Wires); without its `path` where that would only
    cover the first one's."""
    view = _with(scene.view, path=path and scene.view.layers.path)
    ink: LineInk = "dark" if view.theme == "light" else "light"
    path_map = "plasma" if view.path_colormap == "yellow-cyan" else "yellow-cyan"
    view = msgspec.structs.replace(view, path_colormap=path_map)
    if lines:
        return _as(scene, _with(view, ink, surface=False, mesh=False, base=False, contours=True))
    return _as(scene, _with(view, surface=False, mesh=True, base=False, contours=False))


class Aside:
    """The labels of the second surface's isolines, but for those that would lie on one of the first's."""

    def __init__(self, first: Labels) -> None:
        self.first, self.own = first, Labels()
        self.under: Frame | None = None  # the first surface's frame

    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        pass

    def key(self, frame: Frame) -> object:
        return self.own.key(frame)

    def overlay(self, frame: Frame, ink: Ink) -> None:
        mine, theirs = Ink(), Ink()
        self.own.overlay(frame, mine)
        if self.under is not None:
            self.first.overlay(self.under, theirs)
        for text in mine.texts:
            room = CLEAR * text.size
            if all(math.hypot(text.x - other.x, text.y - other.y) > room for other in theirs.texts):
                ink.texts.append(text)


class Wires:
    """The second surface in a box: its mesh, through which the first is seen; fainter where it lies under that."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit

    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        if not frame.scale.measured:
            return
        ctx, ink = self.kit.ctx, frame.theme.mesh
        ctx.fbo.depth_mask = False
        ctx.enable(moderngl.DEPTH_TEST)
        for test, opacity in ((">", 0.22), ("<=", 1.0)):
            ctx.depth_func = test
            theme = replace(frame.theme, mesh=fade(ink, opacity))
            self.kit.sheet.draw(replace(frame, theme=theme), mesh=True)
        ctx.fbo.depth_mask = True
        ctx.depth_func = "<="

    def key(self, frame: Frame) -> object:
        return ()  # there is none

    def overlay(self, frame: Frame, ink: Ink) -> None:
        pass
