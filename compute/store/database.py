"""The connection to state.db: its settings, the check after an unclean stop, and what is said where it fails."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from ulid import ULID

from protocol.errors import InputError

from . import backup
from .schema import PAGE_BYTES, migrate

NAME = "state.db"
OLDEST = (3, 38)  # STRICT tables came with 3.37, JSON functions in every build with 3.38


def connect(file: Path) -> sqlite3.Connection:
    """The one connection: it holds the file's lock until it is closed, every commit is on the disk when it returns."""
    db = sqlite3.connect(file, timeout=0.2, isolation_level=None, cached_statements=256)
    try:
        for pragma in (
            "locking_mode = EXCLUSIVE",  # before WAL: the index of the log then lives in memory, no third file
            f"page_size = {PAGE_BYTES}",
            "auto_vacuum = INCREMENTAL",  # the pages of a sealed surface's rows can be given back
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "temp_store = MEMORY",
            "wal_autocheckpoint = 8192",  # 64 MiB: sooner than that, the thread does it when it is idle
            "journal_size_limit = 16777216",
        ):
            db.execute(f"PRAGMA {pragma}")
    except BaseException:
        db.close()
        raise
    return db


def open_database(workspace: Path) -> sqlite3.Connection:
    """The database of a workspace, checked and brought up to date; a new one where there was none.

    Raises InputError, one sentence: for a corrupted one it names the newest good backup and the command that restores.
    """
    file = workspace / NAME
    if sqlite3.sqlite_version_info < OLDEST:
        raise InputError(
            f"SQLite: expected version {'.'.join(map(str, OLDEST))} or later, found {sqlite3.sqlite_version}: "
            "use a newer Python",
            code="unavailable",
        )
    try:
        workspace.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as e:
        raise InputError(
            f"{workspace}: cannot make this folder ({e.strerror}): choose another", code="unavailable"
        ) from e
    if (not file.exists() or file.stat().st_size == 0) and backup.backups(workspace):
        raise _corrupt(workspace, "it is gone, or empty, though there are backups")
    if file.exists() and (short := _short(file)):
        raise _corrupt(workspace, short)
    try:
        db = connect(file)
    except sqlite3.Error as e:
        raise _refused(workspace, e) from e
    try:
        _check(db)
        migrate(db)
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT OR IGNORE INTO meta VALUES ('store', ?)", (str(ULID()),))
        db.execute("INSERT OR REPLACE INTO meta VALUES ('clean', '0')")
        db.execute("COMMIT")
    except sqlite3.Error as e:
        db.close()
        raise _refused(workspace, e) from e
    except BaseException:
        db.close()
        raise
    return db


def _short(file: Path) -> str:
    """What is wrong with the length of a database that has no log beside it: SQLite fills a last page that is cut with
    zeros and says nothing. (With a log, a kill may have cut the page; opening it writes that again.)"""
    log = file.with_name(file.name + "-wal")
    with open(file, "rb") as opened:
        head = opened.read(100)
    size = file.stat().st_size
    if not head.startswith(b"SQLite format 3\0") or len(head) < 100 or (log.exists() and log.stat().st_size):
        return ""  # SQLite says what it is then
    page, pages = int.from_bytes(head[16:18], "big"), int.from_bytes(head[28:32], "big")
    page = 65536 if page == 1 else page
    return "" if size == page * pages else f"it has {size} bytes, its header says {pages} pages of {page}"


def was_clean(db: sqlite3.Connection) -> bool:
    """Whether the store was closed in order when it was last used (a new one was)."""
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'meta'").fetchone():
        return True
    row = db.execute("SELECT value FROM meta WHERE name = 'clean'").fetchone()
    return row is not None and row[0] == "1"


def problems(db: sqlite3.Connection, *, quick: bool) -> list[str]:
    """What SQLite's own check finds; `quick` leaves out whether indexes match their tables."""
    found = [text for (text,) in db.execute(f"PRAGMA {'quick_check' if quick else 'integrity_check'}(20)")]
    broken = [f"{NAME}: {text}" for text in found if text != "ok"]
    orphans = db.execute("PRAGMA foreign_key_check").fetchall()
    return broken + [f"{NAME}: a row of {table} belongs to no record of {parent}" for table, _, parent, _ in orphans]


def _check(db: sqlite3.Connection) -> None:
    if not was_clean(db) and (found := problems(db, quick=True)):
        raise sqlite3.DatabaseError(found[0])


def close(db: sqlite3.Connection) -> None:
    """Say that this was an orderly end, and put the log into the database."""
    db.execute("INSERT OR REPLACE INTO meta VALUES ('clean', '1')")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


def _refused(workspace: Path, e: sqlite3.Error) -> InputError:
    name = getattr(e, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return InputError(
            f"{workspace / NAME}: another process has it open: one daemon to a workspace, see `thalweg daemon status`",
            code="busy",
        )
    if name.startswith("SQLITE_FULL"):
        return InputError(f"{workspace / NAME}: the disk is full: free some space and start again", code="no_space")
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_IOERR")):
        return InputError(
            f"{workspace / NAME}: cannot be read and written ({e}): see to the folder", code="unavailable"
        )
    return _corrupt(workspace, str(e))


def _corrupt(workspace: Path, why: str) -> InputError:
    good = backup.newest_good(workspace)
    if good is None:
        do = "there is no good backup of it: move it away, a new one takes in the weights and sealed surfaces"
    else:
        do = f"the newest good backup is {good.name}: type `thalweg store restore`"
    return InputError(f"{workspace / NAME}: corrupted or truncated ({why}); {do}", code="integrity")
