"""Curves for a chart: laws of the band and of the limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui import series

Values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)


@given(Values, st.integers(1, 50))
def test_every_value_lies_in_the_band(values, bins):
    x = np.arange(len(values))
    band = series.band(x, values, bins)
    assert 1 <= len(band.x) <= bins
    assert (band.low <= band.mean + 1e-6).all()
    assert (band.mean <= band.high + 1e-6).all()
    assert band.low.min() == min(values)
    assert band.high.max() == max(values)
    assert (np.diff(band.x) > 0).all()


def test_nan_and_infinity_are_left_out():
    band = series.band([0, 1, 2, 3], [1.0, np.nan, np.inf, 3.0], 4)
    assert band.mean.tolist() == [1.0, 3.0]
    assert len(series.band([0, 1], [np.nan, np.nan], 4).x) == 0


@given(Values)
def test_limits_hold_the_bulk_of_the_values(values):
    found = series.limits([values])
    assert found is not None
    lo, hi = found
    assert lo < hi
    assert lo <= min(values)
    assert np.mean((np.asarray(values) >= lo) & (np.asarray(values) <= hi)) >= 0.85


def test_one_explosion_does_not_flatten_a_curve():
    _, hi = series.limits([[2.0, 1.5, 1.2, 1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 1e9]])
    assert hi < 100


@pytest.mark.parametrize("values", [[], [[]], [[np.nan, np.inf]]])
def test_without_a_finite_value_there_are_no_limits(values):
    assert series.limits(values) is None
