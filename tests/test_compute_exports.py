"""Exports: what is written reads back bit for bit, all files or none, and the seed's files come out as they were."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from compute.exports import EXPORTS
from compute.imports import IMPORTS
from protocol.errors import InputError
from protocol.files import PATH_DTYPE, PlaneMeta, Surface, SurfaceMeta, read_path_csv

DATA = Path(__file__).parent / "data"


def surface(*, hostile: bool = True, name: str = "") -> Surface:
    """3 x 5, with values that rounding would show; a diverged, an infinite and an unmeasured point where `hostile`."""
    rng = np.random.default_rng(1)
    loss, n = rng.random((3, 5)) * 10.0 ** rng.integers(-300, 300, (3, 5)), np.full((3, 5), 7)
    if hostile:
        loss[0, 1], loss[1, 2], loss[2, 0] = np.nan, np.inf, np.nan
        n[2, 0] = 0
    path = np.zeros(2, PATH_DTYPE)
    path["alpha"], path["loss_true"], path["epoch"] = [0.1 + 0.2, -0.0], [np.nan, 0.25], [0, 1]
    nothing = np.full((3, 5), np.nan)
    return Surface(
        alpha=np.linspace(-1, 1, 5) / 3,
        beta=np.array([0.0, 0.1 + 0.2, 1e3]),
        loss=loss,
        accuracy=rng.random((3, 5)),
        sem=nothing,
        n=n,
        meta=SurfaceMeta(name=name, plane=PlaneMeta(kind="pca", hash="abc")),
        path=path,
    )


def back(name: str, files: list[Path]) -> Surface:
    """The surface of exported files, by the import of the same name."""
    source = files[0] if len(files) == 1 else files[0].parent
    steps = IMPORTS[name].make(source, Path("unused"), IMPORTS[name].options())
    while True:
        try:
            next(steps)
        except StopIteration as end:
            surface: Surface = end.value
            return surface


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_reads_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    s = surface()
    before = {k: getattr(s, k).tobytes() for k in ("alpha", "beta", "loss", "accuracy", "sem", "n", "path")}
    files = EXPORTS[name].make(s, tmp_path / "new" / "folder", EXPORTS[name].options())
    assert sorted(f.name for f in (tmp_path / "new" / "folder").iterdir()) == sorted(f.name for f in files)
    assert {k: getattr(s, k).tobytes() for k in before} == before
    t = back(name, files)
    for key in ("alpha", "beta", "loss"):
        assert getattr(t, key).tobytes() == getattr(s, key).tobytes(), key
    if name != "ply":  # which has no room for them
        for key in ("accuracy", "sem", "n", "path"):
            assert getattr(t, key).tobytes() == getattr(s, key).tobytes(), key
    assert t.path[["alpha", "beta"]].tolist() == s.path[["alpha", "beta"]].tolist()
    assert EXPORTS[name].make(s, tmp_path / "new" / "folder", EXPORTS[name].options()) == files  # again, in its place


@pytest.mark.parametrize("name", EXPORTS)
def test_options_travel_as_data_and_name_the_files(name: str, tmp_path: Path) -> None:
    entry = EXPORTS[name]
    assert msgspec.json.schema(entry.options)
    assert entry.summary
    options = msgspec.convert({"name": "mine"}, entry.options)
    assert all(f.name.startswith("mine") for f in entry.make(surface(), tmp_path, options))
    assert entry.make(surface(name="../a b/ü?"), tmp_path, entry.options())[0].stem == "a-b-ü"
    for wrong in ("../x", "a/b", "a\nb", "x" * 101):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"name": wrong}, entry.options)


@pytest.mark.parametrize("name", EXPORTS)
def test_a_failed_export_leaves_nothing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EXPORTS[name]
    target = entry.make(surface(), tmp_path, entry.options())
    for file in target:
        file.unlink()
    target[-1].mkdir()  # something in the way of the last file
    with pytest.raises(InputError, match="found a folder"):
        entry.make(surface(), tmp_path, entry.options())
    assert list(tmp_path.iterdir()) == [target[-1]]
    target[-1].rmdir()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(InputError, match="No space left"):
        entry.make(surface(), tmp_path, entry.options())
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another folder"):
        entry.make(surface(), tmp_path / "file", entry.options())


@pytest.mark.parametrize("name", ["ResNet_PCA", "VGG_Random"])
def test_the_seeds_meshes_are_written_again_byte_for_byte(name: str, tmp_path: Path) -> None:
    s = back("ply", [DATA / f"{name}.ply"])
    with_path = name == "ResNet_PCA"
    if with_path:
        s = s.with_path(read_path_csv(DATA / f"{name}_gradient_descent_results.csv"))
    files = EXPORTS["ply"].make(s, tmp_path, EXPORTS["ply"].options())
    assert [f.name for f in files] == [f"{name}.ply"] + [f"{name}_gradient_descent_results.csv"] * with_path
    for file in files:
        assert file.read_bytes() == (DATA / file.name).read_bytes()


def test_the_table_tells_diverged_from_not_measured(tmp_path: Path) -> None:
    (file, path) = EXPORTS["csv"].make(surface(), tmp_path, EXPORTS["csv"].options())
    lines = file.read_text().splitlines()
    assert lines[0] == "alpha,beta,loss,accuracy,sem,n"
    assert len(lines) == 16
    losses = [line.split(",")[2] for line in lines[1:]]
    assert (losses[1], losses[7], losses[10]) == ("nan", "inf", "")
    assert all(line.split(",")[4] == "" for line in lines[1:])
    assert path.read_text().startswith("# plane: pca abc\nstep,epoch,")
    options = msgspec.convert({"path": False}, EXPORTS["csv"].options)
    assert EXPORTS["csv"].make(surface(), tmp_path / "b", options) == [tmp_path / "b" / "surface.csv"]


def test_the_registries_load_no_torch() -> None:
    code = "import sys, compute.exports, compute.imports; print(sorted({'torch', 'gudhi', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
