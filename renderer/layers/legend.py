"""The legend: what each mark means, with the numbers that a reader wants (facts.py), in as many columns as fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from renderer import facts, fonts
from renderer.colormaps import Table
from renderer.facts import Fact
from renderer.frame import Frame, Same
from renderer.ink import Ink
from renderer.layers import colorbar
from renderer.layers.critical import KINDS, glyph, interior
from renderer.scene import Dirty
from renderer.theme import Colour

INDENT = 25.0  # units, from an entry's mark to its words
LINE, NEXT, RAMP = 18.0, 27.0, 20.0  # from line to line, to the next entry, the height of a ramp of colours
COLUMN = 236.0  # the least width of a column
Draw = Callable[[Ink, float, float], None]


@dataclass(frozen=True)
class Entry:
    """A mark, drawn around a point by `draw(ink, x, y)`, with what it means. `rank`: the highest go first where room
    is short, their spare lines before them. `ramp`: the names of the ends of the path's colours, drawn below."""

    draw: Draw
    fact: Fact
    rank: int = 0
    ramp: tuple[str, str] | None = None
    table: Table | None = None  # those colours, where they are not the frame's


@dataclass(frozen=True)
class Placed:
    """An entry in its column, its lines broken: y of the heading from the column's top, in units."""

    entry: Entry
    column: int
    y: float
    lines: tuple[str, ...]


class Legend:
    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        pass

    def key(self, frame: Frame) -> object:
        scene, lowest = frame.scene, frame.scale.lowest
        best = None if lowest is None else float(scene.shown[lowest])
        return frame.place, scene.meta, frame.scale, best, Same(scene.axes), Same(scene.path), Same(scene.critical)

    def overlay(self, frame: Frame, ink: Ink) -> None:
        panel, u = frame.layout.panel, frame.unit
        if frame.scene.axes is None:
            return
        if not frame.scale.measured:
            nothing(frame, ink)
        if not frame.view.layers.legend or panel.width <= 0:
            return
        bar = colorbar.width(frame)
        x0, y0 = panel.x0 + bar, panel.y0 + max(colorbar.head(frame), 4 * u) + 8 * u
        put(frame, ink, entries(frame), x0, y0, panel.x1, panel.y1)


