"""Surfaces: rows of sums while they are measured, a sealed file after that."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from protocol.errors import InputError
from protocol.files import SurfaceMeta

from . import columns
from .events import Events
from .records import StoredRow, SurfaceArrays, SurfaceRecord
from .sums import Bytes, SumLayout, layout_of

TOGETHER = 32  # rows in one statement; one is kept prepared for each number up to it


def places(columns: int, rows: int) -> str:
    """The `(?, ?), (?, ?)` of so many rows."""
    return ", ".join([f"({', '.join('?' * columns)})"] * rows)


def topic_of(surface: str) -> str:
    """The topic of a surface's events."""
    return f"surface/{surface}/"


class Surfaces(Events):
    """Surface records, their arrays, and the rows of those that are not sealed."""

    def put_surface(self, surface: SurfaceRecord, alpha: bytes, beta: bytes) -> None:
        """Insert a surface with its axes (<f8), or replace the one with this id; its rows and path are kept."""
        if len(alpha) != 8 * surface.width or len(beta) != 8 * surface.height:
            raise InputError(
                f"surface {surface.id}: expected axes of {surface.width} and {surface.height} points (<f8), "
                f"got {len(alpha)} and {len(beta)} bytes"
            )
        columns.insert(self.db, "surfaces", surface, key="id")
        self.db.execute(
            "INSERT INTO surface_arrays (surface, alpha, beta) VALUES (?, ?, ?) "
            "ON CONFLICT (surface) DO UPDATE SET alpha = excluded.alpha, beta = excluded.beta",
            (surface.id, alpha, beta),
        )

    def get_surface(self, surface: str) -> SurfaceRecord | None:
        """A surface by its id."""
        return self.one(SurfaceRecord, "surfaces", "id", surface)

    def list_surfaces(self, limit: int = 50, cursor: str | None = None) -> tuple[list[SurfaceRecord], str | None]:
        """Surfaces, newest first, and the cursor of the next page."""
        return self.page(SurfaceRecord, "surfaces", limit, cursor)

    def surface_arrays(self, surface: str) -> SurfaceArrays | None:
        """The axes, path and critical points of a surface."""
        row = self.db.execute(
            "SELECT alpha, beta, path, critical FROM surface_arrays WHERE surface = ?", (surface,)
        ).fetchone()
        return None if row is None else SurfaceArrays(alpha=row[0], beta=row[1], path=row[2], critical=row[3])

    def set_surface_meta(self, surface: str, meta: SurfaceMeta) -> None:
        """Replace what is known of a surface (a new execution, passes done, the deviation)."""
        self.db.execute("UPDATE surfaces SET meta = ? WHERE id = ?", (columns.pack(meta), surface))

    def set_path(self, surface: str, path: bytes) -> None:
        """Store the projected path: rows of PATH_DTYPE as bytes."""
        self.db.execute("UPDATE surface_arrays SET path = ? WHERE surface = ?", (path, surface))

    def set_critical(self, surface: str, points: bytes, summary: Mapping[str, Any]) -> None:
        """Store the critical points, rows of CRITICAL_DTYPE as bytes, and their summary."""
        self.db.execute("UPDATE surface_arrays SET critical = ? WHERE surface = ?", (points, surface))
        self.db.execute("UPDATE surfaces SET critical = ? WHERE id = ?", (columns.pack(dict(summary)), surface))

    # ------------------------------------------------------------ rows

    def append_row(self, surface: str, i: int, pass_: int, n: int, sums: Mapping[str, Bytes]) -> int | None:
        """Store a row's sums over the share of a pass, and its event; the event's seq, or None where the row is there
        already. Raises InputError for a row that is not of this surface, and while the disk is full."""
        return self.append_rows(surface, [(i, pass_, n, sums)])[0]

    def append_rows(self, surface: str, rows: Sequence[tuple[int, int, int, Mapping[str, Bytes]]]) -> list[int | None]:
        """`append_row` for several (i, pass, n, sums), all or none: one statement stores them, so that SQLite waits for
        the interpreter once for all of them."""
        self.room()
        layout, height, passes, sealed = self._layout(surface)
        if sealed:
            raise InputError(f"surface {surface}: it is sealed, no row can be added", code="wrong_state")
        seqs: list[int | None] = []
        for first in range(0, len(rows), TOGETHER):
            piece = rows[first : first + TOGETHER]
            for i, pass_, *_ in piece:
                if not 0 <= i < height or not 0 <= pass_ < max(1, passes):
                    raise InputError(
                        f"surface {surface}: expected a row of 0 to {height - 1} and a pass of 0 to "
                        f"{max(1, passes) - 1}, got row {i} of pass {pass_}"
                    )
            given: dict[tuple[int, int], tuple[int, bytes]] = {}
            for i, pass_, n, sums in piece:
                given.setdefault((i, pass_), (n, layout.pack(sums)))
            try:
                new = self._insert(surface, given)
            except sqlite3.IntegrityError:  # some are there: nothing of the statement was done
                there = self._which_are_there(surface, list(given))
                new = self._insert(surface, {at: row for at, row in given.items() if at not in there})
            seqs += [new.pop((i, pass_), None) for i, pass_, *_ in piece]
        return seqs

    def _insert(self, surface: str, rows: Mapping[tuple[int, int], tuple[int, bytes]]) -> dict[tuple[int, int], int]:
        """Insert rows, (n, sums) by (i, pass), and their events; their seqs. Raises IntegrityError where one is
        there."""
        if not rows:
            return {}
        values = [x for (i, pass_), (n, blob) in rows.items() for x in (surface, i, pass_, n, blob, zlib.crc32(blob))]
        self.db.execute(f"INSERT INTO rows VALUES {places(6, len(rows))}", values)
        return dict(zip(rows, self.append_row_events(topic_of(surface), list(rows))))

    def _which_are_there(self, surface: str, rows: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        # CROSS JOIN: looked up one by one; with IN, SQLite goes through all rows of the surface.
        query = (
            f"WITH wanted (i, pass) AS (VALUES {places(2, len(rows))}) SELECT rows.i, rows.pass FROM wanted CROSS JOIN"
        )
        given = [*(x for row in rows for x in row), surface]
        return set(self.db.execute(f"{query} rows USING (i, pass) WHERE surface = ?", given))

    def _layout(self, surface: str) -> tuple[SumLayout, int, int, bool]:
        row = self.db.execute(
            "SELECT metrics, width, height, json_array_length(shares), file IS NOT NULL FROM surfaces WHERE id = ?",
            (surface,),
        ).fetchone()
        if row is None:
            raise InputError(f"surface {surface}: expected a stored surface, found none", code="not_found")
        return layout_of(row[0], row[1]), row[2], row[3], bool(row[4])

    def rows_of(self, surface: str) -> list[StoredRow]:
        """Every stored row of a surface, by row and pass."""
        layout = self._layout(surface)[0]
        rows = self.db.execute("SELECT i, pass, n, sums, crc FROM rows WHERE surface = ? ORDER BY i, pass", (surface,))
        return [StoredRow(i=i, pass_=pass_, n=n, sums=layout.unpack(blob, crc)) for i, pass_, n, blob, crc in rows]

    def damaged_rows(self) -> list[str]:
        """What is wrong with stored rows: reads all of them."""
        rows = self.db.execute("SELECT surface, i, pass, sums, crc FROM rows")
        return [
            f"surface {s}: row {i} of pass {p} is corrupted" for s, i, p, blob, crc in rows if zlib.crc32(blob) != crc
        ]

    def rows_there(self, surface: str) -> list[tuple[int, int]]:
        """(i, pass) of every stored row, without reading the sums: what need not be leased again."""
        return self.db.execute("SELECT i, pass FROM rows WHERE surface = ? ORDER BY i, pass", (surface,)).fetchall()

    def drop_pass(self, surface: str, pass_: int) -> int:
        """Delete the rows of a pass (and of later ones) with their events, in the transaction that stores the new
        execution; how many."""
        dropped = self.db.execute("DELETE FROM rows WHERE surface = ? AND pass >= ?", (surface, pass_)).rowcount
        self.forget_rows(topic_of(surface), pass_)
        return dropped

    def seal(self, surface: str, file: str, sha256: str, meta: SurfaceMeta | None = None) -> None:
        """A surface's file is durable: its rows and their events go, the head of its topic stays."""
        self.keep(file)
        self.db.execute("UPDATE surfaces SET file = ?, sha256 = ?, missing = 0 WHERE id = ?", (file, sha256, surface))
        if meta is not None:
            self.set_surface_meta(surface, meta)
        self.db.execute("DELETE FROM rows WHERE surface = ?", (surface,))
        self.forget_rows(topic_of(surface))

    def delete_surface(self, surface: str) -> list[str]:
        """Delete a surface with its rows and events; the files that go once this is committed."""
        found = self.get_surface(surface)
        if found is None:
            return []
        files = [found.file] if found.file else []
        for file in files:
            self.discard(file)
        self.db.execute("DELETE FROM surfaces WHERE id = ?", (surface,))
        self.forget_events(topic_of(surface))
        return files
