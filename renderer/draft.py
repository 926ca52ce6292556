"""What stands in for rows that are not measured yet: straight lines between the measured rows on both sides.

Rows come coarse to fine, so a few of them already span the grid. A draft is drawn pale and hatched; it is no
measurement, enters no scale and marks no minimum, and each row that comes replaces its part.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def gaps(n: NDArray[np.integer[Any]], i: int | None = None) -> list[tuple[int, int]]:
    """Pairs (a, b) of measured rows with none between them and at least one unmeasured row there; with `i`, only
    those that end at row i."""
    measured = np.flatnonzero((n > 0).any(1))
    pairs = [(int(a), int(b)) for a, b in itertools.pairwise(measured) if b - a > 1]
    return pairs if i is None else [pair for pair in pairs if i in pair]


def fill(out: Floats, values: Floats, pairs: list[tuple[int, int]], log: bool) -> list[int]:
    """Write the drafted rows between each pair into `out` (H, W) and return their numbers. With `log`, positive values
    are joined by straight lines of their logarithms, as the picture shows them."""
    rows: list[int] = []
    for a, b in pairs:
        t = (np.arange(a + 1, b) - a)[:, None] / (b - a)
        lower, upper = (values[i].astype(np.float64) for i in (a, b))
        with np.errstate(all="ignore"):
            straight = lower * (1 - t) + upper * t
            if log:
                positive = (lower > 0) & (upper > 0)
                straight = np.where(positive, np.exp(np.log(lower) * (1 - t) + np.log(upper) * t), straight)
        out[a + 1 : b] = np.where(np.isfinite(straight), straight, np.nan)
        rows += range(a + 1, b)
    return rows
