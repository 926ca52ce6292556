"""What the daemon answers to requests that only look: pages, records, pieces of files, snapshots, events.

Each function runs in the store's thread (`Tables`) and gives the reply with its arrays.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from compute import estimates, lookup, places
from compute.store import JobRecord, SurfaceRecord, Tables
from protocol import events
from protocol.errors import InputError
from protocol.files import CRITICAL_KINDS, PATH_DTYPE, Surface
from protocol.requests import (
    PIECE,
    CheckpointList,
    EventsReply,
    EventsSince,
    FileGet,
    Heads,
    HeadsReply,
    JobGet,
    JobInfo,
    JobList,
    JobPage,
    JobReply,
    LogReply,
    LogTail,
    PieceReply,
    PlaneGet,
    PlaneList,
    RunGet,
    RunList,
    SnapshotReply,
    SubmitReply,
    SurfaceGet,
    SurfaceList,
    ThingPage,
    ThingReply,
)
from protocol.shares import fold, values

T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]
Answer = tuple[msgspec.Struct, Arrays]
PAGE_BYTES = 48 * 1024  # of a list: the rest comes with the next page
HEADS = 1000  # in one reply: 40 bytes each of a header
SNAPSHOT_BYTES = 12 * 1024 * 1024  # of arrays in one piece of a snapshot, in buffers of at most 4 MiB


@dataclass(frozen=True)
class Live:
    """What is known of jobs beside the store: those that have not ended, the seconds that the running still need."""

    jobs: Mapping[str, JobRecord] = field(default_factory=dict)
    left_s: Mapping[str, float] = field(default_factory=dict)
    device: str | None = None  # that a job runs on which asks for none


NONE = Live()


def info(job: JobRecord, eta_s: float | None = None) -> JobInfo:
    """A job as clients see it."""
    return JobInfo(
        job=job.id,
        kind=job.kind,
        name=job.name,
        state=job.state,
        priority=job.priority,
        spec=msgspec.to_builtins(job.spec),
        after=job.after,
        device=job.device,
        execution=job.execution,
        result=job.result,
        error=job.error,
        code=job.code,
        done=job.done,
        total=job.total,
        eta_s=eta_s,
        created=job.created,
        started=job.started,
        ended=job.ended,
        run=job.run,
        surface=job.surface,
    )


def job(t: Tables, given: str, live: Live = NONE) -> JobRecord:
    """The job of this id, unique suffix or name."""
    found = live.jobs.get(given) or t.get_job(given)
    if found is None:
        found = t.get_job(lookup.named("job", given, t.names("jobs")))
    assert found is not None
    return live.jobs.get(found.id, found)


def timed(t: Tables, job: JobRecord, live: Live) -> JobInfo:
    """A job with its `eta_s`: of one that runs by its pace, of a queued one by what such jobs took before."""
    left = live.left_s.get(job.id)
    if job.state == "queued":
        with suppress(InputError):  # what it refers to was deleted: it will fail
            left = estimates.expected_s(t, job.spec, places.wanted(job) or live.device)
    return info(job, left)


def job_get(t: Tables, request: JobGet, live: Live) -> Answer:
    return JobReply(job=timed(t, job(t, request.job, live), live)), {}


def job_list(t: Tables, request: JobList, live: Live) -> Answer:
    found, after = t.list_jobs(request.states, request.limit, request.cursor)
    shown, cut = _page([timed(t, live.jobs.get(r.id, r), live) for r in found])
    return JobPage(jobs=tuple(shown), next=f"{found[cut - 1].number}-{found[cut - 1].id}" if cut else after), {}


def submitted(jobs: Sequence[JobRecord]) -> SubmitReply:
    """Jobs that were just taken; without their specs, which the client knows, where they would not fit."""
    infos = [info(j) for j in jobs]
    if _page(infos)[1]:
        infos = [msgspec.structs.replace(i, spec={}) for i in infos]
    return SubmitReply(jobs=tuple(infos))


def _page(items: list[T]) -> tuple[list[T], int]:
    """As many of a page's items as fit a header, and where it was cut (0: not at all)."""
    size = 0
    for k, item in enumerate(items):
        size += len(msgspec.msgpack.encode(item))
        if k and size > PAGE_BYTES:
            return items[:k], k
    return items, 0


def thing_list(t: Tables, request: RunList | PlaneList | SurfaceList | CheckpointList) -> Answer:
    items: list[dict[str, Any]]
    key = "id"
    match request:
        case RunList():
            runs, after = t.list_runs(request.limit, request.cursor)
            items = [_run(t, r.id) for r in runs]
        case PlaneList():
            planes, after = t.list_planes(request.limit, request.cursor)
            items = [msgspec.to_builtins(p) for p in planes]
        case SurfaceList():
            surfaces, after = t.list_surfaces(request.limit, request.cursor)
            items = [_surface(s) for s in surfaces]
        case CheckpointList():
            run = lookup.run(t, request.run)
            found, after = t.list_checkpoints(run.id, request.limit, request.cursor)
            items, key = [msgspec.to_builtins(c) for c in found], "step"
    shown, cut = _page(items)
    return ThingPage(items=tuple(shown), next=str(items[cut - 1][key]) if cut else after), {}


