"""The daemon's worker processes: launched when there is work, found by name, ended when they do not obey or are idle.

Each has a place (places.py): a device, for what needs a model, or the light one for analyses, exports and imports.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from compute.jobs import Lane
from compute.launchers import Handle, Launcher
from compute.places import UNKNOWN, Place, of_devices

PATIENCE_S = 10.0  # between asking a worker to stop, SIGTERM and SIGKILL
KEEP_IDLE_S: dict[Lane, float] = {"device": 900.0, "light": 60.0}  # then its memory is given back
START_S = 180.0  # importing torch on a cold disk takes a while; a worker that is not ready by then is ended


@dataclass(eq=False)
class Worker:
    """One process and what it is doing."""

    name: str
    place: Place
    handle: Handle
    log: Path
    since: float  # of its state, on a monotonic clock
    peer: bytes | None = None  # its address on `wrk`, once it has spoken
    device: str = ""
    job: str | None = None
    pid: int | None = None
    deadline: float | None = None  # by which it has to have let go of its job
    signals: list[int] = field(default_factory=list)  # sent since it was asked

    @property
    def state(self) -> str:
        """starting, idle or busy."""
        return "starting" if self.peer is None else "busy" if self.job else "idle"


class Crew:
    """The workers that live."""

    def __init__(self, launcher: Launcher, endpoint: str, logs: Path, devices: Sequence[str] | None = None) -> None:
        self._launcher, self._endpoint, self._logs = launcher, endpoint, logs
        self.places = UNKNOWN if devices is None else of_devices(devices)
        self._numbers = itertools.count(1)
        self.workers: dict[str, Worker] = {}

    def launch(self, place: Place, now: float) -> Worker:
        """Start a worker for this place."""
        name = f"{place.lane}-{next(self._numbers)}"
        log = self._logs / f"worker-{name}.log"
        handle = self._launcher.launch(
            name=name,
            endpoint=self._endpoint,
            log=str(log),
            arguments=("--light",) if place.lane == "light" else ("--device", place.kind) if place.kind else (),
            environment=environment(place, self.places),
        )
        worker = Worker(name, place, handle, log, since=now, pid=handle.describe().get("pid"))
        self.workers[name] = worker
        return worker

    def of_peer(self, peer: bytes) -> Worker | None:
        """Who speaks."""
        return next((w for w in self.workers.values() if w.peer == peer), None)

    def of_job(self, job: str) -> Worker | None:
        """Who has this job."""
        return next((w for w in self.workers.values() if w.job == job), None)

    def at(self, place: Place) -> Worker | None:
        """Who works there."""
        return next((w for w in self.workers.values() if w.place == place), None)

    def ready(self, worker: Worker, peer: bytes, device: str, devices: Sequence[str], now: float) -> None:
        """It is up, on this device; the first one tells which there are."""
        worker.peer, worker.since = peer, now
        if worker.place.lane == "device" and not worker.place.kind:
            self.places = of_devices(devices or (device,))
            worker.place = next((p for p in self.places if p.kind == device), self.places[0])
        worker.device = worker.place.device or device

    def expect(self, worker: Worker, now: float) -> None:
        """It was asked to let go of its job: `PATIENCE_S`, then SIGTERM, then SIGKILL."""
        if worker.deadline is None:
            worker.deadline, worker.signals = now + PATIENCE_S, []

    def press(self, now: float) -> None:
        """Signal those that did not let go in time, and those that never became ready."""
        for worker in self.workers.values():
            if worker.peer is None and now - worker.since > START_S and not worker.signals:
                worker.signals.append(signal.SIGKILL)
                worker.handle.signal(signal.SIGKILL)
            if worker.deadline is not None and now >= worker.deadline:
                number = signal.SIGKILL if worker.signals else signal.SIGTERM
                worker.signals.append(number)
                worker.deadline = now + PATIENCE_S
                worker.handle.signal(number)

    def idle_too_long(self, now: float) -> list[Worker]:
        """Those whose memory is better given back."""
        return [w for w in self.workers.values() if w.state == "idle" and now - w.since > KEEP_IDLE_S[w.place.lane]]

    def ended(self) -> Iterator[tuple[Worker, int]]:
        """Those that have ended since, with their exit status; they are forgotten."""
        for worker in list(self.workers.values()):
            code = worker.handle.poll()
            if code is not None:
                worker.handle.close()
                del self.workers[worker.name]
                yield worker, code


def environment(place: Place, places: Iterable[Place]) -> dict[str, str]:
    """What a worker's process has to see: of several GPUs its own, of the cores its share."""
    _, _, index = place.device.partition(":")
    if place.kind == "cuda" and index:
        seen = [d for d in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if d]
        return {"CUDA_VISIBLE_DEVICES": seen[int(index)] if int(index) < len(seen) else index if not seen else "-1"}
    share = sum(p.kind == "cpu" for p in places)
    if place.kind == "cpu" and share > 1 and "OMP_NUM_THREADS" not in os.environ:
        return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // share))}
    return {}


def how(code: int) -> str:
    """An exit status in words."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"by {name}" + (", as the system does when memory runs out" if name == "SIGKILL" else "")
