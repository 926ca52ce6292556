"""The automatic view: from measured values and a view to the scales that are drawn.

Readable for any finite range: a field that spans 0.2 to 2e10 gets logarithmic colours and heights, one with outliers
that no logarithm can take gets a plateau, a constant one gets a scale around its value.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol.view import View
from renderer import levels, ticks

LOG_RATIO = 30.0  # a positive field whose 2 % and 98 % quantiles are so far apart is drawn on a logarithmic scale
OUTLIER_RATIO = 20.0  # a plateau where the range is so many times the spread of the middle 90 %
SAMPLE = 1 << 15  # values that quantiles are taken of
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The scales of one picture. A *unit* value is 0 at `lo` and 1 at `hi`, in the scale's own space."""

    lo: float = 0.0
    hi: float = 1.0
    log_color: bool = False
    log_height: bool = False
    clip: float | None = None  # the threshold in use, where some value is above it
    clipped: int = 0  # points above it
    measured: int = 0  # points with a finite value
    diverged: int = 0
    missing: int = 0
    below: int = 0  # points <= 0 that a logarithmic scale draws at `lo`
    lowest: tuple[int, int] | None = None  # (i, j) of the best point: lowest loss, highest accuracy
    constant: bool = False
    levels: tuple[levels.Level, ...] = field(default=())
    spacing: str = ""  # of the levels: linear, log, quantile or given

    @property
    def log(self) -> bool:
        """Whether values are resampled in logarithms: where one of the two scales is logarithmic."""
        return self.log_color or self.log_height

    def unit(self, values: Floats, log: bool | None = None) -> Floats:
        """Values to unit values, in the space of resampling or, with `log` given, of that scale."""
        log = self.log if log is None else log
        values = np.asarray(values, np.float64)
        with np.errstate(all="ignore"):
            if log:
                a, b = math.log10(self.lo), math.log10(self.hi)
                return (np.log10(np.maximum(values, self.lo)) - a) / (b - a)
            # halves keep hi - lo finite at the ends of float64
            return (values * 0.5 - self.lo * 0.5) / (self.hi * 0.5 - self.lo * 0.5)

    def convert(self, units: Floats, log: bool) -> Floats:
        """Unit values of the space of resampling to unit values of a scale that is (not) logarithmic."""
        if log == self.log:
            return units
        a, b = math.log10(self.lo), math.log10(self.hi)
        return (10.0 ** (a + units * (b - a)) - self.lo) / (self.hi - self.lo)

    @property
    def floor(self) -> float:
        """The value at which the floor of the raised picture stands: a round one somewhat below `lo`."""
        return floor(self.lo, self.hi, self.log_height)

    def depth(self, value: float) -> float:
        """How far a value <= lo lies under `lo`, in units of the height scale."""
        if value >= self.lo:
            return 0.0
        if self.log_height:
            return (math.log10(self.lo) - math.log10(value)) / (math.log10(self.hi) - math.log10(self.lo))
        return (self.lo * 0.5 - value * 0.5) / (self.hi * 0.5 - self.lo * 0.5)

    def ticks(self, count: int, log: bool, normalise: bool) -> list[tuple[float, str]]:
        """(unit value, label) for a scale: round values of the metric, or 0 to 1 of its own height."""
        if normalise:
            return [(t.value, t.label) for t in ticks.linear(0.0, 1.0, 5)]
        marks = ticks.log(self.lo, self.hi, count) if log else ticks.linear(self.lo, self.hi, count)
        units = self.unit(np.array([t.value for t in marks], float), log) if marks else np.zeros(0)
        return [(float(u), t.label) for u, t in zip(units, marks)]


FREE = 0.12  # the least share of the range that stays free under the surface
TOUCH = 0.35  # a scale that begins so near to zero begins there


