"""What the tables share: the connection, pages of a listing, and whether the disk is full."""

from __future__ import annotations

import sqlite3
from typing import TypeVar

import msgspec

from protocol.errors import InputError

from . import columns

T = TypeVar("T", bound=msgspec.Struct)


class Base:
    """The tables of one connection. Used in the store's thread, inside a transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.full = False  # the reserve is used up: what is left is for small writes, such as "paused: no space"
        self.discarded = False  # there are files to delete

    def room(self) -> None:
        """Raises InputError (`no_space`) while the disk is full. Rows ask; a change of state does not."""
        if self.full:
            raise InputError("the disk is full: free some space, then the job goes on", code="no_space")

    def one(self, type: type[T], table: str, key: str, value: str) -> T | None:
        """The newest record whose column `key` is `value`, or None."""
        row = self.db.execute(
            f"SELECT {columns.select(type)} FROM {table} WHERE {key} = ? ORDER BY id DESC LIMIT 1", (value,)
        ).fetchone()
        return None if row is None else columns.record(type, row)

    def page(self, type: type[T], table: str, limit: int, cursor: str | None) -> tuple[list[T], str | None]:
        """Records by id, newest first, and the cursor of the next page (None: that was all)."""
        rows = self.db.execute(
            f"SELECT {columns.select(type)} FROM {table} WHERE ? IS NULL OR id < ? ORDER BY id DESC LIMIT ?",
            (cursor, cursor, limit + 1),
        ).fetchall()
        found = [columns.record(type, row) for row in rows[:limit]]
        return found, rows[limit - 1][0] if len(rows) > limit else None

    def names(self, table: str) -> list[tuple[str, str]]:
        """(id, name) of every job, run, plane or surface, oldest first, to find one by name or by the end of its id."""
        if table not in ("jobs", "runs", "planes", "surfaces"):
            raise ValueError(table)
        return self.db.execute(f"SELECT id, name FROM {table} ORDER BY id").fetchall()

    def discard(self, file: str) -> None:
        """Have a file of the workspace deleted once this is committed (at the next start, where that is cut short)."""
        self.db.execute("INSERT OR IGNORE INTO trash VALUES (?)", (file,))
        self.discarded = True

    def keep(self, file: str) -> None:
        """A record names this file again: it is not to be deleted any more."""
        self.db.execute("DELETE FROM trash WHERE file = ?", (file,))

    def trash(self) -> list[str]:
        """Files to be deleted."""
        return [file for (file,) in self.db.execute("SELECT file FROM trash ORDER BY file")]

    def get_meta(self, name: str) -> str | None:
        """A word that the store keeps about itself."""
        row = self.db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def put_meta(self, name: str, value: str) -> None:
        """Keep a word under a name."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))
