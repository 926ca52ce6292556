"""The automatic view is readable for any finite range, and says what it did."""

from __future__ import annotations

import numpy as np
import pytest
import scenes

from protocol.view import View, override
from renderer import auto


def scale(surface, **changes):
    view = override(View(), {k.replace("__", "."): v for k, v in changes.items()})
    return auto.scale(surface.loss, surface.n, view)


def test_a_field_from_a_fifth_to_twenty_billion_is_logarithmic():
    s = scale(scenes.ODD["huge"]())
    assert s.log_color
    assert s.log_height
    assert s.clip is None
    assert 5 <= len(s.levels) <= 30


def test_a_narrow_field_is_linear():
    s = scale(scenes.vgg())
    assert not s.log_color
    assert not s.log_height


def test_outliers_that_no_logarithm_takes_become_a_plateau():
    surface = scenes.ODD["outlier"]()
    s = scale(surface)
    assert s.clip is not None
    assert s.clip < 1000
    assert s.clipped == np.count_nonzero(surface.loss > s.clip)
    assert scale(surface, clip="off").hi == 1e6


def test_counts_of_missing_diverged_and_lowest():
    surface = scenes.holes()
    s = scale(surface)
    assert (s.missing, s.diverged) == (21, 30 + 15 + 0)
    assert s.measured + s.missing + s.diverged == surface.loss.size
    valid = np.where((surface.n > 0) & np.isfinite(surface.loss), surface.loss, np.inf)
    assert s.lowest == np.unravel_index(valid.argmin(), valid.shape)


def test_threshold_below_everything_still_has_a_scale():
    s = scale(scenes.vgg(), clip=0.01)
    assert s.hi > s.lo
    assert s.clipped == 676


def test_logarithm_of_what_has_none_is_counted():
    s = scale(scenes.ODD["negative"](), log_color="on")
    assert s.log_color
    assert s.lo > 0
    assert s.below > 0


@pytest.mark.parametrize("name", scenes.ODD)
@pytest.mark.parametrize("log", ["auto", "on", "off"])
def test_unit_values_of_any_field_are_finite_and_in_order(name, log):
    surface = scenes.ODD[name]()
    s = scale(surface, log_color=log, log_height=log)
    assert s.hi > s.lo
    values = np.sort(surface.loss[(surface.n > 0) & np.isfinite(surface.loss)])
    units = s.unit(values)
    assert np.isfinite(units).all()
    assert (np.diff(units) >= 0).all()
    if len(units) and not s.constant and s.clip is None:
        assert units[0] == pytest.approx(0, abs=1e-9)
        assert units[-1] == pytest.approx(1, abs=1e-9)
    for is_log in {s.log_color, s.log_height}:
        assert np.isfinite(s.convert(units, is_log)).all()
        assert all(-1e-6 <= u <= 1 + 1e-6 for u, _ in s.ticks(6, is_log, False))


def test_colour_and_height_may_differ():
    s = scale(scenes.resnet(), log_height="off")
    assert (s.log_color, s.log_height, s.log) == (True, False, True)
    values = np.array([s.lo, 10.0, s.hi])
    assert s.convert(s.unit(values), False) == pytest.approx((values - s.lo) / (s.hi - s.lo), abs=1e-9)


@pytest.mark.parametrize(
    ("lo", "hi", "log", "floor"),
    [
        (0.0017, 4.8, True, 0.0001),
        (0.0086, 15000, True, 0.001),
        (0.2, 2e10, True, 0.001),
        (0.02, 0.2, True, 0.01),
        (0.07, 0.33, False, 0.0),
        (0.01, 900, False, 0.0),
        (2.0, 2.3, False, 1.9),
        (-40, 500, False, -200),
        (0.1, 0.95, False, 0.0),
    ],
)
def test_the_floor_stands_at_a_round_value_below_everything(lo, hi, log, floor):
    assert auto.floor(lo, hi, log) == pytest.approx(floor)


@pytest.mark.parametrize("name", scenes.ODD)
@pytest.mark.parametrize("log", ["auto", "on", "off"])
def test_the_floor_is_never_above_the_surface_nor_far_below(name, log):
    surface = scenes.ODD[name]()
    s = scale(surface, log_height=log)
    assert s.floor <= s.lo
    assert 0 <= s.depth(s.floor) < 0.8
    if s.lo >= 0:
        assert s.floor >= 0


@pytest.mark.parametrize("metric", ["loss", "accuracy"])
def test_a_scale_kept_up_row_by_row_is_that_of_the_whole(metric):
    rng = np.random.default_rng(5)
    surface = scenes.holes()
    view = override(View(), {"metric": metric, "clip": 1.0})
    values, n = surface.loss.copy(), surface.n.copy()
    tally = auto.Tally(values, n)
    for i in rng.permutation(len(values)):
        values[i] = np.where(rng.random(values.shape[1]) < 0.1, np.nan, rng.normal(size=values.shape[1]))
        n[i] = rng.integers(0, 2, values.shape[1])
        tally.row(int(i), n[i])
        assert auto.tallied([tally], view) == [auto.scale(values, n, view)]


def test_the_sample_of_a_large_field_has_its_quantiles():
    values = np.random.default_rng(0).exponential(size=(500, 700)) * np.linspace(1, 3, 700)
    sample = auto.Tally(values, np.ones(values.shape, np.int64)).sample()
    assert sample.size <= auto.SAMPLE * 1.1
    at = [0.02, 0.05, 0.95, 0.98]
    assert np.quantile(sample, at) == pytest.approx(np.quantile(values, at), rel=0.06)
    assert auto._quantiles(sample) == pytest.approx(np.quantile(sample, at))
