"""kill -9 of a daemon and its workers while they train, cut planes and measure; and what must hold after each.

Some kills come at a random instant; some are aimed, and the kill log tells what each one interrupted:

    row          a lease is out and its worker computes: rows were told, more are to come, the process is running
    commit       a thread of the daemon is inside a write or sync of state.db-wal (read from /proc)
    checkpoint   the temporary file of a checkpoint is there, and is still there when the process is dead

A commit and the writing of a small checkpoint take a fraction of a millisecond: for these two the process is stopped
first (SIGSTOP), and killed where it stands if it stands right, else let go on.
"""

from __future__ import annotations

import os
import platform
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from daemons import Daemon, Witness, done, frozen, info, pipeline, submit, until

from compute.tensorfile import TensorFile
from protocol.client import Client
from protocol.exchange import ClientError, new_id
from protocol.files import Surface
from protocol.requests import JobRetry

AIMS = ("row", "commit", "checkpoint")
ROWS = 48  # of the pipeline's surface: 24 in two passes
# pwrite64, fsync, fdatasync
SYSCALLS = {"x86_64": {18, 74, 75}, "aarch64": {68, 82, 83}}.get(platform.machine(), set())
ARRAYS = ("alpha", "beta", "loss", "accuracy", "sem", "n", "path")


@dataclass
class Kill:
    """One line of the kill log."""

    victim: str
    aim: str
    hit: dict[str, str] = field(default_factory=dict)  # what it interrupted -> how that is known
    lost: list[str] = field(default_factory=list)
    orphans: int = 0
    serving_s: float | None = None


@dataclass
class Outcome:
    """What came out of a pipeline: the surface's arrays, and the weights of the last checkpoint."""

    arrays: dict[str, bytes]
    weights: dict[str, bytes]

    def differs(self, other: Outcome) -> list[str]:
        """What is not bit-equal."""
        mine, theirs = {**self.arrays, **self.weights}, {**other.arrays, **other.weights}
        return sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))


def outcome(client: Client, folder: Path, jobs: list[str]) -> Outcome:
    """Of a pipeline that is done."""
    train, _, surface = (info(client, j).result for j in jobs)
    assert train is not None
    assert surface is not None
    sealed = Surface.load(folder / "surfaces" / f"{surface.surface}.npz")
    arrays = {name: np.ascontiguousarray(getattr(sealed, name)).tobytes() for name in ARRAYS}
    return Outcome(arrays, weights(folder, train.run or ""))


def weights(folder: Path, run: str) -> dict[str, bytes]:
    """The weights of a run's last checkpoint, by name."""
    last = TensorFile(sorted((folder / "runs" / run).glob("step-*.safetensors"))[-1])
    return {name: last.array(name).tobytes() for name in last.entries}


def undisturbed(folder: Path) -> Outcome:
    """What a pipeline gives when nothing happens to it."""
    with Daemon(folder) as daemon:
        client = daemon.client()
        jobs = submit(client, *pipeline())
        for job in jobs:
            done(client, job)
        return outcome(client, folder, jobs)


def inside_commit(pid: int) -> str | None:
    """The system call in which a thread of this process writes or syncs the database's log."""
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            number, *arguments = Path(f"/proc/{pid}/task/{task}/syscall").read_text().split()
            if number.isdecimal() and int(number) in SYSCALLS:
                target = os.readlink(f"/proc/{pid}/fd/{int(arguments[0], 16)}")
                if target.endswith("state.db-wal"):
                    return f"system call {number} on state.db-wal"
        except (OSError, ValueError, IndexError):
            continue
    return None


