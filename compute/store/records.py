"""What the store keeps, as frozen structs: the same for the job table (pure), the daemon and the database."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from protocol.files import PlaneMeta, SurfaceMeta
from protocol.messages import Done, Execution, Recipe, Spec, State, SurfaceSpec
from protocol.shares import MetricDecl, Share

ENDS: tuple[State, ...] = ("done", "failed", "cancelled")
"""The states in which a job has ended."""


class JobRecord(Struct, frozen=True, kw_only=True):
    """A job: what was asked, how it runs, how far it is, what it gave."""

    id: str
    number: int  # grows with every submission: the order of equal priorities
    kind: str
    spec: Spec
    name: str = ""
    priority: int = 0
    device: str | None = None
    execution: Execution | None = None  # as asked, then as fixed at the start
    after: tuple[str, ...] = ()
    on_conflict: str = "existing"
    state: State = "queued"
    identity: str | None = None  # sha256 of the canonical spec; None until its inputs exist
    result: Done | None = None
    error: str | None = None
    code: str | None = None
    done: int = 0
    total: int = 0
    run: str | None = None  # what it works on
    plane: str | None = None
    surface: str | None = None
    tries: int = 0  # workers that died on it
    created: str = ""  # ISO 8601, UTC
    started: str = ""
    ended: str = ""


class RunRecord(Struct, frozen=True, kw_only=True):
    """A training of a recipe. Its epochs and checkpoints are rows of their own."""

    id: str
    recipe: Recipe
    job: str | None = None
    name: str = ""
    created: str = ""
    note: str = ""


class EpochRecord(Struct, frozen=True, kw_only=True):
    """The metrics at the end of an epoch; NaN and infinity are kept."""

    epoch: int
    step: int
    metrics: dict[str, float]


class CheckpointRecord(Struct, frozen=True, kw_only=True):
    """A weight file of a run. `file` is relative to the workspace; `missing`: the start found no such file."""

    step: int
    epoch: float
    file: str
    sha256: str
    bytes: int
    missing: bool = False


class PlaneRecord(Struct, frozen=True, kw_only=True):
    """A plane. `hash` is that of its contents and names its file; `sha256` is that of the file."""

    id: str
    hash: str
    meta: PlaneMeta
    file: str
    sha256: str
    recipe: Recipe | None = None
    trajectory: tuple[str, ...] = ()
    job: str | None = None
    name: str = ""
    created: str = ""
    missing: bool = False


class SurfaceRecord(Struct, frozen=True, kw_only=True):
    """A surface. Until it is sealed (`file` is set) its values are in rows; after that in the file.

    `critical` is the summary of its critical points, None until they are known.
    """

    id: str
    meta: SurfaceMeta
    width: int  # points of alpha
    height: int  # points of beta
    metrics: tuple[MetricDecl, ...]
    shares: tuple[Share, ...] = ()
    spec: SurfaceSpec | None = None
    plane: str | None = None  # id or hash
    job: str | None = None
    name: str = ""
    created: str = ""
    critical: dict[str, object] | None = None
    file: str | None = None
    sha256: str | None = None
    missing: bool = False


class SurfaceArrays(Struct, frozen=True, kw_only=True):
    """The axes of a surface as <f8 bytes, its path and critical points as bytes of PATH_DTYPE and CRITICAL_DTYPE rows
    (empty where there are none)."""

    alpha: bytes
    beta: bytes
    path: bytes = b""
    critical: bytes = b""


class StoredRow(Struct, frozen=True, kw_only=True):
    """The sums of row i over the share of a pass, each (W,)."""

    i: int
    pass_: int
    n: int
    sums: dict[str, NDArray[np.generic]]


class StoredEvent(Struct, frozen=True, kw_only=True, array_like=True):
    """A persisted event: the frames that were published, its seq in the header."""

    seq: int
    header: bytes
    buffers: list[bytes]


class Replay(Struct, frozen=True, kw_only=True):
    """Events of a topic in order. `gone`: some of those asked for are not kept any more, take a snapshot. `next`: the
    seq to ask from again where `max_bytes` cut the list short."""

    head: int
    events: list[StoredEvent]
    gone: bool = False
    next: int | None = None


class Calibration(Struct, frozen=True, kw_only=True):
    """Measured seconds per sample and point under a key, and what the measurement was over."""

    seconds: float
    samples: int = 0
    points: int = 0
