"""Where data is looked for; the order is architecture.md's."""

from __future__ import annotations

import os
from pathlib import Path


def search_roots(
    data: str | os.PathLike[str] | None = None,
    *,
    config: str | os.PathLike[str] | None = None,
    workspace: str | os.PathLike[str] | None = None,
) -> tuple[Path, ...]:
    """Folders to look in, in order: `--data`, $THALWEG_DATA, config, <workspace>/data, the system's share/datasets.

    They need not exist. The system's: `datasets` under each of $XDG_DATA_DIRS (/usr/local/share:/usr/share).
    """
    roots: list[Path] = []
    for given in (data, os.environ.get("THALWEG_DATA"), config):
        if given:
            roots.append(Path(given).expanduser())
    if workspace:
        roots.append(Path(workspace).expanduser() / "data")
    system = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    roots.extend(Path(folder) / "datasets" for folder in system.split(":") if folder)
    return tuple(dict.fromkeys(roots))
