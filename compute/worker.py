"""The worker: a child process that is given jobs and row leases, and sends back rows, epochs and checkpoints.

    python -m compute.worker --connect ENDPOINT --watch FD

It connects a DEALER to its parent's ROUTER and watches a pipe that only the parent holds open: when the parent ends,
however it ends, the pipe closes and so does the worker. Model and data stay resident between jobs. It writes weight
files, and nothing else; rows go to the parent, which seals surfaces.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq

from compute import plugins
from protocol import codec
from protocol.errors import InputError
from protocol.files import PATH_DTYPE
from protocol.messages import (
    AnalysisSpec,
    Done,
    ExportSpec,
    ImportSpec,
    Message,
    PlaneSpec,
    SurfaceSpec,
    ToWorker,
    TrainSpec,
    WorkerBegin,
    WorkerCancel,
    WorkerCheckpoint,
    WorkerDone,
    WorkerEpoch,
    WorkerFail,
    WorkerJob,
    WorkerLease,
    WorkerPath,
    WorkerPause,
    WorkerProgress,
    WorkerReady,
    WorkerRestart,
    WorkerResume,
    WorkerRow,
    WorkerStop,
)

if TYPE_CHECKING:
    from compute.resident import Resident, Training
    from compute.train import CheckpointDue

PROGRESS_S = 0.1  # at most ten progress messages a second
ENVIRONMENT = {
    # Threads that wait for each other by spinning slow down tenfold beside a second program that does so too (measured
    # on two cores: 973 ms a point spinning, 151 ms asleep, beside a busy neighbour).
    "OMP_WAIT_POLICY": "PASSIVE",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # what deterministic matrix products on CUDA ask for
}


class Cancelled(Exception):
    """The parent asked to stop this job; what is written stays."""


class Stopped(Exception):
    """The parent, or SIGTERM, asked this process to end."""


def watch(fd: int) -> None:
    """End this process when the pipe `fd` closes. Runs in a thread from before torch is imported, so that a parent that
    dies during the import leaves no orphan."""

    def wait() -> None:
        while os.read(fd, 1):
            pass
        os._exit(3)

    threading.Thread(target=wait, daemon=True, name="watchdog").start()


class Worker:
    """One socket, one job at a time."""

    def __init__(self, endpoint: str) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 2000)
        self.socket.setsockopt(zmq.MAXMSGSIZE, codec.MAX_FRAME)
        self.socket.connect(endpoint)
        self.leases: deque[WorkerLease] = deque()
        self.stopping = False
        self.at_boundary = False  # the parent asked to stop after the epoch
        self.keep = False  # ... and, when it stops, to write the state to go on from
        self.resident: Resident | None = None
        self._told = 0.0
        # Python runs the handler between bytecodes; a blocked receive wakes up every half second to see the flag.
        signal.signal(signal.SIGTERM, self._terminate)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle

    def _terminate(self, *_: object) -> None:
        self.stopping = True

    def send(self, message: Message, arrays: codec.Arrays | None = None) -> None:
        """Send a message to the parent."""
        self.socket.send_multipart(codec.encode(message, arrays))

    def receive(self, block: bool) -> Any | None:
        """The next message of the parent, or None when there is none and `block` is false."""
        while True:
            if self.stopping:
                raise Stopped
            if self.socket.poll(500 if block else 0):
                frames = self.socket.recv_multipart()
                try:
                    return codec.decode(frames, ToWorker)[0]
                except InputError as e:
                    print(f"dropped a message: {e}", file=sys.stderr)
            elif not block:
                return None

    # ------------------------------------------------------------ control

    def serve(self) -> None:
        """Do jobs until told to stop."""
        while True:
            message = self.receive(block=True)
            if isinstance(message, WorkerStop):
                return
            if isinstance(message, WorkerJob):
                self._do(message)

    def check(self, job: str) -> None:
        """Between two rows or steps: obey what the parent said meanwhile."""
        held = False
        while (message := self.receive(block=held)) is not None:
            match message:
                case WorkerLease(job=j) if j == job:
                    self.leases.append(message)
                case WorkerCancel(job=j) if j == job:
                    self.keep = message.keep
                    if message.when == "now":
                        raise Cancelled
                    self.at_boundary = True
                case WorkerPause(job=j) if j == job:
                    held = True
                case WorkerResume(job=j) if j == job:
                    held = False
                case WorkerStop():
                    raise Stopped
                case _:
                    pass  # of a job that has ended here

    def progress(self, job: str, done: int, total: int, note: str = "", loss: float | None = None) -> None:
        """Tell how far the job is, unless that was told a moment ago."""
        now = time.monotonic()
        if now - self._told >= PROGRESS_S or done == total:
            self._told = now
            self.send(WorkerProgress(job=job, done=done, total=total, note=note, loss=loss))

    def _do(self, job: WorkerJob) -> None:
        self.leases.clear()
        self._told = 0.0
        self.at_boundary = self.keep = False
        try:
            try:
                plugins.load(Path(job.workspace))
                arrays: dict[str, np.ndarray[Any, Any]] = {}
                match job.spec:
                    case TrainSpec():
                        result = self._train(job, job.spec, self._resident(job))
                    case PlaneSpec():
                        result = self._plane(job, job.spec, self._resident(job))
                    case SurfaceSpec():
                        result = self._surface(job, job.spec, self._resident(job))
                    case AnalysisSpec() | ExportSpec() | ImportSpec():
                        result, arrays = self._light(job, job.spec)
                self.send(WorkerDone(job=job.job, result=result), arrays)
            except Cancelled:
                self.send(WorkerDone(job=job.job, result=Done(cancelled=True)))
        except InputError as e:
            self.send(WorkerFail(job=job.job, code=e.code, msg=e.msg, path=e.path))
        except Stopped:
            raise
        except Exception as e:
            traceback.print_exc()  # for the log; a person gets one sentence
            line = (str(e).strip().splitlines() or ["none left"])[0]
            if out_of_memory(e):
                msg = f"memory: the job does not fit ({line}): use a smaller batch size or model"
                self.send(WorkerFail(job=job.job, code="unavailable", msg=msg))
            else:
                msg = f"the worker failed: {type(e).__name__}: {line}"
                self.send(WorkerFail(job=job.job, code="internal", msg=msg))

    def _resident(self, job: WorkerJob) -> Resident:
        """What is held for this workspace and data folder; another one's is let go."""
        from compute.resident import Resident

        if self.resident is None or self.resident.key != (job.workspace, job.data):
            self.resident = Resident(job.workspace, job.data)
        return self.resident

    # ------------------------------------------------------------ jobs

    def _train(self, job: WorkerJob, spec: TrainSpec, resident: Resident) -> Done:
        from compute import execution as running
        from compute.train import CheckpointDue, EpochDone, StepDone

        execution = running.fix(job.execution)
        training = resident.training(spec.recipe, execution, run=job.run, resume=job.resume)
        seconds = None
        if job.dry:
            with running.applied(training.execution, training.recipe.precision):
                seconds = training.seconds()
        self.send(WorkerBegin(job=job.job, execution=training.execution, total=training.total, seconds=seconds))
        if job.dry:
            return Done()
        lacking: set[str] = set()
        with running.applied(training.execution, training.recipe.precision, lacking):
            leaving: Cancelled | Stopped | None = None  # as soon as the epoch's checkpoint is written
            for event in training.events():
                match event:
                    case StepDone():
                        now = time.monotonic()
                        if now - self._told >= PROGRESS_S or event.step == event.total:
                            loss = float(event.loss)
                            self.progress(job.job, event.step, event.total, f"loss {loss:.4g}", loss)
                    case EpochDone():
                        self.send(
                            WorkerEpoch(
                                job=job.job, run=training.id, epoch=event.epoch, step=event.step, metrics=event.metrics
                            )
                        )
                    case CheckpointDue():
                        self._keep(job, training, event)
                        if event.metrics is not None and (leaving or self.at_boundary):
                            raise leaving or Cancelled
                if leaving or isinstance(event, EpochDone):  # its checkpoint comes next: do not stop between the two
                    continue
                try:
                    self.check(job.job)
                except (Cancelled, Stopped) as e:
                    if isinstance(event, StepDone) and (self.keep or self.stopping):
                        if event.due is None:  # the epoch ends with this step: its own checkpoint comes next
                            leaving = e
                            continue
                        self._keep(job, training, event.due())
                    raise
        return Done(run=training.id, deterministic=not lacking)

    def _keep(self, job: WorkerJob, training: Training, due: CheckpointDue) -> None:
        file, digest = training.keep(due)
        self.send(
            WorkerCheckpoint(
                job=job.job, run=training.id, step=due.step, epoch=due.epoch, file=str(file), sha256=digest
            )
        )

    def _plane(self, job: WorkerJob, spec: PlaneSpec, resident: Resident) -> Done:
        from compute.landscape import make_plane
        from compute.planes import save_plane

        inputs = resident.plane_inputs(spec)
        steps = make_plane(
            spec.direction,
            inputs.model,
            inputs.checkpoints,
            spec.options,
            origin=inputs.origin,
            trajectory=inputs.trajectory,
        )
        begun = False
        while True:
            try:
                done, total = next(steps)
            except StopIteration as end:
                plane = end.value
                break
            if not begun:
                begun = True
                self.send(WorkerBegin(job=job.job, execution=job.execution, total=total))
                if job.dry:
                    return Done()
            self.progress(job.job, done, total)
            self.check(job.job)
        save_plane(resident.workspace.planes, plane, inputs.recipe, inputs.addresses)
        return Done(plane=plane.meta.hash, plane_meta=plane.meta)

    def _surface(self, job: WorkerJob, spec: SurfaceSpec, resident: Resident) -> Done:
        import torch

        from compute.landscape import coordinates, finish

        session, meta, checkpoints = resident.session(spec, job.execution)
        plane = session.plane
        path = plane.path if spec.path is None else np.zeros(0, PATH_DTYPE)
        if checkpoints:
            path = finish(coordinates(checkpoints, plane.origin, plane.delta, plane.eta))
        alpha, beta = session.axes(spec.grid, path)
        shares = session.schedule(spec.passes)
        self.send(
            WorkerBegin(
                job=job.job,
                execution=session.engine.execution,
                total=len(beta) * len(shares),
                seconds=session.estimate(len(alpha) * len(beta), len(checkpoints)),
                meta=meta,
                shares=tuple(shares),
                metrics=tuple(session.declarations),
            ),
            {"alpha": alpha, "beta": beta},
        )
        if job.dry:
            return Done()
        if len(path):
            self._send_path(job.job, path, losses=False)
        with session:
            while True:
                lease = self._lease(job.job)
                if not lease.rows:
                    break
                try:
                    wanted = [(i, float(beta[i])) for i in lease.rows]
                    for i, sums in session.rows(wanted, alpha, shares[lease.pass_]):
                        n = int(sums.pop("n"))
                        self.send(WorkerRow(job=job.job, i=i, pass_=lease.pass_, n=n), sums)
                        self.check(job.job)
                        if self.at_boundary:
                            raise Cancelled
                except torch.OutOfMemoryError:
                    session.halve_batch()
                    self.leases.clear()
                    self.send(WorkerRestart(job=job.job, pass_=lease.pass_, execution=session.engine.execution))
            deviation = session.deviation(alpha, beta)
            if checkpoints:
                steps = session.path_losses(checkpoints, path)
                while True:
                    try:
                        done, total = next(steps)
                    except StopIteration as end:
                        self._send_path(job.job, end.value, losses=True)
                        break
                    self.progress(job.job, done, total, "losses along the path")
                    self.check(job.job)
        return Done(precision_deviation=deviation, deterministic=not session.lacking)

    def _light(
        self, job: WorkerJob, spec: AnalysisSpec | ExportSpec | ImportSpec
    ) -> tuple[Done, dict[str, np.ndarray[Any, Any]]]:
        from compute import light
        from compute.workspace import Workspace

        workspace = Workspace(Path(job.workspace))
        steps = light.run(spec, workspace, job.job, job.run)
        self.send(WorkerBegin(job=job.job, execution=job.execution, total=1))
        try:
            while True:
                try:
                    done, total = next(steps)
                except StopIteration as end:
                    result: Done = end.value[0]
                    return result, end.value[1]
                self.progress(job.job, done, total)
                self.check(job.job)
        except BaseException:
            steps.close()
            light.forget(workspace, job.job)
            raise

    def _lease(self, job: str) -> WorkerLease:
        """The next lease, waited for."""
        self.check(job)
        while not self.leases:
            if self.at_boundary:
                raise Cancelled
            self.socket.poll(500)
            self.check(job)
        if self.at_boundary:
            raise Cancelled
        return self.leases.popleft()

    def _send_path(self, job: str, path: np.ndarray[Any, Any], *, losses: bool) -> None:
        columns = [name for name in PATH_DTYPE.names or () if losses or not name.startswith("loss")]
        self.send(WorkerPath(job=job, losses=losses), {name: np.ascontiguousarray(path[name]) for name in columns})


