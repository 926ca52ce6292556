"""surface.npz and path.csv: whole or not at all, checked when read, nothing pickled."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.lib.recfunctions import repack_fields

from protocol.errors import InputError
from protocol.files import (
    ADDED,
    CRITICAL_DTYPE,
    PATH_DTYPE,
    PlaneMeta,
    Surface,
    SurfaceMeta,
    read_path_csv,
    write_path_csv,
)

DATA = Path(__file__).parent / "data"


def surface(height: int = 3, width: int = 5) -> Surface:
    rng = np.random.default_rng(0)
    loss = rng.random((height, width))
    loss[0, 0], loss[1, 1] = np.nan, np.inf
    path = np.zeros(2, PATH_DTYPE)
    path["alpha"], path["loss_true"] = [0.5, 0.0], [np.nan, 0.25]
    critical = np.zeros(1, CRITICAL_DTYPE)
    critical["kind"] = "minimum"
    return Surface(
        alpha=np.linspace(-1, 1, width),
        beta=np.linspace(0, 2, height),
        loss=loss,
        accuracy=rng.random((height, width)),
        sem=rng.random((height, width)),
        n=np.full((height, width), 7),
        meta=SurfaceMeta(model="resnet20", plane=PlaneMeta(kind="pca", norms=(1.0, 2.0))),
        path=path,
        critical=critical,
    )


def test_a_rectangular_surface_round_trips_bit_for_bit(tmp_path: Path) -> None:
    s = surface()
    t = Surface.load(s.save(tmp_path / "s.npz"))
    for name in ("alpha", "beta", "loss", "accuracy", "sem", "n", "path", "critical"):
        assert getattr(s, name).dtype == getattr(t, name).dtype
        assert getattr(s, name).tobytes() == getattr(t, name).tobytes(), name
    assert t.meta == s.meta
    assert t.shape == (3, 5)


def test_the_file_is_plain_numpy(tmp_path: Path) -> None:
    with np.load(surface().save(tmp_path / "s.npz"), allow_pickle=False) as z:
        assert set(z.files) == {"alpha", "beta", "loss", "accuracy", "sem", "n", "meta", "path", "critical"}
        assert z["path"].dtype.names == PATH_DTYPE.names


def test_a_transposed_array_is_refused() -> None:
    s = surface()
    with pytest.raises(InputError, match="beta by alpha"):
        Surface(alpha=s.alpha, beta=s.beta, loss=s.loss.T, accuracy=s.accuracy, sem=s.sem, n=s.n)


@pytest.mark.parametrize("last", [np.inf, np.nan])
@pytest.mark.parametrize("name", ["alpha", "beta"])
def test_an_axis_that_is_not_finite_is_refused(name: str, last: float) -> None:
    """Regression: an axis that ends at infinity increases, and was taken."""
    s = surface()
    axis = getattr(s, name).copy()
    axis[-1] = last
    with pytest.raises(InputError, match="finite"):
        dataclasses.replace(s, **{name: axis})


def test_every_truncation_and_a_flipped_bit_are_refused_by_name(tmp_path: Path) -> None:
    whole = surface().save(tmp_path / "s.npz").read_bytes()
    broken = tmp_path / "broken.npz"
    for size in (*range(0, len(whole) - 1, 97), len(whole) - 1):
        broken.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"broken\.npz"):
            Surface.load(broken)
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0x10
    broken.write_bytes(bytes(flipped))
    with pytest.raises(InputError, match=r"broken\.npz"):
        Surface.load(broken)


def test_a_pickle_is_not_opened(tmp_path: Path) -> None:
    file = tmp_path / "evil.npz"
    np.savez(file, alpha=np.array([object()], dtype=object), beta=np.zeros(2), loss=np.zeros((2, 2)))
    with pytest.raises(InputError):
        Surface.load(file)


@pytest.mark.parametrize("name", ["ResNet_PCA.ply", "ResNet_PCA_gradient_descent_results.csv"])
def test_a_file_of_another_program_is_refused_with_the_way_to_import_it(name: str) -> None:
    with pytest.raises(InputError, match=rf"run `thalweg import .*{name}`, then give the surface's name, ResNet_PCA"):
        Surface.load(DATA / name)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = surface().save(tmp_path / "s.npz")
    before = file.read_bytes()
    with pytest.raises(InputError):
        surface().save(tmp_path / "missing" / "s.npz")
    broken = surface()
    object.__setattr__(broken, "loss", "no array")
    with pytest.raises(ValueError, match="could not convert"):
        broken.save(file)
    assert file.read_bytes() == before
    assert [f.name for f in tmp_path.iterdir()] == ["s.npz"]


def test_a_path_round_trips_with_empty_cells(tmp_path: Path) -> None:
    path = surface().path
    file = write_path_csv(tmp_path / "p.csv", path, PlaneMeta(kind="pca", hash="abc"))
    lines = file.read_text().splitlines()
    assert lines[0] == "# plane: pca abc"
    assert lines[1] == "step,epoch,alpha,beta,off_plane,loss_plane,loss_weights,loss_true"
    assert lines[2].endswith(",")
    assert read_path_csv(file).tobytes() == path.tobytes()


def test_the_seeds_path_file_is_read() -> None:
    path = read_path_csv(DATA / "ResNet_PCA_gradient_descent_results.csv")
    assert len(path) == 11
    assert path["alpha"][0] == pytest.approx(6.031877040863037)
    assert (path["alpha"][-1], path["beta"][-1]) == (0.0, 0.0)
    assert np.isnan(path["loss_true"]).all()


def test_a_wrong_path_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.csv"
    header = ",".join(PATH_DTYPE.names or ())
    huge = f"{header}\n{2**64},,0,0,,,,\n"  # regression: OverflowError
    for text in ("a,b,c\n1,2,3\n", "1,x\n", "\x00\xff", huge, huge.replace(str(2**64), "9" * 5000)):
        file.write_text(text, encoding="latin-1")
        with pytest.raises(InputError, match="expected the columns"):
            read_path_csv(file)


def test_critical_points_of_an_older_file_read_with_the_later_columns_zero(tmp_path: Path) -> None:
    s = surface()
    with np.load(s.save(tmp_path / "new.npz")) as z:
        arrays = {name: z[name] for name in z.files}
    kept = [n for n in CRITICAL_DTYPE.names or () if n not in ADDED]
    np.savez(tmp_path / "old.npz", **{**arrays, "critical": repack_fields(s.critical[kept])})
    t = Surface.load(tmp_path / "old.npz")
    assert t.critical.dtype == CRITICAL_DTYPE
    assert t.critical["kind"][0] == "minimum"
    assert not any(t.critical[name].any() for name in ADDED)
    np.savez(tmp_path / "wrong.npz", **{**arrays, "critical": repack_fields(s.critical[["kind", "i"]])})
    with pytest.raises(InputError, match="columns kind, i, j"):
        Surface.load(tmp_path / "wrong.npz")
