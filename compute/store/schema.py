"""The tables of state.db, and how an older one is brought up to date.

`MIGRATIONS[k]` takes a database from version k to k + 1; an entry that has been released is never edited. All that are
due run in one transaction, so a kill in the middle leaves the old version whole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from protocol.errors import InputError

PAGE_BYTES = 8192
"""A row of 1001 points and three sums is 20 kB, and a page never holds parts of two rows."""

FIRST = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE requests (
        id TEXT PRIMARY KEY, digest BLOB NOT NULL, reply BLOB NOT NULL, at INTEGER NOT NULL
    ) STRICT""",
    "CREATE INDEX requests_at ON requests (at)",
    """CREATE TABLE jobs (
        id TEXT PRIMARY KEY, number INTEGER NOT NULL, kind TEXT NOT NULL, spec TEXT NOT NULL, name TEXT NOT NULL,
        priority INTEGER NOT NULL, device TEXT, execution TEXT, after TEXT NOT NULL, on_conflict TEXT NOT NULL,
        state TEXT NOT NULL, identity TEXT, result TEXT, error TEXT, code TEXT,
        done INTEGER NOT NULL, total INTEGER NOT NULL, run TEXT, plane TEXT, surface TEXT, tries INTEGER NOT NULL,
        created TEXT NOT NULL, started TEXT NOT NULL, ended TEXT NOT NULL
    ) STRICT""",
    "CREATE INDEX jobs_number ON jobs (number DESC, id DESC)",
    "CREATE INDEX jobs_state ON jobs (state)",
    "CREATE INDEX jobs_identity ON jobs (identity) WHERE identity IS NOT NULL",
    # The head stays when events go; a request for what lies at or below the floor is answered by a snapshot.
    """CREATE TABLE topics (
        name TEXT PRIMARY KEY, head INTEGER NOT NULL, floor INTEGER NOT NULL DEFAULT 0
    ) STRICT, WITHOUT ROWID""",
    # The event of a row is (i, pass) alone; any other has a header.
    """CREATE TABLE events (
        topic TEXT NOT NULL, seq INTEGER NOT NULL, header BLOB, buffers BLOB, i INTEGER, pass INTEGER,
        PRIMARY KEY (topic, seq), CHECK ((header IS NULL) = (i IS NOT NULL AND pass IS NOT NULL))
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE runs (
        id TEXT PRIMARY KEY, recipe TEXT NOT NULL, job TEXT, name TEXT NOT NULL, created TEXT NOT NULL,
        note TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE epochs (
        run TEXT NOT NULL REFERENCES runs ON DELETE CASCADE, epoch INTEGER NOT NULL, step INTEGER NOT NULL,
        metrics TEXT NOT NULL, PRIMARY KEY (run, epoch)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE checkpoints (
        run TEXT NOT NULL REFERENCES runs ON DELETE CASCADE, step INTEGER NOT NULL, epoch REAL NOT NULL,
        file TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL, missing INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (run, step)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE planes (
        id TEXT PRIMARY KEY, hash TEXT NOT NULL, meta TEXT NOT NULL, file TEXT NOT NULL, sha256 TEXT NOT NULL,
        recipe TEXT, trajectory TEXT NOT NULL, job TEXT, name TEXT NOT NULL, created TEXT NOT NULL,
        missing INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    "CREATE INDEX planes_hash ON planes (hash)",
    """CREATE TABLE surfaces (
        id TEXT PRIMARY KEY, meta TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
        metrics TEXT NOT NULL, shares TEXT NOT NULL, spec TEXT, plane TEXT, job TEXT, name TEXT NOT NULL,
        created TEXT NOT NULL, critical TEXT, file TEXT, sha256 TEXT, missing INTEGER NOT NULL DEFAULT 0
    ) STRICT""",
    # Apart from the record, so that a listing does not read them.
    """CREATE TABLE surface_arrays (
        surface TEXT PRIMARY KEY REFERENCES surfaces ON DELETE CASCADE, alpha BLOB NOT NULL, beta BLOB NOT NULL,
        path BLOB NOT NULL DEFAULT x'', critical BLOB NOT NULL DEFAULT x''
    ) STRICT""",
    # A rowid table: a row's 20 kB stay out of the index, so that "which rows are there" reads the index alone.
    # SQLite's check does not look at what is in a blob, hence the CRC.
    """CREATE TABLE rows (
        surface TEXT NOT NULL REFERENCES surfaces ON DELETE CASCADE, i INTEGER NOT NULL, pass INTEGER NOT NULL,
        n INTEGER NOT NULL, sums BLOB NOT NULL, crc INTEGER NOT NULL, PRIMARY KEY (surface, i, pass)
    ) STRICT""",
    """CREATE TABLE calibrations (
        key TEXT PRIMARY KEY, seconds REAL NOT NULL, samples INTEGER NOT NULL, points INTEGER NOT NULL,
        at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    # Files whose record is deleted; they go after the commit, or at the next start.
    "CREATE TABLE trash (file TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
)

MIGRATIONS: tuple[Sequence[str], ...] = (FIRST,)


def version_of(db: sqlite3.Connection) -> int:
    """The version of the database: 0 for one that has no tables yet."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate(db: sqlite3.Connection, migrations: Sequence[Sequence[str]] | None = None) -> tuple[int, int]:
    """Bring the database up to date in one transaction; the version that was found and the one that is now.

    Raises InputError where a newer program has written it.
    """
    steps = MIGRATIONS if migrations is None else migrations
    found = version_of(db)
    if found > len(steps):
        raise InputError(
            f"state.db: expected version {len(steps)} or older, found {found}: a newer thalweg has written it, "
            "use that one or another workspace",
            code="unsupported_proto",
        )
    if found < len(steps):
        db.execute("BEGIN IMMEDIATE")
        try:
            for step in steps[found:]:
                for statement in step:
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(steps)}")
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise
    return found, len(steps)
