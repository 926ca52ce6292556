"""Partitions, shares, row order, and how stored sums become values.

A surface is measured in passes; each pass sweeps the grid over one share of the data. What is stored for a
(row, pass) is sums, never means, so that folding the passes in order gives the exact mean over all of the data.
The library, the command line's loop and the daemon all fold with this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError

PARTITION = 256  # samples; also the batch over which the batch-norm policy `batch` takes its statistics
FIRST_SHARE = 512  # samples in the first pass of `grow`; each later share is as large as all before it

Passes = Literal["grow"] | Annotated[int, msgspec.Meta(ge=1)]
Sums = Mapping[str, NDArray[np.generic]]
"""Named sums of one row, each (W,), and `n`, the samples they are over, under the key "n" as an int64 scalar array."""


class Value(msgspec.Struct, frozen=True):
    """How one published value derives from sums: `mean` = S / n; `sem` = standard error from S and Q."""

    op: Literal["mean", "sem"]
    sum: str
    square: str | None = None


class MetricDecl(msgspec.Struct, frozen=True, kw_only=True):
    """What a metric stores and what it shows: named sums with their dtypes, and values derived from them."""

    name: str
    sums: dict[str, Literal["<f8", "<i4"]]
    values: dict[str, Value]


class Share(msgspec.Struct, frozen=True):
    """Samples [start, stop) of the permuted data; its edges are partition edges."""

    start: int
    stop: int


def partitions(samples: int) -> NDArray[np.int64]:
    """Edges (k + 1,) of the partitions of `samples` permuted samples: every 256, a lone last sample joined to the
    partition before it (batch norm cannot take statistics of one sample)."""
    if samples < 1:
        raise InputError(f"data: expected at least 1 sample, got {samples}")
    edges = [*list(range(0, samples, PARTITION)), samples]
    if len(edges) > 2 and edges[-1] - edges[-2] == 1:
        del edges[-2]
    return np.array(edges, dtype=np.int64)


def shares(samples: int, passes: Passes) -> list[Share]:
    """The shares of `samples`, in pass order, each sample in exactly one.

    "grow": 512 samples, then each share as large as all before it, ending on partition edges. An integer k: the
    first k - 1 shares of that schedule, then all the rest (fewer shares when the data are used up before).
    """
    edges = partitions(samples)
    ends: list[int] = []
    target = FIRST_SHARE
    while not ends or ends[-1] < samples:
        if isinstance(passes, int) and len(ends) == passes - 1:
            ends.append(samples)
        else:
            ends.append(int(edges[min(int(np.searchsorted(edges, target)), len(edges) - 1)]))
        target = ends[-1] * 2
    starts = [0, *ends[:-1]]
    return [Share(a, b) for a, b in zip(starts, ends)]


def row_order(height: int) -> list[int]:
    """Rows 0..height-1 coarse to fine (bit-reversed), so that an early picture spans the whole grid."""
    bits = max(1, (height - 1).bit_length())
    return [r for k in range(1 << bits) if (r := int(f"{k:0{bits}b}"[::-1], 2)) < height]


def fold(parts: Iterable[Sums]) -> dict[str, NDArray[np.generic]]:
    """The sums of several shares of one row, added in pass order: <f8 as float64, counts as int64."""
    total: dict[str, NDArray[np.generic]] = {}
    for part in parts:
        for name, values in part.items():
            wide = np.asarray(values, dtype=np.float64 if values.dtype.kind == "f" else np.int64)
            total[name] = total[name] + wide if name in total else wide  # type: ignore[operator]
    return total


def values(sums: Sums, metrics: Iterable[MetricDecl]) -> dict[str, NDArray[np.float64]]:
    """The published values of one row from its folded sums (math.md, "Loss"): mean = S / n,
    s^2 = max(0, (Q - S^2 / n) / (n - 1)), sem = s / sqrt(n); NaN where n is too small. Non-finite sums stay.

    Several rows at once: sums (K, W) with n (K, 1); the values are those of each row alone, to the bit."""
    n = np.asarray(sums["n"], dtype=np.float64)
    least = float(n.min())
    out: dict[str, NDArray[np.float64]] = {}
    with np.errstate(all="ignore"):
        for metric in metrics:
            for name, value in metric.values.items():
                s = np.asarray(sums[value.sum], dtype=np.float64)
                if value.op == "mean":
                    out[name] = s / n
                else:
                    assert value.square is not None
                    # One array is worked in: new ones for each step would cost as much as the arithmetic.
                    spread = np.multiply(s, s, out=np.empty(np.broadcast_shapes(s.shape, n.shape)))
                    np.divide(spread, n, out=spread)
                    np.subtract(np.asarray(sums[value.square], dtype=np.float64), spread, out=spread)
                    np.divide(spread, n - 1, out=spread)
                    unknown = np.isnan(spread)
                    np.maximum(0.0, spread, out=spread)
                    if unknown.any():
                        spread[unknown] = np.nan  # not the sign that it may have
                    np.divide(spread, n, out=spread)
                    out[name] = np.sqrt(spread, out=spread)
                needed = 1 if value.op == "mean" else 2
                if least < needed:
                    out[name] = np.where(n < needed, np.nan, out[name])
    return out


def sem_of_estimate(sem: NDArray[np.float64], n: int, samples: int) -> NDArray[np.float64]:
    """How far the finished surface may still move: sem * sqrt(1 - n / N), 0 after the last pass (finite population
    correction, Cochran 1977, section 2.6)."""
    return sem * np.sqrt(max(0.0, 1.0 - n / samples))