def floor(lo: float, hi: float, log: bool) -> float:
    """A round value under `lo` for the floor, so that the height axis has a tick there; `lo` where none is near.

    A measure that is never negative gets no negative floor: from near zero the floor is zero.
    """
    span = hi - lo
    if not (math.isfinite(span) and span > 0):
        return lo
    decades = math.log10(hi) - math.log10(lo) if log else 0.0
    if decades > 0.3:  # over less a logarithm is nearly straight
        want = math.log10(lo) - FREE * decades
        if not -300 < want < 300:
            return lo
        power = math.floor(want)
        fine = (1, 2, 5) if decades >= 1.2 else tuple(range(1, 10))
        steps = (1,) if decades >= 3 else fine
        mantissa = max((m for m in steps if m <= 10 ** (want - power) * (1 + 1e-9)), default=1)
        return float(f"{mantissa}e{power}")
    if 0 <= lo <= TOUCH * span and not log:
        return 0.0
    step = ticks.nice_step(span, 5)
    value = math.floor((lo - FREE * span) / step) * step
    return value if value < lo and abs(lo) < 1e9 * span and (value > 0 or not log) else lo


class Tally:
    """What a scale needs to know of a field (H, W), kept a row, so that a row that comes costs a row and not the field.

    Points with n == 0 are not measured, others that are not finite diverged. `values` stays the caller's: tell each row
    of it that changed to `row`.
    """

    def __init__(self, values: Floats, n: NDArray[np.integer[Any]]) -> None:
        height, width = values.shape
        self.values = values
        self.finite, self.seen, self.positive = (np.zeros(height, np.int64) for _ in range(3))
        self.low, self.high, self.least = (np.full(height, v) for v in (np.inf, -np.inf, np.inf))
        stride = min(max(1, -(-height * width // SAMPLE)), width)
        # every so many columns, each row beginning elsewhere: no line of the grid is left out of the sample
        self._columns = np.arange(0, width - stride + 1, stride) + 7 * np.arange(height)[:, None] % stride
        self._sample = np.zeros(self._columns.shape)
        self._valid = np.zeros(values.shape, bool)
        for i in range(0, height, 64):  # in pieces: copies of the whole field would take several times its memory
            self._count(slice(i, i + 64), n[i : i + 64])

    def row(self, i: int, n: NDArray[np.integer[Any]]) -> None:
        """Row i of `values` changed; `n` (W,) are its samples."""
        self._count(slice(i, i + 1), n[None])

    def _count(self, at: slice, n: NDArray[np.integer[Any]]) -> None:
        values = self.values[at]
        seen = n > 0
        valid = self._valid[at] = seen & np.isfinite(values)
        self.seen[at] = np.count_nonzero(seen, 1)
        self.finite[at] = np.count_nonzero(valid, 1)
        low = np.where(valid, values, np.inf)
        self.low[at] = low.min(1)
        self.high[at] = np.where(valid, values, -np.inf).max(1)
        with np.errstate(invalid="ignore"):
            positive = valid & (values > 0)
        self.positive[at] = np.count_nonzero(positive, 1)
        self.least[at] = np.where(positive, values, np.inf).min(1)
        self._sample[at] = np.take_along_axis(np.where(valid, values, np.nan), self._columns[at], 1)

    @property
    def count(self) -> int:
        """How many points have a finite value."""
        return int(self.finite.sum())

    def sample(self) -> Floats:
        """At most about SAMPLE of the finite values, evenly spaced: enough for a quantile."""
        some: Floats = self._sample[np.isfinite(self._sample)]
        if not some.size and self.count:  # all of them lie between the columns looked at
            some = self.values[self._valid].astype(np.float64)
        return some

    def above(self, value: float) -> int:
        """How many finite values are over `value`."""
        rows = np.flatnonzero(self.high > value)
        with np.errstate(invalid="ignore"):
            over = self.values[rows] > np.float64(value)  # which float32 may not hold
        return int(np.count_nonzero(self._valid[rows] & over))

    def best(self, highest: bool) -> tuple[int, int]:
        """(i, j) of the lowest finite value, or the highest: the first in order of rows."""
        i = int(self.high.argmax() if highest else self.low.argmin())
        return i, int(np.argmax(self._valid[i] & (self.values[i] == (self.high if highest else self.low)[i])))


def scale(values: Floats, n: NDArray[np.integer[Any]], view: View) -> Scale:
    """The scale of `values` (H, W), of which those with n == 0 are not measured and others not finite diverged."""
    return shared([(values, n)], view)[0]


def shared(fields: Sequence[tuple[Floats, NDArray[np.integer[Any]]]], view: View) -> list[Scale]:
    """The scales of several fields (values, n) that are compared: one range, one threshold, one set of levels, from the
    points of all; the counts and the lowest point are each field's own."""
    return tallied([Tally(values, n) for values, n in fields], view)


def tallied(tallies: Sequence[Tally], view: View) -> list[Scale]:
    """The same of fields that are counted already."""
    counted = [_counts(tally, view) for tally in tallies]
    measured = [tally for tally in tallies if tally.count]
    if not measured:
        return [Scale(**counts) for counts in counted]
    sample = np.concatenate([tally.sample() for tally in measured])
    lo, hi = float(min(t.low.min() for t in measured)), float(max(t.high.max() for t in measured))
    q02, q05, q95, q98 = _quantiles(sample)

    wanted = {"on": True, "off": False, "auto": lo > 0 and view.metric != "accuracy" and q98 / LOG_RATIO > q02}
    some_positive = hi > 0
    log_color = wanted[view.log_color] and some_positive
    log_height = wanted[view.log_height] and some_positive
    below = [0] * len(counted)
    if log_color or log_height:
        below = [tally.count - int(tally.positive.sum()) for tally in tallies]
        lo = float(min(t.least.min() for t in measured))

    clip = None
    if isinstance(view.clip, float | int):
        clip = float(view.clip)
    elif view.clip == "auto" and not log_color and hi * 0.5 - q95 * 0.5 > OUTLIER_RATIO * (q95 * 0.5 - q05 * 0.5) > 0:
        clip = q98 if q98 > q95 else q95
    clipped = [tally.above(clip) if clip is not None else 0 for tally in tallies]
    if clip is not None and any(clipped) and clip > lo:
        hi = clip
    elif any(clipped):  # everything is above the threshold: keep a scale, say so in the legend
        hi = float(np.nextafter(lo, math.inf))
    else:
        clip = None

    constant = not hi > lo or (hi - lo) <= 1e-12 * max(abs(lo), abs(hi))
    if constant:
        log_color = log_height = False
        half = 0.5 * abs(lo) if lo else 0.5
        lo, hi = max(lo - half, -1.7e308), min(lo + half, 1.7e308)
    common = Scale(lo=lo, hi=hi, log_color=log_color, log_height=log_height, clip=clip, constant=constant)
    if not constant:
        common = _with_levels(common, sample, view)
    return [
        dataclasses.replace(common, clipped=over, below=under, **counts)
        for counts, over, under in zip(counted, clipped, below)
    ]


def _quantiles(sample: Floats) -> tuple[float, float, float, float]:
    """The 2, 5, 95 and 98 % quantiles of finite values, by linear interpolation: np.quantile at a third of its time."""
    at = np.array([0.02, 0.05, 0.95, 0.98]) * (len(sample) - 1)
    first = np.floor(at).astype(int)
    second = np.minimum(first + 1, len(sample) - 1)
    parted = np.partition(sample, np.unique([first, second]))
    a, b, t = parted[first], parted[second], at - first
    q02, q05, q95, q98 = (float(q) for q in a * (1 - t) + b * t)
    return q02, q05, q95, q98


def _counts(tally: Tally, view: View) -> dict[str, Any]:
    """What is a field's own in its scale."""
    seen = int(tally.seen.sum())
    counts: dict[str, Any] = {
        "measured": tally.count,
        "diverged": seen - tally.count,
        "missing": tally.values.size - seen,
    }
    if tally.count:
        counts["lowest"] = tally.best(view.metric == "accuracy")
    return counts


def _with_levels(out: Scale, sample: Floats, view: View) -> Scale:
    wish = view.contours
    spacing = wish.spacing if wish.spacing != "auto" else ("log" if out.log_color else "linear")
    if wish.values:
        found = [level for level in levels.given(wish.values) if out.lo <= level.value <= out.hi]
    elif spacing == "quantile":
        found = levels.quantile(np.minimum(sample, out.hi), wish.count)
    elif spacing == "log" and out.lo > 0:
        found = levels.log(out.lo, out.hi, wish.count)
    else:
        spacing = "linear"
        found = levels.linear(out.lo, out.hi, wish.count)
    return dataclasses.replace(out, levels=tuple(found), spacing="given" if wish.values else spacing)
