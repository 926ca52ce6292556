"""The whole tour through the real executable: every file that it promises, and what is in them."""

import csv
import time

import numpy as np
import pytest
from cli import place
from PIL import Image

from protocol.files import PATH_DTYPE, Surface, read_path_csv

KINDS = ("pca", "random")
PRESETS = ("contours-2d", "contours-3d", "mesh")


@pytest.fixture(scope="module")
def tour():
    """The demo as a person types it: through the daemon, started for it."""
    with place() as p:
        started = time.monotonic()
        done = p.run("demo", "--quick", "--out", p.base / "out")
        print(f"demo --quick took {time.monotonic() - started:.1f} s")
        yield p, done.stdout


@pytest.fixture
def demo(tour):
    p, said = tour
    return p.base / "out", said, p.workspace


def test_it_leaves_exactly_what_it_promises(demo):
    out, _said, _ = demo
    promised = {f"{kind}-{preset}.png" for kind in KINDS for preset in PRESETS}
    promised |= {f"{kind}.npz" for kind in KINDS} | {f"{kind}-path.csv" for kind in KINDS}
    assert {f.name for f in out.iterdir()} == promised


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_picture_is_whole_and_not_blank(demo, kind, preset):
    out, _said, _ = demo
    with Image.open(out / f"{kind}-{preset}.png") as picture:
        assert picture.size == (2560, 1600)
        pixels = np.asarray(picture.convert("RGB"), dtype=np.int64)
    assert pixels.std() > 10
    assert len(np.unique(pixels[::4, ::4].reshape(-1, 3), axis=0)) > 50


@pytest.mark.parametrize("kind", KINDS)
def test_surface_is_measured_everywhere_and_says_where_it_is_from(demo, kind):
    out, said, _ = demo
    surface = Surface.load(out / f"{kind}.npz")
    assert surface.meta.plane.kind == kind
    assert np.all(surface.n == surface.meta.samples)
    assert np.any(np.isfinite(surface.loss))
    assert surface.meta.model == "resnet20"
    assert surface.meta.data == "digits"
    assert surface.meta.split == "train"
    assert surface.meta.seconds is not None
    assert f"{surface.shape[1]} x {surface.shape[0]} points" in said
    assert str(surface.meta.samples) in said


@pytest.mark.parametrize("kind", KINDS)
def test_path_file_has_its_header_and_every_checkpoint(demo, kind):
    out, _said, _ = demo
    lines = (out / f"{kind}-path.csv").read_text().splitlines()
    assert lines[0].startswith(f"# plane: {kind} ")
    assert next(csv.reader(lines[1:2])) == list(PATH_DTYPE.names)
    path = read_path_csv(out / f"{kind}-path.csv")
    surface = Surface.load(out / f"{kind}.npz")
    np.testing.assert_array_equal(path, surface.path)
    assert list(path["epoch"]) == list(range(len(path)))
    assert np.all(np.isfinite(path["loss_weights"]))


def test_it_says_what_was_cut_and_what_the_pictures_show(demo):
    out, said, _ = demo
    assert "quick:" in said
    assert str(out) in said
    for words in ("test accuracy", "lowest loss", "a random walk of as many steps gives", "lies off this plane"):
        assert words in said
    assert "\x1b" not in said  # plain lines in a pipe


def test_workspace_holds_the_run_and_the_planes(demo):
    _out, _said, workspace = demo
    assert len(list((workspace / "runs").iterdir())) == 1
    assert len(list((workspace / "planes").glob("*.safetensors"))) == len(KINDS)
    assert "error" not in (workspace / "logs" / "daemon.log").read_text()


def test_it_is_one_submission_whose_jobs_are_not_done_again(tour):
    p, _said = tour
    jobs = p.json("jobs", "list")
    assert [j["kind"] for j in jobs] == ["train", "plane", "surface", "plane", "surface"]
    assert {j["state"] for j in jobs} == {"done"}
    assert len({j["created"] for j in jobs}) == 1
    again = p.run("demo", "--quick", "--out", p.base / "again").stdout
    assert again.count("already") == 5
    assert len(list((p.base / "again").iterdir())) == 10


@pytest.mark.slow
def test_it_runs_without_a_daemon_too():
    with place() as p:
        p.run("demo", "--quick", "--no-daemon", "--out", p.base / "out")
        assert len(list((p.base / "out").iterdir())) == 10
        assert not (p.workspace / "daemon.json").exists()
