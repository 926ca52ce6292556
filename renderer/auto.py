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
SAMPLE = 1 << 16
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


def thin(values: Floats) -> Floats:
    """At most about SAMPLE of the values, evenly spaced: enough for a quantile, and quick for a million points."""
    return values[:: -(-len(values) // SAMPLE)]


def scale(values: Floats, n: NDArray[np.int64], view: View) -> Scale:
    """The scale of `values` (H, W), of which those with n == 0 are not measured and others not finite diverged."""
    return shared([(values, n)], view)[0]


def shared(fields: Sequence[tuple[Floats, NDArray[np.int64]]], view: View) -> list[Scale]:
    """The scales of several fields (values, n) that are compared: one range, one threshold, one set of levels, from the
    points of all; the counts and the lowest point are each field's own."""
    counted = [_counts(values, n, view) for values, n in fields]
    finites = [finite for _, finite in counted if finite.size]
    if not finites:
        return [Scale(**counts) for counts, _ in counted]
    sample = np.concatenate([thin(finite) for finite in finites])
    lo, hi = min(float(f.min()) for f in finites), max(float(f.max()) for f in finites)
    q02, q05, q95, q98 = (float(q) for q in np.quantile(sample, [0.02, 0.05, 0.95, 0.98]))

    wanted = {"on": True, "off": False, "auto": lo > 0 and view.metric != "accuracy" and q98 / LOG_RATIO > q02}
    some_positive = hi > 0
    log_color = wanted[view.log_color] and some_positive
    log_height = wanted[view.log_height] and some_positive
    below = [0] * len(counted)
    if log_color or log_height:
        below = [int(np.count_nonzero(finite <= 0)) for _, finite in counted]
        lo = min(float(f[f > 0].min()) for f in finites if (f > 0).any())

    clip = None
    if isinstance(view.clip, float | int):
        clip = float(view.clip)
    elif view.clip == "auto" and not log_color and hi * 0.5 - q95 * 0.5 > OUTLIER_RATIO * (q95 * 0.5 - q05 * 0.5) > 0:
        clip = q98 if q98 > q95 else q95
    clipped = [int(np.count_nonzero(finite > clip)) if clip is not None else 0 for _, finite in counted]
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
        for (counts, _), over, under in zip(counted, clipped, below)
    ]


def _counts(values: Floats, n: NDArray[np.int64], view: View) -> tuple[dict[str, Any], Floats]:
    """What is a field's own in its scale, and its finite values."""
    seen = n > 0
    valid = seen & np.isfinite(values)
    finite = values[valid]
    counts: dict[str, Any] = {
        "measured": int(finite.size),
        "diverged": int(np.count_nonzero(seen & ~valid)),
        "missing": int(np.count_nonzero(~seen)),
    }
    if finite.size:
        masked = np.where(valid, values, -np.inf if view.metric == "accuracy" else np.inf)
        flat = int(masked.argmax() if view.metric == "accuracy" else masked.argmin())
        counts["lowest"] = (flat // values.shape[1], flat % values.shape[1])
    return counts, finite


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
