"""The space in which values lie on the GPU: near [0, 2), float32, and the same as long as the range hardly changes.

    coded = (T(value) - offset) / spread      T: the identity, or log10 where a scale is logarithmic
    unit  = a * coded + b                     0 at the scale's low end, 1 at its high end

`spread` is a power of two and `offset` a multiple of it, both functions of the scale alone: while rows come and the
range grows a little, values stay as they lie and only a and b change; and a picture that rows built up is bit for bit
the one drawn from scratch. float32 so keeps what float64 tells apart: 1e6 + 0.001 as well as 2e10 beside 0.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from renderer.auto import Scale

CLIPPED = (
    1.5  # clipped values are held below this unit value, or a spline through 1e6 beside 1 would dip far under the 1
)
FINE = 8  # the ceiling is rounded up to such a part of the spread, so that it too stays where it is
LOW, HIGH = -1e30, 1e30  # coded: what has no logarithm, and no ceiling
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """Offset and spread in values or, with `log`, in decades. Halves are kept: the whole may not be finite."""

    log: bool
    half_offset: float
    half_spread: float
    a: float  # unit = a * coded + b
    b: float
    least: float  # coded values are held above it: where a logarithmic scale begins, if something has no logarithm
    ceiling: float  # and below it

    def code(self, values: Floats) -> Floats:
        """Coded values, float64 whatever they were; NaN stays."""
        values = np.asarray(values, np.float64)
        with np.errstate(all="ignore"):
            if self.log:
                values = np.where(values > 0, np.log10(values), np.where(values <= 0, -1e300, values))
            return np.clip((values * 0.5 - self.half_offset) / self.half_spread, LOW, HIGH)

    def unit(self, coded: Floats) -> Floats:
        """Unit values of coded ones, held between `least` and `ceiling` as the GPU holds them (shaders/units.frag)."""
        return self.a * np.clip(coded, self.least, self.ceiling) + self.b

    @property
    def space(self) -> tuple[bool, float, float]:
        """What coded values depend on."""
        return self.log, self.half_offset, self.half_spread


def of(scale: Scale) -> Reference:
    """The reference of a scale."""
    lo, hi = (math.log10(scale.lo), math.log10(scale.hi)) if scale.log else (scale.lo, scale.hi)
    half_span = max(hi * 0.5 - lo * 0.5, 1e-320)
    half_spread = math.ldexp(1.0, min(math.frexp(half_span)[1], 1022))  # half_spread / 2 <= half_span < half_spread
    half_offset = math.floor(lo * 0.5 / half_spread) * half_spread
    a, b = half_spread / half_span, (half_offset - lo * 0.5) / half_span
    ceiling = HIGH if scale.clip is None else math.ceil((CLIPPED - b) / a * FINE) / FINE
    return Reference(scale.log, half_offset, half_spread, a, b, -b / a if scale.below else 2 * LOW, ceiling)