def thing_get(t: Tables, request: RunGet | PlaneGet | SurfaceGet) -> Answer:
    match request:
        case RunGet():
            return ThingReply(item=_run(t, lookup.run(t, request.run).id, epochs=True)), {}
        case PlaneGet():
            return ThingReply(item=msgspec.to_builtins(lookup.plane(t, request.plane))), {}
        case SurfaceGet():
            return ThingReply(item=_surface(lookup.surface(t, request.surface))), {}


def _run(t: Tables, run: str, *, epochs: bool = False) -> dict[str, Any]:
    record = t.get_run(run)
    assert record is not None
    item: dict[str, Any] = msgspec.to_builtins(record)
    known = t.epochs(run)
    item["epochs_done"] = len(known)
    item["checkpoints"] = len(t.checkpoints(run))
    item["metrics"] = known[-1].metrics if known else {}
    if epochs:
        item["epochs"] = [msgspec.to_builtins(e) for e in known[-200:]]
    return item


def _surface(record: SurfaceRecord) -> dict[str, Any]:
    item: dict[str, Any] = msgspec.to_builtins(record)
    for heavy in ("metrics", "shares"):
        item.pop(heavy)
    return item


def heads(t: Tables, request: Heads) -> Answer:
    """Of topics, and of the topics beneath a prefix (`job/`)."""
    prefixes = [topic for topic in request.topics if topic.endswith("/") and topic.count("/") == 1]
    found = t.heads(topic for topic in request.topics if topic not in prefixes)
    for prefix in prefixes:
        found |= t.heads_beneath(prefix, HEADS - len(found))
    return HeadsReply(heads=found), {}


def events_since(t: Tables, request: EventsSince) -> Answer:
    found = t.events_since(request.topic, request.seq, PIECE)
    buffer, count = events.pack([event.header, *event.buffers] for event in found.events)
    after = found.events[count].seq - 1 if count < len(found.events) else found.next
    reply = EventsReply(head=found.head, count=count, gone=found.gone, next=after)
    return reply, {"events": np.frombuffer(buffer, dtype=np.uint8)} if count else {}


def file_get(t: Tables, workspace: Path, request: FileGet) -> Answer:
    """A piece of a file that the store knows by name; nothing else on the disk can be asked for."""
    digest: str | None = None
    if request.surface is not None:
        surface = lookup.surface(t, request.surface)
        if surface.file is None:
            raise InputError(f"surface {surface.id[-6:]}: it is not finished: take a snapshot", code="wrong_state")
        file, digest = workspace / surface.file, surface.sha256
    elif request.plane is not None:
        plane = lookup.plane(t, request.plane)
        file, digest = workspace / plane.file, plane.sha256
    elif request.job is not None:
        made = job(t, request.job)
        names = made.result.files if made.result else ()
        if made.kind != "export" or not names:
            raise InputError(f"job {made.id[-6:]}: expected a finished export, it has no files", code="wrong_state")
        if (request.name or names[0]) not in names:
            raise InputError(f"file '{request.name}': expected one of {', '.join(names)}", code="not_found")
        file = workspace / "exports" / made.id / (request.name or names[0])
    else:
        raise InputError("file.get: expected a job, a surface or a plane, got none")
    try:
        with open(file, "rb") as f:
            total = os.fstat(f.fileno()).st_size
            if request.offset > total:
                raise InputError(f"offset: expected at most {total}, got {request.offset}", path="$.offset")
            if request.offset == 0 and digest is None:
                digest = hashlib.file_digest(f, "sha256").hexdigest()
            f.seek(request.offset)
            piece = f.read(PIECE)
    except OSError as e:
        raise InputError(f"{file.name}: it is missing on the daemon's disk ({e.strerror})", code="integrity") from e
    return PieceReply(name=file.name, total=total, sha256=digest), {"piece": np.frombuffer(piece, dtype=np.uint8)}


def log_tail(t: Tables, workspace: Path, request: LogTail, live: Live) -> Answer:
    found = job(t, request.job, live)
    try:
        with open(workspace / "logs" / f"{found.id}.log", "rb") as f:
            total = os.fstat(f.fileno()).st_size
            at = max(0, total + request.offset) if request.offset < 0 else min(request.offset, total)
            f.seek(at)
            text = f.read(PIECE)
    except FileNotFoundError:
        total, at, text = 0, 0, b""
    return LogReply(offset=at, total=total), {"text": np.frombuffer(text, dtype=np.uint8)}


