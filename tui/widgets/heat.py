"""The rows of a surface as a heat map, without OpenGL: it fills in as rows come, and a cursor reads points.

beta grows upwards and alpha to the right, as in every picture. What is not measured yet stays dark, a point that
diverged is red; values above the clip are drawn as the clip.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from tui.widgets.halfblock import BANDS, SHADES, Blocks, Index

# Nine places of `lipari` (Crameri 2018, perceptually uniform, CC0), from low to high.
MAP: Final = (
    (3, 19, 38), (22, 60, 95), (80, 91, 122), (119, 95, 115), (163, 98, 103), (216, 110, 94), (233, 153, 115),
    (231, 195, 152), (253, 245, 218),
)  # fmt: skip
MISSING, DIVERGED = BANDS, BANDS + 1
MISSING_RGB, DIVERGED_RGB = (34, 34, 38), (214, 39, 40)


def palette(count: int = BANDS) -> NDArray[np.uint8]:
    """The colours of the bands, then that of what is missing and of what diverged."""
    stops = np.array(MAP, np.float64)
    at = np.linspace(0, len(stops) - 1, count)
    bands = np.stack([np.interp(at, np.arange(len(stops)), stops[:, c]) for c in range(3)], -1)
    return np.vstack([np.rint(bands), [MISSING_RGB, DIVERGED_RGB]]).astype(np.uint8)


def levels(count: int = BANDS) -> str:
    """The characters of the bands where there are no colours: low is dense, as water on a map."""
    shades = SHADES[:0:-1] + " "  # full to empty
    return "".join(shades[min(k * len(shades) // count, len(shades) - 1)] for k in range(count)) + "·x"


@dataclass(frozen=True)
class Scale:
    """What the lowest and the highest band stand for; `log`: the bands are equal ratios."""

    lo: float = 0.0
    hi: float = 1.0
    log: bool = False


def scale_of(values: NDArray[Any]) -> Scale:
    """From the lowest to the highest finite value; logarithmic where they are positive and span a factor of 20."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Scale()
    lo, hi = float(finite.min()), float(finite.max())
    return Scale(lo, hi, lo > 0 and hi / lo > 20)


def bands(values: NDArray[Any], measured: NDArray[np.bool_], scale: Scale, count: int = BANDS) -> Index:
    """The band of each value, MISSING and DIVERGED among them; (H, W)."""
    z = np.asarray(values, np.float64)
    lo, hi = scale.lo, scale.hi
    with np.errstate(all="ignore"):
        share = (np.log(z) - math.log(lo)) / (math.log(hi) - math.log(lo)) if scale.log else (z - lo) / (hi - lo or 1.0)
    share = np.where(np.isfinite(z), np.nan_to_num(share, nan=0.0, posinf=1.0, neginf=0.0), 0.0)
    out = np.clip(share * count, 0, count - 1).astype(np.uint8)
    out[measured & ~np.isfinite(z)] = DIVERGED
    out[~measured] = MISSING
    return out


def fit(shape: tuple[int, int], room: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which row and which column of a grid of `shape` each pixel of a room (h, w) shows, beta upwards.

    A step of alpha is as long as one of beta, and one of both fills the room. Where the grid is larger than the room,
    every so manieth point is shown, first and last included.
    """
    scale = min(pixels / points for points, pixels in zip(shape, room))
    out = []
    for points, most in zip(shape, room):
        pixels = max(int(points * scale + 1e-9), min(points, most, 8))
        if points <= pixels:
            out.append(np.arange(pixels) * points // pixels)
        else:
            out.append(np.rint(np.linspace(0, points - 1, pixels)).astype(np.intp))
    rows, columns = out
    return rows[::-1], columns


class Heat(Blocks, can_focus=True):
    """A surface's values; arrows move the cursor, Escape takes it away."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(0,-1)", show=False),
        Binding("right", "move(0,1)", show=False),
        Binding("up", "move(1,0)", show=False),
        Binding("down", "move(-1,0)", show=False),
    ]

    class Pointed(Message):
        """The cursor is on this row and column of the surface; None: on nothing."""

        def __init__(self, at: tuple[int, int] | None) -> None:
            super().__init__()
            self.at = at

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.values: NDArray[Any] = np.zeros((0, 0))
        self.measured: NDArray[np.bool_] = np.zeros((0, 0), bool)
        self.scale = Scale()
        self.at: tuple[int, int] | None = None
        self._colours, self._characters = palette(), levels()
        self._rows: NDArray[np.intp] = np.zeros(0, np.intp)
        self._columns: NDArray[np.intp] = np.zeros(0, np.intp)

    def show(self, values: NDArray[Any], measured: NDArray[np.bool_] | None = None) -> None:
        """Show values (H, W), row i of beta[i]; `measured` says which of them are data (NaN among them)."""
        self.values = values
        self.measured = np.isfinite(values) if measured is None else measured
        seen = values[self.measured]
        self.scale = scale_of(seen) if seen.size else Scale()
        self.draw()

    def draw(self) -> None:
        """Paint what changed."""
        height, width = self.pixels
        if not self.values.size or not height or not width:
            return
        self._rows, self._columns = fit(self.values.shape, (height, width))
        found = bands(self.values, self.measured, self.scale)[np.ix_(self._rows, self._columns)]
        self.paint(found, self._colours, self._characters, self._cursor())

    def _cursor(self) -> dict[tuple[int, int], str]:
        if self.at is None:
            return {}
        rows = np.flatnonzero(self._rows == self.at[0])
        columns = np.flatnonzero(self._columns == self.at[1])
        if not len(rows) or not len(columns):  # between the points that are shown: the nearest
            rows = np.array([int(np.argmin(np.abs(self._rows - self.at[0])))])
            columns = np.array([int(np.argmin(np.abs(self._columns - self.at[1])))])
        return {(int(columns[len(columns) // 2]), int(rows[len(rows) // 2]) // 2): "┼"}

    def action_move(self, up: int, right: int) -> None:
        height, width = self.values.shape
        if not height:
            return
        i, j = self.at if self.at is not None else (height // 2 - up, width // 2 - right)
        self.point((min(max(i + up, 0), height - 1), min(max(j + right, 0), width - 1)))

    def point(self, at: tuple[int, int] | None) -> None:
        """Put the cursor somewhere."""
        if at != self.at:
            self.at = at
            self.draw()
            self.post_message(self.Pointed(at))

    def place(self, x: int, y: int) -> tuple[int, int] | None:
        """Row and column of the surface under a character of the widget."""
        if 2 * y >= len(self._rows) or x >= len(self._columns) or x < 0 or y < 0:
            return None
        return int(self._rows[2 * y]), int(self._columns[x])

    def on_click(self, event: events.Click) -> None:
        self.point(self.place(event.x, event.y))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if event.button:
            self.point(self.place(event.x, event.y) or self.at)

    def on_resize(self) -> None:
        self.draw()


def legend(scale: Scale, width: int = 40) -> str:
    """The scale in words, with the characters of the bands where there are no colours."""
    how = ", logarithmic" if scale.log else ""
    said = f"{scale.lo:.4g} to {scale.hi:.4g}{how}"
    return said if len(said) <= width else said[:width]
