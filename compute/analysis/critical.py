"""Critical points of a surface, each with the persistence of its pair.

A minimum and the saddle where its valley first runs into a deeper one are a pair, as are a maximum and the saddle below
it; the difference of their losses is the pair's persistence: how much the surface would have to change for both to
vanish (Edelsbrunner & Harer 2010, VII). Pairs under a threshold are hidden (thresholds.py). Lowest of all, one minimum
has no partner: its persistence is infinite.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.files import CRITICAL_DTYPE, Surface

from .entry import Findings
from .freudenthal import Ranked, beside_absent, rank_vertices
from .persistence import Pairs, maximum_pairs, minimum_pairs
from .thresholds import Threshold, choose

PHASES = 4


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`threshold`: a pair of a smaller persistence is hidden. rounding: the surface's recorded deviation from fp32, at
    least 1e-6 of the loss there; a number: in units of the loss, 0 shows every pair; auto: rounding where the surface
    says what it was measured on, else 1 % of its interquartile range. sampling is not available yet."""

    threshold: Literal["auto", "rounding", "sampling"] | Annotated[float, msgspec.Meta(ge=0)] = "auto"


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Shown points. A saddle counts as often as pairs of it are shown (once, but for monkey saddles)."""

    minima: int = 0
    saddles: int = 0
    maxima: int = 0


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """`interior` counts what people are told; `rim` the shown points on the border of the grid or beside a hole, where
    the surface beyond is not known. `euler` is minima - saddles + maxima over all of both, hidden pairs included or
    not: 1 where no point is left out. `threshold_value` is in units of the loss, or a share of it where `relative`.
    """

    interior: Counts
    rim: Counts
    hidden_pairs: int
    euler: int
    left_out: int  # points that diverged or were not measured
    threshold: str  # rounding, number or interquartile
    threshold_value: float
    relative: bool
    noise_estimate: bool
    note: str = ""


def make(surface: Surface, options: Options) -> Generator[tuple[int, int], None, Findings]:
    """The shown points as `critical` (CRITICAL_DTYPE, most persistent first), and a Summary.

    `multiplicity` is 1, but for a saddle the number of its shown pairs; `pair` is the row of the partner (of a multiple
    saddle, its most persistent one; the others point to it), -1 where persistence is infinite: a component's lowest
    minimum, and a saddle whose loop goes round a hole. Ties are broken by index. The surface is only read.
    """
    present = np.isfinite(surface.loss) & (surface.n > 0)
    if not present.any():
        raise InputError("surface: expected at least one measured point with a finite loss, found none")
    threshold = choose(surface, options.threshold, present)
    yield 0, PHASES
    ranked = rank_vertices(surface.loss, present)
    yield 1, PHASES
    minima = minimum_pairs(ranked)
    yield 2, PHASES
    pairs = Pairs(minima, *maximum_pairs(ranked))
    yield 3, PHASES
    points, hidden = shown_points(surface, ranked, pairs, threshold)
    yield 4, PHASES
    return Findings(_summary(points, hidden, int(np.sum(~present)), threshold), {"critical": points})


def shown_points(surface: Surface, ranked: Ranked, pairs: Pairs, threshold: Threshold) -> tuple[NDArray[np.void], int]:
    """CRITICAL_DTYPE rows of the pairs at or over the threshold, and how many pairs are under it."""
    width = len(surface.alpha) + 2
    i, j = ranked.vertex // width - 1, ranked.vertex % width - 1
    loss = surface.loss[i, j]  # by rank
    extrema = np.concatenate([pairs.minima[:, 0], pairs.maxima[:, 0], np.full(len(pairs.loops), -1)])
    saddles = np.concatenate([pairs.minima[:, 1], pairs.maxima[:, 1], pairs.loops])
    both = (extrema >= 0) & (saddles >= 0)
    persistence = np.full(len(both), np.inf)
    a, b = loss[extrema[both]], loss[saddles[both]]
    with np.errstate(over="ignore"):  # between losses of 1e308 and -1e308: infinite, as good as any
        persistence[both] = np.abs(a - b)
    kept = np.ones(len(both), bool)
    kept[both] = persistence[both] >= threshold.at(a, b)
    is_minimum = np.arange(len(both)) < len(pairs.minima)
    # A multiple saddle is one row: its pairs are sorted, the most persistent first, and the first one stands.
    order = np.flatnonzero(kept)
    order = order[np.lexsort((extrema[order], saddles[order], -persistence[order]))]
    extrema, saddles, persistence, is_minimum = (x[order] for x in (extrema, saddles, persistence, is_minimum))
    has_extremum, has_saddle = np.flatnonzero(extrema >= 0), np.flatnonzero(saddles >= 0)
    saddle_rank, first, of, times = np.unique(
        saddles[has_saddle], return_index=True, return_inverse=True, return_counts=True
    )
    n = len(has_extremum)
    extremum_row = np.full(len(order), -1)
    extremum_row[has_extremum] = np.arange(n)
    saddle_row = np.full(len(order), -1)
    saddle_row[has_saddle] = n + of
    rank = np.concatenate([extrema[has_extremum], saddle_rank])
    partner = np.concatenate([saddle_row[has_extremum], extremum_row[has_saddle[first]]])
    out = np.zeros(len(rank), CRITICAL_DTYPE)
    out["kind"][:n] = np.where(is_minimum[has_extremum], "minimum", "maximum")
    out["kind"][n:] = "saddle"
    out["i"], out["j"], out["loss"] = i[rank], j[rank], loss[rank]
    out["alpha"], out["beta"] = surface.alpha[out["j"]], surface.beta[out["i"]]
    out["multiplicity"] = np.concatenate([np.ones(n, np.int64), times])
    out["persistence"] = np.concatenate([persistence[has_extremum], persistence[has_saddle[first]]])
    rows = np.lexsort((rank, -out["persistence"]))
    back = np.empty(len(rows) + 1, np.int64)
    back[rows], back[-1] = np.arange(len(rows)), -1
    out["pair"] = back[partner]
    out["border"] = (out["i"] == 0) | (out["j"] == 0) | (out["i"] == len(surface.beta) - 1) | (
        out["j"] == len(surface.alpha) - 1
    )  # fmt: skip
    out["beside_hole"] = beside_absent(ranked.absent)[out["i"], out["j"]]
    return out[rows], int(np.sum(~kept))


def _summary(points: NDArray[np.void], hidden: int, left_out: int, threshold: Threshold) -> Summary:
    rim = (points["border"] > 0) | (points["beside_hole"] > 0)

    def count(which: NDArray[np.bool_]) -> Counts:
        kind = {k: int(points["multiplicity"][which & (points["kind"] == k)].sum()) for k in _KINDS}
        return Counts(minima=kind["minimum"], saddles=kind["saddle"], maxima=kind["maximum"])

    total = count(np.ones(len(points), bool))
    return Summary(
        interior=count(~rim),
        rim=count(rim),
        hidden_pairs=hidden,
        euler=total.minima - total.saddles + total.maxima,
        left_out=left_out,
        threshold=threshold.kind,
        threshold_value=threshold.relative or threshold.absolute,
        relative=threshold.relative > 0,
        noise_estimate=threshold.noise_estimate,
        note=threshold.note,
    )


_KINDS = ("minimum", "saddle", "maximum")
