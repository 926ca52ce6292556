"""The end of a job: what it gave is recorded, surfaces are sealed, and those that wait for it go on.

Files are written beside the loop (`Service.aside`) and committed when they are durable.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
from ulid import ULID

from compute import estimates, jobs
from compute.active import Active, Arrays, Told, utc
from compute.store import JobRecord, PlaneRecord, RunRecord, SurfaceRecord, Tables
from compute.tensorfile import TensorFile, known_hash
from protocol.errors import InputError
from protocol.files import CRITICAL_DTYPE, PlaneMeta, Surface
from protocol.messages import (
    AnalysisDone,
    CheckpointSaved,
    Done,
    Execution,
    ImportSpec,
    PlaneDone,
    Recipe,
    SurfaceDone,
    TrainSpec,
    WorkerFail,
)

if TYPE_CHECKING:
    from compute.service import Service

T = TypeVar("T")


class Endings:
    """One for the whole service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def done(self, active: Active, result: Done, arrays: Arrays) -> None:
        job = self.service.table.get(active.job)
        if result.cancelled:
            self.service.active.pop(active.job, None)
            self.service.commit(jobs.released(self.service.table, active.job, utc()))
            return
        match job.kind:
            case "plane":
                self.finish(active, result, also=lambda t: self.put_plane(t, job, result))
            case "surface":
                self.seal(active, result)
            case "analysis":
                self.analysed(active, job, result, arrays)
            case "import" if result.run is None:
                self.imported_surface(active, job, result)
            case "import":
                self.finish(active, result, also=lambda t: self.put_run(t, job, result))
            case _:
                self.finish(active, result)

    def finish(self, active: Active, result: Done, also: Callable[[Tables], Told] | None = None) -> None:
        self.service.active.pop(active.job, None)
        job, seconds = self.service.table.get(active.job), self.service.clock() - active.started
        result = msgspec.structs.replace(result, cancelled=False)

        def write(t: Tables) -> Told:
            told = also(t) if also else []
            self.calibrate(t, active, job, seconds)
            return told

        self.service.commit(
            jobs.finished(self.service.table, active.job, result, utc()),
            also=write,
            then=self.service.tidy if active.sealing else None,
            refused=lambda error: self.unfinished(active, error),
        )

    def unfinished(self, active: Active, error: Exception) -> None:
        """The end of a job could not be stored: it fails, or is held until there is room."""
        self.service.active.pop(active.job, None)
        self.service.log(active.job, "error", str(error))
        if active.job in self.service.table.jobs:
            code = error.code if isinstance(error, InputError) else "internal"
            if code == "no_space":
                table, effects = jobs.held(self.service.table, active.job, code, str(error))
                table, more = jobs.released(table, active.job, utc())
                self.service.commit((table, [*effects, *more]))
            else:
                self.service.commit(jobs.failed(self.service.table, active.job, code, str(error), utc()))

    def calibrate(self, t: Tables, active: Active, job: JobRecord, seconds: float) -> None:
        """Remember what a surface or a training took, for estimates."""
        if active.epochs and isinstance(job.spec, TrainSpec):
            key = estimates.train_key(job.spec.recipe, job.execution or Execution())
            t.put_calibration(key, seconds / active.epochs, 1, active.epochs)
        if active.sheet is None or not active.samples:
            return
        meta, points = active.sheet.meta, active.sheet.alpha.size * active.sheet.beta.size
        t.put_calibration(estimates.key(meta), seconds / (points * active.samples), active.samples, points)

    def put_plane(self, t: Tables, job: JobRecord, result: Done) -> Told:
        file = self.service.workspace.planes / f"{result.plane}.safetensors"
        about = TensorFile(file, check_hash=False)
        about.close()
        recipe = about.about.get("recipe")
        meta = result.plane_meta or PlaneMeta()
        record = PlaneRecord(
            id=str(ULID()),
            hash=result.plane or "",
            meta=meta,
            file=str(file.relative_to(self.service.workspace.root)),
            sha256=known_hash(file) or "",
            recipe=msgspec.convert(recipe, Recipe) if recipe else None,
            trajectory=tuple(about.about.get("trajectory", ())),
            job=job.id,
            name=job.name,
            created=utc(),
        )
        t.put_plane(record)
        return [(f"plane/{record.id}/", PlaneDone(plane=record.hash, meta=meta), {})]

    def put_run(self, t: Tables, job: JobRecord, result: Done) -> Told:
        """An imported run: its files are there, with what they say of themselves."""
        folder = self.service.workspace.runs / (result.run or "")
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
        if isinstance(job.spec, ImportSpec):
            t.discard(f"uploads/{job.spec.upload}")
        return told

    def seal(self, active: Active, result: Done) -> None:
        """Write surface.npz in a thread of its own; then commit that it is sealed, and the job is done."""
        sheet = active.sheet
        assert sheet is not None
        facts: dict[str, Any] = {"seconds": round(self.service.clock() - active.started, 3)}
        if result.precision_deviation is not None:
            facts["precision_deviation"] = result.precision_deviation
        if result.deterministic is False:
            facts["execution"] = {**sheet.meta.execution, "deterministic": False}
        surface = sheet.surface(**facts)
        self.save(
            active, surface, f"surfaces/{active.surface}.npz", msgspec.structs.replace(result, surface=active.surface)
        )

    def save(
        self,
        active: Active,
        surface: Surface,
        relative: str,
        result: Done,
        also: Callable[[Tables], Told] | None = None,
    ) -> None:
        file = self.service.workspace.root / relative

        def saved(digest: str) -> None:
            def put(t: Tables) -> Told:
                told = also(t) if also else []
                t.seal(result.surface or "", relative, digest, surface.meta)
                return [
                    *told,
                    (f"surface/{result.surface}/", SurfaceDone(surface=result.surface or "", file=relative), {}),
                ]

            self.finish(active, result, also=put)

        self.in_thread(active, lambda: sealed(surface, file), saved)

    def in_thread(self, active: Active, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do a job's file work beside the loop, and go on in it."""
        active.sealing = True
        self.service.aside(work, then, lambda error: self.unfinished(active, error))

    def analysed(self, active: Active, job: JobRecord, result: Done, arrays: Arrays) -> None:
        """An analysis is done: the surface's file is written anew, with the points in it, under a new name."""
        spec: Any = job.spec
        points = arrays["critical"].tobytes() if "critical" in arrays else b""

        def old(t: Tables) -> SurfaceRecord | None:
            return t.get_surface(spec.target)

        def go_on(record: SurfaceRecord | None, error: Exception | None) -> None:
            if record is None or record.file is None:
                self.service.active.pop(active.job, None)
                why = str(error) if error else "the surface was deleted meanwhile"
                self.service.commit(jobs.failed(self.service.table, active.job, "not_found", why, utc()))
                return
            done = msgspec.structs.replace(result, surface=record.id)
            name, file = f"surfaces/{record.id}.{job.id[-6:]}.npz", self.service.workspace.root / record.file

            def put(t: Tables) -> Told:
                t.set_critical(record.id, points, result.summary)
                if record.file:
                    t.discard(record.file)
                event = AnalysisDone(surface=record.id, analysis=spec.analysis, summary=result.summary)
                return [(f"surface/{record.id}/", event, {})]

            self.in_thread(
                active,
                lambda: with_critical(file, points),
                lambda surface: self.save(active, surface, name, done, put),
            )

        self.service.store.read(old, go_on)

    def imported_surface(self, active: Active, job: JobRecord, result: Done) -> None:
        made = self.service.workspace.uploads / result.files[0]
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
                if isinstance(job.spec, ImportSpec):
                    t.discard(f"uploads/{job.spec.upload}")
                return []

            done = msgspec.structs.replace(result, surface=surface_id, files=())
            self.save(active, surface, f"surfaces/{surface_id}.npz", done, put)

        self.in_thread(active, lambda: Surface.load(made), go_on)

    def failed(self, active: Active, message: WorkerFail) -> None:
        self.service.active.pop(active.job, None)
        job = self.service.table.get(active.job)
        self.service.log(active.job, "error", message.msg)
        if message.code == "no_space":
            table, effects = jobs.held(self.service.table, active.job, "no_space", message.msg)
            table, more = jobs.released(table, active.job, utc())
            self.service.commit((table, [*effects, *more]))
            return

        def clean(t: Tables) -> Told:
            if job.kind == "train" and job.run and not t.checkpoints(job.run):
                t.delete_run(job.run)  # it never began
            if isinstance(job.spec, ImportSpec) and message.code != "internal":
                t.discard(f"uploads/{job.spec.upload}")  # the same bytes would be refused again
            return []

        outcome = jobs.failed(self.service.table, active.job, message.code, message.msg, utc())  # type: ignore[arg-type]
        self.service.commit(outcome, also=clean)


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
