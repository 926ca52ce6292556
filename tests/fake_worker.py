"""A worker without torch: it is up in a blink, and makes rows, runs and planes of nothing.

It speaks `wrk.*` as compute.worker does, and reads fake.json in the workspace at the start of each job:

    {"row_s": 0.01}      seconds a row                  {"epoch_s": 0.01}  seconds an epoch
    {"die": [3, 0]}      kill itself over row 3 of pass 0
    {"once": [1, 4]}     kill itself over these rows, once over each
    {"deaf": true}       obey neither cancel nor SIGTERM
    {"deterministic": false}  say so of surfaces
    {"constant": true}   every row the same, so that a surface is sealed quickly
    {"say": [...]}       send these messages as they are, then wait for ever
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import struct
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq
from stored import ACCURACY, LOSS

from compute.worker import watch
from protocol import codec, shares
from protocol.files import PlaneMeta, SurfaceMeta
from protocol.messages import (
    Done,
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
    WorkerJob,
    WorkerLease,
    WorkerReady,
    WorkerRow,
    WorkerStop,
)


class Cancelled(Exception):
    """Told to stop."""


def tensors(file: Path, about: dict[str, Any]) -> str:
    """A safetensors file without a tensor, its line in SHA256SUMS, its hash."""
    header = json.dumps({"__metadata__": {"thalweg": json.dumps(about)}}).encode()
    content = struct.pack("<Q", len(header)) + header
    digest = hashlib.sha256(content).hexdigest()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    with open(file.parent / "SHA256SUMS", "a") as sums:
        sums.write(f"{digest}  {file.name}\n")
    return digest


def row(i: int, pass_: int, n: int, width: int) -> dict[str, np.ndarray]:
    """The sums of a row, a function of where it is."""
    loss = np.random.default_rng((i, pass_)).random(width) * n
    return {"loss_sum": loss, "loss_sq_sum": loss * loss / n * 2, "correct": np.full(width, n // 2, dtype="<i4")}


class Worker:
    """One job at a time."""

    def __init__(self, endpoint: str, name: str, device: str) -> None:
        self.socket: zmq.Socket[bytes] = zmq.Context().socket(zmq.DEALER)
        self.socket.connect(endpoint)
        self.how: dict[str, Any] = {}
        self.leases: deque[WorkerLease] = deque()
        self.send(WorkerReady(worker=name, device=device, threads=1, versions={}, devices=(device,)))

    def send(self, message: Message, arrays: codec.Arrays | None = None) -> None:
        self.socket.send_multipart(codec.encode(message, arrays))

    def receive(self, wait_s: float) -> Any:
        if not self.socket.poll(int(1000 * wait_s)):
            return None
        return codec.decode(self.socket.recv_multipart(), ToWorker)[0]

    def obey(self, seconds: float = 0.0) -> None:
        """Let so much time pass, and see what was said meanwhile."""
        end = time.monotonic() + seconds
        while (message := self.receive(max(0.0, end - time.monotonic()))) is not None or time.monotonic() < end:
            if isinstance(message, WorkerLease):
                self.leases.append(message)
            if isinstance(message, WorkerCancel | WorkerStop) and not self.how.get("deaf"):
                raise Cancelled

    def serve(self) -> None:
        while not isinstance(message := self.receive(3600), WorkerStop):
            if isinstance(message, WorkerJob):
                try:
                    self.send(WorkerDone(job=message.job, result=self.do(message, Path(message.workspace))))
                except Cancelled:
                    self.send(WorkerDone(job=message.job, result=Done(cancelled=True)))

    def do(self, job: WorkerJob, folder: Path) -> Done:
        self.leases.clear()
        self.how = json.loads((folder / "fake.json").read_text()) if (folder / "fake.json").exists() else {}
        if self.how.get("deaf"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for frame in self.how.get("say", ()):
            self.socket.send(bytes.fromhex(frame))
        while "say" in self.how:
            self.obey(1.0)
        match job.spec:
            case TrainSpec():
                return self.train(job, job.spec, folder / "runs" / (job.run or ""))
            case PlaneSpec():
                self.send(WorkerBegin(job=job.job, execution=job.execution, total=1))
                about = {"recipe": msgspec.to_builtins(job.spec.recipe)} if job.spec.recipe else {}
                name = hashlib.sha256(msgspec.json.encode(job.spec)).hexdigest()
                meta = PlaneMeta(kind="random", hash=name)
                tensors(folder / "planes" / f"{name}.safetensors", {**about, "plane": msgspec.to_builtins(meta)})
                return Done(plane=name, plane_meta=meta)
            case SurfaceSpec():
                return self.surface(job, job.spec)
        raise AssertionError(job.spec)

    def train(self, job: WorkerJob, spec: TrainSpec, folder: Path) -> Done:
        self.send(WorkerBegin(job=job.job, execution=job.execution, total=spec.recipe.epochs))
        for epoch in range(spec.recipe.epochs + 1):
            if epoch:
                self.obey(self.how.get("epoch_s", 0.0))
                metrics = {"loss": 1.0 / epoch}
                self.send(WorkerEpoch(job=job.job, run=folder.name, epoch=epoch, step=epoch, metrics=metrics))
            file = folder / f"step-{epoch:08d}.safetensors"
            about = {"step": epoch, "epoch": float(epoch), "recipe": msgspec.to_builtins(spec.recipe)}
            digest = tensors(file, about)
            self.send(
                WorkerCheckpoint(
                    job=job.job, run=folder.name, step=epoch, epoch=float(epoch), file=str(file), sha256=digest
                )
            )
        return Done(run=folder.name)

    def surface(self, job: WorkerJob, spec: SurfaceSpec) -> Done:
        axes = {name: np.linspace(-1, 1, getattr(spec.grid, name).count) for name in ("alpha", "beta")}
        schedule = shares.shares(spec.limit or 1437, spec.passes)
        self.send(
            WorkerBegin(
                job=job.job, execution=job.execution, total=len(axes["beta"]) * len(schedule),
                meta=SurfaceMeta(
                    model="mlp", data="digits", samples=spec.limit or 1437, execution={"device": "cpu", "threads": 1}
                ),
                shares=tuple(schedule), metrics=(LOSS, ACCURACY),
            ),
            axes,
        )  # fmt: skip
        width, pause = len(axes["alpha"]), self.how.get("row_s", 0.0)
        same = row(0, 0, 256, width) if self.how.get("constant") else None
        while True:
            while not self.leases:
                self.socket.poll(1000)
                self.obey()
            lease = self.leases.popleft()
            if not lease.rows:
                return Done(deterministic=self.how.get("deterministic"))
            for i in lease.rows:
                died = Path(job.workspace) / f"died-{job.job}-{i}"
                if i in self.how.get("once", ()) and not died.exists():
                    died.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                if [i, lease.pass_] == self.how.get("die"):
                    os.kill(os.getpid(), signal.SIGKILL)
                n = schedule[lease.pass_].stop - schedule[lease.pass_].start
                self.obey(pause)
                self.send(WorkerRow(job=job.job, i=i, pass_=lease.pass_, n=n), same or row(i, lease.pass_, n, width))


def main() -> None:
    """Entry point, with the arguments of compute.worker."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--connect", required=True)
    parser.add_argument("--watch", required=True, type=int)
    parser.add_argument("--name", default="")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    watch(args.watch)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Worker(args.connect, args.name, args.device).serve()


if __name__ == "__main__":
    main()
