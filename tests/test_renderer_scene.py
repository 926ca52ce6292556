"""The scene takes surfaces whole or row by row, and says what changed."""

from __future__ import annotations

import numpy as np
import pytest
import scenes

from protocol.errors import InputError
from protocol.files import SurfaceMeta
from protocol.messages import PathDone, SurfaceBegin, SurfaceDone, SurfaceRow
from protocol.view import View, override
from renderer.scene import CLEAN, Dirty, Scene

BEGIN = SurfaceBegin(surface="s", meta=SurfaceMeta(name="live"), passes=1)
AXES = {"alpha": np.linspace(-1, 1, 4), "beta": np.linspace(-1, 1, 3)}


def begun() -> Scene:
    scene = Scene()
    assert scene.apply(BEGIN, AXES) == Dirty(all=True, path=True)
    return scene


def row(i: int, n: int = 512, surface: str = "s") -> SurfaceRow:
    return SurfaceRow(surface=surface, i=i, pass_=0, n=n)


def test_rows_fill_the_surface_and_name_themselves():
    scene = begun()
    assert scene.scale.missing == 12
    assert scene.apply(row(1), {"loss": np.arange(4, dtype="<f4")}) == Dirty(rows=frozenset({1}))
    assert scene.values["loss"][1].tolist() == [0, 1, 2, 3]
    assert scene.scale.missing == 8
    assert (scene.scale.lo, scene.scale.hi) == (0, 3)


def test_row_by_row_equals_the_whole():
    whole = scenes.holes()
    a, b = Scene(), Scene()
    a.apply(whole)
    b.apply(SurfaceBegin(surface="x", meta=whole.meta, passes=1), {"alpha": whole.alpha, "beta": whole.beta})
    for i in range(len(whole.beta)):
        b.apply(row(i, surface="x"), {"loss": whole.loss[i], "sem": whole.sem[i], "accuracy": whole.accuracy[i]})
    b.n[:] = whole.n  # rows are measured whole; the hole of this test is not
    b.apply(override(View(), {"height": 2}))
    assert b.scale == a.scale
    assert np.array_equal(a.values["loss"], b.values["loss"], equal_nan=True)


def test_a_row_of_another_surface_changes_nothing():
    scene = begun()
    assert scene.apply(row(0, surface="other"), {"loss": np.zeros(4)}) == CLEAN
    assert scene.scale.missing == 12


@pytest.mark.parametrize(
    ("i", "arrays"), [(3, {"loss": np.zeros(4)}), (-1, {"loss": np.zeros(4)}), (0, {"loss": np.zeros(5)}), (0, {})]
)
def test_a_row_that_does_not_fit_is_refused_and_changes_nothing(i, arrays):
    scene = begun()
    with pytest.raises(InputError, match=r"surface\.row"):
        scene.apply(row(i), arrays)
    assert scene.scale.missing == 12


def test_axes_that_do_not_grow_are_refused():
    with pytest.raises(InputError, match="alpha"):
        Scene().apply(BEGIN, {"alpha": np.zeros(3), "beta": np.arange(3.0)})


def test_path_comes_as_columns():
    scene = begun()
    columns = {"alpha": np.array([0.5, 2.0]), "beta": np.array([0.0, 0.0]), "epoch": np.array([0.0, 1.0])}
    assert scene.apply(PathDone(surface="s", losses=False), columns) == Dirty(path=True)
    assert scene.path_inside().tolist() == [True, False]
    assert scene.path["step"].tolist() == [0, 1]
    assert np.isnan(scene.path["loss_plane"]).all()
    with pytest.raises(InputError, match=r"path\.done"):
        scene.apply(PathDone(surface="s", losses=True), {"alpha": np.zeros(2)})


def test_a_sealed_surface_keeps_the_picture():
    scene = begun()
    assert scene.apply(SurfaceDone(surface="s", file="x.npz")) == CLEAN


def test_the_same_view_again_changes_nothing():
    scene = begun()
    assert scene.apply(View()) == CLEAN
    assert scene.apply(override(View(), {"height": 2})) == Dirty(view=True)


def test_off_plane_is_told_by_the_median():
    scene = Scene()
    scene.apply(scenes.off_plane())
    assert scene.path_off_plane
    scene.apply(scenes.resnet())  # no distances known
    assert not scene.path_off_plane


def test_what_was_given_is_never_written_to():
    surface = scenes.holes()
    before = surface.loss.copy()
    scene = Scene()
    scene.apply(surface)
    scene.values["loss"][0] = 7
    assert np.array_equal(surface.loss, before, equal_nan=True)


def test_an_empty_scene_has_no_field():
    with pytest.raises(InputError):
        _ = Scene().field


def test_a_metric_that_comes_later_is_counted_from_its_first_row():
    scene = begun()
    scene.apply(override(View(), {"metric": "accuracy"}))
    scene.apply(row(0), {"loss": np.ones(4)})
    assert scene.scale.measured == 0
    assert not scene.values["accuracy"].flags.writeable  # no memory for what nobody told
    scene.apply(row(1), {"loss": np.ones(4), "accuracy": np.array([0.1, 0.2, 0.3, 0.4])})
    assert (scene.scale.measured, scene.scale.hi) == (4, 0.4)
    assert np.isnan(scene.values["accuracy"][0]).all()
