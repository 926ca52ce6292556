"""The value written along major isolines, where the picture looks straight down on them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from renderer import fonts, isolines
from renderer.colormaps import luminance
from renderer.frame import Frame
from renderer.ink import Ink
from renderer.levels import Level
from renderer.scene import Dirty
from renderer.theme import Colour, hexa
from renderer.ticks import number

SIZE = 14.0
APART = 0.55  # of the plot: how far from each other two labels of one isoline stand
MOST = 16  # labels in a picture


class Labels:
    def __init__(self) -> None:
        self._key: object = None
        self._found: list[tuple[Level, isolines.Place]] = []

    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        pass

    def key(self, frame: Frame) -> object:
        return None if frame.layout.flat else ()  # places move with the values; there are none in a raised picture

    def overlay(self, frame: Frame, ink: Ink) -> None:
        view, scene, u = frame.view, frame.scene, frame.unit
        wanted = view.layers.contours and view.contours.labels and frame.layout.flat and scene.axes is not None
        if not wanted or not frame.scale.levels or view.camera.zoom < 0.5:
            return
        rows, columns = scene.n.shape
        ends = frame.pixels(np.array([[-frame.sides[0], -frame.sides[1], 0.0], [*frame.sides, 0.0]]))
        per_cell = ((ends[1, 0] - ends[0, 0]) / (columns - 1), (ends[0, 1] - ends[1, 1]) / (rows - 1))
        plot = frame.layout.plot
        origin = (float(ends[0, 0]), float(ends[0, 1]))
        key = (scene.field, per_cell, origin)  # the field is made anew with every change of values, path or view
        if key != self._key and not (frame.live and self._found):  # a moving picture keeps its places
            self._key, self._found = key, find(frame, per_cell, origin)
        for level, place in self._found:
            x, y = ends[0, 0] + place.x * per_cell[0], ends[0, 1] - place.y * per_cell[1]
            if not (plot.x0 + 12 * u < x < plot.x1 - 12 * u and plot.y0 + 12 * u < y < plot.y1 - 12 * u):
                continue
            angle = math.degrees(math.atan2(place.dy * per_cell[1], place.dx * per_cell[0]))
            angle = (angle + 90) % 180 - 90
            colour, halo = _colours(frame, level)
            ink.text(
                number(level.value, 3),
                x,
                y,
                SIZE * u,
                colour,
                align=0.5,
                anchor="middle",
                angle=angle,
                halo=halo,
                halo_width=2.6 * u,
                bold=True,
            )


def find(
    frame: Frame, per_cell: tuple[float, float], origin: tuple[float, float]
) -> list[tuple[Level, isolines.Place]]:
    """Labelled levels and their places, at most MOST, apart from each other and from the path and marks. `origin`: the
    pixel of the first measured point."""
    scene, u = frame.scene, frame.unit
    refined = isolines.refine(scene.field)
    chosen = wanted(frame.scale.levels)
    zoom = frame.view.camera.zoom
    if zoom > 1:  # those that are named in the whole picture may be out of sight
        chosen += [level for level in frame.scale.levels if level not in chosen]
    taken = np.array([(p.x, p.y) for p in _marks(frame)]).reshape(-1, 2) * np.array(per_cell)
    rows, columns = scene.n.shape
    out: list[tuple[Level, isolines.Place]] = []
    units = frame.scale.unit(np.array([level.value for level in chosen], float))
    for level, unit in list(zip(chosen, units))[: MOST if zoom <= 1 else None]:
        room = fonts.width(number(level.value, 3), SIZE * u, True) + 14 * u
        pieces = isolines.segments(refined, float(unit))
        far = APART * max((columns - 1) * per_cell[0], (rows - 1) * per_cell[1])
        if zoom > 1:
            if len(out) >= MOST:
                break
            pieces = _within(frame, pieces, per_cell, origin)
            far = APART * max(frame.layout.plot.width, frame.layout.plot.height)
        for _ in range(3):  # an isoline of several parts, or a long one, is named more than once
            place = isolines.places(pieces, per_cell, room, taken, 18 * u, (columns - 1, rows - 1))
            if place is None or len(out) >= MOST:
                break
            out.append((level, place))
            at = np.array([place.x * per_cell[0], place.y * per_cell[1]])
            along = np.array([place.dx * per_cell[0], place.dy * per_cell[1]])
            along *= room / 2 / max(float(np.linalg.norm(along)), 1e-9)
            taken = np.concatenate([taken, [at - along, at, at + along]])
            pieces = pieces[np.linalg.norm(pieces.mean(1) * np.array(per_cell) - at, axis=1) > far]
    return out


def _within(frame: Frame, pieces: np.ndarray, per_cell: tuple[float, float], origin: tuple[float, float]) -> np.ndarray:
    """Those of the pieces (n, 2, 2) of an isoline that are seen in a zoomed plot, cut as fine as in a whole one."""
    plot, rim = frame.layout.plot, 18 * frame.unit
    pixels = np.array(origin) + pieces.mean(1) * [per_cell[0], -per_cell[1]]
    seen = (pixels > [plot.x0 + rim, plot.y0 + rim]) & (pixels < [plot.x1 - rim, plot.y1 - rim])
    pieces = pieces[seen.all(1)]
    parts = math.ceil(frame.view.camera.zoom)
    t = np.arange(parts + 1)[:, None] / parts
    points = pieces[:, :1] * (1 - t) + pieces[:, 1:] * t  # (n, parts + 1, 2)
    return np.stack([points[:, :-1], points[:, 1:]], 2).reshape(-1, 2, 2)


def wanted(found: Sequence[Level]) -> list[Level]:
    """The levels that are named, most wanted first: the major ones, and the outermost and innermost of all."""
    major = [level for level in found if level.major] or list(found)[::3]
    return major + [level for level in (found[-1], found[0]) if level not in major]


def _marks(frame: Frame) -> list[isolines.Place]:
    """Grid coordinates of what a label must keep clear of."""
    scene = frame.scene
    points: list[tuple[float, float]] = []
    if frame.view.layers.path and len(scene.path):
        alpha, beta = scene.path["alpha"], scene.path["beta"]
        t = np.arange(len(alpha))
        fine = np.linspace(0, max(len(alpha) - 1, 0), 4 * len(alpha))
        points += list(zip(np.interp(fine, t, alpha), np.interp(fine, t, beta)))
    if frame.view.layers.critical:
        points += [(float(c["alpha"]), float(c["beta"])) for c in scene.critical]
    if frame.scale.lowest is not None and scene.axes is not None:
        i, j = frame.scale.lowest
        points.append((float(scene.axes[0][j]), float(scene.axes[1][i])))
    if not points:
        return []
    x, y = scene.field.grid(np.array([p[0] for p in points]), np.array([p[1] for p in points]))
    return [isolines.Place(float(a), float(b), 0, 0) for a, b in zip(x, y)]


def _colours(frame: Frame, level: Level) -> tuple[Colour, Colour]:
    """Ink and halo of a label: the line's colour on paper, or dark or light on what it lies on."""
    unit = float(frame.scale.unit(np.array([level.value]))[0])
    if frame.contour_ink in ("dark", "light"):
        inks = (hexa("0b0e13"), hexa("ffffff"))
        return inks if frame.contour_ink == "dark" else inks[::-1]
    if not frame.view.layers.surface:
        return frame.at(unit), frame.theme.paper
    under = frame.at(unit)
    dark = bool(luminance(np.array(under[:3])) < 0.16)
    return (hexa("ffffff") if dark else hexa("0b0e13")), under
