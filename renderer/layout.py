"""Where things stand in a picture: title, plot, panel (colour bar and legend), provenance. Pure; device pixels.

+--------------------------------------------+
| title                                      |
| subtitle                                   |
|   +---------------------+   +---+--------+ |
|   | plot                |   |bar| legend | |
|   |                     |   |   |        | |
|   +---------------------+   +---+--------+ |
| provenance                                 |
+--------------------------------------------+

A picture higher than wide has the panel under the plot.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.view import View
from renderer.camera import Rect

# A picture is so many units wide and high, whichever is less. The smallest letters are 14 units: printed 17 cm wide, a
# picture of 1280 x 800 has them at 6.5 points.
WIDE, HIGH = 1036.0, 648.0
LEAST, MOST = 0.7, 3.0  # pixels a unit at scale 1, in small and large pictures
MARGIN = 32.0  # units, as all lengths here
BAR = 92.0  # the colour bar with its numbers
COLUMN = 268.0  # one column of the legend
GAP = 40.0
PANEL_BELOW = 300.0  # its height where it is under the plot
LOW = 560.0  # a picture of less height takes two columns for the legend, where it is wide enough
NARROW = 1150.0  # the line under the title may need two


@dataclass(frozen=True)
class Layout:
    size: tuple[int, int]  # device pixels
    unit: float  # device pixels a unit
    plot: Rect
    panel: Rect
    title: tuple[float, float]  # left end of the first baseline
    subtitle_lines: int
    margin: float
    provenance: tuple[float, float]
    below: bool  # the panel is under the plot
    flat: bool  # the plot is a plane seen straight from above
    stage: Rect | None = None  # all that a raised picture may cover when it is zoomed; None: everything

    @property
    def right(self) -> float:
        """Where text ends at the latest."""
        return self.size[0] - self.margin


def is_flat(view: View) -> bool:
    """Whether the picture is a plane seen straight from above: in 2d, or in 3d by a parallel lens at the zenith, unless
    a hand holds the camera: a picture that is being turned must not change its layout on its way."""
    camera = view.camera
    return view.mode == "2d" or (
        (camera.projection, camera.elevation, camera.target) == ("orthographic", 90, "auto")
        and camera.azimuth in (0, "auto")
    )


def pixels_a_unit(width: float, height: float, scale: float) -> float:
    """Device pixels a unit of length, in a picture of width x height at `scale`."""
    return scale * min(max(min(width / WIDE, height / HIGH), LEAST), MOST)


def compute(view: View, width: float, height: float, scale: float, sides: tuple[float, float]) -> Layout:
    """The layout of a picture of width x height at `scale`; `sides` are half the world sides of the grid."""
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    unit = pixels_a_unit(width, height, scale)
    w, h = size[0] / unit, size[1] / unit  # in units
    layers = view.layers
    margin = min(MARGIN, 0.05 * w)
    has_panel = (layers.colorbar or layers.legend) and w > 420
    below = has_panel and h > 1.15 * w
    subtitle_lines = 2 if w < NARROW and h > 480 else 1
    top = margin + ((60 + 20 * (subtitle_lines - 1)) if layers.title else 0)
    foot = h - margin * 0.6 - (30 if layers.provenance else 0)
    bottom = foot - (PANEL_BELOW if below else 0.0)
    panel = 0.0
    if has_panel and not below:
        columns = (2 if h < LOW and w > 1250 else 1) if layers.legend else 0
        panel = min((BAR if layers.colorbar else 0.0) + max(columns * COLUMN, 140.0), (0.36 + 0.1 * (columns > 1)) * w)
    gap = GAP if panel else 0.0
    flat = is_flat(view)
    if flat:
        left, under = (86.0, 62.0) if layers.axes else (0.0, 0.0)
        room_x, room_y = w - 2 * margin - left - panel - gap, bottom - top - under
        s = max(min(room_x / sides[0], room_y / sides[1]), 1.0)
        plot_w, plot_h = s * sides[0], s * sides[1]
        if panel:  # what is left over shortens lines of the legend that would be broken
            panel += min(max(room_x - plot_w, 0.0), 60.0)
        x0 = (w - (left + plot_w + gap + panel)) / 2 + left
        y0 = top + (room_y - plot_h) / 2
        plot = Rect(x0, y0, x0 + plot_w, y0 + plot_h)
        plot = Rect(*(round(v * unit) for v in (plot.x0, plot.y0, plot.x1, plot.y1)))
        panel_x, panel_y = x0 + plot_w + gap, min(y0, top) if h < LOW else y0
        title_x = x0 - 0.75 * left  # over the name of the axis
    else:
        side, right, under = (68.0, 30.0, 54.0) if layers.axes else (8.0, 8.0, 8.0)
        inner = Rect(margin + side, top + 6, w - margin - panel - gap * 0.4 - right, bottom - under)
        plot = Rect(inner.x0 * unit, inner.y0 * unit, inner.x1 * unit, inner.y1 * unit)
        panel_x, panel_y = w - margin - panel, top + 10
        title_x = margin
    if below:
        panel_rect = Rect(margin * unit, (bottom + 16) * unit, (w - margin) * unit, foot * unit)
    else:
        panel_rect = Rect(panel_x * unit, panel_y * unit, (panel_x + panel) * unit, foot * unit)
    stage = Rect(
        0.0,
        (top - 6) * unit if layers.title else 0.0,
        size[0] if below or not panel else (panel_x - 14) * unit,
        (bottom + 4) * unit if below else (foot + 8) * unit if layers.provenance else size[1],
    )
    return Layout(
        size=size,
        unit=unit,
        plot=plot,
        panel=panel_rect,
        title=(title_x * unit, (margin + 16) * unit),
        subtitle_lines=subtitle_lines,
        margin=margin * unit,
        provenance=(title_x * unit, (h - margin * 0.6) * unit),
        below=below,
        flat=flat,
        stage=Rect(*(float(round(v)) for v in (stage.x0, stage.y0, stage.x1, stage.y1))),
    )