def put(
    frame: Frame, ink: Ink, found: list[Entry], x0: float, y0: float, x1: float, y1: float, column: float = COLUMN
) -> None:
    """Draw entries into a rectangle of the picture, in as many columns as fit of at least `column` units."""
    u, theme = frame.unit, frame.theme
    columns = max(1, int((x1 - x0) // (column * u)))
    width = (x1 - x0) / columns
    room = width / u - INDENT - (14 if columns > 1 else 0)
    bold, small = fonts.BODY * u, fonts.SMALL * u
    for placed in arrange(found, columns, (y1 - y0) / u, room):
        x, y = x0 + placed.column * width, y0 + placed.y * u
        placed.entry.draw(ink, x + 9 * u, y)
        heading = fonts.shortened(placed.entry.fact.heading, bold, room * u, True)
        ink.text(heading, x + INDENT * u, y, bold, theme.text, anchor="middle", bold=True)
        if placed.entry.ramp is not None:
            y += RAMP * u
            table = frame.path_table if placed.entry.table is None else placed.entry.table
            _ramp(replace(frame, path_table=table), ink, x + INDENT * u, y, room * u, placed.entry.ramp)
        for line in placed.lines:
            y += LINE * u
            ink.text(line, x + INDENT * u, y, small, theme.muted, anchor="middle")


def arrange(found: list[Entry], columns: int, height: float, room: float) -> list[Placed]:
    """Entries from the top down, column after column; where they do not fit, details are given up, then entries.

    `height` and `room` (the width of a line) in units.
    """
    ranks = sorted({entry.rank for entry in found}, reverse=True)
    ways = [found]
    for rank in ranks:
        short = [replace(e, fact=e.fact.short()) if e.rank == rank else e for e in ways[-1]]
        ways.append(short)
    for rank in ranks:
        ways.append([e for e in ways[-1] if e.rank != rank])
    for way in ways:
        placed = _flow(way, columns, height, room)
        if placed is not None:
            return placed
    return []


def _flow(found: list[Entry], columns: int, height: float, room: float) -> list[Placed] | None:
    out, column, y = [], 0, 0.0
    for entry in found:
        fact = entry.fact
        lines = [t for text in fact.lines for t in fonts.wrapped(text, fonts.SMALL, room, lines=4)]
        deep = LINE * len(lines) + (RAMP if entry.ramp is not None else 0.0)
        if y + deep + 7 > height and y > 0:
            column, y = column + 1, 0.0
        if column >= columns or y + deep + 7 > height:
            return None
        out.append(Placed(entry, column, y, tuple(lines)))
        y += deep + NEXT
    return out


def nothing(frame: Frame, ink: Ink) -> None:
    plot, u = frame.layout.plot, frame.unit
    what = "Every measured point diverged" if frame.scale.diverged else "Nothing is measured yet"
    ink.text(
        what,
        (plot.x0 + plot.x1) / 2,
        (plot.y0 + plot.y1) / 2,
        17 * u,
        frame.theme.text,
        align=0.5,
        anchor="middle",
        bold=True,
        halo=frame.theme.paper,
        halo_width=5 * u,
    )


def entries(frame: Frame) -> list[Entry]:
    """The legend's entries in their order."""
    scene, scale, view, u = frame.scene, frame.scale, frame.view, frame.unit
    out: list[Entry] = []
    if view.layers.path and len(scene.path):
        out += _path(frame)
    if view.layers.minimum and scale.lowest is not None and not scale.constant:
        out.append(Entry(lambda ink, x, y: glyph(ink, "lowest", (x, y), u, frame.on_paper), facts.lowest(scene)))
    if view.layers.critical and len(scene.critical):
        for kind in KINDS:
            count = int(np.count_nonzero(interior(scene.critical)["kind"] == kind))
            if count:
                plural = {"minimum": "minima", "saddle": "saddles", "maximum": "maxima"}[kind]
                name = Fact(f"{count} {kind if count == 1 else plural}")
                out.append(Entry(lambda ink, x, y, k=kind: glyph(ink, k, (x, y), u), name, 2))  # type: ignore[misc]
    if (contours := facts.contours(scene)) is not None:
        out.append(Entry(isolines(frame), contours, 3))
    if view.layers.mesh or (view.layers.base and not frame.flat):
        out.append(Entry(mesh(frame), facts.grid(scene, frame.mesh_steps), 4))
    if scale.clip is not None:
        colour = frame.at(1.0) if view.clip_mode == "plateau" else frame.theme.paper
        out.append(Entry(swatch(frame, colour), facts.clipped(scene), 1))
    if scale.diverged:
        out.append(Entry(hatch(frame, True, frame.theme.diverged), facts.diverged(scene), 1))
    if scale.missing:
        out.append(Entry(hatch(frame, False, frame.theme.hatch), facts.missing(scene), 1))
    if scale.below:
        out.append(Entry(blank, facts.below(scene), 1))
    if (whole := facts.whole(scene)) is not None:
        out.append(Entry(blank, whole, 1))
    return out


def _path(frame: Frame) -> list[Entry]:
    scene = frame.scene
    path, inside = scene.path, scene.path_inside()
    off = scene.path_off_plane
    table = frame.path_table / 255.0
    ends = []
    for k, colour in ((0, table[0]), (len(path) - 1, table[-1])):
        rgb = np.array(colour)
        if off:
            rgb = frame.pale(rgb)
        ends.append((k, _dot(frame, (float(rgb[0]), float(rgb[1]), float(rgb[2]), 1.0))))
    if off and inside.all() and on_a_point(frame):
        return [Entry(ends[1][1], facts.path_on_a_point(scene))]
    out = []
    if len(path) > 1:
        out.append(Entry(blank, facts.path(scene), 1, None if off else facts.path_scale(path)[1:]))
    for (k, draw), word in list(zip(ends, ("Start", "End")))[: len(path)]:
        out.append(Entry(draw, facts.path_point(scene, k, word, bool(inside[k]))))
    outside = facts.outside(scene)
    return [*out, Entry(blank, outside, 1)] if outside is not None else out


def on_a_point(frame: Frame) -> bool:
    """Whether all points of the path fall onto one in the picture: within the radius of its dots."""
    p = frame.pixels(frame.world(frame.scene.path["alpha"], frame.scene.path["beta"], 0.0))[:, :2]
    return bool(np.linalg.norm(p - p[-1], axis=1).max() < 4 * frame.unit)


def blank(ink: Ink, x: float, y: float) -> None:
    pass


def _ramp(frame: Frame, ink: Ink, x: float, y: float, room: float, ends: tuple[str, str]) -> None:
    """The colours along the path between the names of its ends, as they look on the surface."""
    u, size = frame.unit, fonts.SMALL * frame.unit
    left, right = (fonts.width(text, size) for text in ends)
    a = x + left + 10 * u
    b = x + min(room, 200 * u) - right - 10 * u
    ink.text(ends[0], x, y, size, frame.theme.muted, anchor="middle")
    ink.text(ends[1], b + 10 * u, y, size, frame.theme.muted, anchor="middle")
    ink.line((a, y), (b, y), 8 * u, frame.theme.halo)
    stops = frame.path_table[np.linspace(0, 255, 17).astype(int)] / 255.0
    colours: list[Colour] = [(float(r), float(g), float(bl), 1.0) for r, g, bl in stops]
    at = np.linspace(a, b, len(colours))
    for k in range(len(colours) - 1):
        ink.line((at[k], y), (at[k + 1], y), 5.4 * u, colours[k], colours[k + 1])


def isolines(frame: Frame) -> Draw:
    """Isolines as they look: a thick one between two thin ones, or all of one width."""
    u, thick = frame.unit, frame.view.contours.width
    found = frame.scale.levels
    mixed = len({level.major for level in found}) > 1
    middle = found[len(found) // 2]
    unit = float(frame.scale.unit(np.array([middle.value]))[0])
    colour = frame.at(unit) if frame.contour_ink == "map" else frame.theme.text

    def draw(ink: Ink, x: float, y: float) -> None:
        for dy, major in ((-5, False), (0, True), (5, False)):
            width = thick * (1.5 if major or not mixed else 0.8) * u
            ink.line((x - 8 * u, y + dy * u), (x + 8 * u, y + dy * u), max(width, 0.8), colour)

    return draw


def mesh(frame: Frame) -> Draw:
    u, colour = frame.unit, frame.theme.line

    def draw(ink: Ink, x: float, y: float) -> None:
        for d in (-6, 0, 6):
            ink.line((x + d * u, y - 8 * u), (x + d * u, y + 8 * u), max(0.8 * u, 0.8), colour)
            ink.line((x - 8 * u, y + d * u), (x + 8 * u, y + d * u), max(0.8 * u, 0.8), colour)

    return draw


def _dot(frame: Frame, colour: Colour) -> Draw:
    def draw(ink: Ink, x: float, y: float) -> None:
        u = frame.unit
        ink.dot((x, y), 6.8 * u, frame.theme.halo)
        ink.dot((x, y), 5.3 * u, colour)

    return draw


def swatch(frame: Frame, colour: Colour) -> Draw:
    def draw(ink: Ink, x: float, y: float) -> None:
        r, u = 6, frame.unit
        box = (round(x - r * u), round(y - r * u), round(x + r * u), round(y + r * u))
        ink.rect(*box, colour)
        ink.frame(*box, max(1.0, round(0.75 * u)), frame.theme.line)

    return draw


def hatch(frame: Frame, crossed: bool, colour: Colour) -> Draw:
    def draw(ink: Ink, x: float, y: float) -> None:
        u = frame.unit
        box = (round(x - 7 * u), round(y - 7 * u), round(x + 7 * u), round(y + 7 * u))
        ink.hatch(*box, 6 * u, crossed, colour)
        ink.frame(*box, max(1.0, round(0.75 * u)), frame.theme.line)

    return draw
