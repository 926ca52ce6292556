"""The real executable in a workspace of its own, whose daemon does not outlive the test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from protocol.client import Client

THALWEG = Path(sys.executable).with_name("thalweg")
PATIENCE_S = 120.0


class Place:
    """A workspace, and commands that are run in it."""

    def __init__(self, base: Path) -> None:
        self.base, self.workspace = base, base / "w"
        displays = ("DISPLAY", "WAYLAND_DISPLAY")  # the demo would open a window on it
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("THALWEG_") and k not in displays}
        self.env |= {"THALWEG_WORKSPACE": str(self.workspace), "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "80"}
        self._open: list[subprocess.Popen[str]] = []

    def run(self, *words: object, code: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, and hold its exit code to `code` (None: whatever it is)."""
        done = subprocess.run(
            [THALWEG, *map(str, words)],
            cwd=self.base,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert code is None or done.returncode == code, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr + done.stdout
        return done

    def json(self, *words: object) -> list[dict[str, Any]]:
        """The lines that a command prints with --json."""
        return [json.loads(line) for line in self.run(*words, "--json").stdout.splitlines()]

    def start(self, *words: object, **env: str) -> subprocess.Popen[str]:
        """Begin a command."""
        child = subprocess.Popen(
            [THALWEG, *map(str, words)],
            cwd=self.base,
            env=self.env | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._open.append(child)
        return child

    def daemon_pid(self) -> int:
        """The process of the daemon."""
        return int(json.loads((self.workspace / "daemon.json").read_text())["pid"])

    def client(self) -> Client:
        """A client of the daemon."""
        return Client.connect(self.workspace)

    def job(self, job: str = "last") -> dict[str, Any]:
        """A job as it is now."""
        return self.json("jobs", "show", job)[0]

    def close(self) -> None:
        """End what was begun, and the daemon with its workers."""
        for child in self._open:
            if child.poll() is None:
                child.kill()
            child.communicate()
        with suppress(OSError, ValueError, KeyError):
            pid = self.daemon_pid()
            if b"compute.daemon" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                return
            workers = children(pid)
            os.kill(pid, signal.SIGKILL)
            gone_within([pid, *workers], 5)


@contextmanager
def place() -> Iterator[Place]:
    """A workspace in a folder with a short path; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="thw-", ignore_cleanup_errors=True) as folder:
        made = Place(Path(folder))
        try:
            yield made
        finally:
            made.close()


def until(found: Callable[[], Any], what: str = "it", patience_s: float = PATIENCE_S) -> Any:
    """Look until there is something."""
    deadline = time.monotonic() + patience_s
    while not (value := found()):
        assert time.monotonic() < deadline, f"{what} did not come within {patience_s:g} s"
        time.sleep(0.05)
    return value


def line_with(stream: IO[str] | None, words: str) -> str:
    """The next line that has the words in it."""
    assert stream is not None
    seen = []
    for line in stream:
        seen.append(line)
        if words in line:
            return line
    raise AssertionError(f"'{words}' did not come; before its end: {seen}")


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    out = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                out.append(int(folder.name))
    return out


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone_within(pids: list[int], seconds: float) -> bool:
    """Whether all of them end within this time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(map(alive, pids)):
        time.sleep(0.05)
    return not any(map(alive, pids))
