"""Isolines alone, in the air at their height: lines of one width however the sheet they lie on is turned.

Drawn from geometry (isolines.py) where nothing fills the surface; on a filled surface its shader draws them.
"""

from __future__ import annotations

import moderngl
import numpy as np
from numpy.typing import NDArray

from renderer import isolines
from renderer.frame import Frame
from renderer.gl.kit import Kit
from renderer.ink import Ink, capsules
from renderer.scene import Dirty
from renderer.theme import fade

Floats = NDArray[np.float64]


def wanted(frame: Frame) -> bool:
    """Whether this layer draws the isolines, and not the surface."""
    layers = frame.view.layers
    return layers.contours and not layers.surface and not layers.mesh and not frame.flat


class Air:
    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self._made_from: object = None
        self._lines: list[tuple[float, bool, Floats]] = []

    def sync(self, frame: Frame, dirty: Dirty) -> None:
        if not wanted(frame) or frame.scene.axes is None:
            return
        field = frame.scene.field  # made anew with every change of values or view
        finest = isolines.FINEST_LIVE if frame.live else isolines.FINEST
        finest = isolines.FINEST_COARSE if frame.coarse else finest
        if (field, finest) == self._made_from:
            return
        self._made_from = (field, finest)
        refined = isolines.refine(field, finest)
        units = frame.scale.unit(np.array([level.value for level in frame.scale.levels], float))
        self._lines = [
            (float(u), level.major, isolines.segments(refined, float(u))) for u, level in zip(units, frame.scale.levels)
        ]

    def scene(self, frame: Frame) -> None:
        if not wanted(frame) or not frame.scale.measured:
            return
        u, scene = frame.unit, frame.scene
        assert scene.axes is not None
        alpha, beta = scene.axes
        some_minor = len({major for _, major, _ in self._lines}) > 1
        lines = [line for line in self._lines if len(line[2])]
        if not lines:
            return
        counts = [len(pieces) for _, _, pieces in lines]
        flat = np.concatenate([pieces for _, _, pieces in lines]).reshape(-1, 2)
        units = np.repeat([unit for unit, _, _ in lines], counts)
        x = np.interp(flat[:, 0], np.arange(len(alpha)), alpha)
        y = np.interp(flat[:, 1], np.arange(len(beta)), beta)
        p = frame.pixels(frame.world(x, y, np.repeat(units, 2))).reshape(-1, 2, 3)
        ink = frame.view.contours.ink
        if ink in ("dark", "light"):
            tint = np.tile([0.04, 0.05, 0.07, 1.0] if ink == "dark" else [1.0, 1.0, 1.0, 1.0], (len(p), 1))
        else:
            tint = np.repeat(frame.colour(np.array([unit for unit, _, _ in lines])), counts, axis=0)
        wide = [1.25 if major or not some_minor else 0.8 for _, major, _ in lines]
        shapes = capsules(p[:, 0], p[:, 1], 0.0, tint, tint)
        shapes[:, 6] = np.repeat(wide, counts) * frame.view.contours.width * u / 2
        shapes = shapes[np.argsort(-(shapes[:, 2] + shapes[:, 5]), kind="stable")]  # far ones first
        self.kit.ctx.disable(moderngl.DEPTH_TEST)
        if frame.view.layers.base:
            self._shadow(frame)
        self.kit.shapes.draw(shapes, frame.layout.size)

    def _shadow(self, frame: Frame) -> None:
        """The same lines on the floor, faintly: they tell where in the plane, and how high, a line hangs."""
        assert frame.scene.axes is not None
        pieces = [p for _, _, p in self._lines if len(p)]
        if not pieces:
            return
        flat = np.concatenate(pieces).reshape(-1, 2)
        xy = [np.interp(flat[:, c], np.arange(len(axis)), axis) for c, axis in enumerate(frame.scene.axes)]
        world = frame.world(xy[0], xy[1], 0.0)
        world[:, 2] = 0.0
        p = frame.pixels(world).reshape(-1, 2, 3)
        tint = np.tile(np.array(fade(frame.theme.text, 0.22)), (len(p), 1))
        self.kit.shapes.draw(capsules(p[:, 0], p[:, 1], 0.45 * frame.unit, tint, tint), frame.layout.size)

    def key(self, frame: Frame) -> object:
        return ()  # there is none

    def overlay(self, frame: Frame, ink: Ink) -> None:
        pass
