"""What is typed becomes the right spec: grids, ranges, presets, pictures, recipes."""

from pathlib import Path

import numpy as np
import pytest

from protocol.errors import InputError
from protocol.files import Surface, SurfaceMeta
from protocol.messages import PRESETS, Recipe
from protocol.pictures import Picture, Shown, shown
from protocol.view import View, override, preset
from tui import flags
from tui.pictures import Wanted, plan, remembered, remembered_path
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


def test_surfaces_together_are_one_request_named_after_all(place, tmp_path):
    files = [str(bowl(folder)[1].rename(folder.parent / f"{name}.npz")) for name, folder in folders(tmp_path, "ab")]
    one, two = plan(place, files, Wanted(presets=["mesh", "heat", "mesh"], together=True, out=tmp_path / "out"))
    assert (one.file, one.others) == (files[0], (files[1],))
    assert [Path(r.out).name for r in (one, two)] == ["a-b-mesh.png", "a-b-heat.png"]
    for wrong in (files[:1], files * 3):
        with pytest.raises(InputError, match="--together: expected 2 to 4"):
            plan(place, wrong, Wanted(together=True))


def folders(tmp_path, names):
    for name in names:
        (tmp_path / name / "in").mkdir(parents=True)
        yield name, tmp_path / name / "in"


def test_files_of_one_name_give_pictures_of_different_names(place, tmp_path):
    files = [str(bowl(folder)[1]) for _, folder in folders(tmp_path, "ab")]
    moved = [str(Path(f).rename(Path(f).parent.parent / "bowl.npz")) for f in files]
    assert [Path(r.out).name for r in plan(place, moved, Wanted())] == [
        "a-bowl-contours-3d.png",
        "b-bowl-contours-3d.png",
    ]
    same = plan(place, [moved[0], moved[0]], Wanted())
    assert len({r.out for r in same}) == 2


def test_a_video_has_a_scale_of_one_and_takes_its_flags(place, tmp_path):
    _, file = bowl(tmp_path)
    turn = {"seconds": 3.0, "turns": -1.0, "fps": 25}
    (one,) = plan(place, [str(file)], Wanted(out=tmp_path / "x.mp4", turn=turn))
    assert (one.scale, one.seconds, one.turns, one.fps) == (1.0, 3.0, -1.0, 25)
    with pytest.raises(InputError, match="--fps: only a video turns"):
        plan(place, [str(file)], Wanted(out=tmp_path / "x.png", turn={"fps": 25}))
    with pytest.raises(InputError, match="--seconds: expected"):
        plan(place, [str(file)], Wanted(out=tmp_path / "x.mp4", turn={"seconds": -1}))
    with pytest.raises(InputError, match="one preset for a video"):
        plan(place, [str(file)], Wanted(out=tmp_path / "x.mp4", presets=["mesh", "solid"]))


def test_another_picture_gives_view_and_size(place, tmp_path):
    _, file = bowl(tmp_path)
    view = override(preset("mesh"), {"theme": "dark", "camera.target": [0.1, 0, 0.2], "contours.values": "1,2"})
    begin = Picture(view=view, metas=(SurfaceMeta(),), width=640, height=400, scale=1.5)
    (one,) = plan(place, [str(file)], Wanted(begin=begin, view=["height=0.5"]))
    assert override(preset(one.preset), one.view) == override(view, {"height": 0.5})
    assert (one.width, one.height, one.scale) == (640, 400, 1.5)
    (bigger,) = plan(place, [str(file)], Wanted(begin=begin, size="800x600", scale=1.0))
    assert (bigger.width, bigger.height, bigger.scale) == (800, 600, 1.0)
    with pytest.raises(InputError, match="--preset"):
        plan(place, [str(file)], Wanted(begin=begin, presets=["heat"]))


def test_an_overlay_asks_for_one_picture(place, tmp_path):
    _, file = bowl(tmp_path)
    with pytest.raises(InputError, match="add --together"):
        plan(place, [str(file)] * 2, Wanted(view=["arrange=overlay"]))


def test_a_picture_remembers_its_surfaces(place, tmp_path):
    surface, file = bowl(tmp_path)
    picture = Picture(view=View(), metas=(surface.meta,), width=1, height=1, surfaces=(shown(surface.meta, file),))
    assert remembered(picture, tmp_path / "x.png", place) == [str(file)]
    file.unlink()
    with pytest.raises(InputError, match=r"bowl\.npz.*not there any more"):
        remembered(picture, tmp_path / "x.png", place)
    csv = Picture(view=View(), metas=(surface.meta,), width=1, height=1, surfaces=(Shown(path_csv="no.csv"),))
    with pytest.raises(InputError, match="--path"):
        remembered_path(csv, tmp_path / "x.png")


def test_several_pictures_need_a_folder(place, tmp_path):
    _, file = bowl(tmp_path)
    with pytest.raises(InputError, match="folder"):
        plan(place, [str(file)], Wanted(presets=["mesh", "heat"], out=tmp_path / "x.png"))
