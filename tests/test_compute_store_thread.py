"""The store's thread: groups, order, failures that stay their own, and answers that come after the commit."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stored import Told, hold, job, put_surface, sums, surface_record, ulid

from compute.store import Store, Tables
from compute.store import thread as module
from protocol.errors import InputError


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def store(tmp_path: Path, told: Told) -> Iterator[Store]:
    store = Store.open(tmp_path, told.woken.set)
    yield store
    store.close()


def test_answers_come_in_order_in_the_callers_thread(store: Store, told: Told) -> None:
    here, where = threading.current_thread(), []
    for k in range(40):
        store.write(lambda t, k=k: (t.put_job(job(k)), k)[1], told.done)
        store.read(lambda t, k=k: t.get_job(ulid(k)), lambda r, e: where.append((r, threading.current_thread())))
    assert [r for r, e in told.wait(store, 40)] == list(range(40))
    while len(where) < 40:
        store.completed()
    assert [(r.number, thread) for r, thread in where] == [(k, here) for k in range(40)]
    assert store.completed() == 0


def test_what_is_queued_is_committed_together(store: Store, told: Told) -> None:
    commits: list[int] = []
    store.call(lambda t: t.db.set_trace_callback(lambda sql: commits.append(1) if sql == "COMMIT" else None))
    commits.clear()
    go = hold(store)
    for k in range(module.GROUP + 10):
        store.write(lambda t, k=k: t.put_job(job(k)), told.done)
    go()
    told.wait(store, module.GROUP + 10)
    assert 2 <= len(commits) <= 4  # a slow machine may take more than 5 ms for a group


def test_nothing_is_told_before_its_commit(store: Store, told: Told) -> None:
    """Commit before publish: what another process could read is there when `done` is called."""
    states: list[bool] = []
    store.call(lambda t: t.db.set_trace_callback(lambda sql: states.append(bool(store._completed))))
    go = hold(store)
    for k in range(5):
        store.write(lambda t, k=k: t.put_job(job(k)), told.done)
    store.completed()
    states.clear()
    go()
    told.wait(store, 5)
    assert not any(states)


def test_a_failing_write_does_not_take_the_others_with_it(store: Store, told: Told) -> None:
    def half(t: Tables) -> None:
        t.put_job(job(99))
        raise InputError("no", code="wrong_state")

    go = hold(store)
    store.write(lambda t: t.put_job(job(1)), told.done)
    store.write(half, told.done)
    store.write(lambda t: t.put_request("a", b"", b"") or t.put_request("a", b"", b""), told.done)
    store.write(lambda t: t.put_job(job(2)), told.done)
    go()
    told.wait(store, 4)
    assert [type(e) for _, e in told.all] == [type(None), InputError, sqlite3.IntegrityError, type(None)]
    assert store.call(lambda t: [j.number for j in t.load_jobs()]) == [1, 2]
    assert store.call(lambda t: t.get_request("a")) is None


def test_a_lost_transaction_is_done_again_one_by_one(store: Store, told: Told) -> None:
    """An error that ends the whole transaction (as a full disk may) is the failure of one write, not of its group."""

    def lose(t: Tables) -> None:
        t.db.execute("ROLLBACK")
        raise InputError("lost", code="internal")

    go = hold(store)
    store.write(lambda t: t.put_job(job(1)), told.done)
    store.write(lose, told.done)
    store.write(lambda t: t.put_job(job(2)), told.done)
    go()
    told.wait(store, 3)
    assert [e is None for _, e in told.all] == [True, False, True]
    assert store.call(lambda t: [j.number for j in t.load_jobs()]) == [1, 2]


def test_call_returns_and_raises(store: Store) -> None:
    assert store.call(lambda t: 7) == 7
    with pytest.raises(InputError, match="none"):
        store.call(lambda t: t.append_row("x", 0, 0, 1, {}))


def test_a_failing_done_leaves_the_others_for_the_next_time(store: Store, told: Told) -> None:
    def bad(*_: Any) -> None:
        raise RuntimeError("a mistake")

    go = hold(store)
    store.write(lambda t: 1, bad)
    store.write(lambda t: 2, told.done)
    go()
    store.call(lambda t: None)
    with pytest.raises(RuntimeError, match="mistake"):
        store.completed()
    assert told.wait(store, 1) == [(2, None)]


def test_close_commits_what_is_queued(tmp_path: Path, told: Told) -> None:
    store = Store.open(tmp_path, told.woken.set)
    for k in range(100):
        store.write(lambda t, k=k: t.put_job(job(k)), told.done)
    store.close()
    store.close()
    assert store.completed() == 100
    with pytest.raises(RuntimeError, match="closed"):
        store.write(lambda t: None, told.done)
    again = Store.open(tmp_path)
    assert again.call(lambda t: len(t.load_jobs())) == 100
    again.close()


def test_deleted_files_go_after_the_commit_and_only_those_of_results(store: Store, tmp_path: Path, told: Told) -> None:
    folder = tmp_path / "runs" / ulid(1)
    folder.mkdir(parents=True)
    (folder / "step-00000000.safetensors").write_bytes(b"x")
    (tmp_path / "config.toml").write_text("mine")
    (tmp_path.parent / "outside").write_text("mine")
    for file in (f"runs/{ulid(1)}", "config.toml", "runs/../config.toml", "../outside", "state.db"):
        store.call(lambda t, file=file: t.discard(file))
    assert store.call(lambda t: t.trash()) == []
    assert not folder.exists()
    assert (tmp_path / "config.toml").exists()
    assert (tmp_path.parent / "outside").exists()
    assert (tmp_path / "state.db").exists()
    with pytest.raises(InputError):
        store.call(lambda t: (t.discard("runs/keep"), t.append_row("x", 0, 0, 1, {})))
    assert store.call(lambda t: t.trash()) == []


def test_writes_go_on_while_a_backup_is_made(store: Store, told: Told, tmp_path: Path) -> None:
    store.call(lambda t: put_surface(t, surface_record(width=1001, height=200)))
    store.call(lambda t: [t.append_row(ulid(1), i, 0, 512, sums(i, 0, 1001)) for i in range(200)])
    order: list[str] = []
    go = hold(store)
    store.backup(lambda file, e: order.append(f"backup {file and file.parent.name} {e}"))
    for k in range(3):
        store.write(lambda t, k=k: t.put_job(job(k)), lambda r, e: order.append("job"))
    go()
    stop = time.monotonic() + 10
    while len(order) < 4 and time.monotonic() < stop:
        told.woken.wait(0.05)
        store.completed()
    assert order == ["job", "job", "job", "backup backups None"]
    (backup,) = (tmp_path / "backups").iterdir()
    with sqlite3.connect(backup) as db:
        assert db.execute("SELECT count(*) FROM rows").fetchone() == (200,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
