"""A window as a process of its own, without a display unless one is given, and a client of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from fake_daemon import FakeDaemon
from numpy.typing import NDArray

from protocol import codec
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.files import SurfaceMeta
from protocol.messages import Event, SurfaceBegin, SurfaceRow
from protocol.requests import Nothing, Snapshot, SnapshotReply, SurfaceGet, ThingReply, WindowAnnounce, WindowLeave
from protocol.steering import WindowClient
from protocol.windows import ViewGet, ViewReply

PATIENCE_S = 30.0
T = TypeVar("T")


def until(found: Callable[[], T | None], what: str = "it", patience_s: float = PATIENCE_S, every_s: float = 0.02) -> T:
    """Look until there is something."""
    deadline = time.monotonic() + patience_s
    while True:
        value = found()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come within {patience_s:g} s"
        time.sleep(every_s)


def own_memory(pid: int) -> int:
    """Resident bytes of a process that are neither files nor shared."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


class Window:
    """`with Window(folder, FILE, "--workspace", ...) as window:`; killed at the end if it still lives."""

    def __init__(self, folder: Path, *words: object, display: str | None = None) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
        if display is not None:
            environment["DISPLAY"] = display
        self.pictures = folder / "pictures"
        line = [sys.executable, "-m", "renderer.window", "--pictures", str(self.pictures), *map(str, words)]
        self.child = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.child.stdout is not None
        first = self.child.stdout.readline()
        if not first:
            assert self.child.stderr is not None
            raise AssertionError(self.child.stderr.read())
        self.ready: dict[str, Any] = json.loads(first)
        self.clients: list[WindowClient] = []

    @property
    def id(self) -> str:
        return str(self.ready["window"])

    @property
    def endpoint(self) -> str:
        return str(self.ready["endpoint"])

    def client(self) -> WindowClient:
        """A client, closed with the window."""
        self.clients.append(WindowClient.open(self.endpoint))
        return self.clients[-1]

    def state(self) -> ViewReply:
        reply: ViewReply = self.clients[0].request(ViewGet(id=new_id()))
        return reply

    def cpu_s(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def __enter__(self) -> Window:
        self.client()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for client in self.clients:
            client.close(linger_ms=0)
        if self.child.poll() is None:
            self.child.terminate()
        try:
            _, said = self.child.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.communicate()
            raise
        assert kind is not None or "Traceback" not in said, said


# ---------------------------------------------------------------- a daemon with surfaces


def with_surfaces(fake: FakeDaemon) -> FakeDaemon:
    """A fake daemon that knows the surfaces whose events it keeps, and windows."""

    def record(request: SurfaceGet, _: Any) -> ThingReply:
        if f"surface/{request.surface}/" not in fake.topics:
            raise InputError(f"surface: there is no {request.surface}", code="not_found")
        return ThingReply(item={"id": request.surface})

    def snapshot(request: Snapshot, _: Any) -> Any:
        kept = fake.topics.get(request.topic)
        if kept is None:
            raise InputError(f"surface: there is no {request.topic}", code="not_found")
        names = ("loss", "sem", "accuracy")
        arrays: dict[str, Any] = {}
        meta: dict[str, Any] = {}
        for frames in kept:
            event, columns = codec.decode(frames, Event)
            if isinstance(event, SurfaceBegin):
                meta = msgspec.to_builtins(event.meta)
                shape = (len(columns["beta"]), len(columns["alpha"]))
                arrays = {**columns, "n": np.zeros(shape, "<i8")}
                arrays |= {name: np.full(shape, np.nan, "<f4") for name in names}
            elif isinstance(event, SurfaceRow):
                arrays["n"][event.i] = event.n
                for name in names:
                    arrays[name][event.i] = columns[name]
        return SnapshotReply(topic=request.topic, seq=len(kept), state={"meta": meta}), arrays

    fake.behaviour |= {SurfaceGet: record, Snapshot: snapshot}
    fake.behaviour |= {WindowAnnounce: lambda *_: Nothing(), WindowLeave: lambda *_: Nothing()}
    return fake


def begin(daemon: FakeDaemon, surface: str, width: int, height: int) -> None:
    """A surface on [-1, 1] squared, nothing of it measured."""
    axes = {"alpha": np.linspace(-1, 1, width), "beta": np.linspace(-1, 1, height)}
    event = SurfaceBegin(surface=surface, meta=SurfaceMeta(id=surface, model="net", data="digits"), passes=1)
    daemon.publish(f"surface/{surface}/", event, axes)


def row(daemon: FakeDaemon, surface: str, i: int, loss: NDArray[np.float32]) -> None:
    """Row i of it."""
    event = SurfaceRow(surface=surface, i=i, pass_=0, n=7)
    daemon.publish(f"surface/{surface}/", event, {"loss": loss, "sem": loss, "accuracy": loss})


@contextmanager
def display(width: int = 1400, height: int = 900) -> Iterator[str]:
    """An Xvfb of its own."""
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", f"{width}x{height}x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=(writer,), stderr=subprocess.DEVNULL) as server:
        os.close(writer)
        try:
            with os.fdopen(reader) as told:
                yield f":{told.readline().strip()}"
        finally:
            server.terminate()
