"""A daemon as a process of its own: started, killed, stopped, and what it leaves behind.

`Daemon(workspace)` runs `python -m compute.daemon`, or, with `odd`, tests/odd_daemon.py: the same daemon with parts
replaced (a worker that needs no torch, a short patience, a clock that jumps).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import msgpack
import zmq

from protocol import codec, events
from protocol import requests as r
from protocol.client import Client
from protocol.connection import Connection, read_connection
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.messages import (
    Event,
    Execution,
    PlaneSpec,
    Recipe,
    Spec,
    SurfaceRow,
    SurfaceSpec,
    TrainSpec,
)
from protocol.requests import JobInfo, Submitted

ONE = Execution(device="cpu", threads=1, batch_size=256, channels_last=False)
RECIPE = Recipe(model="mlp", epochs=6, batch_size=128, lr=0.05, checkpoint_every=4)
PATIENCE_S = 120.0
ODD = Path(__file__).with_name("odd_daemon.py")
T = TypeVar("T")


@contextmanager
def workspace() -> Iterator[Path]:
    """A folder with a short path, so that the sockets lie in it; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="thw-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def until(found: Callable[[], T | None], what: str = "it", patience_s: float = PATIENCE_S, every_s: float = 0.01) -> T:
    """Look until there is something; for what sends no event."""
    deadline = time.monotonic() + patience_s
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come within {patience_s:g} s"
        time.sleep(every_s)


class Daemon:
    """One daemon process of a workspace; `with` kills it at the end, its workers go with it."""

    def __init__(self, folder: Path, *arguments: str, odd: dict[str, Any] | None = None) -> None:
        self.folder, self.arguments, self.odd = folder, arguments, odd
        self.child: subprocess.Popen[bytes] | None = None
        self.serving_s = float("nan")  # from the start of the process to the first answered ping
        self._clients: list[Client] = []

    def command(self) -> list[str]:
        """What is run."""
        program = ["-m", "compute.daemon"] if self.odd is None else [str(ODD), json.dumps(self.odd)]
        return [sys.executable, *program, "--workspace", str(self.folder), *self.arguments]

    def start(self) -> Daemon:
        """Start it and wait for its first answer."""
        began = time.monotonic()
        with open(self.folder.parent / f"{self.folder.name}.out", "ab") as out:
            self.child = subprocess.Popen(self.command(), stdout=out, stderr=out, start_new_session=True)
        child = self.child

        def there() -> Connection | None:
            assert child.poll() is None, self.said()
            with suppress(InputError):
                found = read_connection(self.folder)
                return found if found.pid == child.pid else None
            return None

        until(there, "daemon.json", 30, 0.002)
        with Client.connect(self.folder) as client:
            client.request(r.Ping(id=new_id()))
            self.serving_s = time.monotonic() - began
        return self

    def run(self) -> subprocess.CompletedProcess[str]:
        """Start it where it is expected not to serve: how it ended, and what it said."""
        return subprocess.run(self.command(), capture_output=True, text=True, timeout=30, check=False)

    def said(self) -> str:
        """What it has printed."""
        return (self.folder.parent / f"{self.folder.name}.out").read_text()

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self.child is not None
        return self.child.pid

    def client(self, **more: Any) -> Client:
        """A client that is closed with the daemon."""
        self._clients.append(Client.connect(self.folder, **more))
        return self._clients[-1]

    def kill(self) -> None:
        """kill -9."""
        assert self.child is not None
        self.child.kill()
        self.child.wait()

    def stop(self) -> float:
        """SIGTERM; seconds until it ended."""
        assert self.child is not None
        began = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        assert self.child.wait(15) == 0, self.said()
        return time.monotonic() - began

    def memory(self) -> int:
        """Resident bytes that are its own."""
        return memory(self.pid)

    def workers(self) -> list[int]:
        """The worker processes of this workspace, whoever started them."""
        return workers(self.folder)

    def worker(self, patience_s: float = 30.0) -> int:
        """The pid of a worker, waited for."""
        return until(self.workers, "a worker", patience_s)[0]

    def close(self) -> None:
        """Kill it if it lives, and look for orphans."""
        for client in self._clients:
            client.close(linger_ms=0)
        if self.child is not None and self.child.poll() is None:
            self.kill()
        (self.folder.parent / f"{self.folder.name}.out").unlink(missing_ok=True)

    def __enter__(self) -> Daemon:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


