"""Copies of state.db in backups/: made while the store serves, the last five kept; and the way back from one."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from protocol.files import sync_folder

from .base import Base

FOLDER = "backups"
KEEP = 5
PIECE_PAGES = 64  # 512 kB: what the writers wait for
_NAME = re.compile(r"^state-\d{8}T\d{6}(\.\d+)?\.db$")


def backups(workspace: Path) -> list[Path]:
    """The backups of a workspace, oldest first."""
    folder = workspace / FOLDER
    return sorted(f for f in folder.iterdir() if _NAME.match(f.name)) if folder.is_dir() else []


def copy(db: sqlite3.Connection, workspace: Path, between: Callable[[], None] = lambda: None) -> Path:
    """Copy an open database into backups/, whole or not at all, and drop the oldest but five; the new file.

    `between` is called after each piece and may write through the same connection: SQLite carries that over.
    """
    folder = workspace / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + f".{time.time_ns() // 1000 % 1_000_000:06d}"
    target = folder / f"state-{stamp}.db"
    tmp = folder / f".{target.name}.tmp"
    try:
        _give_back(db, between)
        with closing(sqlite3.connect(tmp, isolation_level=None)) as out:
            out.execute("PRAGMA synchronous = OFF")  # it is synced as a whole, below
            db.backup(out, pages=PIECE_PAGES, progress=lambda *_: between())
            out.execute("PRAGMA journal_mode = DELETE")  # one file, complete in itself
        with open(tmp, "rb") as written:
            os.fsync(written.fileno())
        os.replace(tmp, target)
        sync_folder(folder)
    finally:
        for left in (tmp, tmp.with_name(tmp.name + "-wal"), tmp.with_name(tmp.name + "-journal")):
            with suppress(OSError):
                left.unlink()
    for old in backups(workspace)[:-KEEP]:
        old.unlink(missing_ok=True)
    return target


def is_due(tables: Base, workspace: Path) -> bool:
    """Whether the database has changed since the newest backup, by what the two functions below noted in it."""
    there = backups(workspace)
    return not there or tables.get_meta("backup") != there[-1].name


def note_done(tables: Base, file: Path) -> None:
    """This backup is a copy of what there is."""
    tables.put_meta("backup", file.name)


def note_change(tables: Base) -> None:
    """From now on there is more than in the newest backup."""
    tables.put_meta("backup", "")


def _give_back(db: sqlite3.Connection, between: Callable[[], None]) -> None:
    """Return the pages of rows that were sealed, so that they are not copied."""
    while True:
        (free,) = db.execute("PRAGMA freelist_count").fetchone()
        if free == 0:
            return
        db.execute(f"PRAGMA incremental_vacuum({PIECE_PAGES})").fetchall()
        if db.execute("PRAGMA freelist_count").fetchone()[0] >= free:
            return
        between()


def is_good(file: Path) -> bool:
    """Whether a backup is a whole database of ours."""
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)) as db:
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            return found == "ok" and db.execute("SELECT 1 FROM meta WHERE name = 'store'").fetchone() is not None
    except sqlite3.Error:
        return False


def newest_good(workspace: Path) -> Path | None:
    """The newest backup that passes its check, or None."""
    return next((f for f in reversed(backups(workspace)) if is_good(f)), None)
