"""The lock of a workspace: one daemon, held by the kernel for as long as the process lives.

It is taken before any socket is bound, because a second bind of an ipc path silently steals it from the first.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from pathlib import Path
from typing import IO

import msgspec

from protocol.errors import InputError


class Holder(msgspec.Struct, frozen=True):
    """Who holds the lock."""

    pid: int
    host: str


def acquire(workspace: Path) -> IO[bytes]:
    """The open lock file: close it to let go. Raises InputError (`exists`), naming the holder, where it is held."""
    try:
        workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = open(workspace / "lock", "a+b")  # noqa: SIM115 - held for the life of the daemon
    except OSError as e:
        raise InputError(
            f"{workspace}: cannot make the workspace there ({e.strerror}): choose another with --workspace",
            code="unavailable",
        ) from e
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        who = _holder(lock)
        lock.close()
        here = who is None or who.host == socket.gethostname()
        where = f" (process {who.pid} on {who.host})" if who else ""
        advice = "stop it with `thalweg daemon stop`" if here else f"use it with --ssh {who.host if who else ''}"
        raise InputError(f"{workspace}: a daemon runs on this workspace{where}: {advice}", code="exists") from e
    lock.seek(0)
    lock.truncate()
    lock.write(msgspec.json.encode(Holder(os.getpid(), socket.gethostname())))
    lock.flush()
    return lock


def listener(path: Path) -> int | None:
    """The process that listens on a socket file: binding it too would steal it. None for a stale one, or none at all.
    0 where the system does not say who."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        except OSError:
            return 0
        if not hasattr(socket, "SO_PEERCRED"):
            return 0
        pid: int = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        return pid


def _holder(lock: IO[bytes]) -> Holder | None:
    lock.seek(0)
    try:
        return msgspec.json.decode(lock.read(), type=Holder)
    except msgspec.MsgspecError:
        return None  # it has just been taken and nothing is written yet
