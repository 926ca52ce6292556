"""The daemon of a workspace as a process: started so that it outlives its caller, found where it runs, seen to end.

Whether one runs is for the daemon's own lock to judge: it is simply started, and one that runs already says so.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from protocol.client import Client
from protocol.connection import Connection, check_reachable, read_connection
from protocol.errors import InputError
from tui import children
from tui.workspace import folders

PATIENCE_S = 60.0  # a start that has to check a large database after a crash
ANSWER_S = 5.0
LOG = "daemon.log"
RUNS_ALREADY = "a daemon runs on this workspace"


def command(root: Path, data: Path | None, tcp: int | None = None, listen: str | None = None) -> list[str]:
    """The command line of the daemon's process."""
    children.need("compute", "torch", "torchvision", "sklearn", "scipy")
    line = [*children.python("compute.daemon"), "--workspace", str(root)]
    for flag, value in (("--data", data), ("--tcp", tcp), ("--listen", listen)):
        if value is not None:
            line += [flag, str(value)]
    return line


def found(root: Path) -> Connection | None:
    """How to reach the daemon, as its connection file says; None where there is none, or a process that is gone.

    Raises InputError where the daemon runs on another machine that shares the folder, or the file is damaged.
    """
    try:
        connection = read_connection(root)
    except InputError as e:
        if e.code == "unavailable" and not (root / "daemon.json").exists():
            return None
        raise
    try:
        check_reachable(root, connection)
    except InputError:
        if "--ssh" in _why(root, connection):
            raise
        return None
    return connection


def _why(root: Path, connection: Connection) -> str:
    try:
        check_reachable(root, connection)
    except InputError as e:
        return e.msg
    return ""


def connect(root: Path, timeout_s: float = ANSWER_S) -> Client | None:
    """A client of the daemon that runs; None where none does. Raises InputError as `found` does, ClientError where a
    daemon holds the workspace and does not answer."""
    connection = found(root)
    if connection is None:
        return None
    try:
        return Client.connect(root, timeout_s=timeout_s)
    except InputError as e:
        if e.code == "unavailable" and not held(root):  # it has ended, and its number may be somebody else's now
            return None
        raise


def held(root: Path) -> bool:
    """Whether a daemon holds the lock of the workspace. (A shared lock for a moment: to be asked only where a daemon
    should be there and does not answer, because it could get into the way of one that starts.)"""
    try:
        with open(root / "lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def start(root: Path, command: Sequence[str]) -> tuple[Client, bool]:
    """Start the daemon in a session of its own; a client of it, and whether it is new (or another was quicker).

    Raises InputError with the daemon's own sentence where it does not start.
    """
    with folders(root, root / "logs", mode=0o700):
        log = root / "logs" / LOG
        with open(log, "ab") as out:
            begun = out.tell()
            child = subprocess.Popen(
                command,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
            )
        threading.Thread(target=child.wait, daemon=True).start()  # no zombie of it in a command that goes on
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            code = child.poll()
            if code is not None:
                said = _last_words(log, begun)
                if RUNS_ALREADY in said:
                    return _the_other(root, said), False
                _forget(log, begun)
                why = f": {said}" if said else f" ({children.how_it_ended(code)})"
                raise InputError(f"the daemon does not start{why}", code="unavailable")
            connection = found(root)
            if connection is not None and connection.pid == child.pid:
                return Client.connect(root, timeout_s=ANSWER_S), True
            time.sleep(0.02)
    raise InputError(
        f"the daemon is not ready after {PATIENCE_S:.0f} s: look into {log}, or wait and try again", code="unavailable"
    )


def _the_other(root: Path, said: str) -> Client:
    """The daemon that another command has just started, once it answers."""
    deadline = time.monotonic() + ANSWER_S
    while time.monotonic() < deadline:
        client = connect(root)
        if client is not None:
            return client
        time.sleep(0.05)
    raise InputError(f"{said}; it does not answer", code="unavailable")


def _last_words(log: Path, begun: int) -> str:
    with open(log, "rb") as written:
        written.seek(begun)
        lines = written.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1].removeprefix("thalweg: ") if lines else ""


def _forget(log: Path, begun: int) -> None:
    """A refusal was told; what a failed start adds to an empty log goes, so that its folder can."""
    if begun == 0 and log.stat().st_size < 10_000:
        log.unlink()


def wait_for_end(pid: int, timeout_s: float) -> bool:
    """Whether the process is gone within this time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return True  # the number is somebody else's now
        if _is_zombie(pid):
            return True
        time.sleep(0.05)
    return False


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def say(text: str) -> None:
    """A sentence beside the output, for a person."""
    print(f"thalweg: {text}", file=sys.stderr, flush=True)
