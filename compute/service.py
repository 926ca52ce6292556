"""What the daemon does, between the sockets and the store: jobs decided (jobs.py), stored, told, given to workers.

Everything here runs in the daemon's one loop. A change is decided on the table at once, committed by the store's
thread, and only then told: events are published, the reply goes out, workers are given work. What cannot be committed
is taken back. No socket here: `Post` is where messages go.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray
from ulid import ULID

from compute import NUMERICS, estimates, jobs, lookup, references
from compute.crew import Crew, Worker, how
from compute.jobs import Effect, Outcome, Resolve, Save, Table, Tell
from compute.launchers import Launcher
from compute.store import ENDS, JobRecord, PlaneRecord, RunRecord, Store, StoredRow, SurfaceRecord, Tables
from compute.tensorfile import TensorFile, known_hash
from compute.workspace import Workspace
from protocol.errors import InputError
from protocol.files import CRITICAL_DTYPE, PATH_DTYPE, PlaneMeta, Surface, SurfaceMeta
from protocol.messages import (
    AnalysisDone,
    CheckpointSaved,
    Done,
    EventMessage,
    Execution,
    JobProgress,
    JobStateEvent,
    LogLine,
    Message,
    PathDone,
    PlaneDone,
    Recipe,
    RunEpoch,
    RunStep,
    SurfaceBegin,
    SurfaceDone,
    SurfaceRow,
    SurfaceSpec,
    TrainSpec,
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
    WorkerState,
    WorkerStop,
)
from protocol.pace import Pace
from protocol.sheet import Sheet

AHEAD, AHEAD_S, MOST_AHEAD = 3, 0.05, 64  # rows leased at once: so many, or as long as this takes, at most so many
ROW_DEATHS = 3  # workers that may die over one row before the surface goes on without it
PROGRESS_S = 0.2
ROOM_BYTES = 64 * 1024 * 1024  # free space at which jobs that were held for want of it go on

Arrays = dict[str, NDArray[Any]]
Told = list[tuple[str, EventMessage, Arrays]]
T = TypeVar("T")


class Post(Protocol):
    """Where messages go."""

    def publish(self, topic: str, event: EventMessage, arrays: Arrays | None = None) -> None:
        """To every subscriber of the topic."""
        ...

    def to_worker(self, peer: bytes, message: Message) -> None:
        """To one worker."""
        ...


@dataclass(eq=False)
class Active:
    """A job that a worker has, or whose surface is being sealed."""

    job: str
    kind: str
    started: float
    pace: Pace
    sheet: Sheet | None = None
    surface: str = ""
    leased: list[tuple[int, int]] = field(default_factory=list)  # oldest first: the one in work
    ahead: int = AHEAD  # rows it may have, so that it never waits for a commit
    ended: bool = False  # the lease without rows is sent
    sealing: bool = False
    told: float = 0.0
    measured: float | None = None  # calibrated seconds for the whole job
    samples: int = 0


def utc() -> str:
    """Now, for records."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Service:
    """Jobs, workers and what they make, over a store."""

    def __init__(
        self,
        workspace: Path,
        store: Store,
        post: Post,
        launcher: Launcher,
        endpoint: str,
        *,
        data: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.workspace = Workspace(workspace)
        self.store, self.post, self.clock, self.data = store, post, clock, data
        self.crew = Crew(launcher, endpoint, self.workspace.logs)
        self.table = Table()
        self.active: dict[str, Active] = {}
        self.heads: dict[str, tuple[int, float]] = {}  # topics that changed lately: newest seq, when
        self.stopping = False
        self._row_deaths: dict[tuple[str, int, int], int] = {}
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="sealer")
        self._sealed: list[Callable[[], None]] = []
        self._wake = wake
        self._estimates: dict[str, Callable[[WorkerBegin | None, str], None]] = {}
        self._cataloguer: subprocess.Popen[bytes] | None = None
        self._next_look = 0.0
        for folder in ("runs", "planes", "surfaces", "exports", "uploads", "logs"):
            (workspace / folder).mkdir(mode=0o700, exist_ok=True)

    def start(self) -> None:
        """Take up what the store holds: what was running goes on."""
        records, number = self.store.call(lambda t: (t.load_jobs(), t.last_number()))
        self.commit(jobs.loaded(records, number))

    # ------------------------------------------------------------ commit, then tell

    def commit(
        self,
        outcome: Outcome,
        *,
        also: Callable[[Tables], Told] | None = None,
        then: Callable[[], None] | None = None,
        refused: Callable[[Exception], None] | None = None,
        first: Callable[[Tables], None] | None = None,
    ) -> None:
        """Store what a command decided, with whatever `also` writes, in one transaction; then publish and go on.

        `first` runs before anything else in the transaction (a stored reply). When the commit fails, the table is as it
        was for these jobs, and `refused` is told.
        """
        before = self.table
        self.table, effects = outcome
        saves = [e for e in effects if isinstance(e, Save)]

        def write(t: Tables) -> Told:
            if first:
                first(t)
            told: Told = []
            for save in saves:
                t.put_job(save.job)
                if save.changed:
                    told.append((f"job/{save.job.id}/", job_state(save.job), {}))
            if also:
                told += also(t)
            return [(topic, persisted(t, topic, event, arrays), arrays) for topic, event, arrays in told]

        def done(told: Told | None, error: Exception | None) -> None:
            if error is not None:
                self._take_back(before, saves)
                if refused:
                    refused(error)
                else:
                    self._log(None, "error", f"not stored: {error}")
                return
            self._publish(told or [])
            for save in saves:
                if save.changed:
                    self._log(
                        save.job.id, "info", f"{save.job.state}" + (f": {save.job.error}" if save.job.error else "")
                    )
            if then:
                then()
            self._follow(effects)

        self.store.write(write, done)

    def write(
        self, also: Callable[[Tables], Told], failed: Callable[[Exception], None], then: Callable[[], None]
    ) -> None:
        """Store something of a job in work and publish it."""

        def done(told: Told | None, error: Exception | None) -> None:
            if error is not None:
                failed(error)
            else:
                self._publish(told or [])
                then()

        self.store.write(
            lambda t: [(topic, persisted(t, topic, e, arrays), arrays) for topic, e, arrays in also(t)], done
        )

    def _publish(self, told: Told) -> None:
        now = self.clock()
        for topic, event, arrays in told:
            if event.seq is not None:
                self.heads[topic] = (event.seq, now)
            self.post.publish(topic, event, arrays)

    def _take_back(self, before: Table, saves: Sequence[Save]) -> None:
        kept = dict(self.table.jobs)
        for save in saves:
            if kept.get(save.job.id, save.job) is save.job:
                if save.job.id in before.jobs:
                    kept[save.job.id] = before.jobs[save.job.id]
                else:
                    kept.pop(save.job.id, None)
        self.table = Table(kept, self.table.number)

    def _follow(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Resolve):
                self._resolve(effect.job)
            elif isinstance(effect, Tell):
                self._tell(effect)
        self.schedule()

    def decide(self, decision: Callable[[], Outcome], **how: Any) -> None:
        """Commit what `decision` gives. Raises InputError where it does; nothing is changed then."""
        self.commit(decision(), **how)

    # ------------------------------------------------------------ from waiting to a worker

    def _resolve(self, job: JobRecord) -> None:
        if self.stopping:
            return  # it is taken up at the next start

        def look(t: Tables) -> tuple[Any, str | None, JobRecord | None]:
            results = {j: r.result or Done() for j in references.jobs_of(job.spec) if (r := t.get_job(j))}
            spec = lookup.canonical(t, references.resolved(job.spec, results))
            identity = references.identity(spec, lambda what, address: lookup.content(t, what, address), NUMERICS)
            known = t.job_by_identity(identity) if identity else None
            found = t.get_job(known) if known and known != job.id else None
            return spec, identity, found if found and lookup.still_there(t, self.workspace.root, found) else None

        def looked(found: tuple[Any, str | None, JobRecord | None] | None, error: Exception | None) -> None:
            if job.id not in self.table.jobs:
                return
            if isinstance(error, InputError):
                self.commit(jobs.failed(self.table, job.id, error.code, error.msg, utc()))
            elif error is not None:
                self.commit(jobs.failed(self.table, job.id, "internal", f"the store failed: {error}", utc()))
            else:
                assert found is not None
                self.commit(jobs.ready(self.table, job.id, *found, utc()))

        self.store.read(look, looked)

    def schedule(self) -> None:
        """Give free workers jobs; start workers where there are jobs and none is free to come."""
        if self.stopping or self.store.full:
            return
        lanes: tuple[jobs.Lane, ...] = ("device", "light")
        for lane in lanes:
            while True:
                workers = self.crew.lane(lane)
                worker = next((w for w in workers if w.state == "idle"), None)
                job = jobs.next_job(self.table, lane)
                if job is None or (worker is None and workers):
                    break
                if worker is None:
                    self._worker_state(self.crew.launch(lane, self.clock()))
                    break
                self._start(job, worker)

    def _start(self, job: JobRecord, worker: Worker) -> None:
        new = {}
        if job.kind in ("train", "surface", "import"):
            thing = "run" if job.kind in ("train", "import") else "surface"
            new[thing] = getattr(job, thing) or str(ULID())
        worker.job, worker.since = job.id, self.clock()
        outcome = jobs.started(self.table, job.id, utc(), **new)
        job = outcome[0].get(job.id)
        asked: list[Any] = []
        sealed_before: list[bool] = []  # by a restore from a backup that is older than the file

        def prepare(t: Tables) -> Told:
            asked.append(lookup.for_worker(t, self.workspace.root, job.spec))
            known = t.get_surface(job.surface) if job.kind == "surface" and job.surface else None
            sealed_before.append(known is not None and known.file is not None)
            if isinstance(job.spec, TrainSpec) and t.get_run(job.run or "") is None:
                t.put_run(RunRecord(id=job.run or "", recipe=job.spec.recipe, job=job.id, name=job.name, created=utc()))
            return []

        def begin() -> None:
            if sealed_before[-1]:
                self._free(worker)
                self.commit(jobs.finished(self.table, job.id, Done(surface=job.surface), utc()))
                return
            total = float(max(1, job.total))
            self.active[job.id] = Active(job.id, job.kind, self.clock(), Pace(total, self.clock()))
            device = job.device or (job.execution.device if job.execution else None)
            execution = job.execution or Execution(device=device)  # type: ignore[arg-type]
            message = WorkerJob(
                job=job.id,
                spec=asked[-1],
                execution=execution,
                workspace=str(self.workspace.root),
                data=self.data,
                run=job.run,
            )
            if worker.peer is not None:
                self.post.to_worker(worker.peer, message)
            self._worker_state(worker)

        def refused(error: Exception) -> None:
            worker.job, worker.since = None, self.clock()
            code = error.code if isinstance(error, InputError) else "internal"
            if code == "internal":
                self._log(job.id, "error", f"it could not be started: {type(error).__name__}: {error}")
            if code != "no_space" and job.id in self.table.jobs:  # else when there is room
                self.commit(jobs.failed(self.table, job.id, code, str(error), utc()))

        self.commit(outcome, also=prepare, then=begin, refused=refused)

    def _tell(self, tell: Tell) -> None:
        worker = self.crew.of_job(tell.job)
        if worker is None or worker.peer is None:
            return  # being sealed: it ends by itself
        keep = tell.what == "pause"
        self.post.to_worker(worker.peer, WorkerCancel(job=tell.job, when=tell.when, keep=keep))
        if tell.when == "now":
            self.crew.expect(worker, self.clock())

    # ------------------------------------------------------------ from workers

    def ready(self, peer: bytes, message: WorkerReady) -> None:
        """A worker is up."""
        worker = self.crew.workers.get(message.worker)
        if worker is not None:
            worker.peer, worker.device, worker.since = peer, message.device, self.clock()
            self._worker_state(worker)
            self.schedule()

    def heard(self, peer: bytes, message: Any, arrays: Arrays) -> None:
        """A message of a worker. What does not belong to the job that it has is dropped."""
        if isinstance(message, WorkerReady):
            return self.ready(peer, message)
        worker = self.crew.of_peer(peer)
        if isinstance(message, WorkerLog):
            self._log(message.job, message.level, message.text)
            return None
        if worker is not None and worker.job == message.job and message.job in self._estimates:
            return self._estimated(worker, message)
        if worker is None or worker.job != message.job or message.job not in self.table.jobs:
            return None
        active = self.active.get(message.job)
        if active is None:
            return None
        match message:
            case WorkerBegin():
                self._begun(worker, active, message, arrays)
            case WorkerRow():
                self._row(worker, active, message, arrays)
            case WorkerPath():
                self._path(active, arrays, message.losses)
            case WorkerRestart():
                self._restart(worker, active, message)
            case WorkerProgress():
                self._progress(active, message)
            case WorkerEpoch():
                self._epoch(active, message)
            case WorkerCheckpoint():
                self._checkpoint(active, message)
            case WorkerDone():
                self._free(worker)
                self._done(active, message.result, arrays)
            case WorkerFail():
                self._free(worker)
                self._failed(active, message)
        return None

    def distrust(self, peer: bytes, why: str) -> None:
        """A worker sent what makes no sense. Its job fails, it is ended."""
        worker = self.crew.of_peer(peer)
        self._log(worker.job if worker else None, "error", f"a worker sent what cannot be used: {why}")
        if worker is None:
            return
        worker.handle.signal(signal.SIGKILL)
        if worker.job is not None and worker.job in self.table.jobs:
            self.active.pop(worker.job, None)
            why = f"its worker {worker.name} sent what cannot be used: {why}"
            self.commit(jobs.failed(self.table, worker.job, "internal", why, utc()))

    def estimate(self, spec: Any, device: str | None, then: Callable[[WorkerBegin | None, str], None]) -> bool:
        """Have an idle worker time the first steps or points of a job that is not run; False where none is idle.
        `then` gets the worker's `begin`, or None and why not. Starts a worker for the next one who asks."""
        workers = self.crew.lane("device")
        worker = next((w for w in workers if w.state == "idle"), None)
        if worker is None or worker.peer is None or self.stopping:
            if not workers and not self.stopping:
                self._worker_state(self.crew.launch("device", self.clock()))
            return False
        id = str(ULID())
        worker.job, worker.since = id, self.clock()
        self._estimates[id] = then
        execution = Execution(device=device)  # type: ignore[arg-type]
        self.post.to_worker(
            worker.peer,
            WorkerJob(
                job=id, spec=spec, execution=execution, workspace=str(self.workspace.root), data=self.data, dry=True
            ),
        )
        return True

    def _estimated(self, worker: Worker, message: Any) -> None:
        if isinstance(message, WorkerBegin):
            begin, why = message, ""
        elif isinstance(message, WorkerFail):
            begin, why = None, message.msg
        else:
            if isinstance(message, WorkerDone):
                del self._estimates[message.job]
                self._free(worker)
                self.schedule()
            return
        self._estimates[message.job](begin, why)
        if begin is None:
            del self._estimates[message.job]
            self._free(worker)
            self.schedule()

    def _free(self, worker: Worker) -> None:
        worker.job, worker.deadline, worker.since, worker.signals = None, None, self.clock(), []
        self._worker_state(worker)

    def _begun(self, worker: Worker, active: Active, message: WorkerBegin, arrays: Arrays) -> None:
        active.pace = Pace(float(message.total), self.clock())
        active.measured = message.seconds
        outcome = jobs.begun(self.table, active.job, message.execution, message.total)
        if active.kind != "surface":
            self.commit(outcome)
            return
        job = outcome[0].get(active.job)
        assert isinstance(job.spec, SurfaceSpec)
        active.surface = surface = job.surface or ""
        meta = msgspec.structs.replace(message.meta or SurfaceMeta(), id=surface, name=job.name)
        active.samples = meta.samples
        sheet = Sheet(arrays["alpha"], arrays["beta"], meta, message.metrics, message.shares, until=job.spec.until)
        stored: list[StoredRow] = []

        def put(t: Tables) -> Told:
            stored.clear()
            if t.get_surface(surface) is not None:
                stored.extend(t.rows_of(surface))
                return []
            record = SurfaceRecord(
                id=surface,
                meta=meta,
                width=len(sheet.alpha),
                height=len(sheet.beta),
                metrics=message.metrics,
                shares=message.shares,
                spec=job.spec,  # type: ignore[arg-type]
                plane=job.spec.plane,  # type: ignore[union-attr]
                job=job.id,
                name=job.name,
                created=utc(),
            )
            t.put_surface(record, sheet.alpha.astype("<f8").tobytes(), sheet.beta.astype("<f8").tobytes())
            event = SurfaceBegin(surface=surface, meta=meta, passes=len(message.shares))
            return [(f"surface/{surface}/", event, {"alpha": sheet.alpha, "beta": sheet.beta})]

        def lease() -> None:
            for row in stored:
                sheet.add(row.i, row.pass_, row.n, row.sums)
            sheet.skip()
            active.sheet = sheet
            active.pace = Pace(1.0, self.clock())
            active.pace.mark(sheet.weight_done, self.clock())
            self._lease(worker, active)

        self.commit(outcome, also=put, then=lease)

    def _lease(self, worker: Worker, active: Active) -> None:
        """Keep rows leased ahead; after the last one, say that there are no more."""
        sheet = active.sheet
        if sheet is None or worker.peer is None or worker.job != active.job:
            return
        while len(active.leased) < active.ahead and (row := sheet.next()) is not None:
            active.leased.append(row)
            self.post.to_worker(worker.peer, WorkerLease(job=active.job, rows=(row[0],), pass_=row[1]))
        if sheet.complete and not active.ended:
            active.ended = True
            self.post.to_worker(worker.peer, WorkerLease(job=active.job, rows=(), pass_=0))

    def _row(self, worker: Worker, active: Active, message: WorkerRow, sums: Arrays) -> None:
        sheet, at = active.sheet, (message.i, message.pass_)
        if sheet is None or at not in active.leased:
            return
        active.leased.remove(at)
        derived = sheet.add(message.i, message.pass_, message.n, sums)
        shown = {name: values.astype("<f4") for name, values in derived.items()}
        seen = sheet.samples(message.i)
        packed = {name: array.tobytes() for name, array in sums.items()}

        def put(t: Tables) -> int | None:
            return t.append_row(active.surface, message.i, message.pass_, message.n, packed)

        def stored(seq: int | None, error: Exception | None) -> None:
            if error is not None:
                self._hold(active, error)
                return
            if seq is not None:
                self._advanced(active)
                event = SurfaceRow(seq=seq, surface=active.surface, i=message.i, pass_=message.pass_, n=seen)
                self._publish([(f"surface/{active.surface}/", event, shown)])
            rows = sheet.rows_done
            if self._is_due(active, rows, sheet.rows_total):
                active.pace.mark(sheet.weight_done, self.clock())
                a_second = (active.pace.rate or 0.0) * sheet.rows_total
                active.ahead = min(MOST_AHEAD, max(AHEAD, int(AHEAD_S * a_second)))
            self._tell_progress(active, rows, sheet.rows_total)
            self._lease(worker, active)

        self.store.write(put, stored)

    def _advanced(self, active: Active) -> None:
        if active.job in self.table.jobs and self.table.jobs[active.job].tries:
            self.table = jobs.advanced(self.table, active.job)

    def _hold(self, active: Active, error: Exception) -> None:
        """Something of a job could not be stored: pause it with the reason."""
        if active.job not in self.table.jobs:
            return
        code = error.code if isinstance(error, InputError) else "internal"
        try:
            self.commit(jobs.held(self.table, active.job, code, str(error)))
        except InputError:
            return  # it is being paused or cancelled already

    def _path(self, active: Active, columns: Arrays, losses: bool) -> None:
        if active.sheet is None:
            return
        active.sheet.set_path(columns)
        path = active.sheet.path.astype(PATH_DTYPE).tobytes()

        def put(t: Tables) -> Told:
            t.set_path(active.surface, path)
            return [(f"surface/{active.surface}/", PathDone(surface=active.surface, losses=losses), dict(columns))]

        self.write(put, lambda error: self._hold(active, error), lambda: None)

    def _restart(self, worker: Worker, active: Active, message: WorkerRestart) -> None:
        sheet = active.sheet
        if sheet is None:
            return
        outcome = jobs.begun(self.table, active.job, message.execution, sheet.rows_total)
        sheet.restart(message.pass_)
        active.leased.clear()
        active.ended = False

        def drop(t: Tables) -> Told:
            t.drop_pass(active.surface, message.pass_)  # and later ones
            return []

        self._log(active.job, "warning", f"out of memory: pass {message.pass_} begins again with half the batch")
        self.commit(outcome, also=drop, then=lambda: self._lease(worker, active))

    def _progress(self, active: Active, message: WorkerProgress) -> None:
        if active.sheet is None:
            active.pace.total = float(message.total)
            active.pace.mark(float(message.done), self.clock())
        self._tell_progress(active, message.done, message.total, message.note)
        job = self.table.jobs[active.job]
        if message.loss is not None and job.run:
            self.post.publish(f"run/{job.run}/", RunStep(run=job.run, step=message.done, loss=message.loss))

    def _is_due(self, active: Active, done: int, total: int) -> bool:
        """Whether progress is told now."""
        return self.clock() - active.told >= PROGRESS_S or done == total

    def _tell_progress(self, active: Active, done: int, total: int, note: str = "") -> None:
        if active.job not in self.table.jobs:
            return
        self.table = jobs.progressed(self.table, active.job, done, total)
        now = self.clock()
        if self._is_due(active, done, total):
            active.told = now
            eta = active.pace.eta_s
            if eta is None and active.measured is not None:
                eta = max(0.0, active.measured - (now - active.started))
            rate = active.pace.rate
            if rate is not None and active.sheet is not None:
                rate *= total
            event = JobProgress(job=active.job, done=done, total=total, rate=rate, eta_s=eta, note=note)
            self.post.publish(f"job/{active.job}/", event)

    def _epoch(self, active: Active, message: WorkerEpoch) -> None:
        def put(t: Tables) -> Told:
            if not t.add_epoch(message.run, message.epoch, message.step, message.metrics):
                return []
            event = RunEpoch(run=message.run, epoch=message.epoch, step=message.step, metrics=message.metrics)
            return [(f"run/{message.run}/", event, {})]

        self.write(put, lambda error: self._hold(active, error), lambda: None)

    def _checkpoint(self, active: Active, message: WorkerCheckpoint) -> None:
        file = Path(message.file)
        relative = str(file.relative_to(self.workspace.root))
        size = file.stat().st_size

        def put(t: Tables) -> Told:
            if not t.add_checkpoint(message.run, message.step, message.epoch, relative, message.sha256, size):
                return []
            event = CheckpointSaved(
                run=message.run, step=message.step, epoch=message.epoch, file=relative, sha256=message.sha256
            )
            return [(f"run/{message.run}/", event, {})]

        self.write(put, lambda error: self._hold(active, error), lambda: self._advanced(active))

    # ------------------------------------------------------------ the end of a job

    def _done(self, active: Active, result: Done, arrays: Arrays) -> None:
        job = self.table.get(active.job)
        if result.cancelled:
            self.active.pop(active.job, None)
            self.commit(jobs.released(self.table, active.job, utc()))
            return
        match job.kind:
            case "plane":
                self._finish(active, result, also=lambda t: self._put_plane(t, job, result))
            case "surface":
                self._seal(active, result)
            case "analysis":
                self._analysed(active, job, result, arrays)
            case "import" if result.run is None:
                self._imported_surface(active, job, result)
            case "import":
                self._finish(active, result, also=lambda t: self._put_run(t, job, result))
            case _:
                self._finish(active, result)

    def _finish(self, active: Active, result: Done, also: Callable[[Tables], Told] | None = None) -> None:
        self.active.pop(active.job, None)
        seconds = self.clock() - active.started
        result = msgspec.structs.replace(result, cancelled=False)

        def write(t: Tables) -> Told:
            told = also(t) if also else []
            self._calibrate(t, active, seconds)
            return told

        self.commit(
            jobs.finished(self.table, active.job, result, utc()),
            also=write,
            refused=lambda error: self._unfinished(active, error),
        )

    def _unfinished(self, active: Active, error: Exception) -> None:
        """The end of a job could not be stored: it fails, or is held until there is room."""
        self.active.pop(active.job, None)
        self._log(active.job, "error", str(error))
        if active.job in self.table.jobs:
            code = error.code if isinstance(error, InputError) else "internal"
            if code == "no_space":
                table, effects = jobs.held(self.table, active.job, code, str(error))
                table, more = jobs.released(table, active.job, utc())
                self.commit((table, [*effects, *more]))
            else:
                self.commit(jobs.failed(self.table, active.job, code, str(error), utc()))

    def _calibrate(self, t: Tables, active: Active, seconds: float) -> None:
        """Remember what a surface took, for estimates."""
        if active.sheet is None or not active.samples:
            return
        meta, points = active.sheet.meta, active.sheet.alpha.size * active.sheet.beta.size
        t.put_calibration(estimates.key(meta), seconds / (points * active.samples), active.samples, points)

    def _put_plane(self, t: Tables, job: JobRecord, result: Done) -> Told:
        file = self.workspace.planes / f"{result.plane}.safetensors"
        about = TensorFile(file, check_hash=False)
        about.close()
        recipe = about.about.get("recipe")
        meta = result.plane_meta or PlaneMeta()
        record = PlaneRecord(
            id=str(ULID()),
            hash=result.plane or "",
            meta=meta,
            file=str(file.relative_to(self.workspace.root)),
            sha256=known_hash(file) or "",
            recipe=msgspec.convert(recipe, Recipe) if recipe else None,
            trajectory=tuple(about.about.get("trajectory", ())),
            job=job.id,
            name=job.name,
            created=utc(),
        )
        t.put_plane(record)
        return [(f"plane/{record.id}/", PlaneDone(plane=record.hash, meta=meta), {})]

    def _put_run(self, t: Tables, job: JobRecord, result: Done) -> Told:
        """An imported run: its files are there, with what they say of themselves."""
        folder = self.workspace.runs / (result.run or "")
        told: Told = []
        for name in result.files:
            opened = TensorFile(folder / name, check_hash=False)
            opened.close()
            about = opened.about
            if t.get_run(result.run or "") is None:
                recipe = msgspec.convert(about["recipe"], Recipe)
                t.put_run(RunRecord(id=result.run or "", recipe=recipe, job=job.id, name=job.name, created=utc()))
            relative, digest = f"runs/{result.run}/{name}", known_hash(folder / name) or ""
            size = (folder / name).stat().st_size
            t.add_checkpoint(result.run or "", about["step"], about["epoch"], relative, digest, size)
            event = CheckpointSaved(
                run=result.run or "", step=about["step"], epoch=about["epoch"], file=relative, sha256=digest
            )
            told.append((f"run/{result.run}/", event, {}))
        return told

    def _seal(self, active: Active, result: Done) -> None:
        """Write surface.npz in a thread of its own; then commit that it is sealed, and the job is done."""
        sheet = active.sheet
        assert sheet is not None
        facts: dict[str, Any] = {"seconds": round(self.clock() - active.started, 3)}
        if result.precision_deviation is not None:
            facts["precision_deviation"] = result.precision_deviation
        surface = sheet.surface(**facts)
        self._save(
            active, surface, f"surfaces/{active.surface}.npz", msgspec.structs.replace(result, surface=active.surface)
        )

    def _save(
        self,
        active: Active,
        surface: Surface,
        relative: str,
        result: Done,
        also: Callable[[Tables], Told] | None = None,
    ) -> None:
        file = self.workspace.root / relative

        def saved(digest: str) -> None:
            def put(t: Tables) -> Told:
                told = also(t) if also else []
                t.seal(result.surface or "", relative, digest, surface.meta)
                return [
                    *told,
                    (f"surface/{result.surface}/", SurfaceDone(surface=result.surface or "", file=relative), {}),
                ]

            self._finish(active, result, also=put)

        self._in_thread(active, lambda: sealed(surface, file), saved)

    def _in_thread(self, active: Active, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do a job's file work beside the loop, and go on in it."""
        active.sealing = True
        self.aside(work, then, lambda error: self._unfinished(active, error))

    def aside(self, work: Callable[[], T], then: Callable[[T], None], failed: Callable[[Exception], None]) -> None:
        """Do something slow beside the loop, and go on in it with what came of it."""

        def run() -> None:
            try:
                value = work()
            except Exception as e:
                error = e  # Python forgets `e` at the end of the clause
                self._sealed.append(lambda: failed(error))
            else:
                self._sealed.append(lambda: then(value))
            self._wake()

        self._sealer.submit(run)

    def _analysed(self, active: Active, job: JobRecord, result: Done, arrays: Arrays) -> None:
        """An analysis is done: the surface's file is written anew, with the points in it, under a new name."""
        spec: Any = job.spec
        points = arrays["critical"].tobytes() if "critical" in arrays else b""

        def old(t: Tables) -> SurfaceRecord | None:
            return t.get_surface(spec.target)

        def go_on(record: SurfaceRecord | None, error: Exception | None) -> None:
            if record is None or record.file is None:
                self.active.pop(active.job, None)
                why = str(error) if error else "the surface was deleted meanwhile"
                self.commit(jobs.failed(self.table, active.job, "not_found", why, utc()))
                return
            done = msgspec.structs.replace(result, surface=record.id)
            name, file = f"surfaces/{record.id}.{job.id[-6:]}.npz", self.workspace.root / record.file

            def put(t: Tables) -> Told:
                t.set_critical(record.id, points, result.summary)
                if record.file:
                    t.discard(record.file)
                event = AnalysisDone(surface=record.id, analysis=spec.analysis, summary=result.summary)
                return [(f"surface/{record.id}/", event, {})]

            self._in_thread(
                active,
                lambda: with_critical(file, points),
                lambda surface: self._save(active, surface, name, done, put),
            )

        self.store.read(old, go_on)

    def _imported_surface(self, active: Active, job: JobRecord, result: Done) -> None:
        made = self.workspace.uploads / result.files[0]
        surface_id = str(ULID())

        def go_on(surface: Surface) -> None:
            surface = described(surface, id=surface_id, name=job.name)

            def put(t: Tables) -> Told:
                record = SurfaceRecord(
                    id=surface_id, meta=surface.meta, width=surface.shape[1], height=surface.shape[0], metrics=(),
                    job=job.id, name=job.name, created=utc(),
                )  # fmt: skip
                t.put_surface(record, surface.alpha.tobytes(), surface.beta.tobytes())
                t.set_path(surface_id, surface.path.tobytes())
                made.unlink(missing_ok=True)
                return []

            done = msgspec.structs.replace(result, surface=surface_id, files=())
            self._save(active, surface, f"surfaces/{surface_id}.npz", done, put)

        self._in_thread(active, lambda: Surface.load(made), go_on)

    def _failed(self, active: Active, message: WorkerFail) -> None:
        self.active.pop(active.job, None)
        job = self.table.get(active.job)
        self._log(active.job, "error", message.msg)
        if message.code == "no_space":
            table, effects = jobs.held(self.table, active.job, "no_space", message.msg)
            table, more = jobs.released(table, active.job, utc())
            self.commit((table, [*effects, *more]))
            return

        def clean(t: Tables) -> Told:
            if job.kind == "train" and job.run and not t.checkpoints(job.run):
                t.delete_run(job.run)  # it never began
            return []

        outcome = jobs.failed(self.table, active.job, message.code, message.msg, utc())  # type: ignore[arg-type]
        self.commit(outcome, also=clean)

    # ------------------------------------------------------------ time

    def tick(self) -> None:
        """Look after workers that ended, do not obey, or are idle; after room on the disk; after sealed surfaces."""
        now = self.clock()
        while self._sealed:
            self._sealed.pop(0)()
        for worker, code in self.crew.ended():
            self._worker_gone(worker, code)
        self.crew.press(now)
        for worker in self.crew.idle_too_long(now):
            if worker.peer is not None:
                self.post.to_worker(worker.peer, WorkerStop())
                worker.since = now
        if now >= self._next_look:
            self._next_look = now + 2.0
            self._look_for_room()
            self.heads = {topic: head for topic, head in self.heads.items() if now - head[1] < 5.0}

    def _worker_gone(self, worker: Worker, code: int) -> None:
        self.post.publish(
            f"worker/{worker.name}/",
            WorkerState(worker=worker.name, state="ended", device=worker.device, pid=worker.pid, why=how(code)),
        )
        job = worker.job
        if job is not None and job in self._estimates:
            self._estimates.pop(job)(None, f"its worker ended {how(code)}")
        if job is not None and job in self.table.jobs:
            active = self.active.pop(job, None)
            self._log(job, "warning", f"its worker {worker.name} ended {how(code)}; {worker.log.name} has what it said")
            if active is not None and active.leased and self.table.jobs[job].state == "running":
                self._row_died(active)
            self.commit(jobs.lost(self.table, job, how(code), utc()))
        else:
            self.schedule()

    def _row_died(self, active: Active) -> None:
        """The row in work when a worker died; after three deaths the surface goes on without it."""
        i, k = active.leased[0]
        key = (active.job, i, k)
        self._row_deaths[key] = self._row_deaths.get(key, 0) + 1
        if self._row_deaths[key] < ROW_DEATHS or active.sheet is None:
            return
        width, sheet = len(active.sheet.alpha), active.sheet
        sums: Arrays = {
            name: np.full(width, np.nan) if dtype == "<f8" else np.zeros(width, dtype)
            for m in sheet.metrics
            for name, dtype in m.sums.items()
        }
        shown = {name: values.astype("<f4") for name, values in sheet.add(i, k, 0, sums).items()}
        event = SurfaceRow(surface=active.surface, i=i, pass_=k, n=sheet.samples(i))
        packed = {name: array.tobytes() for name, array in sums.items()}
        self._log(
            active.job, "error", f"row {i} of pass {k} killed {ROW_DEATHS} workers: the surface goes on without it"
        )

        def stored(seq: int | None, _: Exception | None) -> None:
            if seq is not None:
                told = msgspec.structs.replace(event, seq=seq)
                self._publish([(f"surface/{active.surface}/", told, shown)])

        self.store.write(lambda t: t.append_row(active.surface, i, k, 0, packed), stored)
        self._advanced(active)

    def _look_for_room(self) -> None:
        """Jobs that were held for want of space go on when there is some."""
        held = [j for j in self.table.jobs.values() if j.state == "paused" and j.code == "no_space"]
        if held and not self.store.full and shutil.disk_usage(self.workspace.root).free > ROOM_BYTES:
            for job in held:
                self.commit(jobs.resume(self.table, job.id))
        self.schedule()  # what could not be started or stored a while ago

    def shut_down(self, mode: Literal["finish", "now"]) -> None:
        """Stop what runs at its boundary; the jobs stay and go on at the next start."""
        self.stopping = True
        for worker in self.crew.workers.values():
            if worker.peer is not None and worker.job is not None:
                when: Literal["now", "boundary"] = "boundary" if mode == "finish" else "now"
                self.post.to_worker(worker.peer, WorkerCancel(job=worker.job, when=when, keep=True))
            elif worker.peer is not None:
                self.post.to_worker(worker.peer, WorkerStop())

    @property
    def quiet(self) -> bool:
        """No worker has a job and nothing is being sealed: the daemon may end."""
        return not any(w.job for w in self.crew.workers.values()) and not any(a.sealing for a in self.active.values())

    def close(self) -> None:
        """Let the workers go and wait for files being written."""
        for worker in self.crew.workers.values():
            worker.handle.close()
        self._sealer.shutdown(wait=True)

    def make_catalogue(self) -> None:
        """Have catalogue.json written, by a process of its own: it needs torch. Asked for again, one is enough."""
        if self._cataloguer is None or self._cataloguer.poll() is not None:
            command = [sys.executable, "-P", "-m", "compute.catalogue", str(self.workspace.root)]
            with open(self.workspace.logs / "catalogue.log", "ab") as out:
                self._cataloguer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    # ------------------------------------------------------------ words

    def _worker_state(self, worker: Worker) -> None:
        self.post.publish(
            f"worker/{worker.name}/",
            WorkerState(
                worker=worker.name,
                state=worker.state,  # type: ignore[arg-type]
                device=worker.device,
                pid=worker.pid,
                job=worker.job,
            ),
        )

    def _log(self, job: str | None, level: str, text: str) -> None:
        """A line in the job's log, or in the daemon's."""
        line = f"{utc()} {level}: {text}\n"
        try:
            with open(self.workspace.logs / (f"{job}.log" if job else "daemon.log"), "a", encoding="utf-8") as out:
                out.write(line)
        except OSError:
            return  # a full disk: what matters is in the store
        if job:
            self.post.publish(f"log/{job}/", LogLine(job=job, level=level, text=text))


# ---------------------------------------------------------------- pieces


def job_state(job: JobRecord) -> JobStateEvent:
    """The event that tells a job's state."""
    ended = job.state in ENDS
    return JobStateEvent(
        job=job.id,
        state=job.state,
        kind=job.kind,
        name=job.name,
        result=job.result if ended else None,
        error=job.error,
        run=job.run,
        surface=job.surface,
    )


def persisted(t: Tables, topic: str, event: EventMessage, arrays: Arrays) -> EventMessage:
    """The event with its seq, stored."""
    seq, _ = t.append_message(topic, event, arrays)
    return msgspec.structs.replace(event, seq=seq)


def sealed(surface: Surface, file: Path) -> str:
    """Write a surface; its file's sha256."""
    surface.save(file)
    return hashlib.sha256(file.read_bytes()).hexdigest()


def with_critical(file: Path, points: bytes) -> Surface:
    """The surface of a file with these critical points."""
    return dataclasses.replace(Surface.load(file), critical=np.frombuffer(points, dtype=CRITICAL_DTYPE))


def described(surface: Surface, **changed: Any) -> Surface:
    """The surface with fields of its record changed."""
    return dataclasses.replace(surface, meta=msgspec.structs.replace(surface.meta, **changed))
