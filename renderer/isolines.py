"""Isolines as geometry, on the CPU: for lines in the air and for the places of their labels.

Marching squares on the refined grid, ambiguous cells decided by the mean of the corners (Lorensen & Cline 1987;
Nielson & Hamann 1991 for the ambiguity). The surface's own isolines are drawn by its shader, not from here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderer.field import Field, refinement

# Refined cells a side: in stills, in a window's frames, while somebody turns the picture.
FINEST, FINEST_LIVE, FINEST_COARSE = 320, 128, 64
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Refined:
    """A field on a finer grid: unit values (h, w) and grid coordinates x (w,) and y (h,) of its vertices."""

    values: Floats
    valid: NDArray[np.bool_]  # of cells (h - 1, w - 1): each of the nearest measured points has a value
    x: Floats
    y: Floats


def refine(field: Field, finest: int = FINEST) -> Refined:
    """The field on at most `finest` cells a side, through the measured points where it is coarser than that."""
    rows, columns = field.shape
    k = refinement(columns, rows)
    axes = []
    for count in (columns, rows):
        cells = (count - 1) * k
        axes.append(np.linspace(0, count - 1, min(cells, finest) + 1))
    x, y = axes
    values = field.on(x, y)
    good = field.valid(*np.meshgrid(np.round(y).astype(int), np.round(x).astype(int), indexing="ij"))
    valid = good[:-1, :-1] & good[1:, :-1] & good[:-1, 1:] & good[1:, 1:]
    return Refined(values, valid, x, y)


def segments(refined: Refined, level: float) -> Floats:
    """The isoline at a unit value as unordered pieces (n, 2, 2) in grid coordinates (x, y)."""
    v, x, y = refined.values, refined.x, refined.y
    above = v > level
    a, b, c, d = above[:-1, :-1], above[:-1, 1:], above[1:, 1:], above[1:, :-1]  # counter-clockwise from low x, low y
    code = a * 1 + b * 2 + c * 4 + d * 8
    i, j = np.nonzero((code != 0) & (code != 15) & refined.valid)
    if not len(i):
        return np.zeros((0, 2, 2))
    code = code[i, j]
    va, vb, vc, vd = v[i, j], v[i, j + 1], v[i + 1, j + 1], v[i + 1, j]

    def crossing(p: Floats, q: Floats) -> Floats:
        with np.errstate(all="ignore"):
            return np.clip(np.where(p == q, 0.5, (level - p) / (q - p)), 0, 1)

    dx, dy = x[j + 1] - x[j], y[i + 1] - y[i]
    edges = np.stack(
        [
            np.stack([x[j] + dx * crossing(va, vb), y[i]], 1),  # 0: below
            np.stack([x[j + 1], y[i] + dy * crossing(vb, vc)], 1),  # 1: right
            np.stack([x[j] + dx * crossing(vd, vc), y[i + 1]], 1),  # 2: above
            np.stack([x[j], y[i] + dy * crossing(va, vd)], 1),  # 3: left
        ],
        1,
    )
    high = (va + vb + vc + vd) / 4 > level
    pairs = {
        1: (3, 0), 2: (0, 1), 3: (3, 1), 4: (1, 2), 6: (0, 2), 7: (3, 2), 8: (2, 3),
        9: (0, 2), 11: (1, 2), 12: (1, 3), 13: (0, 1), 14: (3, 0),
    }  # fmt: skip
    out = []
    for kind, (p, q) in pairs.items():
        at = code == kind
        if at.any():
            out.append(np.stack([edges[at, p], edges[at, q]], 1))
    for kind, joined, apart in ((5, ((0, 1), (2, 3)), ((3, 0), (1, 2))), (10, ((3, 0), (1, 2)), ((0, 1), (2, 3)))):
        for mask, ways in (((code == kind) & high, joined), ((code == kind) & ~high, apart)):
            if mask.any():
                out += [np.stack([edges[mask, p], edges[mask, q]], 1) for p, q in ways]
    return np.concatenate(out)


@dataclass(frozen=True)
class Place:
    """Where a label stands: grid coordinates, and the isoline's direction there as a vector (dx, dy) in them."""

    x: float
    y: float
    dx: float
    dy: float


def places(
    pieces: Floats, stretch: tuple[float, float], room: float, taken: Floats, rim: float, bounds: tuple[float, float]
) -> Place | None:
    """The best place on an isoline for a label: straight for `room` pixels along the line, far from `taken` (n, 2)
    pixels, `rim` pixels inside of the plot. `stretch` is pixels a grid cell, `bounds` the last grid coordinates."""
    if len(pieces) < 4:
        return None
    scale = np.array(stretch)
    middle = pieces.mean(1) * scale
    span = np.array(bounds) * scale
    inside = ((middle > rim) & (middle < span - rim)).all(1)
    candidates = np.flatnonzero(inside)
    if not len(candidates):
        return None
    candidates = candidates[:: max(1, len(candidates) // 160)]
    best, best_score = None, math.inf
    for c in candidates:
        near = np.linalg.norm(middle - middle[c], axis=1) < room / 2
        cloud = middle[near]
        if len(cloud) < 4:
            continue
        centred = cloud - cloud.mean(0)
        _, spread, axes = np.linalg.svd(centred, full_matrices=False)
        length = spread[0] / math.sqrt(len(cloud)) * math.sqrt(12)
        bend = spread[1] / math.sqrt(len(cloud))
        if length < 0.72 * room or bend > 0.055 * room:
            continue
        distance = float(np.min(np.linalg.norm(taken - middle[c], axis=1))) if len(taken) else 1e9
        if distance < room:
            continue
        tilt = abs(axes[0][1])  # level text reads best
        score = bend / room * 6 + 0.45 * tilt + 40.0 / (distance + 40.0)
        if score < best_score:
            at = cloud.mean(0) / scale
            step = axes[0] / scale
            best, best_score = Place(float(at[0]), float(at[1]), float(step[0]), float(step[1])), score
    return best
