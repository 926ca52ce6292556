"""The roll: which windows are open on this machine, without a daemon. One file for each, in a folder of the user alone.

    enter(Entry(window=..., endpoint=..., of="/home/me/w"))   # a window, when it listens
    found("/home/me/w")                                       # a command: those that are there, the oldest first
    leave(window)                                             # the window, when it closes

A window that was killed leaves its file behind; whoever looks next finds nobody there and clears it away. What a window
printed is kept beside the roll (`log`) until it closes, and for a week where it did not come to that.
"""

from __future__ import annotations

import os
import socket
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from protocol.errors import InputError
from protocol.files import replacing

PROBE_S = 1.0
OTHERS_S = 24 * 3600.0  # how long the window of another workspace stays on the roll when it is gone
LOGS_S = 7 * 24 * 3600.0  # how long the log of a window that broke is kept
SOCKETS = "thalweg-window-"  # begin of the name of a window's own folder for its socket


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A window of this machine. `of`: whose it is (the real path of a workspace, or another way to a daemon)."""

    window: str
    endpoint: str
    pid: int
    title: str = ""
    of: str = ""


def folder() -> Path | None:
    """The roll's folder, made where it is missing. None where there is none that is this user's alone."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    made = Path(base) / "thalweg" if base and Path(base).is_dir() else None
    made = made or Path(tempfile.gettempdir()) / f"thalweg-{os.getuid()}"
    with suppress(OSError):
        with suppress(FileExistsError):
            made.mkdir(mode=0o700)
        seen = made.lstat()
        if stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.getuid() and not stat.S_IMODE(seen.st_mode) & 0o077:
            return made
    return None


def enter(entry: Entry) -> None:
    """Put a window on the roll, as far as there is one."""
    if (where := folder()) is not None and "/" not in entry.window:
        with suppress(OSError, InputError), replacing(where / f"{entry.window}.json") as out:
            out.write(msgspec.json.encode(entry))


def leave(window: str) -> None:
    """Take a window off the roll, with its log."""
    if (where := folder()) is not None:
        for file in (where / f"{window}.json", where / f"{window}.log"):
            with suppress(OSError):
                file.unlink(missing_ok=True)


def log(window: str) -> Path | None:
    """Where a window may write what it has to say. None where there is no roll."""
    where = folder()
    return None if where is None else where / f"{window}.log"


def logs() -> list[Path]:
    """What windows that broke have left, the oldest first."""
    where = folder()
    return [] if where is None else sorted(f for f in where.glob("*.log") if not f.with_suffix(".json").exists())


def found(of: str | None = None, gone: list[Entry] | None = None) -> list[Entry]:
    """The windows that are there (`of` these alone), the oldest first. Those that are gone are struck off, and put into
    `gone`; others' stay for a day, for them to be told."""
    where = folder()
    out = []
    for file in () if where is None else sorted(where.glob("*.json")):
        try:
            entry = msgspec.json.decode(file.read_bytes(), type=Entry)
            old = file.stat().st_mtime < time.time() - OTHERS_S
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
            continue
        ours = of is None or entry.of == of
        if is_there(entry):
            if ours:
                out.append(entry)
        elif ours or old:
            _strike(file, entry)
            if gone is not None:
                gone.append(entry)
    for file in logs():
        with suppress(OSError):
            if file.stat().st_mtime < time.time() - LOGS_S:
                file.unlink()
    return sorted(out, key=lambda entry: entry.window)


def is_there(entry: Entry) -> bool:
    """Whether the window's process can be there and, as far as it can be seen, somebody listens at its endpoint."""
    try:
        os.kill(entry.pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return listens(entry.endpoint)


def listens(endpoint: str) -> bool:
    """Whether a program listens on an ipc socket of this machine; of other endpoints it cannot be known: true."""
    if not endpoint.startswith("ipc://"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(endpoint.removeprefix("ipc://"))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True


def _strike(file: Path, entry: Entry) -> None:
    """Clear away what a window that was killed has left: its line, its socket, an empty log."""
    with suppress(OSError):
        file.unlink()
    left = file.with_suffix(".log")
    with suppress(OSError):
        if left.stat().st_size == 0:
            left.unlink()
    end = Path(entry.endpoint.removeprefix("ipc://"))
    if entry.endpoint.startswith("ipc://") and end.parent.name.startswith(SOCKETS):
        with suppress(OSError):
            end.unlink()
        with suppress(OSError):
            end.parent.rmdir()
