"""From which persistence on a pair of critical points is shown (math.md names the rules; so does every summary)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.files import Surface

ROUNDING = 1e-6  # of the loss: the mean of float32 losses is no better known
IMPORTED = 0.01  # of the interquartile range, for a surface without a record of its data
TINY = np.finfo(np.float64).tiny  # above zero: a tie alone is never a pair, whatever the rule


@dataclass(frozen=True)
class Threshold:
    """Pairs of a persistence under max(`absolute`, `relative` * |loss|) are hidden; |loss| is the larger of both ends.

    `kind` is rounding, number or interquartile; `note` says in a sentence what the rule does not know.
    """

    kind: str
    absolute: float
    relative: float
    noise_estimate: bool
    note: str = ""

    def at(self, birth: NDArray[np.float64], death: NDArray[np.float64]) -> NDArray[np.float64]:
        """The threshold of pairs with these losses at their ends."""
        return np.maximum(self.absolute, self.relative * np.maximum(np.abs(birth), np.abs(death)))


def choose(surface: Surface, given: str | float, present: NDArray[np.bool_]) -> Threshold:
    """The threshold that was asked for. Raises InputError for one that cannot be had."""
    if given == "sampling":
        raise InputError(
            "threshold: expected auto, rounding or a number, got 'sampling', which needs the model and its data and "
            "is not available yet: use rounding",
            path="$.options.threshold",
        )
    if not isinstance(given, str):
        if not math.isfinite(given) or given < 0:
            raise InputError(
                f"threshold: expected a finite number of at least 0, got {given}", path="$.options.threshold"
            )
        return Threshold("number", float(given), 0.0, False)
    meta = surface.meta
    if given == "rounding" or (given == "auto" and (meta.samples or meta.precision_deviation is not None)):
        note = ""
        deviation = meta.precision_deviation if isinstance(meta.precision_deviation, float) else None
        if meta.precision != "fp32" and deviation is None:
            note = f"no deviation from fp32 is recorded for {meta.precision}: {ROUNDING:g} of the loss was taken"
        elif not meta.samples:
            note = "the surface does not say how many samples it was measured on"
        elif np.any(surface.n[present] < meta.samples):
            note = "not all points have seen all of the data yet: more pairs may vanish than rounding explains"
        return Threshold("rounding", TINY, max(deviation or 0.0, ROUNDING), not note, note)
    if given != "auto":
        raise InputError(
            f"threshold: expected auto, rounding, sampling or a number, got '{given}'", path="$.options.threshold"
        )
    low, high = np.percentile(surface.loss[present], (25, 75))
    with np.errstate(over="ignore"):
        absolute = max(IMPORTED * float(high - low), TINY)
    return Threshold("interquartile", absolute, 0.0, False, "no noise estimate")
