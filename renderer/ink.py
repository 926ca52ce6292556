"""A display list of small shapes and lines of text, in device pixels with y downwards. Pure; gl/ draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from renderer.theme import Colour

CAPSULE, RECT, DIAMOND, TRIANGLE, RING, HATCH, CROSS, PANEL = range(8)
FLOATS = 16  # a shape: x0 y0 z0, x1 y1 z1, radius, kind, rgba at the first end, rgba at the second
NEAR = -1.0  # the depth of what lies in front of everything
Point = Sequence[float]


@dataclass(frozen=True)
class Text:
    text: str
    x: float
    y: float  # baseline for anchor "base", else the middle of the small letters' height
    size: float
    colour: Colour
    bold: bool = False
    align: float = 0.0  # 0 left, 0.5 centred, 1 right
    anchor: Literal["base", "middle"] = "base"
    angle: float = 0.0  # degrees, counter-clockwise
    halo: Colour | None = None
    halo_width: float = 0.0


@dataclass
class Ink:
    """Shapes in drawing order, then text over them."""

    shapes: list[tuple[float, ...]] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)

    def line(self, a: Point, b: Point, width: float, colour: Colour, end: Colour | None = None) -> None:
        """A straight line with round ends; points are (x, y) or (x, y, depth)."""
        self._add(a, b, width / 2, CAPSULE, colour, end or colour)

    def dot(self, at: Point, radius: float, colour: Colour) -> None:
        self._add(at, at, radius, CAPSULE, colour, colour)

    def rect(self, x0: float, y0: float, x1: float, y1: float, colour: Colour) -> None:
        self._add((x0, y0), (x1, y1), 0.0, RECT, colour, colour)

    def panel(self, x0: float, y0: float, x1: float, y1: float, radius: float, colour: Colour, border: Colour) -> None:
        """A rectangle with rounded corners and a border of one pixel inside of it."""
        self._add((x0, y0), (x1, y1), radius, PANEL, colour, border)

    def frame(self, x0: float, y0: float, x1: float, y1: float, width: float, colour: Colour) -> None:
        """The outline of a rectangle, drawn outside of it."""
        w = width
        self.rect(x0 - w, y0 - w, x1 + w, y0, colour)
        self.rect(x0 - w, y1, x1 + w, y1 + w, colour)
        self.rect(x0 - w, y0, x0, y1, colour)
        self.rect(x1, y0, x1 + w, y1, colour)

    def glyph(self, kind: int, at: Point, radius: float, colour: Colour) -> None:
        """A diamond, triangle, ring or cross around a point."""
        self._add(at, at, radius, kind, colour, colour)

    def hatch(self, x0: float, y0: float, x1: float, y1: float, period: float, crossed: bool, colour: Colour) -> None:
        """A hatched rectangle; the second colour's red channel carries whether it is crossed."""
        self._add((x0, y0), (x1, y1), period, HATCH, colour, (float(crossed), 0, 0, 0))

    def text(self, text: str, x: float, y: float, size: float, colour: Colour, **how: object) -> None:
        if text:
            self.texts.append(Text(text, x, y, size, colour, **how))  # type: ignore[arg-type]

    def _add(self, a: Point, b: Point, r: float, kind: int, c0: Colour, c1: Colour) -> None:
        za, zb = (a[2] if len(a) > 2 else NEAR), (b[2] if len(b) > 2 else NEAR)
        self.shapes.append((a[0], a[1], za, b[0], b[1], zb, r, kind, *c0, *c1))

    def array(self) -> NDArray[np.float32]:
        """The shapes as (n, FLOATS) float32."""
        return np.array(self.shapes, np.float32).reshape(-1, FLOATS)


def capsules(
    a: NDArray[np.float64], b: NDArray[np.float64], radius: float, ca: NDArray[np.float64], cb: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Many lines at once: ends (n, 3), colours (n, 4), as (n, FLOATS) float32."""
    n = len(a)
    tail = np.tile(np.array([radius, CAPSULE], np.float64), (n, 1))
    return np.concatenate([a, b, tail, ca, cb], 1).astype(np.float32)