# ---------------------------------------------------------------- snapshots


def snapshot(t: Tables, workspace: Path, topic: str, live: Live) -> list[Answer]:
    """All pieces of the state of a topic at one seq."""
    kind, _, rest = topic.partition("/")
    thing = rest.rstrip("/")
    if not topic.endswith("/") or kind not in ("surface", "run", "job", "plane"):
        raise InputError(f"topic: expected surface/ID/, run/ID/, job/ID/ or plane/ID/, got '{topic}'", path="$.topic")
    state: dict[str, Any] = {}
    arrays: Arrays = {}
    if kind == "surface":
        state, arrays = _surface_state(t, workspace, lookup.surface(t, thing))
    elif kind == "run":
        state = _run(t, lookup.run(t, thing).id, epochs=True)
    elif kind == "job":
        state = msgspec.to_builtins(timed(t, job(t, thing, live), live))
    else:
        state = msgspec.to_builtins(lookup.plane(t, thing))
    seq = t.heads([topic]).get(topic, 0)
    return list(_cut(topic, seq, state, arrays))


def _surface_state(t: Tables, workspace: Path, record: SurfaceRecord) -> tuple[dict[str, Any], Arrays]:
    state = _surface(record)
    if record.file is not None:
        s = Surface.load(workspace / record.file)
        arrays: Arrays = {name: getattr(s, name).astype("<f4") for name in ("loss", "sem", "accuracy")}
        arrays |= {"alpha": s.alpha, "beta": s.beta, "n": s.n}
        return state, arrays | _columns(s.path, PATH_DTYPE, "path.") | _critical(s.critical)
    raw = t.surface_arrays(record.id)
    assert raw is not None
    shape = (record.height, record.width)
    shown = {name: np.full(shape, np.nan, dtype="<f4") for m in record.metrics for name in m.values}
    n = np.zeros(shape, dtype="<i8")
    parts: dict[int, list[dict[str, NDArray[Any]]]] = {}
    for row in t.rows_of(record.id):
        parts.setdefault(row.i, []).append({**row.sums, "n": np.array(row.n, dtype=np.int64)})
    for i, several in parts.items():
        total = several[0] if len(several) == 1 else fold(several)
        n[i] = int(total["n"])
        for name, row_values in values(total, record.metrics).items():
            shown[name][i] = row_values
    path = np.frombuffer(raw.path, dtype=PATH_DTYPE)
    arrays = {**shown, "alpha": np.frombuffer(raw.alpha, "<f8"), "beta": np.frombuffer(raw.beta, "<f8"), "n": n}
    return state, arrays | _columns(path, PATH_DTYPE, "path.")


def _critical(table: NDArray[Any]) -> Arrays:
    """Columns of the critical points, in types of the wire; `critical.kind` is the place in CRITICAL_KINDS."""
    if not len(table):
        return {}
    wire = {"U": "|u1", "i": "<i4", "f": "<f8", "u": "|u1"}
    columns = {f"critical.{name}": table[name] for name in table.dtype.names or () if name != "kind"}
    kinds = np.array([CRITICAL_KINDS.index(k) for k in table["kind"]], dtype="|u1")
    return {name: column.astype(wire[column.dtype.kind]) for name, column in columns.items()} | {"critical.kind": kinds}


def _columns(table: NDArray[Any], dtype: np.dtype[Any], prefix: str) -> Arrays:
    return {prefix + name: np.ascontiguousarray(table[name]) for name in dtype.names or ()} if len(table) else {}


def _cut(topic: str, seq: int, state: dict[str, Any], arrays: Arrays) -> list[Answer]:
    """The pieces: at most 8 buffers of at most 4 MiB each, long arrays cut along their first axis."""
    cuts: list[tuple[str, int, NDArray[Any]]] = []
    for name, array in arrays.items():
        rows = max(1, PIECE // max(1, array[:1].nbytes))
        cuts += [(name, at, array[at : at + rows]) for at in range(0, max(1, len(array)), rows)]
    pieces: list[list[tuple[str, int, NDArray[Any]]]] = [[]]
    for cut in cuts:
        now = pieces[-1]
        full = len(now) == 8 or sum(a.nbytes for _, _, a in now) + cut[2].nbytes > SNAPSHOT_BYTES
        if full or any(name == cut[0] for name, _, _ in now):
            pieces.append([])
        pieces[-1].append(cut)
    return [
        (
            SnapshotReply(
                topic=topic,
                seq=seq,
                state=state if k == 0 else {},
                parts={name: at for name, at, _ in piece},
                next=str(k + 1) if k + 1 < len(pieces) else None,
            ),
            {name: array for name, _, array in piece},
        )
        for k, piece in enumerate(pieces)
    ]
