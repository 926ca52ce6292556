"""Round numbers along a scale, and how a number is written for a person."""

from __future__ import annotations

import math
from typing import NamedTuple

SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
MINUS = "−"


class Tick(NamedTuple):
    value: float
    label: str


def number(value: float, digits: int = 4) -> str:
    """A value for reading: 0.0286, 847.2, 2 × 10¹⁰, −3; `digits` significant ones, no trailing zeros."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else MINUS + "∞"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if -4 <= exponent < 6:
        text = f"{value:.{max(0, digits - 1 - exponent)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text.replace("-", MINUS)
    return _scientific(value, exponent, digits)


def _scientific(value: float, exponent: int, digits: int) -> str:
    mantissa = (
        f"{value / 10.0**exponent:.{digits - 1}f}" if exponent > -300 else f"{value:.{digits - 1}e}".split("e")[0]
    )
    mantissa = (mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa).replace("-", MINUS)
    power = "10" + str(exponent).translate(SUPERSCRIPTS)
    return power if mantissa == "1" else f"{MINUS}{power}" if mantissa == MINUS + "1" else f"{mantissa} × {power}"


def nice_step(span: float, count: int) -> float:
    """The step out of 1, 2, 2.5, 5 times a power of ten that cuts `span` into about `count` pieces."""
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 1e-300 else 1e-300
    for m in (1.0, 2.0, 2.5, 5.0, 10.0):
        if raw <= m * power * (1 + 1e-9):
            return m * power
    return 10 * power


def linear(lo: float, hi: float, count: int = 5) -> list[Tick]:
    """Round values in [lo, hi], about `count` steps, labelled with as many decimals as the step needs."""
    span = hi - lo
    if math.isinf(span) and math.isfinite(lo) and math.isfinite(hi):  # the difference of the largest numbers
        return [Tick(t.value * 4, number(t.value * 4, 3)) for t in linear(lo / 4, hi / 4, count)]
    if not span > 0:
        return [Tick(lo, number(lo))] if math.isfinite(lo) else []
    step = nice_step(span, count)
    first, last = math.ceil(lo / step - 1e-6), math.floor(hi / step + 1e-6)
    if last - first > 10 * count or abs(first) > 2**52:  # float64 cannot tell the steps apart
        return [Tick(lo, number(lo)), Tick(hi, number(hi))]
    values = [k * step for k in range(first, last + 1)]
    largest = max(abs(lo), abs(hi))
    exponent = math.floor(math.log10(largest))
    if -4 <= exponent < 6 or (6 <= exponent < 9 and step < 10):
        decimals = _decimals(step)
        return [Tick(v, f"{v:.{decimals}f}".replace("-", MINUS) if v else "0") for v in values]
    digits = max(1, exponent - math.floor(math.log10(step)) + 1 + _decimals(step / 10 ** math.floor(math.log10(step))))
    return [Tick(v, number(v, min(digits, 12))) for v in values]


def _decimals(step: float) -> int:
    for d in range(13):
        if abs(step * 10**d - round(step * 10**d)) < 1e-6 * max(1.0, step * 10**d):
            return d
    return 13


def mantissas(decades: float, count: int) -> tuple[tuple[int, ...], int]:
    """Which multiples in a decade, and every how many decades, give about `count` values over `decades` decades."""
    per = count / max(decades, 1e-9)
    for least, multiples in ((7.5, tuple(range(1, 10))), (2.3, (1, 2, 5)), (1.6, (1, 3)), (0.75, (1,))):
        if per >= least:
            return multiples, 1
    return (1,), max(2, round(1 / per))


def log(lo: float, hi: float, count: int = 6) -> list[Tick]:
    """Round values in [lo, hi], lo > 0, for a logarithmic scale; linear ticks where less than a decade is shown."""
    decades = math.log10(hi) - math.log10(lo)
    if decades < 0.7:
        return linear(lo, hi, count)
    multiples, stride = mantissas(decades, count)
    first, last = math.floor(math.log10(lo)), math.ceil(math.log10(hi))
    out = []
    for e in range(first, last + 1):
        if e % stride == 0:
            for m in multiples:
                v = float(f"{m}e{e}")
                if lo * (1 - 1e-9) <= v <= hi * (1 + 1e-9):
                    out.append(Tick(v, number(v, 3)))
    return out if len(out) > 1 else [Tick(lo, number(lo, 3)), Tick(hi, number(hi, 3))]
