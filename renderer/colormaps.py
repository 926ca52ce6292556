"""Colour tables: 256 sRGB colours a map, baked from cmap into `colormaps.npz`, which ships with the package.

Baking keeps 0.11 s of import off every start and pins the colours of a picture. `python -m renderer.colormaps` bakes
again. The seed's `grey`, `red-blue` and `rainbow`, and the path's `yellow-cyan`, are made by the formulas here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

FILE: Final = Path(__file__).with_name("colormaps.npz")
SIZE: Final = 256
BAKED: Final = {
    "lipari": "crameri:lipari",
    "batlow": "crameri:batlow",
    "oslo": "crameri:oslo",
    "lapaz": "crameri:lapaz",
    "davos": "crameri:davos",
    "viridis": "bids:viridis",
    "magma": "bids:magma",
    "inferno": "bids:inferno",
    "plasma": "bids:plasma",
    "cividis": "cividis",
}

Table = NDArray[np.uint8]


def _ramp(*stops: str) -> Table:
    """256 colours through equally spaced `rrggbb` stops, linear in sRGB."""
    rgb = np.array([[int(s[k : k + 2], 16) for k in (0, 2, 4)] for s in stops], float)
    t = np.linspace(0, len(stops) - 1, SIZE)
    return np.stack([np.interp(t, np.arange(len(stops)), rgb[:, c]) for c in range(3)], axis=1).round().astype(np.uint8)


FORMULAS: Final = {
    "grey": lambda: _ramp("000000", "ffffff"),
    "red-blue": lambda: _ramp("1f3fbf", "f4f4f4", "bf1f2d"),
    "rainbow": lambda: _ramp("0000ff", "00ffff", "00ff00", "ffff00", "ff0000"),
    "yellow-cyan": lambda: _ramp(
        "ffd60a", "b4e31e", "4bd964", "18d8b0", "00d5f5"
    ),  # by way of green: no loss map has it
}


@cache
def table(name: str) -> Table:
    """The 256 colours (256, 3) uint8 of a map of protocol.view, low to high. KeyError for a name that is not there."""
    if name in FORMULAS:
        return FORMULAS[name]()
    return _baked()[name]


@cache
def _baked() -> dict[str, Table]:
    with np.load(FILE, allow_pickle=False) as z:
        return {name: z[name] for name in z.files}


def bake() -> dict[str, Table]:
    """The tables of BAKED as cmap gives them."""
    import cmap

    t = np.linspace(0, 1, SIZE)
    return {
        name: (np.asarray(cmap.Colormap(at)(t))[:, :3] * 255).round().astype(np.uint8) for name, at in BAKED.items()
    }


def luminance(rgb: NDArray[np.floating]) -> NDArray[np.floating]:
    """Relative luminance of sRGB colours (..., 3) in 0..1 (WCAG 2.2)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    out: NDArray[np.floating] = linear @ np.array([0.2126, 0.7152, 0.0722])
    return out


def contrast(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Contrast ratio, 1 to 21, of sRGB colours (..., 3) in 0..1 (WCAG 2.2)."""
    la, lb = luminance(a), luminance(b)
    out: NDArray[np.floating] = (np.maximum(la, lb) + 0.05) / (np.minimum(la, lb) + 0.05)
    return out


def legible(colours: Table, background: tuple[float, float, float], least: float = 1.9) -> Table:
    """The widest end-to-end part of a table that contrasts with the background, stretched to 256 colours: thin lines
    in the colour of the paper cannot be seen. A table of which too little would stay is returned whole."""
    good = contrast(colours / 255.0, np.asarray(background, float)) >= least
    edges = np.flatnonzero(np.diff(np.concatenate([[0], good.astype(int), [0]])))
    if len(edges) == 0:
        return colours
    k = int(np.argmax(edges[1::2] - edges[::2]))
    lo, hi = int(edges[2 * k]), int(edges[2 * k + 1]) - 1
    if hi - lo < SIZE // 3:
        return colours
    t = np.linspace(lo, hi, SIZE)
    return np.stack([np.interp(t, np.arange(SIZE), colours[:, c]) for c in range(3)], 1).round().astype(np.uint8)


if __name__ == "__main__":
    np.savez_compressed(FILE, **bake())  # type: ignore[arg-type]
