"""Round numbers along a scale, isoline levels, and how a number is written."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderer import levels, ticks

finite = st.floats(min_value=-1e300, max_value=1e300, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.02862285, "0.02862"),
        (847.2077, "847.2"),
        (2e10, "2 × 10¹⁰"),
        (1e10, "10¹⁰"),
        (-3.0, "−3"),
        (0, "0"),
        (1.5e-7, "1.5 × 10⁻⁷"),
        (100000, "100000"),
        (math.inf, "∞"),
        (math.nan, "NaN"),
    ],
)
def test_numbers_are_written_for_a_reader(value, text):
    assert ticks.number(value) == text


@given(finite, finite, st.integers(2, 12))
def test_linear_ticks_lie_in_the_range_in_order(a, b, count):
    lo, hi = min(a, b), max(a, b)
    values = [t.value for t in ticks.linear(lo, hi, count)]
    slack = 1e-5 * (hi - lo)
    assert all(lo - slack <= v <= hi + slack for v in values)
    assert values == sorted(values)
    assert len(values) <= 3 * count + 2


@pytest.mark.parametrize(("lo", "hi"), [(-9, 9.75), (-0.5, 0.5), (0.07, 0.33), (-1.7e308, 1.7e308), (1e6, 1e6 + 0.05)])
def test_linear_ticks_are_a_handful_with_different_labels(lo, hi):
    found = ticks.linear(lo, hi)
    assert 3 <= len(found) <= 11
    assert len({t.label for t in found}) == len(found)


def test_log_ticks_are_powers_of_ten_over_many_decades():
    found = ticks.log(0.2, 2e10)
    assert {t.label for t in found} <= {ticks.number(10.0**e) for e in range(-1, 11)}
    assert 4 <= len(found) <= 8


@given(st.floats(1e-280, 1e280), st.floats(1.0001, 1e12), st.integers(2, 12))
def test_log_ticks_lie_in_the_range(lo, factor, count):
    hi = lo * factor
    found = ticks.log(lo, hi, count)
    assert all(lo * (1 - 1e-6) <= t.value <= hi * (1 + 1e-6) for t in found)
    assert len(found) <= 40


@given(finite, finite, st.integers(1, 60))
def test_levels_lie_strictly_inside_and_never_pass_the_shaders_room(a, b, count):
    lo, hi = min(a, b), max(a, b)
    found = levels.linear(lo, hi, count)
    assert len(found) <= levels.MOST
    assert all(lo < level.value < hi for level in found)


def test_log_levels_mark_powers_of_ten():
    found = levels.log(0.03, 847, 16)
    assert [level.value for level in found if level.major] == [0.1, 1, 10, 100]
    assert len(found) == 13


def test_quantile_levels_cut_the_values_into_equal_parts():
    values = np.random.default_rng(0).lognormal(size=10_000)
    found = levels.quantile(np.append(values, [np.nan, np.inf]), 9)
    shares = np.diff([0, *(np.mean(values < level.value) for level in found), 1])
    assert np.allclose(shares, 0.1, atol=0.01)


def test_given_levels_are_sorted_and_taken_once():
    assert [level.value for level in levels.given((2.0, 1.0, 2.0))] == [1.0, 2.0]
