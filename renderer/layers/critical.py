"""Glyphs of critical points, where the surface carries them, and of the lowest measured point.

minimum: ring with a dot      saddle: cross      maximum: triangle     lowest measured point: open diamond
"""

from __future__ import annotations

from collections.abc import Sequence

import moderngl
import numpy as np
from numpy.typing import NDArray

from renderer import isolines
from renderer.frame import Frame, Same
from renderer.gl.kit import Kit
from renderer.ink import CROSS, RING, TRIANGLE, Ink
from renderer.scene import Dirty
from renderer.theme import Colour, hexa

KINDS = {"minimum": (RING, hexa("ffffff")), "saddle": (CROSS, hexa("ffffff")), "maximum": (TRIANGLE, hexa("ffffff"))}
RIM = hexa("0b0e13", 0.9)
CLEAR = 12.5  # units around the lowest point, on paper
HIDDEN = 0.8  # of a mark that the surface hides: a ghost, and still the mark of the legend


def glyph(ink: Ink, kind: str, at: Sequence[float], unit: float, on_paper: bool = False) -> None:
    """A mark with its dark rim, at (x, y[, depth]); `on_paper`, the lowest point is dark with a white rim."""
    if kind == "lowest":
        pair = ((4.2, hexa("ffffff")), (2.0, RIM)) if on_paper else ((4.2, RIM), (1.9, hexa("ffffff")))
        r, rest = 8.4 * unit, tuple(at[2:])
        ring = [(at[0] + dx * r, at[1] + dy * r, *rest) for dx, dy in ((0, -1), (1, 0), (0, 1), (-1, 0))]
        for width, colour in pair:
            for a, b in zip(ring, ring[1:] + ring[:1]):
                ink.line(a, b, width * unit, colour)
        return
    shape, colour = KINDS[kind]
    grown: Colour = RIM
    if shape == RING:
        ink.dot(at, 5.6 * unit, grown)
        ink.dot(at, 4.3 * unit, colour)
        ink.dot(at, 1.9 * unit, grown)
    elif shape == CROSS:
        for r, width, c in ((4.6, 4.4, grown), (4.4, 1.9, colour)):
            k, rest = r * unit * 0.7071, tuple(at[2:])
            ink.line((at[0] - k, at[1] - k, *rest), (at[0] + k, at[1] + k, *rest), width * unit, c)
            ink.line((at[0] - k, at[1] + k, *rest), (at[0] + k, at[1] - k, *rest), width * unit, c)
    else:
        ink.glyph(TRIANGLE, at, 7.6 * unit, grown)
        ink.glyph(TRIANGLE, (at[0], at[1] + 0.2 * unit, *at[2:]), 5.2 * unit, colour)


def interior(critical: NDArray[np.void]) -> NDArray[np.void]:
    """The critical points that do not lie on the grid's border: those are its end, not the landscape's."""
    return critical[critical["border"] == 0]


class Critical:
    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self._key: object = None
        self._radius = 0.0

    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        found = self._marks(frame)
        if not found:
            return
        if frame.layout.flat:
            if found[-1][0] == "lowest" and frame.on_paper:
                at = _places(frame, found[-1:])[0]
                under = Ink()
                under.dot(at[:2], self._clear(frame, at), frame.theme.paper)
                self.kit.ctx.disable(moderngl.DEPTH_TEST)
                self.kit.shapes.draw(under.array(), frame.layout.size)
            return
        shapes = _inked(frame, found).array()
        ctx = self.kit.ctx
        ctx.fbo.depth_mask = False
        ctx.enable(moderngl.DEPTH_TEST)
        for test, opacity in ((">", HIDDEN), ("<=", 1.0)):
            ctx.depth_func = test
            self.kit.shapes.draw(shapes, frame.layout.size, opacity=opacity)
        ctx.fbo.depth_mask = True
        ctx.depth_func = "<="

    def _marks(self, frame: Frame) -> list[tuple[str, float, float]]:
        """Kind, alpha and beta of each mark."""
        scene, layers = frame.scene, frame.view.layers
        if scene.axes is None or not frame.scale.measured:
            return []
        marks: list[tuple[str, float, float]] = []
        if layers.critical:
            found = [c for c in interior(scene.critical) if c["kind"] in KINDS]
            marks += [(str(c["kind"]), float(c["alpha"]), float(c["beta"])) for c in found]
        if layers.minimum and frame.scale.lowest is not None and not frame.scale.constant:
            i, j = frame.scale.lowest
            marks.append(("lowest", float(scene.axes[0][j]), float(scene.axes[1][i])))
        return marks

    def _clear(self, frame: Frame, at: NDArray[np.float64]) -> float:
        """Radius in pixels that is cleared around the lowest point: an isoline that hardly leaves the mark goes too."""
        u, scale, field = frame.unit, frame.scale, frame.scene.field
        if not frame.view.layers.contours or not scale.levels:
            return CLEAR * u
        key = (field, frame.layout.plot)
        if key != self._key and not (frame.live and self._key):
            ends = frame.pixels(np.array([[-frame.sides[0], -frame.sides[1], 0.0], [*frame.sides, 0.0]]))
            rows, columns = field.shape
            cell = (ends[1, :2] - ends[0, :2]) / [columns - 1, rows - 1]
            best = scale.levels[-1 if frame.view.metric == "accuracy" else 0]
            unit = float(scale.unit(np.array([best.value]))[0])
            pieces = isolines.segments(isolines.refine(field, isolines.FINEST_LIVE), unit).reshape(-1, 2)
            away = np.linalg.norm(ends[0, :2] + pieces * cell - at[:2], axis=1)
            away = away[away < 3 * CLEAR * u]
            small = len(away) > 0 and float(away.max()) < 1.4 * CLEAR * u
            self._key, self._radius = key, float(away.max()) + 2 * u if small else CLEAR * u
        return max(self._radius, CLEAR * u)

    def key(self, frame: Frame) -> object:
        if not frame.layout.flat:
            return ()
        return frame.place, Same(frame.scene.axes), Same(frame.scene.critical), frame.scale.lowest, frame.scale.constant

    def overlay(self, frame: Frame, ink: Ink) -> None:
        """Seen from above, marks lie over the frame of the axes, so that those on the border are whole."""
        found = self._marks(frame)
        if not frame.layout.flat or not found:
            return
        for (kind, _, _), at in zip(found, _places(frame, found)):
            if frame.shows(at):
                glyph(ink, kind, at[:2], frame.unit, frame.on_paper)


def _places(frame: Frame, marks: list[tuple[str, float, float]]) -> NDArray[np.float64]:
    world = frame.world(np.array([m[1] for m in marks]), np.array([m[2] for m in marks]))
    p = frame.pixels(world)
    p[:, 2] = frame.pixels(world + frame.projection.eye * 0.12)[:, 2]
    return p


def _inked(frame: Frame, marks: list[tuple[str, float, float]]) -> Ink:
    ink = Ink()
    for (kind, _, _), at in zip(marks, _places(frame, marks)):
        glyph(ink, kind, tuple(at), frame.unit, frame.on_paper)
    return ink
