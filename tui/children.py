"""Child processes of a command: how they are started, how their end is seen, and that none outlives its parent.

Every child runs in a session of its own, so that Ctrl-C reaches the command alone and the whole child group can be
ended. `-P` keeps the caller's folder off the child's import path: a folder with a `random.py` in it is no danger.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from protocol.errors import InputError

GRACE_S = 3.0  # between asking a child to end, SIGTERM and SIGKILL


class ChildError(Exception):
    """A child process died or broke its word: one sentence, with the log's path where there is one. Exit code 1."""


def need(extra: str, *modules: str) -> None:
    """Raise InputError, with the line to type, where a module of an extra is not installed. Imports none of them."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"{missing[0]} is not installed here, and this command needs it: pip install 'thalweg[{extra}]'",
            code="unavailable",
        )


def python(module: str) -> list[str]:
    """The command line that runs a module of this project."""
    return [sys.executable, "-P", "-m", module]


def end(child: subprocess.Popen[Any], grace_s: float = GRACE_S) -> None:
    """Wait for a child that was asked to end; then SIGTERM, then SIGKILL to its process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            child.wait(grace_s)
            return
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
    child.wait()


def how_it_ended(code: int) -> str:
    """An exit status in words: `with exit code 1`, `killed by SIGKILL`."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"killed by {name}" + (", as the system does when memory runs out" if name == "SIGKILL" else "")


class JsonChild:
    """A child that answers one JSON line on stdout to each JSON line on stdin."""

    def __init__(self, command: Sequence[str], what: str, *, undoes: bool = False) -> None:
        """`undoes`: it gives up, and takes back, what it was doing when its stdin is closed; others are killed."""
        self._what, self._undoes = what, undoes
        # Not a pipe: one that nobody empties would block the child when it is full.
        self._said: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - __exit__
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
            text=True,
            encoding="utf-8",
        )

    def __enter__(self) -> JsonChild:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: TracebackType | BaseException | None) -> None:
        if kind is not None and not self._undoes:
            self._child.kill()
        for stream in (self._child.stdin, self._child.stdout, self._said):
            with suppress(OSError):  # what was still to be written to a child that is gone
                _stream(stream).close()
        end(self._child)

    def ask(self, request: bytes, tell: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
        """Send one request and wait for its line of answer; lines of progress before it go to `tell`."""
        try:
            _stream(self._child.stdin).write(request.decode() + "\n")
            _stream(self._child.stdin).flush()
            line = _stream(self._child.stdout).readline()
            while tell is not None and line and (told := self._read(line)).get("t") == "progress":
                tell(told)
                line = _stream(self._child.stdout).readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise self._dead()
        return self._read(line)

    def _dead(self) -> ChildError:
        code = self._child.wait()
        self._said.seek(0)
        last = self._said.read().strip().splitlines()[-1:]
        why = f": {last[0]}" if last else ""
        return ChildError(f"{self._what} ended {how_it_ended(code)}{why}")

    def _read(self, line: str) -> dict[str, Any]:
        try:
            answer = json.loads(line)
        except ValueError as e:
            raise ChildError(f"{self._what} answered with something that is not JSON: {line.strip()[:80]}") from e
        if not isinstance(answer, dict):
            raise ChildError(f"{self._what} answered with {type(answer).__name__}, expected an object")
        return answer

    def answers(self) -> list[dict[str, Any]]:
        """Everything that a child says which is asked nothing more, until it ends."""
        _stream(self._child.stdin).close()
        out = []
        for line in _stream(self._child.stdout):
            out.append(self._read(line))
        if self._child.wait():
            raise self._dead()
        return out


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def fresh_log(folder: Path, stem: str) -> Path:
    """A new, empty log file `stem-N.log` in `folder`."""
    for number in range(1, 1_000_000):
        file = folder / f"{stem}-{number:04d}.log"
        try:
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            return file
        except FileExistsError:
            continue
        except OSError as e:
            raise InputError(f"{file}: cannot write there ({e.strerror}): choose another --workspace") from e
    raise InputError(f"{folder}: too many logs there: delete some")
