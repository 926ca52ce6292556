"""Files that appear in a folder together or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec

from protocol.errors import InputError
from protocol.files import Surface, sync_folder

Name = Annotated[str, msgspec.Meta(max_length=100, pattern=r"^[^/\\\x00-\x1f]*$")]
"""A file's name without its ending; empty: the surface's own name."""


def stem(surface: Surface, name: str) -> str:
    """What the files are called: the name asked for, else the surface's, its id, or `surface`; letters, digits and
    `_.+=-` are kept, anything else becomes a dash."""
    wanted = name or surface.meta.name or surface.meta.id or "surface"
    return re.sub(r"[^\w.+=-]+", "-", wanted).strip("-.")[:100] or "surface"


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A fresh folder to write into. What it holds when the block ends well moves into `folder`, replacing files of the
    same names; when it does not, nothing is left. Raises InputError where `folder` cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(prefix=".export-", dir=folder))
    except OSError as e:
        raise InputError(
            f"{folder}: cannot write there ({e.strerror}): choose another folder", code="unavailable"
        ) from e
    placed: list[Path] = []
    try:
        yield stage
        for file in sorted(stage.iterdir()):
            with open(file, "rb") as written:
                os.fsync(written.fileno())
            if (folder / file.name).is_dir():
                raise InputError(f"{folder / file.name}: expected a file or nothing there, found a folder: move it")
        for file in sorted(stage.iterdir()):
            target = folder / file.name
            fresh = not target.exists()
            os.replace(file, target)
            if fresh:
                placed.append(target)
        sync_folder(folder)
    except BaseException as e:
        for target in placed:
            target.unlink(missing_ok=True)
        if isinstance(e, OSError):
            raise InputError(f"{folder}: cannot write there ({e.strerror})", code="unavailable") from e
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)
