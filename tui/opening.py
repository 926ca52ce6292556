"""A window as a process: `python -m renderer.window`, started so that it outlives its caller, and heard when it is
ready. On a Wayland whose window library crashes it is tried once more on X11."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from protocol.errors import InputError
from tui import children
from tui.children import ChildError

READY_S = 60.0  # a first start on a busy machine, with shaders to compile
TICK_S = 0.5
X11 = "PYGLFW_LIBRARY_VARIANT"
CRASHED = frozenset({-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGILL})


@dataclass(frozen=True, eq=False)
class Opened:
    """A window that is there. `screen`: whether a person sees it."""

    window: str
    endpoint: str
    screen: bool
    child: subprocess.Popen[str]

    def wait(self, meanwhile: Callable[[], None] | None = None) -> None:
        """Until it is closed; Ctrl-C closes it. `meanwhile` is called now and then. Raises ChildError where it
        breaks."""
        try:
            while (code := self._ended(None if meanwhile is None else TICK_S)) is None:
                if meanwhile is not None:
                    meanwhile()
        except BaseException:
            self.child.terminate()
            self.child.wait()
            raise
        if code != 0:
            raise ChildError(f"the window ended {children.how_it_ended(code)}")

    def _ended(self, timeout_s: float | None) -> int | None:
        try:
            return self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None


def has_display() -> bool:
    """Whether a window could be seen here."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def command(
    files: Sequence[str | Path] = (),
    *,
    surfaces: Sequence[str] = (),
    picture: str | Path | None = None,
    workspace: str | Path | None = None,
    daemon: tuple[str, str] | None = None,
    server_key: str | None = None,
    key: str | Path | None = None,
    cmd: str | None = None,
    announce: str | None = None,
    of: str | None = None,
    headless: bool = False,
    size: str | None = None,
    scale: float | None = None,
    preset: str | None = None,
    view: Sequence[str] = (),
    pictures: str | Path | None = None,
) -> list[str]:
    """The command line of a window; the flags are those of renderer/window.py. Raises InputError where the libraries
    that it needs are not installed."""
    children.need("window", "moderngl", "glfw", "PIL")
    line = [*children.python("renderer.window"), "--log"]
    for flag, value in (
        ("--from", picture), ("--workspace", workspace), ("--server-key", server_key), ("--key", key), ("--cmd", cmd),
        ("--announce", announce), ("--of", of), ("--size", size), ("--scale", scale), ("--preset", preset),
        ("--pictures", pictures),
    ):  # fmt: skip
        if value is not None:
            line += [flag, str(value)]
    for surface in surfaces:
        line += ["--surface", surface]
    for change in view:
        line += ["--view", change]
    if daemon is not None:
        line += ["--daemon", *daemon]
    if headless:
        line.append("--headless")
    return [*line, "--", *map(str, files)]


def begin(line: Sequence[str], environment: dict[str, str] | None = None) -> Opened:
    """Start a window and wait until it is ready. Raises InputError with its own sentence where it refuses, ChildError
    where it breaks."""
    child, ready, said = _begin(line, environment)
    if ready is None and child.returncode in CRASHED and os.environ.get("WAYLAND_DISPLAY"):
        child, ready, said = _begin(line, (environment or {}) | {X11: "x11"})
    if ready is None:
        if child.returncode in (1, 2) and said:
            raise InputError(said, code="bad_request" if child.returncode == 2 else "unavailable")
        raise ChildError(f"the window ended {children.how_it_ended(child.returncode)}" + (f": {said}" if said else ""))
    return Opened(str(ready["window"]), str(ready["endpoint"]), bool(ready["screen"]), child)


def _begin(
    line: Sequence[str], environment: dict[str, str] | None
) -> tuple[subprocess.Popen[str], dict[str, Any] | None, str]:
    """The process; its first line, or None where it ended before and said something else."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told:
        child = subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=told,
            start_new_session=True,
            text=True,
            encoding="utf-8",
            env={**os.environ, **(environment or {})},
        )
        late = threading.Timer(READY_S, child.kill)
        late.daemon = True
        late.start()
        first = _line(child.stdout)
        late.cancel()
        if first is not None:
            threading.Thread(target=child.wait, daemon=True).start()  # no zombie of it in a program that goes on
            return child, first, ""
        child.wait()
        told.seek(0)
        words = (told.read().strip().splitlines() or [""])[-1].removeprefix("thalweg: ")
        return child, None, words


def _line(stream: IO[str] | None) -> dict[str, Any] | None:
    assert stream is not None
    with stream:
        try:
            found = json.loads(stream.readline())
        except ValueError:
            return None
    return found if isinstance(found, dict) and found.get("t") == "ready" else None
