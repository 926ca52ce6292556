"""Which isolines to draw: round values, linear, logarithmic or by quantiles, the major ones marked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from renderer import ticks

MOST = 60  # levels; the shader holds 64


class Level(NamedTuple):
    value: float
    major: bool


def linear(lo: float, hi: float, count: int) -> list[Level]:
    """Multiples of a round step inside (lo, hi), about `count`; every fifth multiple (fourth of 2.5) is major."""
    span = hi - lo
    if math.isinf(span) and math.isfinite(lo) and math.isfinite(hi):
        return [Level(level.value * 4, level.major) for level in linear(lo / 4, hi / 4, count)]
    if not span > 0:
        return []
    step = ticks.nice_step(span, count)
    every = 4 if f"{step:e}".startswith("2.5") else 5
    first, last = math.floor(lo / step) + 1, math.ceil(hi / step) - 1
    if last - first > 4 * MOST or abs(first) > 2**52:
        return []
    return [Level(k * step, k % every == 0) for k in range(first, last + 1)][:MOST]


def log(lo: float, hi: float, count: int) -> list[Level]:
    """Round values strictly inside (lo, hi), lo > 0, evenly spread over the decades; powers of ten are major."""
    decades = math.log10(hi) - math.log10(lo)
    if decades < 0.7:
        return linear(lo, hi, count)
    multiples, stride = ticks.mantissas(decades, count)
    out = []
    for e in range(math.floor(math.log10(lo)), math.ceil(math.log10(hi)) + 1):
        if e % stride == 0:
            out += [Level(v, m == 1) for m in multiples if lo < (v := float(f"{m}e{e}")) < hi]
    return out[:MOST]


def describe(levels: Sequence[Level], spacing: str) -> str:
    """The rule of the levels in words: "3 per decade, thick at 0.01, 0.1, 1"."""
    if not levels:
        return ""
    values, major = [level.value for level in levels], [level.value for level in levels if level.major]
    if spacing == "quantile":
        return f"{len(values)} quantiles: equally many points between them"
    if spacing == "given":
        return "at " + _listed(values)
    steps = [b - a for a, b in itertools.pairwise(values)]
    if steps and max(steps) - min(steps) <= 1e-6 * max(steps):  # a narrow logarithmic range has linear levels too
        text = f"every {ticks.number(steps[0], 3)}"
        every = 4 if f"{steps[0]:e}".startswith("2.5") else 5
        return text + (
            f", thick every {ticks.number(every * steps[0], 3)}" if major and len(major) < len(values) else ""
        )
    if spacing == "linear" or len(values) < 2:
        return "at " + _listed(values)
    in_decade = sorted({round(float(f"{v:.6e}".split("e")[0])) for v in values})
    if len(in_decade) == 1:
        apart = round(math.log10(values[1] / values[0]))
        return f"one per decade: {_listed(values)}" if apart == 1 else f"every {apart} decades: {_listed(values)}"
    thick = _listed(major) if len(major) < 4 else "powers of ten"
    return f"{len(in_decade)} per decade" + (f", thick at {thick}" if major else "")


def _listed(values: Sequence[float]) -> str:
    texts = [ticks.number(v, 3) for v in values]
    return ", ".join(texts) if len(texts) <= 5 else f"{texts[0]}, {texts[1]}, … {texts[-1]}"


def quantile(values: NDArray[np.floating], count: int) -> list[Level]:
    """`count` values that cut the finite `values` into parts of equal size; every fifth is major."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return []
    at = np.unique(np.quantile(finite, np.arange(1, count + 1) / (count + 1)))
    return [Level(float(v), k % 5 == 2) for k, v in enumerate(at) if finite.min() < v < finite.max()][:MOST]


def given(values: tuple[float, ...]) -> list[Level]:
    """The values asked for, sorted, each once; all are major."""
    return [Level(v, True) for v in sorted(set(values))][:MOST]
