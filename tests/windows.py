"""A window as a process of its own, without a display unless one is given, and a client of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from protocol.exchange import new_id
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
