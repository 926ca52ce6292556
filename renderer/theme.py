"""Colours of everything that is not data, for paper and for the dark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Colour = tuple[float, float, float, float]


def hexa(text: str, alpha: float = 1.0) -> Colour:
    """`rrggbb` as RGBA in 0..1."""
    r, g, b = (int(text[k : k + 2], 16) / 255 for k in (0, 2, 4))
    return (r, g, b, alpha)


def fade(colour: Colour, alpha: float) -> Colour:
    """The colour at a share of its opacity."""
    return (*colour[:3], colour[3] * alpha)


@dataclass(frozen=True)
class Theme:
    paper: Colour
    text: Colour
    muted: Colour
    faint: Colour  # grid lines on floor and walls
    line: Colour  # box and frame
    mesh: Colour
    hatch: Colour  # not measured
    diverged: Colour
    halo: Colour  # around path and glyphs
    wall: Colour


THEMES: Final = {
    "light": Theme(
        paper=hexa("ffffff"),
        text=hexa("15181d"),
        muted=hexa("5b6370"),
        faint=hexa("dfe3e9"),
        line=hexa("8d95a1"),
        mesh=hexa("20262e", 0.20),
        hatch=hexa("a7aeb9"),
        diverged=hexa("b3263a"),
        halo=hexa("14171c", 0.85),
        wall=hexa("f6f7f9"),
    ),
    "dark": Theme(
        paper=hexa("101318"),
        text=hexa("eceff3"),
        muted=hexa("98a1ae"),
        faint=hexa("2a303a"),
        line=hexa("656e7c"),
        mesh=hexa("e8ecf2", 0.17),
        hatch=hexa("4b5461"),
        diverged=hexa("ff6b78"),
        halo=hexa("05070a", 0.9),
        wall=hexa("161a20"),
    ),
}
