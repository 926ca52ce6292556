"""Curves made ready for a chart: smoothed, with a band of what is between the extremes. Pure numpy.

A raw curve of noisy steps fills a small chart with one solid block. Cut into as many bins as the chart has columns, the
mean shows where it goes and the band how far it swings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Band:
    """Bins of a noisy curve, each (k,): their middle in x, mean, least and greatest value. NaN is left out."""

    x: Floats
    mean: Floats
    low: Floats
    high: Floats


def band(x: ArrayLike, y: ArrayLike, bins: int) -> Band:
    """At most `bins` bins of equal width in x that hold a finite value; the mean of each, and its extremes."""
    xs, ys = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    keep = np.isfinite(xs) & np.isfinite(ys)
    xs, ys = xs[keep], ys[keep]
    if not len(xs):
        empty = np.zeros(0)
        return Band(empty, empty, empty, empty)
    lo, hi = float(xs.min()), float(xs.max())
    k = np.zeros(len(xs), dtype=np.intp)
    if hi > lo:
        k = np.minimum(((xs - lo) / (hi - lo) * bins).astype(np.intp), bins - 1)
    count = np.bincount(k, minlength=bins)
    there = count > 0
    least, greatest = np.full(bins, np.inf), np.full(bins, -np.inf)
    np.minimum.at(least, k, ys)
    np.maximum.at(greatest, k, ys)
    safe = np.maximum(count, 1)
    x_mean = np.bincount(k, xs, minlength=bins) / safe
    y_mean = np.bincount(k, ys, minlength=bins) / safe
    return Band(x_mean[there], y_mean[there], least[there], greatest[there])


def limits(values: Sequence[ArrayLike]) -> tuple[float, float] | None:
    """Limits of a chart's y axis: all finite values, but where a few are far off (a loss that explodes) up to ten times
    the 90th percentile's distance from the least; None where there is none."""
    flat = [np.asarray(v, dtype=np.float64).ravel() for v in values]
    finite = np.concatenate([v[np.isfinite(v)] for v in flat]) if flat else np.zeros(0)
    if not len(finite):
        return None
    lo, hi = float(finite.min()), float(finite.max())
    far = lo + 10.0 * (float(np.quantile(finite, 0.9)) - lo)
    hi = min(hi, far) if far > lo else hi
    room = 0.04 * (hi - lo) or 0.5 * abs(hi) or 0.5
    return lo - room, hi + room
