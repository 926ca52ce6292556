"""What was measured of speed, for estimates of other jobs."""

from __future__ import annotations

import time

from .base import Base
from .records import Calibration


class Calibrations(Base):
    """Seconds per sample and point, by a key that names model, data, device and whatever else they depend on."""

    def put_calibration(self, key: str, seconds: float, samples: int = 0, points: int = 0) -> None:
        """Keep the newest measurement under a key: `seconds` per sample and point, over so many of each."""
        row = (key, seconds, samples, points, int(time.time()))
        self.db.execute("INSERT OR REPLACE INTO calibrations VALUES (?, ?, ?, ?, ?)", row)

    def get_calibration(self, key: str) -> Calibration | None:
        """The measurement under a key, or None."""
        row = self.db.execute("SELECT seconds, samples, points FROM calibrations WHERE key = ?", (key,)).fetchone()
        return None if row is None else Calibration(seconds=row[0], samples=row[1], points=row[2])

    def similar_calibration(self, prefix: str) -> Calibration | None:
        """The newest measurement under a key that begins like this, or None."""
        row = self.db.execute(
            "SELECT seconds, samples, points FROM calibrations WHERE substr(key, 1, ?) = ? ORDER BY at DESC LIMIT 1",
            (len(prefix), prefix),
        ).fetchone()
        return None if row is None else Calibration(seconds=row[0], samples=row[1], points=row[2])
