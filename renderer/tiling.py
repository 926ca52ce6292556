"""Where several panels stand in one picture, with their colour bar and legend. Pure; device pixels.

+----------------------------------+  +----------------------------------+  +----------------------------------+
| title                            |  | title                            |  | title                            |
| a            b             | bar |  | a         b         c            |  | a               b                |
| +----------+ +----------+  |     |  | +-------+ +-------+ +-------+    |  | +------------+  +------------+   |
| +----------+ +----------+  | leg |  | |       | |       | |       |    |  | +------------+  +------------+   |
| c            d             | end |  | +-------+ +-------+ +-------+    |  | c               bar | legend     |
| +----------+ +----------+  |     |  |                                  |  | +------------+      |            |
| +----------+ +----------+  |     |  | bar     legend                   |  | +------------+      |            |
| foot                             |  | foot                             |  | foot                             |
+----------------------------------+  +----------------------------------+  +----------------------------------+
  beside                                below                                 corner
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from protocol.view import View
from renderer.camera import Rect
from renderer.layout import Layout, compute, is_flat

Where = Literal["beside", "below", "corner"]
SIDE, NARROW = 310.0, 110.0  # units: bar and legend beside the panels, a bar alone
STRIP = (104.0, 148.0)  # bar and legend below them, in a low and in a high picture
HEAD = 50.0  # a panel's name and note
APART, ROWS = 26.0, 14.0  # between columns, and between rows
BESIDE = 84.0  # a panel's own colour bar
ACROSS = 1.3  # width to height of a raised box, about
SMALL = (420.0, 260.0)  # a picture of less has neither bar nor legend
READABLE = 300.0  # a panel of less width cuts its name short
LEAST = 0.72  # a panel's lettering is at least so large, as a share of the picture's


@dataclass(frozen=True)
class Plan:
    """`whole.panel` is the place of bar and legend, `layouts` are of the whole picture with the plot of one panel."""

    whole: Layout
    cells: tuple[Rect, ...]
    layouts: tuple[Layout, ...]
    where: Where


@dataclass(frozen=True)
class _Way:
    where: Where
    columns: int
    rows: int
    room: tuple[float, float]  # of all panels, in units
    cell: tuple[float, float]


def plan(
    view: View,
    width: float,
    height: float,
    scale: float,
    sides: Sequence[tuple[float, float]],
    said: tuple[float, float] = (0, 0),
) -> Plan:
    """The way that draws as many panels as there are `sides` (half the world sides of each grid) largest: columns and
    rows, and where bar and legend stand. `said`: how wide the line under the title and the foot are, in units, which
    decides whether they need two lines."""
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    unit = compute(view, width, height, scale, (1.0, 1.0)).unit  # letters of one size, whatever a picture shows
    w, h = size[0] / unit, size[1] / unit
    layers, flat = view.layers, is_flat(view)
    margin = min(32.0, 0.05 * w)
    subtitle_lines, foot_lines = (2 if width > w - 2 * margin else 1 for width in said)
    top = margin + (38 + 20 * subtitle_lines if layers.title else 0)
    foot = h - margin * 0.6 - (8 + 18 * foot_lines if layers.provenance else 0)
    ratio = max(s[0] for s in sides) / max(s[1] for s in sides) if flat else ACROSS
    around = _around(view, flat)
    least = max(LEAST, min(0.7 * scale / unit, 1.0))

    def worth(way: _Way) -> float:
        left, right, above, below = (a * _share(way.cell, least) for a in around)
        readable = min(way.cell[0] / READABLE, 1.0)
        return min((way.cell[0] - left - right) / ratio, way.cell[1] - above - below) * readable

    key = (layers.legend or (layers.colorbar and view.shared_scale)) and w > SMALL[0] and h > SMALL[1]
    way = max(_ways(len(sides), w - 2 * margin, foot - top, layers.legend, key), key=worth)
    lettering = unit * _share(way.cell, least)
    places = [divmod(k, way.columns) for k in range(way.columns * way.rows)]
    corners = [(margin + c * (way.cell[0] + APART), top + r * (way.cell[1] + ROWS)) for r, c in places]
    if way.where == "below":
        panel = Rect(margin, top + way.room[1] + 14, w - margin, foot - 4)
    elif way.where == "beside":
        panel = Rect(margin + way.room[0] + APART, top + 6, w - margin, foot)
    elif not key:
        panel = Rect(0, 0, 0, 0)
    else:
        x, y = corners[len(sides)]
        panel = Rect(x + 8, y + 6, w - margin, y + way.cell[1])
    whole = Layout(
        size=size,
        unit=unit,
        plot=_scaled(Rect(margin, top, margin + way.room[0], top + way.room[1]), unit),
        panel=_scaled(panel, unit),
        title=(margin * unit, (margin + 16) * unit),
        subtitle_lines=subtitle_lines,
        margin=margin * unit,
        provenance=(margin * unit, (h - margin * 0.6) * unit),
        below=False,
        flat=flat,
    )
    head = 43.0 * lettering if layers.title else 0.0  # together.heading
    cells, layouts = [], []
    for (x, y), half in zip(corners, sides):
        cell = _scaled(Rect(x, y, x + way.cell[0], y + way.cell[1]), unit)
        rect = _plot(cell, half, flat, tuple(a * lettering for a in around))
        cells.append(cell)
        stage = replace(cell, y0=float(round(min(cell.y0 + head, rect.y0))))
        layouts.append(replace(whole, unit=lettering, plot=rect, panel=Rect(0, 0, 0, 0), stage=stage))
    return Plan(whole, tuple(cells), tuple(layouts), way.where)


def _ways(count: int, width: float, height: float, legend: bool, key: bool) -> list[_Way]:
    """The ways to choose from, for a place of `width` x `height` units; without a `key` only columns and rows."""
    out = []
    wheres: tuple[Where, ...] = ("beside", "below", "corner") if key else ("corner",)
    for where, columns in itertools.product(wheres, range(1, count + 1)):
        rows = math.ceil(count / columns)
        if where == "corner" and columns * rows == count and key:
            continue
        room_w, room_h = width, height
        if where == "beside":
            room_w -= APART + (SIDE if legend else NARROW)
        elif where == "below":
            room_h -= min(max(0.19 * height, STRIP[0]), STRIP[1])
        room = max(room_w, 1.0), max(room_h, 1.0)
        cell = (room[0] + APART) / columns - APART, (room[1] + ROWS) / rows - ROWS
        out.append(_Way(where, columns, rows, room, (max(cell[0], 1.0), max(cell[1], 1.0))))
    return out


def _share(cell: tuple[float, float], least: float) -> float:
    """The size of a panel's lettering as a share of the picture's."""
    return min(max(min(cell[0] / 560, cell[1] / 440), least), 1.0)


def _around(view: View, flat: bool) -> tuple[float, float, float, float]:
    """What a plot needs left, right, above and below, in units of its lettering."""
    left, right, below = (74.0, 10.0, 58.0) if flat else (62.0, 26.0, 52.0)
    if not view.layers.axes:
        left, right, below = (2.0, 2.0, 2.0) if flat else (8.0, 8.0, 8.0)
    above = HEAD + (6.0 if flat else 18.0) if view.layers.title else 8.0
    own = view.layers.colorbar and not view.shared_scale
    return left, right + (BESIDE if own else 0.0), above, below


def _plot(cell: Rect, half: tuple[float, float], flat: bool, around: tuple[float, ...]) -> Rect:
    """The plot of a panel; a flat one is as large as fits, on whole pixels."""
    left, right, above, below = around
    x1, y1 = max(cell.x1 - right, cell.x0 + left + 1), max(cell.y1 - below, cell.y0 + above + 1)
    inner = Rect(cell.x0 + left, cell.y0 + above, x1, y1)
    if not flat:
        return inner
    s = max(min(inner.width / half[0], inner.height / half[1]), 1.0)
    w, h = s * half[0], s * half[1]
    x, y = inner.x0 + (inner.width - w) / 2, inner.y0 + (inner.height - h) / 2
    return Rect(*(float(round(v)) for v in (x, y, x + w, y + h)))


def _scaled(rect: Rect, unit: float) -> Rect:
    return Rect(*(float(round(v * unit)) for v in (rect.x0, rect.y0, rect.x1, rect.y1)))
