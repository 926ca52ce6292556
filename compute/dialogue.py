"""What a worker tells of the job that it has, stored and published: its beginning, rows, epochs, checkpoints, progress.

Rows are leased a little ahead, so that the worker never waits for a commit; a row is told when it is stored.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from compute import jobs
from compute.active import AHEAD, Active, Arrays, Told, utc
from compute.crew import Worker
from compute.store import StoredRow, SurfaceRecord, Tables
from protocol.errors import InputError
from protocol.files import PATH_DTYPE, SurfaceMeta
from protocol.messages import (
    CheckpointSaved,
    JobProgress,
    PathDone,
    RunEpoch,
    RunStep,
    SurfaceBegin,
    SurfaceRow,
    SurfaceSpec,
    WorkerBegin,
    WorkerCheckpoint,
    WorkerEpoch,
    WorkerLease,
    WorkerProgress,
    WorkerRestart,
    WorkerRow,
)
from protocol.pace import Pace
from protocol.sheet import Sheet

if TYPE_CHECKING:
    from compute.service import Service

AHEAD_S, MOST_AHEAD = 0.05, 64  # rows are leased for so long ahead, at most so many
WRITING = 2  # groups of rows of a job in the store's hands: one being committed, one for when it is
ROW_DEATHS = 3  # workers that may die over one row before the surface goes on without it
PROGRESS_S = 0.2


class Dialogue:
    """One for the whole service; what it says of a job is kept in its `Active`."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.row_deaths: dict[tuple[str, int, int], int] = {}
        self.suspects: dict[str, set[tuple[int, int]]] = {}  # of a job: rows that a worker had when it died

    def begun(self, worker: Worker, active: Active, message: WorkerBegin, arrays: Arrays) -> None:
        active.pace = Pace(float(message.total), self.service.clock())
        active.measured = message.seconds
        outcome = jobs.begun(self.service.table, active.job, message.execution, message.total)
        if active.kind != "surface":
            self.service.commit(outcome)
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
            sheet.add_rows((row.i, row.pass_, row.n, row.sums) for row in stored)
            sheet.skip()
            active.sheet = sheet
            active.pace = Pace(1.0, self.service.clock())
            active.pace.mark(sheet.weight_done, self.service.clock())
            if active.measured is not None:
                active.measured *= 1.0 - sheet.weight_done
            self.lease(worker, active)

        self.service.commit(outcome, also=put, then=lease)

    def lease(self, worker: Worker, active: Active) -> None:
        """Keep rows leased ahead; after the last one, say that there are no more."""
        sheet = active.sheet
        if sheet is None or worker.peer is None or worker.job != active.job:
            return
        ahead = 1 if self.suspects.get(active.job) else active.ahead
        new: dict[int, list[int]] = {}  # by pass
        while len(active.leased) < ahead and (row := sheet.next()) is not None:
            active.leased.append(row)
            new.setdefault(row[1], []).append(row[0])
        for pass_, rows in new.items():
            self.service.post.to_worker(worker.peer, WorkerLease(job=active.job, rows=tuple(rows), pass_=pass_))
        if sheet.complete and not active.ended:
            active.ended = True
            self.service.post.to_worker(worker.peer, WorkerLease(job=active.job, rows=(), pass_=0))

    def row(self, active: Active, message: WorkerRow, sums: Arrays) -> None:
        """A row came; `rows` stores it with others. Raises ValueError for what is no row."""
        sheet, at = active.sheet, (message.i, message.pass_)
        if sheet is None or at not in active.leased:
            return
        sheet.check(sums)
        active.leased.remove(at)
        self.suspects.get(active.job, set()).discard(at)
        active.came.append((message.i, message.pass_, message.n, sums))

    def rows(self, worker: Worker, active: Active) -> None:
        """Store the rows that came, together, and tell them when they are committed."""
        sheet, came = active.sheet, active.came
        if sheet is None or not came:
            return
        active.came = []
        active.writing += 1
        topic = f"surface/{active.surface}/"
        shown = [{name: v.astype("<f4") for name, v in derived.items()} for derived in sheet.add_rows(came)]
        seen = [sheet.samples(i, pass_) for i, pass_, _, _ in came]
        packed = [(i, k, n, {name: array.data.cast("B") for name, array in sums.items()}) for i, k, n, sums in came]

        def put(t: Tables) -> list[int | None]:
            return t.append_rows(active.surface, packed)

        def stored(seqs: list[int | None] | None, error: Exception | None) -> None:
            active.writing -= 1
            if error is not None:
                self.hold(active, error)
                return
            told: Told = []
            for seq, (i, pass_, *_), n, values in zip(seqs or (), packed, seen, shown):
                if seq is not None:
                    event = SurfaceRow(seq=seq, surface=active.surface, i=i, pass_=pass_, n=n)
                    told.append((topic, event, values))
            if told:
                self.advanced(active)
                self.service.tell(told)
            done = sheet.rows_done
            if self.is_due(active, done, sheet.rows_total):
                active.pace.mark(sheet.weight_done, self.service.clock())
                a_second = (active.pace.rate or 0.0) * sheet.rows_total
                active.ahead = min(MOST_AHEAD, max(AHEAD, int(AHEAD_S * a_second)))
            self.tell_progress(active, done, sheet.rows_total)
            self.lease(worker, active)
            if self.service.active.get(active.job) is active:
                self.rows(worker, active)  # those that waited

        self.service.store.write(put, stored)

    def advanced(self, active: Active) -> None:
        if active.job in self.service.table.jobs and self.service.table.jobs[active.job].tries:
            self.service.table = jobs.advanced(self.service.table, active.job)

    def hold(self, active: Active, error: Exception) -> None:
        """Something of a job could not be stored: pause it with the reason."""
        if active.job not in self.service.table.jobs:
            return
        code = error.code if isinstance(error, InputError) else "internal"
        try:
            self.service.commit(jobs.held(self.service.table, active.job, code, str(error)))
        except InputError:
            return  # it is being paused or cancelled already

    def path(self, active: Active, columns: Arrays, losses: bool) -> None:
        if active.sheet is None:
            return
        active.sheet.set_path(columns)
        path = active.sheet.path.astype(PATH_DTYPE).tobytes()

        def put(t: Tables) -> Told:
            t.set_path(active.surface, path)
            return [(f"surface/{active.surface}/", PathDone(surface=active.surface, losses=losses), dict(columns))]

        self.service.write(put, lambda error: self.hold(active, error), lambda: None)

    def restart(self, worker: Worker, active: Active, message: WorkerRestart) -> None:
        sheet = active.sheet
        if sheet is None:
            return
        outcome = jobs.begun(self.service.table, active.job, message.execution, sheet.rows_total)
        sheet.restart(message.pass_)
        active.leased.clear()
        active.ended = False

        def drop(t: Tables) -> Told:
            t.drop_pass(active.surface, message.pass_)  # and later ones
            return []

        self.service.log(active.job, "warning", f"out of memory: pass {message.pass_} begins again with half the batch")
        self.service.commit(outcome, also=drop, then=lambda: self.lease(worker, active))

    def progress(self, active: Active, message: WorkerProgress) -> None:
        if active.sheet is None:
            active.pace.total = float(message.total)
            active.pace.mark(float(message.done), self.service.clock())
        self.tell_progress(active, message.done, message.total, message.note)
        job = self.service.table.jobs[active.job]
        if message.loss is not None and job.run:
            self.service.post.publish(f"run/{job.run}/", RunStep(run=job.run, step=message.done, loss=message.loss))

    def is_due(self, active: Active, done: int, total: int) -> bool:
        """Whether progress is told now."""
        return self.service.clock() - active.told >= PROGRESS_S or done == total

    def tell_progress(self, active: Active, done: int, total: int, note: str = "") -> None:
        if active.job not in self.service.table.jobs:
            return
        self.service.table = jobs.progressed(self.service.table, active.job, done, total)
        now = self.service.clock()
        if self.is_due(active, done, total):
            active.told = now
            rate = active.pace.rate
            if rate is not None and active.sheet is not None:
                rate *= total
            event = JobProgress(job=active.job, done=done, total=total, rate=rate, eta_s=active.left_s(now), note=note)
            self.service.post.publish(f"job/{active.job}/", event)

    def epoch(self, active: Active, message: WorkerEpoch) -> None:
        active.epochs += 1

        def put(t: Tables) -> Told:
            if not t.add_epoch(message.run, message.epoch, message.step, message.metrics):
                return []
            event = RunEpoch(run=message.run, epoch=message.epoch, step=message.step, metrics=message.metrics)
            return [(f"run/{message.run}/", event, {})]

        self.service.write(put, lambda error: self.hold(active, error), lambda: None)

    def checkpoint(self, active: Active, message: WorkerCheckpoint) -> None:
        file = Path(message.file)
        relative = str(file.relative_to(self.service.workspace.root))
        size = file.stat().st_size

        def put(t: Tables) -> Told:
            if not t.add_checkpoint(message.run, message.step, message.epoch, relative, message.sha256, size):
                return []
            event = CheckpointSaved(
                run=message.run, step=message.step, epoch=message.epoch, file=relative, sha256=message.sha256
            )
            return [(f"run/{message.run}/", event, {})]

        self.service.write(put, lambda error: self.hold(active, error), lambda: self.advanced(active))

    def row_died(self, active: Active) -> None:
        """A worker died over one of the rows that it had; after three deaths over it the surface goes on without it.

        Which one it was is not known for sure while it has several: those before may be done and lost on the way. So
        they are leased one by one from then on, until none of them is left.
        """
        alone = len(active.leased) == 1
        i, k = active.leased[0]
        self.suspects.setdefault(active.job, set()).update(active.leased)
        key = (active.job, i, k)
        self.row_deaths[key] = self.row_deaths.get(key, 0) + 1
        if self.row_deaths[key] < ROW_DEATHS or not alone or active.sheet is None:
            return
        self.suspects[active.job].discard((i, k))
        width, sheet = len(active.sheet.alpha), active.sheet
        sums: Arrays = {
            name: np.full(width, np.nan) if dtype == "<f8" else np.zeros(width, dtype)
            for m in sheet.metrics
            for name, dtype in m.sums.items()
        }
        shown = {name: values.astype("<f4") for name, values in sheet.add(i, k, 0, sums).items()}
        event = SurfaceRow(surface=active.surface, i=i, pass_=k, n=sheet.samples(i))
        packed = {name: array.tobytes() for name, array in sums.items()}
        self.service.log(
            active.job, "error", f"row {i} of pass {k} killed {ROW_DEATHS} workers: the surface goes on without it"
        )

        def stored(seq: int | None, _: Exception | None) -> None:
            if seq is not None:
                told = msgspec.structs.replace(event, seq=seq)
                self.service.tell([(f"surface/{active.surface}/", told, shown)])

        self.service.store.write(lambda t: t.append_row(active.surface, i, k, 0, packed), stored)
        self.advanced(active)