def computes(pid: int) -> bool:
    """Whether a process is on a processor, or wants to be."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "R"
    except OSError:
        return False


def half_written(folder: Path) -> list[Path]:
    """Temporary files of checkpoints."""
    return [f for f in folder.glob("runs/*/.*.tmp") if "safetensors" in f.name]


class Chaos:
    """Kills, over as many pipelines as it takes. `run` gives the log; `wrong` is what must be empty."""

    def __init__(self, folder: Path, seed: int, expected: Outcome) -> None:
        self.folder, self.expected = folder, expected
        self.chance = random.Random(seed)
        self.daemon = Daemon(folder)
        self.log: list[Kill] = []
        self.wrong: list[str] = []
        self.pipelines = 0
        self.given_up = 0
        self.jobs: list[str] = []
        self._since = 0.0  # the last kill: a row before it was another worker's

    def run(self, aims: list[str]) -> list[Kill]:
        """One kill for each aim (`row`, `commit`, `checkpoint` or `random`), then let everything end."""
        self.daemon.start()
        try:
            with Witness(self.folder) as witness:
                self.witness = witness
                for aim in aims:
                    self._kill(aim)
                self._look(final=True)
                self.wrong += witness.lost(self.client())
            self.wrong += [f"{k.victim} {k.aim}: {w}" for k in self.log for w in k.lost]
            self.wrong += [f"{k.victim} {k.aim}: {k.orphans} orphans" for k in self.log if k.orphans]
        finally:
            self.daemon.close()
        return self.log

    def client(self) -> Client:
        """A new connection."""
        return self.daemon.client()

    def hits(self) -> Counter[str]:
        """How many kills interrupted what."""
        return Counter(name for kill in self.log for name in kill.hit)

    # ------------------------------------------------------------ one kill

    def _kill(self, aim: str) -> None:
        fixed = {"commit": "daemon", "checkpoint": "worker"}
        kill = Kill(fixed.get(aim) or self.chance.choice(("daemon", "worker")), aim)
        moment = time.monotonic() + self.chance.uniform(0.0, 1.5)
        after_row = self.chance.uniform(0.002, 0.03)
        looked, workers = 0.0, list[int]()
        while True:
            now = time.monotonic()
            if now - looked > 0.25:
                self._look()
                workers, looked = self.daemon.workers(), time.monotonic()
            if aim == "random" and now >= moment:
                break
            if aim == "commit" and self._stopped_inside(self.daemon.pid, lambda: inside_commit(self.daemon.pid)):
                break
            if aim == "checkpoint" and workers and self._stopped_inside(workers[0], lambda: half_written(self.folder)):
                break
            if aim == "row" and workers and self._in_work(workers[0], after_row):
                break
        self._strike(kill, workers)
        self._since = time.monotonic()
        gone = workers if kill.victim == "daemon" else workers[:1]
        died = time.monotonic()
        if kill.victim == "daemon":
            self.daemon.start()
            kill.serving_s = self.daemon.serving_s
        while any(alive(w) for w in gone) and time.monotonic() < died + 2:
            time.sleep(0.005)
        kill.orphans = sum(alive(w) for w in gone)
        self.log.append(kill)
        with Client.connect(self.folder) as client:
            kill.lost = self.witness.lost(client)

    def _stopped_inside(self, pid: int, inside: Callable[[], object]) -> bool:
        """Stop the process where it seems to be inside; whether it stands inside then. Else it goes on."""
        if not inside() or not alive(pid):
            return False
        frozen(pid)
        if inside():
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    def _in_work(self, worker: int, after_s: float) -> str | None:
        """What is known of the row in work, if so long has passed since the one before."""
        found = self.witness.rows_of_unfinished()
        if found is None or not 0 < found[0] < ROWS - 3 or found[1] < self._since or not computes(worker):
            return None
        ago = time.monotonic() - found[1]
        return f"row {found[0] + 1} of {ROWS}, {1000 * ago:.0f} ms after the last" if after_s < ago < 0.3 else None

    def _strike(self, kill: Kill, workers: list[int]) -> None:
        """Kill, and write down what that interrupted."""
        if kill.victim == "worker" and workers and alive(workers[0]):
            row = self._in_work(workers[0], 0.0)
            os.killpg(workers[0], signal.SIGKILL)
            until(lambda: not alive(workers[0]), "its end", 5, 0.0005)
        else:
            kill.victim = "daemon"
            commit = inside_commit(self.daemon.pid)
            os.kill(self.daemon.pid, signal.SIGKILL)
            row = self._in_work(workers[0], 0.0) if workers else None
            if commit:
                kill.hit["commit"] = commit
            self.daemon.kill()
            until(lambda: not any(alive(w) for w in workers), "the end of its workers", 5, 0.0005)
        if row:
            kill.hit["row"] = row
        if left := half_written(self.folder):
            kill.hit["checkpoint"] = left[0].name

    def _look(self, final: bool = False) -> None:
        """Submit a pipeline where none is in work; compare one that is done. `final`: wait until it is, and stop."""
        with Client.connect(self.folder) as client:
            while self.jobs:
                try:
                    found = info(client, self.jobs[-1])
                except ClientError:
                    return
                if found.state == "done":
                    if different := outcome(client, self.folder, self.jobs).differs(self.expected):
                        self.wrong.append(f"pipeline {self.pipelines}: not bit-equal: {', '.join(different)}")
                    self.jobs = []
                elif found.state in ("failed", "cancelled"):
                    self._again(client)
                elif not final:
                    return
                else:
                    time.sleep(0.05)
            if not final:
                self.pipelines += 1
                self.jobs = submit(client, *pipeline())

    def _again(self, client: Client) -> None:
        """A job that three kills in a row hit before anything of it was stored is given up, as it should: retry it."""
        several = [info(client, j) for j in self.jobs]
        failed = [j for j in several if j.state != "done"]
        if "3 workers died on it" in (failed[0].error or ""):
            self.given_up += 1
            for job in failed:
                client.request(JobRetry(id=new_id(), job=job.job))
        else:
            self.wrong.append(f"pipeline {self.pipelines}: {failed[0].kind} {failed[0].state}: {failed[0].error}")
            self.jobs = []


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def plan(count: int, seed: int) -> list[str]:
    """So many kills: each aim twice in twenty, the rest at random instants, in a random order."""
    aimed = [aim for aim in AIMS for _ in range(max(1, count // 10))]
    aims = aimed + ["random"] * (count - len(aimed))
    random.Random(seed).shuffle(aims)
    return aims


def table(chaos: Chaos, took_s: float) -> str:
    """The kill log in figures."""
    victims = Counter(k.victim for k in chaos.log)
    serving = sorted(k.serving_s for k in chaos.log if k.serving_s is not None)
    hits = chaos.hits()
    lines = [
        f"kills                     {len(chaos.log)}: daemon {victims['daemon']}, worker {victims['worker']}",
        f"took                      {took_s:.0f} s",
        f"over pipelines            {chaos.pipelines}",
        f"given up, tried again     {chaos.given_up}",
        *(f"mid-{name:21} {hits[name]}" for name in AIMS),
        f"committed events lost     {sum(len(k.lost) for k in chaos.log)}",
        f"orphans after 2 s         {sum(k.orphans for k in chaos.log)}",
    ]
    if serving:
        half = serving[len(serving) // 2]
        lines.append(f"serving again             median {half:.2f} s, worst {serving[-1]:.2f} s")
    lines.append(f"not bit-equal, or failed  {sum(w.startswith('pipeline') for w in chaos.wrong)}")
    return "\n".join(lines)
