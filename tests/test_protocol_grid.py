"""Axes: zero is exactly zero where it should be, automatic ranges cover what they must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import grid
from protocol.errors import InputError
from protocol.grid import AxisSpec, GridSpec


def test_the_seeds_axis_has_an_exact_zero() -> None:
    a = grid.axis(-9.0, 9.75, 26)
    assert a[12] == 0.0
    assert (a[0], a[-1], len(a)) == (-9.0, 9.75, 26)


def test_a_step_that_floats_cannot_hold_still_gives_an_exact_zero() -> None:
    for count in (3, 7, 11, 25, 101, 1001):
        for bound in (0.1, 0.3, 1.0, 1 / 3, 7.7):
            assert grid.axis(-bound, bound, count)[count // 2] == 0.0


def test_without_zero_among_the_points_the_start_is_kept() -> None:
    a = grid.axis(0.5, 1.5, 11)
    assert a[0] == 0.5
    assert a[-1] == pytest.approx(1.5)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3), st.integers(3, 300))
def test_an_automatic_range_covers_and_has_zero_as_a_vertex(lo: float, width: float, count: int) -> None:
    lo, hi = min(lo, 0.0), max(lo + width, 1e-3)  # boxes hold the origin
    first, last = grid.automatic_range(lo, hi, count)
    a = grid.axis(first, last, count)
    h = (hi - lo) / (count - 2)
    assert a[0] <= lo + 1e-6 * h
    assert a[-1] >= hi - 1e-6 * h
    assert 0.0 in a
    assert np.allclose(np.diff(a), h)


def test_a_path_box_is_square_in_the_larger_side_and_grown_by_a_quarter() -> None:
    (alo, ahi), (blo, bhi) = grid.path_box(np.array([4.0, 0.0]), np.array([1.0, 0.0]))
    assert (alo, ahi) == (-1.0, 5.0)
    assert (blo, bhi) == (-2.5, 3.5)


@pytest.mark.parametrize(
    ("lo", "hi", "count", "why"),
    [
        (-1, 1, 1, "a line needs two points"),
        (-1, 1, 5000, "4096"),
        (1, -1, 5, "start below its end"),
        (1, 1, 5, "start below its end"),
        (float("nan"), 1, 5, "finite"),
        (0, float("inf"), 5, "finite"),
        (1e300, np.nextafter(1e300, np.inf), 100, "closer than float64"),
        (0.0, 1e-323, 25, "closer than float64"),  # regression: ZeroDivisionError
        (-1e25, float(np.nextafter(-1e25, 0.0)), 4096, "closer than float64"),  # regression: OverflowError
        (5.0, 5.0 + 1e-15, 4096, "closer than float64"),
        (-1.7e308, 1.7e308, 5, "wider than float64"),
    ],
)
def test_a_bad_axis_is_refused_in_a_sentence(lo: float, hi: float, count: int, why: str) -> None:
    with pytest.raises(InputError, match=why):
        grid.axis(lo, hi, count)


def test_rectangular_grids_keep_their_sides_apart() -> None:
    alpha, beta = grid.resolve(GridSpec(alpha=AxisSpec(count=7), beta=AxisSpec(count=4, lo=-2, hi=1)), None)
    assert (len(alpha), len(beta)) == (7, 4)
    assert (alpha[0], alpha[-1]) == (-1.0, 1.0)
    assert (beta[0], beta[-1], beta[2]) == (-2.0, 1.0, 0.0)


@pytest.mark.parametrize("hi", [5e-324, 1e308])
def test_a_box_that_no_range_covers_is_refused(hi: float) -> None:
    with pytest.raises(InputError, match="give the range yourself"):
        grid.automatic_range(0.0 if hi < 1 else -hi, hi, 25)


def test_half_a_range_is_refused() -> None:
    with pytest.raises(InputError, match="both a start and an end"):
        grid.resolve(GridSpec(alpha=AxisSpec(lo=0.0)), None)
