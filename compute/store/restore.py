"""The way back from a backup, and the check of everything that is kept. For a workspace that no daemon is using."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from msgspec import Struct

from protocol.errors import InputError
from protocol.files import sync_folder

from . import backup, database
from .sweep import Swept, hash_of, quarantine, sweep
from .tables import Tables
from .thread import Store

SKIP = 1 << 20
"""How far the heads of topics jump at a restore: past every event that was told after the backup, so that no client
takes a new event for one it has."""


class Restored(Struct, frozen=True, kw_only=True):
    """The backup that was put back, where the old database went, and what newer files were adopted."""

    backup: Path
    old: Path | None
    swept: Swept


def restore(workspace: Path, which: str | None = None) -> Restored:
    """Put a backup (its name; default: the newest good one) in the place of state.db, and adopt newer files.

    The old state.db is moved to quarantine/. Raises InputError where there is no such backup, or it is not good, or a
    daemon has the store open; nothing is changed then.
    """
    chosen = _choose(workspace, which)
    file = workspace / database.NAME
    _not_in_use(file)
    tmp = file.with_name(f".{file.name}.tmp")
    shutil.copyfile(chosen, tmp)
    with open(tmp, "rb+") as copied:
        os.fsync(copied.fileno())
    _renumber(tmp)
    old = None
    for part in (file.with_name(file.name + "-wal"), file.with_name(file.name + "-shm"), file):
        if part.exists():  # the log first: beside another database it would be taken for that one's
            old = quarantine(workspace, part)
    os.replace(tmp, file)
    sync_folder(workspace)
    store = Store.open(workspace)
    try:
        swept = store.call(lambda tables: sweep(tables, workspace, restored=True))
    finally:
        store.close()
    return Restored(backup=chosen, old=old, swept=swept)


def _choose(workspace: Path, which: str | None) -> Path:
    there = backup.backups(workspace)
    if which is None:
        good = backup.newest_good(workspace)
        if good is None:
            raise InputError(f"{workspace / backup.FOLDER}: expected a good backup, found none", code="not_found")
        return good
    named = next((f for f in there if which in (f.name, f.stem, str(f))), None)
    if named is None:
        known = ", ".join(f.name for f in there) or "there is none"
        raise InputError(f"backup '{which}': expected one of backups/: {known}", code="not_found")
    if not backup.is_good(named):
        raise InputError(f"{named}: corrupted or truncated: choose another backup", code="integrity")
    return named


def _not_in_use(file: Path) -> None:
    if not file.exists():
        return
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(file, timeout=0.2, isolation_level=None)) as db:
        try:
            db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as e:
            if (getattr(e, "sqlite_errorname", "") or "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise InputError(
                    f"{file}: a daemon has it open: stop it first with `thalweg daemon stop`", code="busy"
                ) from e
            raise
        db.execute("ROLLBACK")


def _renumber(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE topics SET head = head + ?", (SKIP,))
        db.execute("UPDATE topics SET floor = head")
        db.execute("DELETE FROM events")
        db.execute("INSERT OR REPLACE INTO meta VALUES ('clean', '0')")
        db.execute("COMMIT")


# ---------------------------------------------------------------- verify


def expected_files(tables: Tables) -> list[tuple[str, str]]:
    """(file, sha256) of every weight file and sealed surface that the store knows and did not find missing."""
    return tables.db.execute(
        "SELECT file, sha256 FROM checkpoints WHERE NOT missing "
        "UNION SELECT file, sha256 FROM planes WHERE NOT missing "
        "UNION SELECT file, sha256 FROM surfaces WHERE file IS NOT NULL AND NOT missing ORDER BY file"
    ).fetchall()


def check_files(workspace: Path, files: Iterable[tuple[str, str]]) -> list[str]:
    """What is wrong with these files: absent, unreadable, or of another sha256. Reads all of them; no database."""
    found = []
    for name, sha256 in files:
        try:
            if hash_of(workspace / name) != sha256:
                found.append(f"{name}: its bytes do not match the sha256 that was stored")
        except OSError as e:
            found.append(f"{name}: expected this file, cannot read it ({e.strerror})")
    return found


def check_database(tables: Tables) -> list[str]:
    """What is wrong with the database itself (SQLite's integrity check, the rows' checksums), and which records miss
    their file."""
    missing = tables.db.execute(
        "SELECT file FROM checkpoints WHERE missing UNION SELECT file FROM planes WHERE missing "
        "UNION SELECT file FROM surfaces WHERE missing ORDER BY file"
    )
    gone = [f"{name}: its file is gone" for (name,) in missing]
    return database.problems(tables.db, quick=False) + tables.damaged_rows() + gone


def verify(store: Store) -> tuple[int, list[str]]:
    """Check the database and the hash of every file: how many files, and what is wrong. The daemon runs the three parts
    itself, the hashing outside the store's thread."""
    problems, files = store.call(lambda tables: (check_database(tables), expected_files(tables)))
    return len(files), problems + check_files(store.workspace, files)
