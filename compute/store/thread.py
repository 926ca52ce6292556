"""The store's thread: one connection, writes in groups, an answer only after their commit.

    write(fn, done) ─> queue ─> BEGIN, fn in a savepoint each, COMMIT ─> completed ─wake()─> done(result, error)

What is queued when the thread gets to it is committed together, up to 32 writes or 5 ms: waiting for the disk is what
a commit costs, so a group costs little more than one write. Nothing is waited for: a lone write is committed at once.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from protocol.errors import InputError

from . import backup, database, reserve, trash
from .tables import Tables

GROUP = 32  # writes in one transaction at most; 16 are as fast on a quick disk, a third slower on a slow one
GROUP_S = 0.005  # and the time after which it takes no more of them
LOG_GROUPS = 50  # transactions after which an idle moment is used to put the log into the database
RETRY_S = 1.0  # between attempts to make the reserve again

T = TypeVar("T")
Done = Callable[[Any, Exception | None], None]


@dataclass
class Work:
    """One function to run, and who is told: `done` through `completed`, or whoever waits for the future."""

    fn: Callable[[Tables], Any]
    done: Done | None = None
    future: Future[Any] | None = None
    writes: bool = True
    alone: bool = False  # outside a transaction: a backup
    ends: bool = False
    result: Any = None
    error: Exception | None = None


class Store:
    """The database of a workspace, used from one other thread (or from several, through `call`)."""

    def __init__(self, workspace: Path, wake: Callable[[], None]) -> None:
        self.workspace = workspace
        self._wake = wake
        self._queue: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._completed: deque[Work] = deque()
        self._opened: Future[None] = Future()
        self._held: Work | None = None
        self._ended = False
        self._retry_at = 0.0
        self._changes = 0
        self._logged = 0
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    @classmethod
    def open(cls, workspace: Path, wake: Callable[[], None] = lambda: None) -> Store:
        """Open the workspace's state.db, or make it. `wake` is called in the store's thread when there is something to
        hand out by `completed`; it has to be quick and safe to call from another thread.

        Raises InputError, one sentence, where it cannot: corrupted (with the newest good backup and the command that
        restores it), in use, of a newer version, or on a full disk.
        """
        store = cls(Path(workspace), wake)
        store._thread.start()
        store._opened.result()
        return store

    # ------------------------------------------------------------ the daemon's side

    def write(self, fn: Callable[[Tables], T], done: Callable[[T | None, Exception | None], None]) -> None:
        """Queue `fn`. After the commit of what it did, `completed` calls `done(result, None)`; where it raised, or the
        commit failed, `done(None, error)`, and nothing of it is stored. `fn` may be run a second time, when another
        one of its group took the transaction with it, so it must touch nothing but the tables."""
        self._put(Work(fn, done))

    def read(self, fn: Callable[[Tables], T], done: Callable[[T | None, Exception | None], None]) -> None:
        """Queue `fn`, which changes nothing, behind what was queued before it; `done` as for `write`."""
        self._put(Work(fn, done, writes=False))

    def completed(self) -> int:
        """Call `done` of everything that is committed, in the order in which it was queued, in this thread; how many.
        An exception of a `done` comes through; the others are called by the next `completed`, for which `wake` is
        called again."""
        count = 0
        try:
            while self._completed:
                work = self._completed.popleft()
                count += 1
                if work.done is not None:
                    work.done(work.result, work.error)
        except BaseException:
            if self._completed:
                self._wake()
            raise
        return count

    def call(self, fn: Callable[[Tables], T]) -> T:
        """Run `fn` as a write and wait for its commit; what it returned, or what it raised."""
        future: Future[T] = Future()
        self._put(Work(fn, future=future))
        return future.result()

    def backup(self, done: Callable[[Path | None, Exception | None], None]) -> None:
        """Queue a copy of the database into backups/; writes go on while it is made. `done` gets the file."""
        self._put(Work(self._backup, done, alone=True))

    @property
    def full(self) -> bool:
        """Whether the disk is full: rows are refused until the reserve could be made again, small writes are not."""
        return self._tables.full

    @property
    def changes(self) -> int:
        """About how many rows changed since the last backup; 0: a backup would be a copy of the one there is."""
        return self._changes

    @property
    def handed_out(self) -> bool:
        """Whether there is something for `completed` to tell."""
        return bool(self._completed)

    @property
    def pending(self) -> int:
        """About how much is queued."""
        return self._queue.qsize()

    def close(self) -> None:
        """Commit what is queued, mark the stop as clean and close the database. `completed` still works after it."""
        if not self._ended:
            self._ended = True
            self._queue.put(Work(lambda _: None, ends=True))
        self._thread.join()

    def _put(self, work: Work) -> None:
        if self._ended:
            raise RuntimeError("the store is closed")
        self._queue.put(work)

    # ------------------------------------------------------------ the store's thread

    def _run(self) -> None:
        try:
            try:
                self._db = database.open_database(self.workspace)
            except InputError as e:
                if e.code != "no_space":
                    raise
                reserve.give_up(self.workspace)  # everything has to stay readable
                self._db = database.open_database(self.workspace)
            self._tables = Tables(self._db)
            self._tables.full = not reserve.make(self.workspace)
            self._changes = int(backup.is_due(self._tables, self.workspace))
        except BaseException as e:
            self._opened.set_exception(e)
            return
        self._opened.set_result(None)
        while (work := self._next(RETRY_S if self._tables.full else None)) is None or not work.ends:
            if work is not None:
                self._serve(work)
            work = None  # what it holds, a whole surface, is not held until the next one comes
            self._look_for_room()
            if self._logged >= LOG_GROUPS and self._held is None and self._queue.empty():
                self._logged = 0
                with suppress(sqlite3.Error):  # no room for it now: the log grows meanwhile
                    self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        with suppress(sqlite3.Error):  # on a full disk: the next start then checks the database, that is all
            database.close(self._db)
        self._db.close()

    def _next(self, timeout: float | None) -> Work | None:
        """The next work, waited for up to `timeout` seconds (None: for ever); None when there was none."""
        if self._held is not None:
            held, self._held = self._held, None
            return held
        try:
            return self._queue.get(timeout != 0, timeout)
        except queue.Empty:
            return None

    def _serve(self, work: Work) -> None:
        if work.alone:
            try:
                work.result = work.fn(self._tables)
            except Exception as e:
                work.error = self._told(e)
            self._hand_out([work])
        else:
            self._hand_out(self._group(work))
            if self._tables.discarded:
                self._empty_trash()

    def _hand_out(self, group: list[Work]) -> None:
        for work in group:
            if work.future is None:
                self._completed.append(work)
            elif work.error is not None:
                work.future.set_exception(work.error)
            else:
                work.future.set_result(work.result)
        if self._completed:
            self._wake()

    def _group(self, first: Work) -> list[Work]:
        """Run `first` and what is queued behind it in one transaction; everything that was run, each with its result
        or error, after the commit."""
        group: list[Work] = []
        work: Work | None = first
        stop, writes, before = time.monotonic() + GROUP_S, 0, self._db.total_changes
        try:
            self._db.execute("BEGIN")
            while work is not None:
                group.append(work)
                self._attempt(work)
                writes += work.writes
                work = self._next(0) if writes < GROUP and time.monotonic() < stop else None
                if work is not None and (work.alone or work.ends):
                    self._held, work = work, None
            self._commit(before)
            return group
        except Exception as e:  # the transaction is lost, with what others of the group had done in it
            self._roll_back()
            self._note_full(e)
        for work in group:
            self._by_itself(work)
        return group

    def _attempt(self, work: Work) -> None:
        """Run one function in a savepoint. Its own failure is its own; raises where the transaction went with it."""
        self._db.execute("SAVEPOINT one")
        try:
            work.result, work.error = work.fn(self._tables), None
            self._db.execute("RELEASE one")
        except Exception as e:
            if not self._db.in_transaction or reserve.is_full(e, self.workspace):
                raise
            self._db.execute("ROLLBACK TO one")
            self._db.execute("RELEASE one")
            work.result, work.error = None, self._told(e)

    def _by_itself(self, work: Work) -> None:
        """Run one function of a lost group again, in a transaction of its own."""
        before = self._db.total_changes
        try:
            self._db.execute("BEGIN")
            work.result, work.error = work.fn(self._tables), None
            self._commit(before)
        except Exception as e:
            self._roll_back()
            self._note_full(e)
            work.result, work.error = None, self._told(e)

    def _commit(self, before: int) -> None:
        """Commit. `before`: the connection's count of changed rows when the transaction began."""
        changed = self._db.total_changes - before
        if changed and not self._changes:
            backup.note_change(self._tables)
        self._db.execute("COMMIT")
        self._changes += changed
        self._logged += changed > 0

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _told(self, e: Exception) -> Exception:
        """An error as the daemon is told of it."""
        if reserve.is_full(e, self.workspace):
            return reserve.no_space(self.workspace)
        name = getattr(e, "sqlite_errorname", "") or ""
        if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR")):
            return InputError(
                f"{self.workspace / database.NAME}: it cannot be read or written ({e}): see `thalweg store verify`",
                code="integrity",
            )
        return e

    def _note_full(self, e: BaseException) -> None:
        if reserve.is_full(e, self.workspace):
            reserve.give_up(self.workspace)
            self._tables.full = True
            self._retry_at = time.monotonic() + RETRY_S

    def _look_for_room(self) -> None:
        """Make the reserve again, once a second while it is gone; rows are taken again when it is there."""
        if self._tables.full and time.monotonic() >= self._retry_at:
            self._tables.full = not reserve.make(self.workspace)
            self._retry_at = time.monotonic() + RETRY_S

    def _empty_trash(self) -> None:
        """Delete the files whose records are gone. One that cannot be deleted now is so at the next start."""
        self._tables.discarded = False
        with suppress(sqlite3.Error):
            trash.empty(self._tables, self.workspace)

    def _backup(self, tables: Tables) -> Path:
        with suppress(sqlite3.Error):  # a good moment, no more than that
            tables.purge_requests()
        before = self._changes
        file = backup.copy(self._db, self.workspace, self._meanwhile)
        self._changes -= before  # what came meanwhile is in the copy or not
        if not self._changes:
            with suppress(sqlite3.Error):  # then another one is made that was not needed
                backup.note_done(tables, file)
        return file

    def _meanwhile(self) -> None:
        """Between two pieces of a backup: what was queued."""
        work = self._next(0)
        if work is None:
            return
        if work.alone or work.ends:
            self._held = work
        else:
            self._serve(work)
