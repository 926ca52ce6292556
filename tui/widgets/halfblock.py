"""Pictures in a terminal: two pixels a character, as upper half blocks in two colours.

Few colours make few escape sequences: a picture is brought down to a palette of 32, so that neighbours are often equal
and share one, and only rows that changed are painted again. Where the terminal has 16 colours or fewer, or colours are
unwanted (NO_COLOR), a character is one of ` ░▒▓█` instead.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

BANDS: Final = 32
SHADES: Final = " ░▒▓█"
Depth = Literal["colours", "shades"]
Pixels = NDArray[np.uint8]  # (h, w, 3), top row first
Index = NDArray[np.uint8]  # (h, w), places in a palette


def depth(app: App[Any], environment: Mapping[str, str] = os.environ) -> Depth:
    """What this terminal can show."""
    if environment.get("NO_COLOR") or environment.get("THALWEG_SHADES"):
        return "shades"
    return "colours" if app.console.color_system in ("truecolor", "256") else "shades"


# ---------------------------------------------------------------- palettes


def codes(pixels: Pixels) -> NDArray[np.int32]:
    """Colours of 15 bits, (h, w)."""
    p = pixels.astype(np.int32) >> 3
    return (p[..., 0] << 10) | (p[..., 1] << 5) | p[..., 2]


def _rgb(code: NDArray[np.int32]) -> NDArray[np.float64]:
    parts = np.stack([code >> 10, (code >> 5) & 31, code & 31], -1)
    return parts * 8.0 + 3.5


def median_cut(pixels: Pixels, count: int = BANDS) -> NDArray[np.uint8]:
    """At most `count` colours (n, 3) that stand for those of a picture: boxes of colours are halved where they are
    widest and hold most (Heckbert 1982)."""
    found, weight = np.unique(codes(pixels), return_counts=True)
    colours, weights = _rgb(found.astype(np.int32)), weight.astype(np.float64)
    boxes = [np.arange(len(found))]
    spreads = [_spread(colours[boxes[0]], weights[boxes[0]])]
    while len(boxes) < count:
        at = int(np.argmax([s for s, _ in spreads]))
        worth, axis = spreads[at]
        if worth <= 0:
            break
        box = boxes[at]
        box = box[np.argsort(colours[box, axis], kind="stable")]
        total = np.cumsum(weights[box])
        cut = int(np.clip(np.searchsorted(total, total[-1] / 2) + 1, 1, len(box) - 1))
        boxes[at], new = box[:cut], box[cut:]
        spreads[at] = _spread(colours[boxes[at]], weights[boxes[at]])
        boxes.append(new)
        spreads.append(_spread(colours[new], weights[new]))
    means = [np.average(colours[b], axis=0, weights=weights[b]) for b in boxes]
    return np.clip(np.rint(means), 0, 255).astype(np.uint8)


def _spread(colours: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, int]:
    """How much a box would gain by a cut, and along which channel."""
    if len(colours) < 2:
        return 0.0, 0
    spans = np.ptp(colours, axis=0)
    axis = int(np.argmax(spans))
    return float(spans[axis] ** 2 * weights.sum() ** 0.25), axis  # the few pixels of a path count too


class Quantiser:
    """Pictures that follow each other, in one palette for as long as it suits them."""

    WORSE = 1.5  # than when the palette was made, in mean distance, before a new one is made
    SLACK = 3.0  # of 255

    def __init__(self, count: int = BANDS) -> None:
        self.count = count
        self.palette: NDArray[np.uint8] = np.zeros((1, 3), np.uint8)
        self._nearest = np.full(32768, -1, np.int16)
        self._distance = np.zeros(32768)
        self._base = -1.0
        self.made = 0  # palettes

    def __call__(self, pixels: Pixels) -> Index:
        """The picture as places in `palette`."""
        code = codes(pixels)
        error = self._map(code) if self._base >= 0 else np.inf
        if error > self._base * self.WORSE + self.SLACK:
            self.palette = median_cut(pixels, self.count)
            self.made += 1
            self._nearest[:] = -1
            self._base = self._map(code)
        return self._nearest[code].astype(np.uint8)

    def _map(self, code: NDArray[np.int32]) -> float:
        """Fill in the colours that are new; the mean distance of the picture's colours to the palette's."""
        new = np.unique(code[self._nearest[code] < 0])
        if len(new):
            apart = _rgb(new)[:, None, :] - self.palette[None].astype(np.float64)
            squares = np.einsum("ijk,ijk->ij", apart, apart)
            self._nearest[new] = np.argmin(squares, axis=1)
            self._distance[new] = np.sqrt(squares.min(axis=1))
        return float(self._distance[code].mean())


def luminance(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """How bright colours (n, 3) are, 0 to 1 (Rec. 709)."""
    return np.asarray(colours.astype(np.float64) @ np.array([0.2126, 0.7152, 0.0722]) / 255.0)


# ---------------------------------------------------------------- the widget


class Blocks(Widget):
    """Shows places in a palette; `paint` says which. A subclass makes them."""

    DEFAULT_CSS = "Blocks { width: 1fr; height: 1fr; }"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._index: Index = np.zeros((0, 0), np.uint8)
        self._palette: NDArray[np.uint8] = np.zeros((1, 3), np.uint8)
        self._levels = ""
        self._marks: dict[tuple[int, int], str] = {}
        self._strips: dict[int, Strip] = {}
        self._styles: dict[tuple[int, int], Style] = {}
        self._depth: Depth | None = None
        self.painted = 0  # rows

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of a picture that fills the widget."""
        return 2 * self.content_size.height, self.content_size.width

    def depth(self) -> Depth:
        """What the terminal can show."""
        if self._depth is None:
            self._depth = depth(self.app)
        return self._depth

    def paint(
        self,
        index: Index,
        palette: NDArray[np.uint8],
        levels: str | None = None,
        marks: Mapping[tuple[int, int], str] | None = None,
    ) -> None:
        """Show a picture (2 * rows, columns) of places in a palette (n, 3). `levels`: a character for each place,
        where there are no colours; by default how bright it is. `marks`: characters at (column, row) over it."""
        if len(index) % 2:
            index = np.vstack([index, index[-1:]])
        marks = dict(marks or {})
        if levels is None:
            bright = luminance(palette)
            levels = "".join(SHADES[k] for k in np.minimum(bright * len(SHADES), len(SHADES) - 1).astype(int))
        whole = index.shape != self._index.shape or levels != self._levels or not np.array_equal(palette, self._palette)
        if whole:
            self._styles.clear()
            self._strips.clear()
        else:
            different = (index != self._index).reshape(len(index) // 2, 2, -1).any(axis=1)  # (rows, columns)
        before = self._marks
        self._index, self._palette, self._levels, self._marks = index, palette, levels, marks
        if whole:
            self.painted += len(index) // 2
            self.refresh()
            return
        for (x, y), _ in before.items() ^ marks.items():
            if y < len(different) and x < different.shape[1]:
                different[y, x] = True
        regions = []
        for y in np.flatnonzero(different.any(axis=1)).tolist():
            columns = np.flatnonzero(different[y])
            first, last = int(columns[0]), int(columns[-1])
            self._strips.pop(y, None)
            regions.append(Region(first, y, last - first + 1, 1))
        self.painted += len(regions)
        if regions:
            self.refresh(*[r.translate(self.origin) for r in regions])

    @property
    def origin(self) -> tuple[int, int]:
        """Of the content within the widget."""
        gutter = self.gutter
        return gutter.left, gutter.top

    def clear(self) -> None:
        """Show nothing."""
        self._index = np.zeros((0, 0), np.uint8)
        self._strips.clear()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.content_size.width
        if 2 * y + 1 >= len(self._index):
            return Strip.blank(width, self.rich_style)
        strip = self._strips.get(y)
        if strip is None:
            strip = self._strips[y] = self._strip(y)
        return strip.adjust_cell_length(width, self.rich_style)

    def _strip(self, y: int) -> Strip:
        top, bottom = self._index[2 * y], self._index[2 * y + 1]
        if self.depth() == "shades":
            # Of two halves the lower place would show nothing of the upper: the mean of both.
            text = "".join(self._levels[k] for k in np.maximum(top, bottom))
            for x, mark in ((x, m) for (x, row), m in self._marks.items() if row == y and x < len(text)):
                text = text[:x] + mark + text[x + 1 :]
            return Strip([Segment(text, self.rich_style)], len(text))
        pair = top.astype(np.int32) << 8 | bottom
        edges = [0, *(np.flatnonzero(np.diff(pair)) + 1).tolist(), len(pair)]
        marks = {x: m for (x, row), m in self._marks.items() if row == y}
        if marks:
            edges = sorted({*edges, *(e for x in marks for e in (x, x + 1) if e <= len(pair))})
        segments = []
        for start, end in pairwise(edges):
            above, below = int(top[start]), int(bottom[start])
            if start in marks:
                segments.append(Segment(marks[start], self._mark(below)))
            elif above == below:
                segments.append(Segment(" " * (end - start), self._style(-1, below)))
            else:
                segments.append(Segment("▀" * (end - start), self._style(above, below)))
        return Strip(segments, len(pair))

    def _style(self, above: int, below: int) -> Style:
        style = self._styles.get((above, below))
        if style is None:
            front = None if above < 0 else Color.from_rgb(*(int(v) for v in self._palette[above]))
            style = Style(color=front, bgcolor=Color.from_rgb(*(int(v) for v in self._palette[below])))
            self._styles[above, below] = style
        return style

    def _mark(self, below: int) -> Style:
        back = self._palette[below]
        front = 0 if luminance(back[None])[0] > 0.45 else 255
        bgcolor = Color.from_rgb(*(int(v) for v in back))
        return Style(color=Color.from_rgb(front, front, front), bgcolor=bgcolor, bold=True)


class HalfBlock(Blocks):
    """Shows pictures (h, w, 3)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.quantise = Quantiser()
        self.shape = (0, 0)
        self.marks: dict[tuple[int, int], str] = {}  # characters at (column, row) over the picture

    def show(self, pixels: Pixels) -> None:
        """Show a picture; it stands at the top left, and is cut where it is larger than the widget."""
        self.shape = pixels.shape[:2]
        if self.depth() == "shades":
            self.paint(*shaded(pixels), marks=self.marks)
        else:
            index = self.quantise(pixels)
            self.paint(index, self.quantise.palette, marks=self.marks)

    def mark(self, marks: Mapping[tuple[int, int], str]) -> None:
        """Put other characters over the picture."""
        self.marks = dict(marks)
        if len(self._index):
            self.paint(self._index, self._palette, self._levels, self.marks)


def shaded(pixels: Pixels) -> tuple[Index, NDArray[np.uint8]]:
    """A picture in as many greys as there are shades; two rows that share a character are their mean."""
    grey = luminance(pixels)
    grey = grey[: len(grey) // 2 * 2].reshape(-1, 2, grey.shape[1]).mean(axis=1)
    lo, hi = (float(grey.min()), float(grey.max())) if grey.size else (0.0, 1.0)
    place = np.minimum((grey - lo) / max(hi - lo, 1e-9) * len(SHADES), len(SHADES) - 1).astype(np.uint8)
    greys = np.linspace(20, 255, len(SHADES)).astype(np.uint8)
    return np.repeat(place, 2, axis=0), np.repeat(greys[:, None], 3, axis=1)
