"""The parent of a worker, as a generator: a job goes in, protocol events come out, the result is returned.

    result = yield from run(link, job)          # or: drive(run(link, job), on_event=...)

The events are those that the daemon will publish, so that a progress display reads both in the same way. Rows are
leased in the order of protocol.shares, a little ahead of the worker, so that it never waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from ulid import ULID

from protocol.errors import InputError
from protocol.files import PlaneMeta, Surface, SurfaceMeta
from protocol.messages import (
    CheckpointSaved,
    Event,
    Execution,
    JobProgress,
    LogLine,
    PathDone,
    PlaneDone,
    RunEpoch,
    Spec,
    SurfaceBegin,
    SurfaceDone,
    SurfaceRow,
    SurfaceSpec,
    WorkerBegin,
    WorkerCancel,
    WorkerCheckpoint,
    WorkerDone,
    WorkerEpoch,
    WorkerFail,
    WorkerJob,
    WorkerLease,
    WorkerLog,
    WorkerPath,
    WorkerProgress,
    WorkerReady,
    WorkerRestart,
    WorkerRow,
)
from protocol.pace import Pace
from protocol.sheet import Sheet
from tui.children import ChildError
from tui.interrupt import Interrupted
from tui.link import Link, Received

AHEAD = 2  # rows leased beyond the one in work

Item = tuple[Event, dict[str, NDArray[Any]]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be done, and where a surface is to be sealed (`file`)."""

    spec: Spec
    workspace: Path
    data: Path | None = None
    execution: Execution = field(default_factory=Execution)
    file: Path | None = None
    name: str = ""
    resume: str | None = None
    dry: bool = False
    id: str = field(default_factory=lambda: str(ULID()))


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a job gave: the id of a run, the hash and provenance of a plane, or a sealed surface and its file."""

    run: str | None = None
    plane: str | None = None
    plane_meta: PlaneMeta | None = None
    surface: Surface | None = None
    file: Path | None = None
    execution: Execution = field(default_factory=Execution)
    seconds: float = 0.0


def ready(link: Link) -> WorkerReady:
    """Wait until the worker is up."""
    while True:
        received = link.receive()
        if received is None:
            raise Interrupted
        if isinstance(received[0], WorkerReady):
            return received[0]


def drive(events: Generator[Item, None, Result], on_event: Callable[[Event, dict[str, NDArray[Any]]], None]) -> Result:
    """Hand every event of a job to `on_event`; what the job gave."""
    while True:
        try:
            event, arrays = next(events)
        except StopIteration as end:
            result: Result = end.value
            return result
        on_event(event, arrays)


def run(link: Link, job: Job) -> Generator[Item, None, Result]:
    """Do one job on a worker that is up and idle.

    Raises InputError where the worker refuses the job, ChildError where it fails or dies, Interrupted at Ctrl-C (the
    worker then stops after the current row or step; checkpoints stay, a surface's rows go to `*.partial.npz`).
    """
    link.send(
        WorkerJob(
            job=job.id,
            spec=job.spec,
            execution=job.execution,
            workspace=str(job.workspace),
            data=str(job.data) if job.data else None,
            resume=job.resume,
            dry=job.dry,
        )
    )
    run_id: str | None = job.resume
    started = time.monotonic()
    while True:
        message, arrays = yield from _next(link, job)
        match message:
            case WorkerBegin():
                begin = message
                if job.dry:
                    return Result(execution=begin.execution)
                yield JobProgress(job=job.id, done=0, total=begin.total), {}
                pace = Pace(begin.total, time.monotonic())
                if isinstance(job.spec, SurfaceSpec):
                    return (yield from _surface(link, job, begin, arrays, started))
            case WorkerProgress():
                yield _progress(job, pace, message), {}
            case WorkerEpoch():
                run_id = message.run
                yield (
                    RunEpoch(run=message.run, epoch=message.epoch, step=message.step, metrics=message.metrics),
                    {},
                )
            case WorkerCheckpoint():
                run_id = message.run
                yield (
                    CheckpointSaved(
                        run=message.run,
                        step=message.step,
                        epoch=message.epoch,
                        file=message.file,
                        sha256=message.sha256,
                    ),
                    {},
                )
            case WorkerDone():
                if message.result.cancelled:
                    raise Interrupted(f"the checkpoints of run {run_id} are kept" if run_id else "nothing was written")
                if message.result.plane is not None:
                    meta = message.result.plane_meta or PlaneMeta()
                    yield PlaneDone(plane=message.result.plane, meta=meta), {}
                return Result(
                    run=message.result.run,
                    plane=message.result.plane,
                    plane_meta=message.result.plane_meta,
                    execution=begin.execution,
                    seconds=time.monotonic() - started,
                )
            case _:
                raise ChildError(f"the worker sent {type(message).__name__} out of turn; its log is {link.log}")


def _next(link: Link, job: Job) -> Generator[Item, None, Received]:
    """The worker's next message that concerns this job; log lines become events, a refusal an exception."""
    while True:
        received = link.receive()
        if received is None:  # Ctrl-C: ask it to stop, and go on listening for what it finishes
            link.send(WorkerCancel(job=job.id))
            yield LogLine(job=job.id, level="info", text=_stopping(job)), {}
            continue
        message, arrays = received
        if isinstance(message, WorkerLog):
            yield LogLine(job=message.job, level=message.level, text=message.text), {}
        elif isinstance(message, WorkerFail):
            if message.code == "internal":
                raise ChildError(f"{message.msg.rstrip('.')}; details are in {link.log}")
            raise InputError(message.msg, code=message.code, path=message.path)  # type: ignore[arg-type]
        elif getattr(message, "job", job.id) == job.id:
            return message, arrays


def _stopping(job: Job) -> str:
    what = "row" if isinstance(job.spec, SurfaceSpec) else "step"
    return f"stopping after the current {what} (Ctrl-C again to stop at once)"


def _progress(job: Job, pace: Pace, message: WorkerProgress) -> JobProgress:
    pace.total = message.total
    pace.mark(message.done, time.monotonic())
    return JobProgress(
        job=job.id, done=message.done, total=message.total, rate=pace.rate, eta_s=pace.eta_s, note=message.note
    )


def _surface(
    link: Link, job: Job, begin: WorkerBegin, axes: dict[str, NDArray[Any]], started: float
) -> Generator[Item, None, Result]:
    assert isinstance(job.spec, SurfaceSpec)
    sheet = Sheet(axes["alpha"], axes["beta"], begin.meta or SurfaceMeta(), begin.metrics, begin.shares, job.spec.until)
    meta: SurfaceMeta = sheet.meta
    surface_id = meta.id or job.id
    yield SurfaceBegin(surface=surface_id, meta=meta, passes=len(sheet.shares)), axes
    pace = Pace(1.0, time.monotonic())
    ended = False  # the lease without rows is sent
    leased = 0  # rows that the worker was given and has not sent
    facts: dict[str, Any] = {"id": surface_id, "name": job.name or meta.name}

    def lease() -> bool:
        nonlocal ended, leased
        row = sheet.next()
        if row is not None:
            link.send(WorkerLease(job=job.id, rows=(row[0],), pass_=row[1]))
            leased += 1
        elif sheet.complete and not ended:
            link.send(WorkerLease(job=job.id, rows=(), pass_=0))
            ended = True
        return row is not None

    while leased < 1 + AHEAD and lease():
        pass
    while True:
        message, arrays = yield from _next(link, job)
        match message:
            case WorkerRow():
                derived = sheet.add(message.i, message.pass_, message.n, arrays)
                leased -= 1
                while leased < 1 + AHEAD and lease():
                    pass
                shown = {name: values.astype("<f4") for name, values in derived.items()}
                n = sheet.samples(message.i)
                yield SurfaceRow(surface=surface_id, i=message.i, pass_=message.pass_, n=n), shown
                pace.mark(sheet.weight_done, time.monotonic())
                yield _rows(job, sheet, pace), {}
            case WorkerRestart():
                sheet.restart(message.pass_)
                ended = False
                begin = msgspec.structs.replace(begin, execution=message.execution)
                facts["execution"] = msgspec.to_builtins(message.execution)
                batch = message.execution.batch_size
                yield LogLine(job=job.id, level="warning", text=f"memory ran out: going on with batches of {batch}"), {}
                leased = 0
                while leased < 1 + AHEAD and lease():
                    pass
            case WorkerPath():
                sheet.set_path(arrays)
                yield PathDone(surface=surface_id, losses=message.losses), arrays
            case WorkerProgress():
                note = f"{message.note}, {message.done} of {message.total}"  # the rows are all done by then
                yield JobProgress(job=job.id, done=sheet.rows_done, total=sheet.rows_total, note=note), {}
            case WorkerDone():
                seconds = time.monotonic() - started
                facts["seconds"] = round(seconds, 3)
                if message.result.cancelled:
                    raise Interrupted(_keep(job, sheet, facts))
                if message.result.precision_deviation is not None:
                    facts["precision_deviation"] = message.result.precision_deviation
                if message.result.deterministic is False:
                    facts["execution"] = {**meta.execution, "deterministic": False}
                surface = sheet.surface(**facts)
                assert job.file is not None
                surface.save(job.file)
                yield SurfaceDone(surface=surface_id, file=str(job.file)), {}
                return Result(surface=surface, file=job.file, execution=begin.execution, seconds=seconds)
            case _:
                raise ChildError(f"the worker sent {type(message).__name__} out of turn; its log is {link.log}")


def _rows(job: Job, sheet: Sheet, pace: Pace) -> JobProgress:
    rate = pace.rate
    return JobProgress(
        job=job.id,
        done=sheet.rows_done,
        total=sheet.rows_total,
        rate=None if rate is None else rate * sheet.rows_total,
        eta_s=pace.eta_s,
    )


def _keep(job: Job, sheet: Sheet, facts: dict[str, Any]) -> str:
    """Write the rows of a stopped surface beside its file, under a name that cannot be taken for a finished one."""
    if not sheet.rows_done or job.file is None:
        return "no row was finished, nothing was written"
    file = partial_name(job.file)
    done = f"stopped after {sheet.rows_done} of {sheet.rows_total} rows"
    sheet.surface(**facts, note=done).save(file)
    return f"{done}; they are in {file}"


def partial_name(file: Path) -> Path:
    """Where the rows of a stopped surface go: `x.npz` -> `x.partial.npz`."""
    return file.with_name(f"{file.name.removesuffix('.npz')}.partial.npz")


def finite_minimum(surface: Surface) -> tuple[float, float, float] | None:
    """(alpha, beta, loss) of the lowest finite measured point; None where there is none."""
    loss = np.where((surface.n > 0) & np.isfinite(surface.loss), surface.loss, np.inf)
    i, j = np.unravel_index(int(np.argmin(loss)), loss.shape)
    if not np.isfinite(loss[i, j]):
        return None
    return float(surface.alpha[j]), float(surface.beta[i]), float(loss[i, j])
