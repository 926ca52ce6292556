"""Where things stand in a picture: title, plot, panel (colour bar and legend), provenance. Pure; device pixels.

+--------------------------------------------+
| title                                      |
| subtitle                                   |
|   +---------------------+   +-----------+  |
|   | plot                |   | bar       |  |
|   |                     |   | legend    |  |
|   +---------------------+   +-----------+  |
| provenance                                 |
+--------------------------------------------+

A picture higher than wide has the panel under the plot, the legend right of the bar.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocol.view import View
from renderer.camera import Rect

MARGIN = 36.0  # units, as all lengths here: pixels of a 1280 x 800 picture at scale 1
PANEL = 236.0
GAP = 48.0
PANEL_BELOW = 214.0  # its height where it is under the plot


@dataclass(frozen=True)
class Layout:
    size: tuple[int, int]  # device pixels
    unit: float  # device pixels a unit
    plot: Rect
    panel: Rect
    title: tuple[float, float]  # left end of the first baseline
    title_room: float
    provenance: tuple[float, float]
    provenance_room: float
    below: bool  # the panel is under the plot
    flat: bool  # the plot is a plane seen straight from above


def is_flat(view: View) -> bool:
    """Whether the picture is a plane seen straight from above: in 2d, or in 3d by a parallel lens at the zenith."""
    camera = view.camera
    return view.mode == "2d" or (
        camera.projection == "orthographic" and camera.elevation == 90 and camera.azimuth in (0, "auto")
    )


def compute(view: View, width: int, height: int, scale: float, sides: tuple[float, float]) -> Layout:
    """The layout of a picture of width x height at `scale`; `sides` are half the world sides of the grid."""
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    unit = scale * min(max(min(width / 1280, height / 800), 0.62), 2.5)
    w, h = size[0] / unit, size[1] / unit  # in units
    layers = view.layers
    margin = min(MARGIN, 0.05 * w)
    has_panel = (layers.colorbar or layers.legend) and w > 420
    below = has_panel and h > 1.15 * w
    panel = min(PANEL, 0.32 * w) if has_panel and not below else 0.0
    gap = GAP if panel else 0.0
    top = margin + (58 if layers.title else 0)
    foot = h - margin * 0.6 - (26 if layers.provenance else 0)
    bottom = foot - (PANEL_BELOW if below else 0.0)
    flat = is_flat(view)
    if flat:
        left, under = (70.0, 58.0) if layers.axes else (0.0, 0.0)
        room_x, room_y = w - 2 * margin - left - panel - gap, bottom - top - under
        s = max(min(room_x / sides[0], room_y / sides[1]), 1.0)
        plot_w, plot_h = s * sides[0], s * sides[1]
        x0 = (w - (left + plot_w + gap + panel)) / 2 + left
        y0 = top + (room_y - plot_h) / 2
        plot = Rect(x0, y0, x0 + plot_w, y0 + plot_h)
        plot = Rect(*(round(v * unit) for v in (plot.x0, plot.y0, plot.x1, plot.y1)))
        panel_x, panel_y = x0 + plot_w + gap, top
        title_x = x0
    else:
        side, under = (56.0, 44.0) if layers.axes else (8.0, 8.0)
        inner = Rect(margin + side, top + 4, w - margin - panel - gap * 0.5 - side, bottom - under)
        plot = Rect(inner.x0 * unit, inner.y0 * unit, inner.x1 * unit, inner.y1 * unit)
        panel_x, panel_y = w - margin - panel, top + 14
        title_x = margin
    if below:
        panel_rect = Rect(title_x * unit, (bottom + 16) * unit, (w - margin) * unit, foot * unit)
    else:
        panel_rect = Rect(panel_x * unit, panel_y * unit, (panel_x + panel) * unit, foot * unit)
    return Layout(
        size=size,
        unit=unit,
        plot=plot,
        panel=panel_rect,
        title=(title_x * unit, (margin + 16) * unit),
        title_room=(w - margin - title_x) * unit,
        provenance=(title_x * unit, (h - margin * 0.6) * unit),
        provenance_room=(w - margin - title_x) * unit,
        below=below,
        flat=flat,
    )
