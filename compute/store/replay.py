"""The event of a row, made again from the sums that are stored."""

from __future__ import annotations

import sqlite3

import numpy as np
from numpy.typing import NDArray

from protocol import codec
from protocol.errors import InputError
from protocol.messages import SurfaceRow
from protocol.shares import MetricDecl, fold, values

from . import columns
from .records import StoredEvent
from .sums import layout_of


class RowReplay:
    """Makes the events of one surface's rows, in the order in which they were published."""

    def __init__(self, db: sqlite3.Connection, surface: str) -> None:
        self.db, self.surface = db, surface
        row = db.execute("SELECT metrics, width FROM surfaces WHERE id = ?", (surface,)).fetchone()
        if row is None:
            raise InputError(f"surface {surface}: expected a stored surface, found none", code="not_found")
        self.metrics = columns.unpack(row[0], tuple[MetricDecl, ...])
        self.layout = layout_of(row[0], row[1])
        self._folded: dict[int, tuple[int, dict[str, NDArray[np.generic]]]] = {}  # i -> (next pass, sums so far)

    def event(self, seq: int, i: int, pass_: int) -> StoredEvent:
        """The event of row i up to this pass."""
        sums = self._upto(i, pass_)
        frames = codec.encode(
            SurfaceRow(seq=seq, surface=self.surface, i=i, pass_=pass_, n=int(sums["n"])),
            {name: value.astype("<f4") for name, value in values(sums, self.metrics).items()},
        )
        return StoredEvent(seq=seq, header=frames[0], buffers=frames[1:])

    def _upto(self, i: int, pass_: int) -> dict[str, NDArray[np.generic]]:
        first, so_far = self._folded.get(i, (0, {}))
        if first > pass_:  # an earlier pass after a later one: not by the order of leases, but right all the same
            first, so_far = 0, {}
        parts = [
            {**self.layout.unpack(blob, crc), "n": np.asarray(n, dtype=np.int64)}
            for n, blob, crc in self.db.execute(
                "SELECT n, sums, crc FROM rows WHERE surface = ? AND i = ? AND pass BETWEEN ? AND ? ORDER BY pass",
                (self.surface, i, first, pass_),
            )
        ]
        if len(parts) != pass_ - first + 1:
            raise InputError(
                f"surface {self.surface}: row {i} of pass {pass_} was told of but is not stored: "
                "run `thalweg store verify`",
                code="integrity",
            )
        folded = fold([so_far, *parts] if so_far else parts)
        self._folded[i] = (pass_ + 1, folded)
        return folded
