"""Deleting files after the commit that deleted their records, so that no kill in between brings them back."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path, PurePosixPath

from .base import Base

FOLDERS = frozenset({"runs", "planes", "surfaces", "exports", "uploads"})


def inside(file: str) -> bool:
    """Whether it is a path below one of the workspace's folders of results: nothing else is ever deleted."""
    parts = PurePosixPath(file).parts
    return len(parts) > 1 and parts[0] in FOLDERS and ".." not in parts


def empty(tables: Base, workspace: Path) -> list[str]:
    """Delete what the trash lists, then the list; what was deleted."""
    gone = []
    for file in tables.trash():
        target = workspace / file
        if inside(file):
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target, ignore_errors=True)
            else:
                with suppress(OSError):
                    target.unlink()
        if not inside(file) or not (target.exists() or target.is_symlink()):
            tables.keep(file)
            gone.append(file)
    return gone
