"""The grid of a surface, and THE statement of axis order.

A grid has `alpha` (x, along delta, length W) and `beta` (y, along eta, length H), each an increasing float64 array.
Values are Z[i, j] = f(alpha[j], beta[i]): row i is one beta, column j one alpha. Every array of shape (H, W) in
this project is in that order, in memory, in files and on the wire.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError

MIN_COUNT, MAX_COUNT = 2, 4096
# A zero this close to a vertex (in units of the step) is meant to be one; see `axis`.
ZERO_TOLERANCE = 1e-9
# Automatic boxes grow the path's bounding box by this share of its larger side, on each side.
MARGIN = 0.25


class AxisSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One axis: `count` points from `lo` to `hi`, in units of the plane's direction. No range: an automatic one."""

    count: Annotated[int, msgspec.Meta(ge=MIN_COUNT, le=MAX_COUNT)] = 25
    lo: float | None = None
    hi: float | None = None


class GridSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The grid of a surface: `alpha` is x along delta (W points), `beta` is y along eta (H points)."""

    alpha: AxisSpec = AxisSpec()
    beta: AxisSpec = AxisSpec()


def axis(lo: float, hi: float, count: int, name: str = "axis") -> NDArray[np.float64]:
    """`count` equidistant values from lo to hi, float64 (count,), increasing.

    h = (hi - lo) / (count - 1). Where -lo / h is an integer j0 to 1e-9, axis[j] = (j - j0) * h, so that zero is
    exactly zero and the centre vertex is theta* itself; else axis[j] = lo + j * h.

    Raises InputError for a count outside 2..4096, a bound that is not finite, lo >= hi, or values that float64 cannot
    hold: too close together or too far apart.
    """
    if not MIN_COUNT <= count <= MAX_COUNT:
        why = "a line needs two points" if count < MIN_COUNT else f"{MAX_COUNT} a side is the most one surface holds"
        raise InputError(
            f"{name}.count: expected {MIN_COUNT} to {MAX_COUNT}, got {count}: {why}", path=f"$.{name}.count"
        )
    if not (math.isfinite(lo) and math.isfinite(hi)) or lo >= hi:
        raise InputError(
            f"{name}: expected a finite start below its end, got {lo:g} to {hi:g}: swap or change the two numbers",
            path=f"$.{name}.lo",
        )
    h = (hi - lo) / (count - 1)
    if not math.isfinite(h):
        raise InputError(f"{name}: {lo:g} to {hi:g} is wider than float64 can hold: take a smaller range")
    zero = -lo / h if h else math.inf  # the place of zero among the points
    if abs(zero) < 2**53 and abs(zero - round(zero)) <= ZERO_TOLERANCE:
        values = (np.arange(count) - round(zero)) * h
    else:
        values = lo + np.arange(count) * h
    if not np.all(np.diff(values) > 0):
        raise InputError(
            f"{name}: {count} points from {lo:g} to {hi:g} are closer than float64 can tell apart: take a wider range "
            "or fewer points"
        )
    return np.asarray(values, dtype=np.float64)


def automatic_range(lo: float, hi: float, count: int, name: str = "axis") -> tuple[float, float]:
    """The smallest range of `count` >= 3 points that covers [lo, hi] and has zero as a vertex.

    h = (hi - lo) / (count - 2), lo moved outward to a multiple of h (one cell is spent on the move).
    """
    if count < 3:
        raise InputError(
            f"{name}.count: expected at least 3 for an automatic range, got {count}: give the range yourself",
            path=f"$.{name}.count",
        )
    h = (hi - lo) / (count - 2)
    if not (h > 0 and math.isfinite(lo / h) and math.isfinite(count * h)):
        raise InputError(f"{name}: no automatic range covers {lo:g} to {hi:g}: give the range yourself")
    first = math.floor(lo / h + ZERO_TOLERANCE)
    return first * h, (first + count - 1) * h


def path_box(alpha: NDArray[np.float64], beta: NDArray[np.float64]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The automatic box around a path and the origin: ((alpha lo, hi), (beta lo, hi)).

    The bounding box, grown by 25 % of the larger side on each side, square in units of that larger side.
    """
    spans = []
    for values in (alpha, beta):
        finite = values[np.isfinite(values)]
        spans.append((min(0.0, float(finite.min(initial=0.0))), max(0.0, float(finite.max(initial=0.0)))))
    larger = max(hi - lo for lo, hi in spans)
    if larger == 0.0:
        raise InputError("grid: every point of the path lies at the origin: give the ranges yourself")
    half = larger * (0.5 + MARGIN)
    (alo, ahi), (blo, bhi) = (((lo + hi) / 2 - half, (lo + hi) / 2 + half) for lo, hi in spans)
    return (alo, ahi), (blo, bhi)


def resolve(
    grid: GridSpec, boxes: tuple[tuple[float, float], tuple[float, float]] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two axes (alpha (W,), beta (H,)) of a grid.

    `boxes` is the automatic box of the plane (PCA, Hessian): axes without a range cover it with zero as a vertex.
    None means the fixed default [-1, 1] of random planes, kept as given.
    """
    axes = []
    for k, (spec, name) in enumerate(((grid.alpha, "grid.alpha"), (grid.beta, "grid.beta"))):
        if (spec.lo is None) != (spec.hi is None):
            raise InputError(f"{name}: expected both a start and an end, or neither, got one: give the other too")
        if spec.lo is not None and spec.hi is not None:
            lo, hi = spec.lo, spec.hi
        elif boxes is not None:
            lo, hi = automatic_range(*boxes[k], spec.count, name)
        else:
            lo, hi = -1.0, 1.0
        axes.append(axis(lo, hi, spec.count, name))
    return axes[0], axes[1]
