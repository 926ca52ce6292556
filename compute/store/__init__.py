"""Keeping what was computed: SQLite in one thread of the daemon, committed before anyone is told. No torch in it."""

from .records import (
    ENDS,
    Calibration,
    CheckpointRecord,
    EpochRecord,
    JobRecord,
    PlaneRecord,
    Replay,
    RunRecord,
    StoredEvent,
    StoredRow,
    SurfaceArrays,
    SurfaceRecord,
)
from .tables import Tables
from .thread import Store

__all__ = [
    "ENDS",
    "Calibration",
    "CheckpointRecord",
    "EpochRecord",
    "JobRecord",
    "PlaneRecord",
    "Replay",
    "RunRecord",
    "Store",
    "StoredEvent",
    "StoredRow",
    "SurfaceArrays",
    "SurfaceRecord",
    "Tables",
]
