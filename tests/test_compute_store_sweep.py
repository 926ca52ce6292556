"""The sweep at the start: each file finds its record, each record its file, and nothing is trusted that was changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from stored import put_surface, surface_record, ulid

from compute.checkpoints import step_file, write_tensors
from compute.store import PlaneRecord, RunRecord, Store
from compute.store.sweep import Swept, hash_of, sweep
from protocol.files import PlaneMeta, Surface, SurfaceMeta
from protocol.messages import PRESETS

RUN = ulid(3)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path)
    yield store
    store.close()


def run(store: Store, workspace: Path) -> Swept:
    return store.call(lambda t: sweep(t, workspace))


def checkpoint(workspace: Path, step: int = 12, run: str = RUN) -> Path:
    file = step_file(workspace / "runs" / run, step)
    about = {"step": step, "epoch": step / 12, "recipe": msgspec.to_builtins(PRESETS["demo"])}
    write_tensors(file, {"w": torch.full((100,), float(step))}, about)
    return file


def plane(workspace: Path, hash: str = "a" * 64) -> Path:
    file = workspace / "planes" / f"{hash}.safetensors"
    meta = PlaneMeta(kind="random", hash=hash)
    write_tensors(file, {"origin": torch.ones(9)}, {"plane": msgspec.to_builtins(meta), "trajectory": ["x@1"]})
    return file


def surface(workspace: Path, id: str = ulid(5)) -> Path:
    file = workspace / "surfaces" / f"{id}.npz"
    file.parent.mkdir(exist_ok=True)
    ones = np.ones((2, 3))
    n = np.ones((2, 3), np.int64)
    meta = SurfaceMeta(id=id, name="mine")
    Surface(
        alpha=np.arange(3.0), beta=np.arange(2.0), loss=ones, accuracy=ones, sem=ones, n=n, meta=meta
    ).save(file)  # fmt: skip
    return file


def flip(file: Path) -> None:
    damaged = bytearray(file.read_bytes())
    damaged[-20] ^= 1
    file.write_bytes(bytes(damaged))


def test_an_empty_workspace_and_a_second_sweep_change_nothing(store: Store, tmp_path: Path) -> None:
    assert run(store, tmp_path) == Swept()
    checkpoint(tmp_path)
    plane(tmp_path)
    surface(tmp_path)
    assert len(run(store, tmp_path).adopted) == 3
    assert run(store, tmp_path) == Swept()


def test_writes_that_were_cut_short_are_deleted(store: Store, tmp_path: Path) -> None:
    names = (".a.tmp", f"runs/{RUN}/.step-00000001.safetensors.77.tmp", "planes/.p.tmp", "surfaces/.s.tmp",
             "exports/x/.e.tmp", "backups/.b.tmp")  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    assert set(run(store, tmp_path).deleted) == set(names)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_checkpoint_without_a_record_is_adopted_with_its_run(store: Store, tmp_path: Path) -> None:
    files = [checkpoint(tmp_path, step) for step in (0, 12)]
    assert run(store, tmp_path).adopted == tuple(f.relative_to(tmp_path).as_posix() for f in files)
    record, rows = store.call(lambda t: (t.get_run(RUN), t.checkpoints(RUN)))
    assert record is not None
    assert (record.recipe, record.note) == (PRESETS["demo"], "adopted")
    assert [(c.step, c.epoch, c.sha256) for c in rows] == [(0, 0.0, hash_of(files[0])), (12, 1.0, hash_of(files[1]))]


def test_a_checkpoint_joins_the_run_that_is_there(store: Store, tmp_path: Path) -> None:
    store.call(lambda t: t.put_run(RunRecord(id=RUN, recipe=PRESETS["seed"], name="mine")))
    checkpoint(tmp_path)
    run(store, tmp_path)
    assert store.call(lambda t: t.get_run(RUN)) == RunRecord(id=RUN, recipe=PRESETS["seed"], name="mine")


def test_a_checkpoint_whose_hash_differs_is_quarantined(store: Store, tmp_path: Path) -> None:
    flip(checkpoint(tmp_path))
    swept = run(store, tmp_path)
    assert swept.adopted == ()
    assert len(swept.quarantined) == 1
    assert "sha256" in swept.quarantined[0]
    assert [f.name for f in (tmp_path / "quarantine").iterdir()] == [f"runs__{RUN}__step-00000012.safetensors"]
    assert store.call(lambda t: t.names("runs")) == []


def test_a_checkpoint_that_no_hash_vouches_for_is_quarantined(store: Store, tmp_path: Path) -> None:
    file = checkpoint(tmp_path)
    (file.parent / "SHA256SUMS").unlink()
    assert "vouches" in run(store, tmp_path).quarantined[0]


def test_a_checkpoint_that_an_older_line_vouches_for_is_adopted_with_its_own_hash(store: Store, tmp_path: Path) -> None:
    """Regression: a process that died between the line and the rename had the intact file put into quarantine."""
    file = checkpoint(tmp_path)
    with open(file.parent / "SHA256SUMS", "a") as sums:
        sums.write(f"{'0' * 64}  {file.name}\n")
    assert len(run(store, tmp_path).adopted) == 1
    assert store.call(lambda t: t.checkpoints(RUN))[0].sha256 == hash_of(file)
    assert run(store, tmp_path) == Swept()


def test_what_is_no_weight_file_is_quarantined_and_a_second_one_does_not_replace_it(
    store: Store, tmp_path: Path
) -> None:
    for _ in range(2):
        file = plane(tmp_path)
        file.write_bytes(b"nonsense")
        assert len(run(store, tmp_path).quarantined) == 1
    assert len(list((tmp_path / "quarantine").iterdir())) == 2


def test_a_plane_is_adopted_by_its_own_contents(store: Store, tmp_path: Path) -> None:
    file = plane(tmp_path)
    run(store, tmp_path)
    found = store.call(lambda t: t.get_plane("a" * 64))
    assert found is not None
    assert (found.meta.kind, found.trajectory, found.sha256) == ("random", ("x@1",), hash_of(file))
    file.rename(file.with_name("b" * 64 + ".safetensors"))
    swept = run(store, tmp_path)
    assert swept.missing == (f"planes/{'a' * 64}.safetensors",)
    assert "it says of itself" in swept.quarantined[0]


def test_a_sealed_surface_is_adopted_and_a_damaged_one_is_not(store: Store, tmp_path: Path) -> None:
    surface(tmp_path)
    flip(surface(tmp_path, ulid(6)))
    surface(tmp_path).rename(tmp_path / "surfaces" / f"{ulid(7)}.npz")
    surface(tmp_path)
    swept = run(store, tmp_path)
    assert swept.adopted == (f"surfaces/{ulid(5)}.npz",)
    assert len(swept.quarantined) == 2
    found = store.call(lambda t: t.get_surface(ulid(5)))
    assert found is not None
    assert (found.name, found.width, found.height, found.file) == ("mine", 3, 2, f"surfaces/{ulid(5)}.npz")


def test_a_surface_that_was_not_sealed_yet_keeps_its_rows(store: Store, tmp_path: Path) -> None:
    """The kill came between the file and the transaction: the daemon seals it again from the rows."""
    store.call(lambda t: put_surface(t, surface_record(ulid(5))))
    surface(tmp_path)
    assert run(store, tmp_path) == Swept()
    found = store.call(lambda t: t.get_surface(ulid(5)))
    assert found is not None
    assert found.file is None


def test_a_file_of_an_analysis_is_known_by_its_surface(store: Store, tmp_path: Path) -> None:
    """`ID.xxxxxx.npz`: beside the surface's own file it was cut short, without that one it is the surface."""
    own = surface(tmp_path)
    run(store, tmp_path)
    other = surface(tmp_path).rename(own.with_name(f"{ulid(5)}.ABCDEF.npz"))
    surface(tmp_path)
    assert "another file" in run(store, tmp_path).quarantined[0]
    assert not other.exists()
    own.rename(other)
    assert run(store, tmp_path).adopted == (f"surfaces/{other.name}",)
    found = store.call(lambda t: t.get_surface(ulid(5)))
    assert found is not None
    assert (found.file, found.missing) == (f"surfaces/{other.name}", False)


