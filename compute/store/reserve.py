"""Room for the last words on a full disk: a 4 MiB file that is deleted when the disk is full and made again later."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

from protocol.errors import InputError

NAME = "reserve"
BYTES = 4 * 1024 * 1024
MARGIN = 4 * BYTES
"""Free bytes that must be left beside the reserve before work goes on: a few hundred rows, or the log's next growth."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def make(workspace: Path) -> bool:
    """Make the reserve where it is absent and there is room for it and more; whether it is there."""
    file = workspace / NAME
    try:
        if file.exists() and file.stat().st_size == BYTES:
            return True
        if shutil.disk_usage(workspace).free < BYTES + MARGIN:
            return False
        with open(file, "wb") as out:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(out.fileno(), 0, BYTES)
            else:
                out.write(bytes(BYTES))
            os.fsync(out.fileno())
        return True
    except OSError:
        with suppress(OSError):
            file.unlink()
        return False


def give_up(workspace: Path) -> None:
    """Delete the reserve, so that a few small writes fit."""
    with suppress(OSError):
        (workspace / NAME).unlink()


def is_full(e: BaseException, workspace: Path) -> bool:
    """Whether an error of the database or a file means that there is no room. SQLite calls a used-up quota an
    input/output error, so that one is settled by trying to write."""
    if isinstance(e, OSError):
        return e.errno in _NO_ROOM
    if not isinstance(e, sqlite3.Error):
        return False
    name = getattr(e, "sqlite_errorname", "") or ""
    return name.startswith("SQLITE_FULL") or (name.startswith("SQLITE_IOERR") and not _can_write(workspace))


def _can_write(workspace: Path) -> bool:
    probe = workspace / ".room.tmp"
    try:
        with open(probe, "wb") as out:
            out.write(bytes(1 << 16))
            out.flush()
            os.fsync(out.fileno())
        return True
    except OSError as e:
        return e.errno not in _NO_ROOM
    finally:
        with suppress(OSError):
            probe.unlink()


def no_space(workspace: Path) -> InputError:
    """What a write that found no room is answered."""
    return InputError(
        f"{workspace}: the disk is full, this was not stored: free some space, the job goes on when there is room",
        code="no_space",
    )