def out_of_memory(e: Exception) -> bool:
    """Whether this is the host's or a device's memory running out. torch is looked at only where it is loaded."""
    torch = sys.modules.get("torch")
    return isinstance(e, MemoryError) or (torch is not None and isinstance(e, torch.OutOfMemoryError))


def main() -> None:
    """Entry point of `python -m compute.worker`."""
    parser = argparse.ArgumentParser(prog="compute.worker", description=__doc__)
    parser.add_argument("--connect", required=True, metavar="ENDPOINT", help="the parent's wrk endpoint")
    parser.add_argument("--watch", required=True, type=int, metavar="FD", help="a pipe whose closing ends this process")
    parser.add_argument("--name", default="", help="what the parent calls this worker")
    parser.add_argument("--light", action="store_true", help="for analyses, exports and imports: torch is not loaded")
    parser.add_argument("--device", choices=("cpu", "cuda", "mps"), help="the kind of device that it is for")
    args = parser.parse_args()
    watch(args.watch)
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)  # before torch loads the libraries that read it
    worker = Worker(args.connect)
    try:
        worker.send(_ready(args.name, args.light, args.device))
        worker.serve()
    except Stopped:
        pass
    worker.socket.close()
    worker.context.term()


def _ready(name: str, light: bool, device: str | None) -> WorkerReady:
    if light:
        return WorkerReady(worker=name, device="cpu", threads=1, versions={})
    import torch

    from compute.execution import choose_device, devices, versions

    return WorkerReady(
        worker=name,
        device=device or choose_device(None).type,  # where it is absent, the jobs that come here are told
        threads=torch.get_num_threads(),
        versions=versions(),
        devices=devices(),
    )


if __name__ == "__main__":
    main()