def test_records_without_a_file_are_marked_until_it_is_back(store: Store, tmp_path: Path) -> None:
    files = [checkpoint(tmp_path), plane(tmp_path), surface(tmp_path)]
    run(store, tmp_path)
    for file in files:
        file.rename(tmp_path / file.name)
    assert len(run(store, tmp_path).missing) == 3
    assert run(store, tmp_path).missing == ()  # told once
    flags = lambda t: (  # noqa: E731
        t.checkpoints(RUN)[0].missing, t.get_plane("a" * 64).missing, t.get_surface(ulid(5)).missing
    )  # fmt: skip
    assert store.call(flags) == (True, True, True)
    flip(tmp_path / files[0].name)
    for file in files:
        (tmp_path / file.name).rename(file)
    assert len(run(store, tmp_path).quarantined) == 1  # it came back changed
    assert store.call(flags) == (True, False, False)


def test_a_stored_file_that_was_cut_short_is_quarantined(store: Store, tmp_path: Path) -> None:
    file = checkpoint(tmp_path)
    run(store, tmp_path)
    with open(file, "r+b") as f:
        f.truncate(100)
    swept = run(store, tmp_path)
    assert "100 bytes" in swept.quarantined[0]
    assert swept.missing == (file.relative_to(tmp_path).as_posix(),)
    assert store.call(lambda t: t.checkpoints(RUN)[0].missing)


def test_what_was_deleted_does_not_come_back(store: Store, tmp_path: Path) -> None:
    """The kill came between the commit that deleted a record and the deletion of its file."""
    file = surface(tmp_path)
    run(store, tmp_path)
    store.call(lambda t: (t.delete_surface(ulid(5)), setattr(t, "discarded", False)))  # as if it had ended here
    assert file.exists()
    swept = run(store, tmp_path)
    assert (swept.deleted, swept.adopted) == ((f"surfaces/{ulid(5)}.npz",), ())
    assert not file.exists()


def test_a_file_that_is_stored_again_is_not_deleted(store: Store, tmp_path: Path) -> None:
    file = plane(tmp_path)
    record = PlaneRecord(id=ulid(1), hash="a" * 64, meta=PlaneMeta(), file=f"planes/{file.name}", sha256="0" * 64)
    store.call(lambda t: t.put_plane(record))
    store.call(lambda t: (t.delete_plane(ulid(1)), t.put_plane(record)))
    assert file.exists()