def memory(pid: int) -> int:
    """Resident bytes of a process that are not files."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


def processes() -> Iterator[tuple[int, list[str]]]:
    """(pid, command line) of every process that lives."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                line = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    yield int(entry.name), line


def workers(folder: Path) -> list[int]:
    """Worker processes that connect to this workspace."""
    endpoint = f"ipc://{folder / 'wrk'}"
    return [pid for pid, line in processes() if "--connect" in line and endpoint in line]


def orphans(folder: Path, within_s: float = 2.0) -> list[int]:
    """Workers of this workspace that live on although their daemon is gone, for longer than this."""
    deadline = time.monotonic() + within_s
    while (left := workers(folder)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return left


# ---------------------------------------------------------------- jobs


def submitted(spec: Spec, **more: Any) -> Submitted:
    """A job with the small fixed execution."""
    return Submitted(**{"job": new_id(), "spec": spec, "execution": ONE, **more})


def submit(client: Client, *jobs: Spec | Submitted, **more: Any) -> list[str]:
    """Submit in one transaction; the jobs' ids."""
    several = tuple(j if isinstance(j, Submitted) else submitted(j, **more) for j in jobs)
    client.request(r.JobSubmit(id=new_id(), jobs=several))
    return [s.job for s in several]


def pipeline(seed: int = 0, recipe: Recipe = RECIPE, **more: Any) -> tuple[Submitted, Submitted, Submitted]:
    """Train, cut a random plane, measure 24 rows in two passes: about 3 s on one core."""
    from protocol.grid import AxisSpec, GridSpec

    train, plane = new_id(), new_id()
    grid = GridSpec(alpha=AxisSpec(count=9), beta=AxisSpec(count=24))
    surface = SurfaceSpec(plane=f"job:{plane}", limit=768, passes="grow", grid=grid, seed=seed)
    return (
        submitted(TrainSpec(recipe=recipe), job=train, on_conflict="new", **more),
        submitted(PlaneSpec(origin=f"job:{train}@last", options={"seed": seed}), job=plane, on_conflict="new", **more),
        submitted(surface, on_conflict="new", **more),
    )


def made_of(client: Client, recipe: Recipe = RECIPE) -> tuple[str, str]:
    """A run of a recipe and a random plane through its last checkpoint."""
    train = new_id()
    several = (submitted(TrainSpec(recipe=recipe), job=train), submitted(PlaneSpec(origin=f"job:{train}")))
    train, plane = submit(client, *several)
    found, run = done(client, plane).result, done(client, train).result
    assert found is not None
    assert run is not None
    return run.run or "", found.plane or ""


def info(client: Client, job: str) -> JobInfo:
    """A job as it is now."""
    found: JobInfo = client.request(r.JobGet(id=new_id(), job=job)).job
    return found


def wait(client: Client, job: str, *states: str, patience_s: float = PATIENCE_S) -> JobInfo:
    """The job once it is in one of these states (none: ended)."""
    wanted = states or ("done", "failed", "cancelled")

    def there() -> JobInfo | None:
        found = info(client, job)
        return found if found.state in wanted else None

    return until(there, f"job {' or '.join(wanted)}", patience_s, 0.02)


def done(client: Client, job: str) -> JobInfo:
    """The job once it is done; its error where it ended otherwise."""
    found = wait(client, job)
    assert found.state == "done", found.error
    return found


# ---------------------------------------------------------------- an independent subscriber


class Witness:
    """A bare SUB socket in a thread: what was told. What it has received is committed, by definition."""

    def __init__(self, folder: Path, prefixes: tuple[str, ...] = ("surface/", "run/", "plane/", "job/")) -> None:
        self.endpoint = f"ipc://{folder / 'evt'}"
        self.told: dict[str, dict[int, bytes]] = {}  # topic -> seq -> header
        self.twice: list[tuple[str, int]] = []  # told again, otherwise
        self.rows: dict[str, tuple[int, float]] = {}  # surface -> rows told, when the last one came
        self.ended: set[str] = set()  # surfaces that are sealed
        self.beats = 0
        self.lock = threading.Lock()
        self._prefixes = prefixes
        self._stop = threading.Event()
        self._subscribed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._subscribed.wait(10)

    def _run(self) -> None:
        context: zmq.Context[Any] = zmq.Context()
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, 5)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 20)
        for prefix in (*self._prefixes, "hb/"):
            socket.setsockopt(zmq.SUBSCRIBE, prefix.encode())
        socket.connect(self.endpoint)
        while not self._stop.is_set():
            if not socket.poll(20):
                continue
            topic, *frames = socket.recv_multipart()
            with self.lock:
                self._take(topic.decode(), frames)
        socket.close(0)
        context.term()

    def _take(self, topic: str, frames: list[bytes]) -> None:
        if topic == "hb/":
            self.beats += 1
            self._subscribed.set()
            return
        event = codec.decode(frames, Event)[0]
        if event.seq is None:
            return
        known = self.told.setdefault(topic, {})
        if known.setdefault(event.seq, frames[0]) != frames[0]:
            self.twice.append((topic, event.seq))
        if isinstance(event, SurfaceRow):
            self.rows[event.surface] = (self.rows.get(event.surface, (0, 0.0))[0] + 1, time.monotonic())
        elif type(event).__name__ == "SurfaceDone":
            self.ended.add(topic)

    def rows_of_unfinished(self) -> tuple[int, float] | None:
        """(rows told, when the last came) of the surface in work."""
        with self.lock:  # the newest: the end of an earlier one is not told where a kill came before it was
            return max(
                (v for k, v in self.rows.items() if f"surface/{k}/" not in self.ended), key=lambda v: v[1], default=None
            )

    def lost(self, client: Client) -> list[str]:
        """What was told and is not there any more, or is there otherwise."""
        with self.lock:
            told = {topic: dict(known) for topic, known in self.told.items()}
        wrong = [f"{topic} {seq}: told twice, differently" for topic, seq in self.twice]
        for topic, known in told.items():
            seq, there = 0, dict[int, bytes]()
            while True:
                reply, arrays = client.call(r.EventsSince(id=new_id(), topic=topic, seq=seq))
                if reply.gone:
                    break
                packed = arrays["events"].tobytes() if "events" in arrays else b""
                stream = msgpack.Unpacker(raw=False)
                stream.feed(packed)
                for header, _ in stream:
                    there[msgpack.unpackb(header)["seq"]] = header
                if reply.next is None:
                    break
                seq = reply.next
            if reply.head < max(known):
                wrong.append(f"{topic}: head {reply.head}, told up to {max(known)}")
            for seq, header in known.items() if not reply.gone else ():
                if there.get(seq) != header:
                    wrong.append(f"{topic} {seq}: {differs(header, there.get(seq))}")
        return wrong

    def close(self) -> None:
        """Stop listening."""
        self._stop.set()
        self._thread.join()

    def __enter__(self) -> Witness:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def differs(told: bytes, stored: bytes | None) -> str:
    """What became of an event that was told."""
    return "gone" if stored is None else f"told {msgpack.unpackb(told)}, stored {msgpack.unpackb(stored)}"


def told(client: Client, topic: str) -> list[Any]:
    """Every stored event of a topic."""
    out: list[Any] = []
    seq: int | None = 0
    while seq is not None:
        reply, arrays = client.call(r.EventsSince(id=new_id(), topic=topic, seq=seq))
        if "events" in arrays:
            out += [event for event, _ in events.unpack(arrays["events"].tobytes())]
        seq = reply.next
    return out


def frozen(pid: int) -> None:
    """SIGSTOP, and wait until each of its threads has stopped."""
    os.kill(pid, signal.SIGSTOP)

    def stopped() -> bool:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return all((t / "stat").read_text().rpartition(")")[2].split()[0] == "T" for t in tasks)

    until(stopped, "the stop", 5, 0.0005)
