"""What the daemon does, between the sockets and the store: jobs decided (jobs.py), stored, told, given to workers.

Everything here runs in the daemon's one loop. A change is decided on the table at once, committed by the store's
thread, and only then told: events are published, the reply goes out, workers are given work. What cannot be committed
is taken back. No socket here: `Post` is where messages go.
"""

from __future__ import annotations

import ctypes
import shutil
import signal
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from ulid import ULID

from compute import NUMERICS, catalogue, jobs, lookup, places, references
from compute.active import Active, Arrays, Post, Told, job_state, persisted, utc
from compute.config import Config
from compute.crew import Crew, Worker, how
from compute.dialogue import WRITING, Dialogue
from compute.endings import Endings
from compute.jobs import Effect, Outcome, Resolve, Save, Table, Tell
from compute.launchers import Handle, Launcher
from compute.launchers.local import watched
from compute.places import Place
from compute.store import JobRecord, RunRecord, Store, Tables
from compute.workspace import Workspace
from protocol.errors import InputError
from protocol.messages import (
    Done,
    Execution,
    LogLine,
    TrainSpec,
    WorkerBegin,
    WorkerCancel,
    WorkerCheckpoint,
    WorkerDone,
    WorkerEpoch,
    WorkerFail,
    WorkerJob,
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

ROOM_BYTES = 64 * 1024 * 1024  # free space at which jobs that were held for want of it go on
TIDY_S = 0.5  # after something large was let go: by then no thread holds on to it

T = TypeVar("T")


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
        config: Config = Config(),  # noqa: B008 - frozen
        clock: Callable[[], float] = time.monotonic,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.workspace = Workspace(workspace)
        self.store, self.post, self.clock, self.data, self.config = store, post, clock, data, config
        self.crew = Crew(launcher, endpoint, self.workspace.logs, config.devices)
        self.table = Table()
        self.active: dict[str, Active] = {}
        self.heads: dict[str, tuple[int, float]] = {}  # topics that changed lately: newest seq, when
        self.stopping = False
        self.dialogue, self.endings = Dialogue(self), Endings(self)
        self._sealer = ThreadPoolExecutor(1, thread_name_prefix="sealer")
        self._sealed: list[Callable[[], None]] = []
        self._wake = wake
        self._estimates: dict[str, Callable[[WorkerBegin | None, str], None]] = {}
        self._cataloguer: Handle | None = None
        self._next_look = 0.0
        self._tidy_at: float | None = None
        for folder in ("runs", "planes", "surfaces", "exports", "uploads", "logs"):
            (workspace / folder).mkdir(mode=0o700, exist_ok=True)
        if not catalogue.is_current(workspace, config.plugins):
            (workspace / catalogue.FILE).unlink(missing_ok=True)

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
                    self.log(None, "error", f"not stored: {error}")
                return
            self.tell(told or [])
            for save in saves:
                if save.changed:
                    self.log(
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
                self.tell(told or [])
                then()

        self.store.write(
            lambda t: [(topic, persisted(t, topic, e, arrays), arrays) for topic, e, arrays in also(t)], done
        )

    def tell(self, told: Told) -> None:
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
        for job in list(self.table.jobs.values()):
            error = places.absent(places.wanted(job), self.crew.places) if jobs.LANES[job.kind] == "device" else None
            if error is not None and job.state == "queued":
                self.commit(jobs.failed(self.table, job.id, error.code, error.msg, utc()))
                return  # what follows from that comes here again
        spoken_for: set[str] = set()  # by workers that are free now, or will be in a moment
        empty = []
        for place in self.crew.places:
            worker = self.crew.at(place)
            if worker is None:
                empty.append(place)
            elif worker.state != "busy" and (found := self._next(place, spoken_for)) is not None:
                spoken_for.add(found.id)
                if worker.state == "idle":
                    self._start(found, worker)
        for place in empty:
            if (found := self._next(place, spoken_for)) is not None:
                spoken_for.add(found.id)
                self.tell_worker_state(self.crew.launch(place, self.clock()))

    def _next(self, place: Place, besides: set[str]) -> JobRecord | None:
        return jobs.next_job(self.table, lambda job: places.belongs(place, job, self.crew.places), besides)

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
                self.free(worker)
                self.commit(jobs.finished(self.table, job.id, Done(surface=job.surface), utc()))
                return
            total = float(max(1, job.total))
            self.active[job.id] = Active(job.id, job.kind, self.clock(), Pace(total, self.clock()))
            device = places.wanted(job) or (worker.place.kind or None)
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
            self.tell_worker_state(worker)

        def refused(error: Exception) -> None:
            worker.job, worker.since = None, self.clock()
            code = error.code if isinstance(error, InputError) else "internal"
            if code == "internal":
                self.log(job.id, "error", f"it could not be started: {type(error).__name__}: {error}")
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
            self.crew.ready(worker, peer, message.device, message.devices, self.clock())
            self.tell_worker_state(worker)
            self.schedule()

    def heard(self, peer: bytes, message: Any, arrays: Arrays) -> None:
        """A message of a worker. What does not belong to the job that it has is dropped."""
        if isinstance(message, WorkerReady):
            return self.ready(peer, message)
        worker = self.crew.of_peer(peer)
        if isinstance(message, WorkerLog):
            self.log(message.job, message.level, message.text)
            return None
        if worker is not None and worker.job == message.job and message.job in self._estimates:
            return self._estimated(worker, message)
        if worker is None or worker.job != message.job or message.job not in self.table.jobs:
            return None
        active = self.active.get(message.job)
        if active is None:
            return None
        if not isinstance(message, WorkerRow):
            self.dialogue.rows(worker, active)  # what it said before
        match message:
            case WorkerBegin():
                self.dialogue.begun(worker, active, message, arrays)
            case WorkerRow():
                self.dialogue.row(active, message, arrays)
            case WorkerPath():
                self.dialogue.path(active, arrays, message.losses)
            case WorkerRestart():
                self.dialogue.restart(worker, active, message)
            case WorkerProgress():
                self.dialogue.progress(active, message)
            case WorkerEpoch():
                self.dialogue.epoch(active, message)
            case WorkerCheckpoint():
                self.dialogue.checkpoint(active, message)
            case WorkerDone():
                self.free(worker)
                self.endings.done(active, message.result, arrays)
            case WorkerFail():
                self.free(worker)
                self.endings.failed(active, message)
        return None

    def came(self) -> None:
        """Store the rows that were heard of; while enough are being stored, those that come meanwhile wait for these,
        and are stored together."""
        for active in list(self.active.values()):
            worker = self.crew.of_job(active.job)
            if active.came and active.writing < WRITING and worker is not None:
                self.dialogue.rows(worker, active)

    def distrust(self, peer: bytes, why: str) -> None:
        """A worker sent what makes no sense. Its job fails, it is ended."""
        worker = self.crew.of_peer(peer)
        self.log(worker.job if worker else None, "error", f"a worker sent what cannot be used: {why}")
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
        error = places.absent(device, self.crew.places)
        if error is not None:
            then(None, error.msg)
            return True
        fit = [p for p in self.crew.places if places.takes(p, device, self.crew.places)]
        workers = [w for p in fit if (w := self.crew.at(p)) is not None]
        worker = next((w for w in workers if w.state == "idle"), None)
        if worker is None or worker.peer is None or self.stopping:
            if not workers and not self.stopping:
                self.tell_worker_state(self.crew.launch(fit[0], self.clock()))
            return False
        device = device or worker.place.kind or None
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
                self.free(worker)
                self.schedule()
            return
        self._estimates[message.job](begin, why)
        if begin is None:
            del self._estimates[message.job]
            self.free(worker)
            self.schedule()

    def free(self, worker: Worker) -> None:
        worker.job, worker.deadline, worker.since, worker.signals = None, None, self.clock(), []
        self.tell_worker_state(worker)

    def left_s(self) -> dict[str, float]:
        """Seconds until each job that runs is done, where that is known."""
        now = self.clock()
        running = [a for a in self.active.values() if (j := self.table.jobs.get(a.job)) and j.state == "running"]
        return {a.job: left for a in running if (left := a.left_s(now)) is not None}

    # ------------------------------------------------------------ the end of a job

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

    def tidy(self) -> None:
        """Something large was let go: give its memory back in a moment."""
        self._tidy_at = self.clock() + TIDY_S

    # ------------------------------------------------------------ time

    def tick(self) -> None:
        """Look after workers that ended, do not obey, or are idle; after room on the disk; after sealed surfaces."""
        now = self.clock()
        while self._sealed:
            self._sealed.pop(0)()
        for worker, code in self.crew.ended():
            self._worker_gone(worker, code)
        if self._tidy_at is not None and now >= self._tidy_at:
            self._tidy_at = None
            self._sealer.submit(give_back_memory)
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
            self.log(job, "warning", f"its worker {worker.name} ended {how(code)}; {worker.log.name} has what it said")
            if active is not None and active.leased and self.table.jobs[job].state == "running":
                self.dialogue.row_died(active)
            self.commit(jobs.lost(self.table, job, how(code), utc()))
        else:
            self.schedule()

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
        if self._cataloguer is not None:
            self._cataloguer.close()
        self._sealer.shutdown(wait=True)

    def make_catalogue(self) -> None:
        """Have catalogue.json written, by a process of its own: it needs torch. Asked for again, one is enough.

        Raises InputError with what the process said where it failed; the next who asks has it try again.
        """
        log, before = self.workspace.logs / "catalogue.log", self._cataloguer
        code = before.poll() if before is not None else None
        if before is not None and code is not None:
            before.close()
            self._cataloguer = None
            if code:
                said = log.read_text(errors="replace").strip().splitlines()[-1:] or [f"it ended {how(code)}"]
                raise InputError(f"catalogue: it cannot be made: {said[0]}", code="unavailable")
        if self._cataloguer is None:
            command = [sys.executable, "-P", "-m", "compute.catalogue", str(self.workspace.root)]
            self._cataloguer = watched(command, str(log))

    # ------------------------------------------------------------ words

    def tell_worker_state(self, worker: Worker) -> None:
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

    def log(self, job: str | None, level: str, text: str) -> None:
        """A line in the job's log, or in the daemon's."""
        line = f"{utc()} {level}: {text}\n"
        try:
            with open(self.workspace.logs / (f"{job}.log" if job else "daemon.log"), "a", encoding="utf-8") as out:
                out.write(line)
        except OSError:
            return  # a full disk: what matters is in the store
        if job:
            self.post.publish(f"log/{job}/", LogLine(job=job, level=level, text=text))


def give_back_memory() -> None:
    """Return what was freed to the system. The allocator keeps it in pieces: after a surface of 1200 rows of 1001
    points in two passes 290 MB stayed resident, of which 100 were in use."""
    with suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)
