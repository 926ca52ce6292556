"""Opening: old versions, damage of any kind, backups and the way back."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from stored import Told, job, put_surface, sums, surface_record, trip, ulid

from compute.store import RunRecord, Store, Tables, backup, database, schema
from compute.store.restore import SKIP, restore, verify
from protocol.errors import InputError
from protocol.files import Surface, SurfaceMeta
from protocol.messages import PRESETS, JobStateEvent

TOPIC = f"surface/{ulid(1)}/"


def fill(t: Tables) -> None:
    """A surface with 200 rows of 8 kB, a job, a run: some hundred pages."""
    put_surface(t, surface_record(width=401, height=200))
    for i in range(200):
        t.append_row(ulid(1), i, 0, 512, sums(i, 0, 401))
    t.put_job(job())
    t.put_run(RunRecord(id=ulid(1), recipe=PRESETS["demo"]))


def make_backup(folder: Path) -> Path:
    told = Told()
    store = Store.open(folder, told.woken.set)
    store.backup(told.done)
    ((file, error),) = told.wait(store, 1)
    store.close()
    assert error is None
    assert isinstance(file, Path)
    return file


def unclean(folder: Path) -> None:
    """As after a kill: the next start checks the database."""
    with closing(sqlite3.connect(folder / "state.db", isolation_level=None)) as db:
        db.execute("UPDATE meta SET value = '0' WHERE name = 'clean'")


# ---------------------------------------------------------------- versions


@pytest.mark.parametrize("version", range(1, len(schema.MIGRATIONS) + 1))
def test_every_older_version_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """Each released version, and one step more than there is: what was stored is still there."""
    steps = (*schema.MIGRATIONS, ("ALTER TABLE jobs ADD COLUMN later TEXT", "CREATE TABLE later (a TEXT) STRICT"))
    monkeypatch.setattr(schema, "MIGRATIONS", steps[:version])
    trip(tmp_path, lambda t: t.put_job(job()))
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    assert trip(tmp_path, lambda t: (schema.version_of(t.db), t.get_job(ulid(1)))) == (len(steps), job())


def test_a_migration_that_fails_leaves_the_old_version_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trip(tmp_path, lambda t: t.put_job(job()))
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("ALTER TABLE jobs ADD COLUMN x TEXT", "NO SQL")))
        with pytest.raises(InputError):
            Store.open(tmp_path)
    assert trip(tmp_path, lambda t: t.get_job(ulid(1))) == job()


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    trip(tmp_path, lambda t: t.db.execute("PRAGMA user_version = 99"))
    with pytest.raises(InputError, match="newer thalweg"):
        Store.open(tmp_path)


# ---------------------------------------------------------------- who has it, and whether it is whole


def test_a_second_store_on_a_workspace_is_refused(tmp_path: Path) -> None:
    store = Store.open(tmp_path)
    with pytest.raises(InputError, match="another process has it open"):
        Store.open(tmp_path)
    with pytest.raises(InputError, match="good backup"):
        restore(tmp_path)
    store.close()
    make_backup(tmp_path)
    store = Store.open(tmp_path)
    with pytest.raises(InputError, match="daemon stop"):
        restore(tmp_path)
    assert store.call(lambda t: t.load_jobs()) == []
    store.close()


def damage(file: Path, how: str) -> None:
    size = file.stat().st_size
    with open(file, "r+b") as f:
        if how == "truncated":
            f.truncate(size // 2)
        elif how == "cut in a page":
            f.truncate(size - 1000)
        elif how == "header":
            f.write(bytes(100))
        elif how == "empty":
            f.truncate(0)
        elif how == "another kind":
            f.write(os.urandom(size))
        elif how == "middle":
            f.seek(size // 2 // 8192 * 8192)
            f.write(os.urandom(4 * 8192))
    if how == "gone":
        file.unlink()


@pytest.mark.parametrize("how", ["truncated", "cut in a page", "header", "empty", "another kind", "middle", "gone"])
def test_a_damaged_database_refuses_and_names_the_newest_good_backup(tmp_path: Path, how: str) -> None:
    trip(tmp_path, fill)
    good = make_backup(tmp_path)
    bad = make_backup(tmp_path)
    damage(bad, "truncated")
    unclean(tmp_path)
    damage(tmp_path / "state.db", how)
    before = {f.name for f in tmp_path.iterdir()}
    with pytest.raises(InputError, match="thalweg store restore") as e:
        Store.open(tmp_path)
    assert good.name in e.value.msg
    assert e.value.code == "integrity"
    assert "\n" not in e.value.msg
    assert {f.name for f in tmp_path.iterdir()} >= before - {"state.db-wal"}
    restored = restore(tmp_path)
    assert restored.backup == good
    assert trip(tmp_path, lambda t: (t.get_job(ulid(1)), len(t.rows_of(ulid(1))))) == (job(), 200)
    assert (restored.old is not None) == (how != "gone")


def test_damage_without_a_backup_says_so(tmp_path: Path) -> None:
    trip(tmp_path, fill)
    damage(tmp_path / "state.db", "another kind")
    with pytest.raises(InputError, match="no good backup"):
        Store.open(tmp_path)


def test_a_clean_start_does_not_check_and_an_unclean_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(database, "problems", lambda db, *, quick: calls.append(quick) or [])
    trip(tmp_path, fill)
    trip(tmp_path, lambda t: None)
    assert calls == []
    unclean(tmp_path)
    trip(tmp_path, lambda t: None)
    assert calls == [True]


# ---------------------------------------------------------------- backups


def test_five_backups_are_kept_and_hold_no_freed_pages(tmp_path: Path) -> None:
    trip(tmp_path, fill)
    made = [make_backup(tmp_path) for _ in range(backup.KEEP + 2)]
    assert backup.backups(tmp_path) == made[2:]
    full = made[-1].stat().st_size
    trip(tmp_path, lambda t: t.seal(ulid(1), "surfaces/x.npz", "0" * 64))
    assert make_backup(tmp_path).stat().st_size < full / 3
    assert not [f for f in (tmp_path / "backups").iterdir() if f.name.startswith(".")]


def test_a_backup_is_due_after_a_change_and_only_then(tmp_path: Path) -> None:
    """Starts and stops without a change must not push the older backups out."""
    due = lambda: (store := Store.open(tmp_path), store.changes > 0, store.close())[1]  # noqa: E731
    trip(tmp_path, fill)
    assert due()
    make_backup(tmp_path)
    assert not due()
    trip(tmp_path, lambda t: t.load_jobs())
    assert not due()
    trip(tmp_path, lambda t: t.put_job(job(2)))
    assert due()


def test_restore_takes_in_what_is_newer_than_the_backup(tmp_path: Path) -> None:
    trip(tmp_path, fill)
    make_backup(tmp_path)
    newer = Surface(
        alpha=np.arange(3.0), beta=np.arange(2.0), loss=np.ones((2, 3)), accuracy=np.ones((2, 3)),
        sem=np.ones((2, 3)), n=np.ones((2, 3), np.int64), meta=SurfaceMeta(id=ulid(1)),
    )  # fmt: skip
    (tmp_path / "surfaces").mkdir()
    newer.save(tmp_path / "surfaces" / f"{ulid(1)}.npz")
    (tmp_path / "state.db").unlink()
    swept = restore(tmp_path).swept
    assert swept.adopted == (f"surfaces/{ulid(1)}.npz",)
    sealed, rows = trip(tmp_path, lambda t: (t.get_surface(ulid(1)), t.rows_there(ulid(1))))
    assert (sealed.file, rows) == (f"surfaces/{ulid(1)}.npz", [])


def test_after_a_restore_no_seq_is_told_twice(tmp_path: Path) -> None:
    trip(tmp_path, fill)
    make_backup(tmp_path)
    trip(tmp_path, lambda t: t.append_message(TOPIC, JobStateEvent(job=ulid(1), state="done")))
    restore(tmp_path)
    head, late, new = trip(
        tmp_path,
        lambda t: (
            t.heads([TOPIC])[TOPIC],
            t.events_since(TOPIC, 201).gone,
            t.append_message(TOPIC, JobStateEvent(job=ulid(1), state="failed"))[0],
        ),
    )
    assert (head, late, new) == (200 + SKIP, True, 201 + SKIP)


def test_restore_refuses_what_is_no_good_backup(tmp_path: Path) -> None:
    trip(tmp_path, fill)
    with pytest.raises(InputError, match="found none"):
        restore(tmp_path)
    file = make_backup(tmp_path)
    with pytest.raises(InputError, match=file.name):
        restore(tmp_path, "another")
    damage(file, "truncated")
    with pytest.raises(InputError, match="corrupted"):
        restore(tmp_path, file.name)
    assert trip(tmp_path, lambda t: t.get_job(ulid(1))) == job()


# ---------------------------------------------------------------- verify


def test_verify_names_each_file_that_is_not_as_stored(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / ulid(1)
    folder.mkdir(parents=True)
    for name in ("good", "flipped", "lost"):
        (folder / name).write_bytes(name.encode())

    def put(t: Tables) -> None:
        t.put_run(RunRecord(id=ulid(1), recipe=PRESETS["demo"]))
        for step, name in enumerate(("good", "flipped", "lost")):
            t.add_checkpoint(ulid(1), step, 0.0, f"runs/{ulid(1)}/{name}", sha256(name.encode()).hexdigest(), 4)

    store = Store.open(tmp_path)
    store.call(put)
    assert verify(store) == (3, [])
    (folder / "flipped").write_bytes(b"flippeD")
    shutil.move(folder / "lost", tmp_path / "elsewhere")
    checked, problems = verify(store)
    assert checked == 3
    assert [p.split(":")[0].rpartition("/")[2] for p in problems] == ["flipped", "lost"]
    store.close()


def test_a_flipped_bit_in_a_row_is_found(tmp_path: Path) -> None:
    """SQLite's own check looks at its pages, not at what is in them."""
    trip(tmp_path, fill)
    file = tmp_path / "state.db"
    whole, piece = bytearray(file.read_bytes()), sums(100, 0, 401)["loss_sq_sum"][1000:1040]
    assert whole.count(piece) == 1
    whole[whole.index(piece)] ^= 1
    file.write_bytes(whole)
    store = Store.open(tmp_path)
    with pytest.raises(InputError, match="checksum"):
        store.call(lambda t: t.rows_of(ulid(1)))
    assert verify(store)[1] == [f"surface {ulid(1)}: row 100 of pass 0 is corrupted"]
    store.close()
