"""Files in the folder for pictures: whole or not at all, and never over one that is there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from protocol.errors import InputError
from protocol.exchange import new_id

MOST = 9999  # files of one name
LONGEST = 200  # bytes of a name: file systems take 255, with what is added to it meanwhile


def place(folder: Path, name: str, suffix: str) -> Path:
    """Where a file of this name belongs, the suffix added where it lacks it; the folder is made. Raises InputError
    where that cannot be."""
    stem = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    if len(os.fsencode(stem)) > LONGEST:
        raise InputError(f"save: expected a name of at most {LONGEST} bytes, got {len(os.fsencode(stem))}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise _no_room(folder, e) from e
    return folder / f"{stem}{suffix}"


def settle(temporary: Path, wanted: Path) -> Path:
    """Give a finished file of the same folder its name, or with -2, -3 ... where it is taken, whoever was quicker.
    Raises InputError, and OSError."""
    for number in range(1, MOST + 1):
        file = wanted if number == 1 else wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        with suppress(FileExistsError):
            try:
                os.link(temporary, file)  # fails where the name is taken
            except FileExistsError:
                raise
            except OSError:  # a file system without links
                file.touch(exist_ok=False)
                os.replace(temporary, file)
            temporary.unlink(missing_ok=True)
            return file
    raise InputError(f"{wanted.parent}: {MOST} files are called {wanted.stem}: choose another name", code="exists")


def kept(folder: Path, name: str, suffix: str, data: bytes) -> Path:
    """Write a picture into the folder under this name; where it is."""
    wanted = place(folder, name, suffix)
    temporary = folder / f".{new_id()}{suffix}.tmp"
    try:
        temporary.write_bytes(data)
        return settle(temporary, wanted)
    except OSError as e:
        raise _no_room(folder, e) from e
    finally:
        temporary.unlink(missing_ok=True)


def _no_room(folder: Path, e: OSError) -> InputError:
    why = f"{folder}: cannot save a picture there ({e.strerror}): start the window with --pictures"
    return InputError(why, code="no_space")
