"""A full disk: rows are refused, the last words are stored, everything stays readable, and it goes on with room."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stored import Told, hold, job, put_surface, sums, surface_record, ulid

from compute.store import Store, reserve
from compute.store import thread as module
from protocol.errors import InputError

WIDTH = 1001


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.02)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 28 MiB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=28m", "tmpfs", str(folder)], capture_output=True, check=False
    ) if os.geteuid() == 0 else None  # fmt: skip
    if mounted is None or mounted.returncode:
        pytest.skip("needs root and mount, for a file system that really is full")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


def wait_for_room(store: Store) -> None:
    stop = time.monotonic() + 5
    while store.full:
        assert time.monotonic() < stop
        time.sleep(0.01)


def test_a_full_disk_pauses_and_loses_nothing(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (small_disk / "filler").write_bytes(bytes(6 << 20))
    told = Told()
    store = Store.open(small_disk, told.woken.set)
    assert (small_disk / "reserve").stat().st_size == reserve.BYTES
    store.call(lambda t: put_surface(t, surface_record(width=WIDTH, height=4000)))
    i = 0
    while not told.all or told.all[-1][1] is None:
        for _ in range(8):
            store.write(lambda t, i=i: t.append_row(ulid(1), i, 0, 512, sums(i, 0, WIDTH)), told.done)
            i += 1
        told.wait(store, i)
    stored = [k for k, (_, error) in enumerate(told.all) if error is None]
    errors = [error for _, error in told.all if error is not None]
    assert all(isinstance(e, InputError) and e.code == "no_space" for e in errors)
    assert not (small_disk / "reserve").exists()
    assert store.full

    store.call(lambda t: t.put_job(job(state="paused", error="no space")))  # the last words
    with pytest.raises(InputError, match="full"):
        store.call(lambda t: t.append_row(ulid(1), 3999, 0, 512, sums(3999, 0, WIDTH)))
    assert [i for i, _ in store.call(lambda t: t.rows_there(ulid(1)))] == stored
    store.close()

    store = Store.open(small_disk)  # a start on a full disk: readable, and told
    assert store.full
    assert store.call(lambda t: t.get_job(ulid(1)).error) == "no space"  # type: ignore[union-attr]
    assert len(store.call(lambda t: t.rows_of(ulid(1)))) == len(stored)
    (small_disk / "filler").unlink()
    monkeypatch.setattr(reserve, "MARGIN", 0)  # the filler was not as large as that
    wait_for_room(store)
    assert store.call(lambda t: t.append_row(ulid(1), 3999, 0, 512, sums(3999, 0, WIDTH))) == len(stored) + 1
    store.close()


def test_of_a_group_that_finds_the_disk_full_the_small_writes_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's own limit of pages stands for the disk, and giving up the reserve raises it a little."""
    told = Told()
    store = Store.open(tmp_path, told.woken.set)
    store.call(lambda t: put_surface(t, surface_record(width=WIDTH, height=100)))

    def limit(more: int) -> None:
        (pages,) = store._db.execute("PRAGMA page_count").fetchone()
        store._db.execute(f"PRAGMA max_page_count = {pages + more}").fetchone()

    monkeypatch.setattr(reserve, "give_up", lambda _: limit(3))
    monkeypatch.setattr(reserve, "make", lambda _: False)
    store.call(lambda t: limit(0))
    go = hold(store)
    store.write(lambda t: t.put_job(job(1)), told.done)
    store.write(lambda t: t.append_row(ulid(1), 0, 0, 512, sums(0, 0, WIDTH)), told.done)
    store.write(lambda t: t.put_job(job(2, error="x" * 3000)), told.done)
    store.read(lambda t: len(t.rows_there(ulid(1))), told.done)
    go()
    told.wait(store, 4)
    assert [getattr(error, "code", None) for _, error in told.all] == [None, "no_space", None, None]
    assert store.call(lambda t: [j.number for j in t.load_jobs()]) == [1, 2]
    assert store.full
    monkeypatch.setattr(reserve, "make", lambda _: True)
    wait_for_room(store)
    store.close()
