"""Rows that are not measured yet are drawn straight from row to row, and every row that comes replaces its part."""

from __future__ import annotations

import numpy as np
import pytest
import scenes

from protocol.files import SurfaceMeta
from protocol.messages import SurfaceBegin, SurfaceRow
from protocol.shares import row_order
from protocol.view import PRESETS, override
from renderer import draft
from renderer.scene import EVERYTHING, Scene


def test_gaps_lie_between_measured_rows_only():
    n = np.zeros((10, 3), np.int64)
    n[[1, 4, 5, 9]] = 1
    assert draft.gaps(n) == [(1, 4), (5, 9)]
    assert draft.gaps(n, 9) == [(5, 9)]
    assert draft.gaps(n, 1) == [(1, 4)]
    assert draft.gaps(np.zeros((4, 2), np.int64)) == []


def test_drafts_are_straight_or_straight_in_logarithms():
    values = np.array([[1.0, -1.0], [0, 0], [100.0, 1.0]])
    out = values.copy()
    assert draft.fill(out, values, [(0, 2)], log=False) == [1]
    assert out[1] == pytest.approx([50.5, 0])
    draft.fill(out, values, [(0, 2)], log=True)
    assert out[1] == pytest.approx([10, 0])  # what has no logarithm stays straight


def test_beside_a_diverged_point_there_is_no_draft():
    values = np.array([[np.nan, 1.0], [0, 0], [3.0, np.inf]])
    out = values.copy()
    draft.fill(out, values, [(0, 2)], log=False)
    assert np.isnan(out[1]).all()


@pytest.mark.parametrize("preset", ["contours-3d", "contours-2d"])
def test_rows_one_by_one_draw_what_the_whole_draws(preset):
    """After every row the partial updates equal a picture made anew; at the end nothing is left of the drafts."""
    renderer = scenes.renderer()
    whole = scenes.function(lambda x, y: 3 + np.sin(x) + 0.1 * y * y, 12, 17)
    view = override(PRESETS[preset], {"contours.labels": False, "camera.azimuth": -35})
    live, done = Scene(view), Scene(view)
    arrays = {"alpha": whole.alpha, "beta": whole.beta}
    dirty = live.apply(SurfaceBegin(surface="s", meta=SurfaceMeta(model="net", data="digits"), passes=1), arrays)
    for step, i in enumerate(row_order(17)):
        dirty |= live.apply(SurfaceRow(surface="s", i=i, pass_=0, n=512), {"loss": whole.loss[i]})
        renderer.draw(live, 320, 200, 1.0, samples=1, dirty=dirty)
        dirty = live.apply(view)
        if step % 4 == 1 or step == 16:
            partial = renderer.pixels().copy()
            renderer.draw(live, 320, 200, 1.0, samples=1, dirty=EVERYTHING)
            assert np.array_equal(partial, renderer.pixels()), step
            if step < 16:  # the draws above must not be the last ones of this scene's textures
                assert renderer.kit.store.draft is not None
    last = renderer.pixels().copy()
    assert renderer.kit.store.draft is None
    done.apply(whole)
    renderer.draw(done, 320, 200, 1.0, samples=1, dirty=EVERYTHING)
    assert np.array_equal(last, renderer.pixels())


def test_a_draft_enters_no_scale_and_marks_no_minimum():
    scene = Scene()
    surface = scenes.function(lambda x, y: 3 + 0 * x + (y - 0.5) ** 2, 5, 9)
    n = surface.n.copy()
    n[1:-1] = 0
    scene.apply(scenes.made(surface.loss, surface.alpha, surface.beta, n=n))
    assert scene.unfinished
    assert scene.scale.measured == 10
    assert scene.scale.lowest is not None
    assert scene.scale.lowest[0] == 8
    assert scene.draft[4] == pytest.approx((surface.loss[0] + surface.loss[8]) / 2)
    assert not scene.field.valid(np.array([4]), np.array([2])).any()
