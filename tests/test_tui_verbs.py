"""What is typed becomes the right spec: grids, ranges, presets, pictures, recipes."""

import numpy as np
import pytest

from protocol.errors import InputError
from protocol.files import Surface, SurfaceMeta
from protocol.messages import PRESETS, Recipe
from tui import flags
from tui.pictures import Wanted, plan
from tui.verbs.plane import plane_spec
from tui.verbs.surface import grid_tree, off_plane_text, parse_range, summary, surface_lines
from tui.verbs.train import chosen_recipe
from tui.workspace import Workspace

RUN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "runs" / RUN).mkdir(parents=True)
    return Workspace(tmp_path)


def test_grid_is_alpha_by_beta():
    tree = grid_tree("26x51", "-0.5:0.5", "-1:2", None, "")
    assert tree == {"alpha": {"count": 26, "lo": -0.5, "hi": 0.5}, "beta": {"count": 51, "lo": -1.0, "hi": 2.0}}
    assert grid_tree("7", None, None, None, "") == {"alpha": {"count": 7}, "beta": {"count": 7}}
    assert grid_tree(None, None, None, None, "") == {"alpha": {}, "beta": {}}


@pytest.mark.parametrize(("kind", "lo", "hi"), [("random", -0.5, 0.5), ("pca", -9.0, 9.75)])
def test_seed_preset_has_26_vertices_and_its_own_range_for_each_plane(kind, lo, hi):
    tree = grid_tree(None, None, None, "seed", kind)
    assert tree["alpha"] == tree["beta"] == {"count": 26, "lo": lo, "hi": hi}
    assert grid_tree("5", "0:1", None, "seed", kind)["alpha"] == {"count": 5, "lo": 0.0, "hi": 1.0}


@pytest.mark.parametrize("text", ["1", "1:", ":", "a:b", "1:2:3", ""])
def test_range_that_is_none_shows_the_form(text):
    with pytest.raises(InputError, match="START:END"):
        parse_range(text, "--alpha")


def test_every_field_overrides_a_preset():
    recipe = chosen_recipe("seed", {"model": "vgg11", "lr": 0.5})
    assert (recipe.model, recipe.lr, recipe.batch_size) == ("vgg11", 0.5, PRESETS["seed"].batch_size)
    assert chosen_recipe(None, {"model": "mlp", "dataset": "digits"}) == Recipe(model="mlp", dataset="digits")


def test_derived_flags_cover_the_struct_and_nothing_typed_is_nothing_given():
    made = flags.derive(Recipe)
    assert set(made.__dataclass_fields__) == set(Recipe.__struct_fields__)
    assert flags.given(made()) == {}
    typed = flags.given(made(lr=0.5, model_options=["width=4", "name=x"]))
    assert typed == {"lr": 0.5, "model_options": {"width": 4, "name": "x"}}


def test_run_gives_origin_and_trajectory(place):
    spec = plane_spec(place, "last", "pca", None, {"centre": False}, {})
    assert (spec.origin, spec.trajectory, spec.options) == (f"{RUN}@last", RUN, {"centre": False})
    assert plane_spec(place, f"{RUN}@epoch:3", "random", None, {}, {}).origin == f"{RUN}@epoch:3"


def test_worker_sentence_names_the_flag_only_where_it_was_typed():
    sentence = "data set: expected one of digits; got 'x'"
    assert flags.name_the_flag(sentence, ["train", "--dataset", "x"]).startswith("--dataset: expected")
    assert flags.name_the_flag(sentence, ["train", "--dataset=x"]).startswith("--dataset: expected")
    assert flags.name_the_flag(sentence, ["surface", "last"]) == sentence


def bowl(tmp_path, **changes):
    axis = np.linspace(-1, 1, 5)
    loss = axis[None, :] ** 2 + axis[:, None] ** 2 + 0.5
    nan = np.full_like(loss, np.nan)
    fields = {"loss": loss, "accuracy": nan, "sem": nan, "n": np.full(loss.shape, 10)} | changes
    surface = Surface(alpha=axis, beta=axis, meta=SurfaceMeta(samples=10), **fields)
    return surface, surface.save(tmp_path / "bowl.npz")


def test_summary_counts_diverged_apart_from_missing(tmp_path):
    surface, _ = bowl(tmp_path)
    loss, n = surface.loss.copy(), surface.n.copy()
    loss[0, 0], loss[4] = np.inf, np.nan
    n[4] = 0
    said = summary(Surface(**{**vars(surface), "loss": loss, "n": n}))
    assert (said["diverged"], said["missing"]) == (1, 5)
    assert said["minimum"] == {"alpha": 0.0, "beta": 0.0, "loss": 0.5}
    assert any("5 points are not measured" in line for line in surface_lines(Surface(**{**vars(surface), "n": n})))


def test_off_plane_is_said_with_maths_threshold():
    assert "hardly" in off_plane_text(0.95)
    assert "hardly" not in off_plane_text(0.85)


def test_pictures_are_named_after_file_and_preset(place, tmp_path):
    _, file = bowl(tmp_path)
    (one,) = plan(place, [str(file)], Wanted(presets=["mesh"], view=["height=0.5"], size="640x400", scale=1.0))
    assert one.out.endswith("bowl-mesh.png")
    assert (one.width, one.height, one.scale, one.view) == (640, 400, 1.0, {"height": "0.5"})
    two = plan(place, [str(file)], Wanted(presets=["mesh", "heat"], out=tmp_path / "out"))
    assert [r.out for r in two] == [str(tmp_path / "out" / f"bowl-{name}.png") for name in ("mesh", "heat")]
    (named,) = plan(place, [str(file)], Wanted(presets=["mesh"], out=tmp_path / "x.png"))
    assert named.out == str(tmp_path / "x.png")


def test_several_pictures_need_a_folder(place, tmp_path):
    _, file = bowl(tmp_path)
    with pytest.raises(InputError, match="folder"):
        plan(place, [str(file)], Wanted(presets=["mesh", "heat"], out=tmp_path / "x.png"))
