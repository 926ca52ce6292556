"""What can be imported. A new format is a file here and a line in IMPORTS.

Importing this loads neither torch nor any format's library.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from protocol.files import Surface

from . import checkpoints, npz, ply, table


@dataclass(frozen=True)
class Import:
    """How a format is read.

    `make(source, folder, options)` is a generator: it yields (done, total) and returns what `gives` says: a surface
    (nothing is written), or the files of a run, first to last, after writing them into `folder`, which must not exist
    yet and appears whole or not at all. `source` is a file, a folder, or a zip or tar archive of one. Raises
    InputError, naming the file, for a wrong one.
    """

    summary: str
    options: type[msgspec.Struct]
    gives: Literal["surface", "run"]
    make: Callable[[Path, Path, Any], Generator[tuple[int, int], None, Surface | list[Path]]]


IMPORTS = {
    "npz": Import("surface.npz, or arrays alpha, beta and loss", npz.Options, "surface", npz.make),
    "csv": Import("One line a point, as exported", table.Options, "surface", table.make),
    "ply": Import("ASCII PLY mesh with the loss as scalar s", ply.Options, "surface", ply.make),
    "checkpoints": Import("Safetensors checkpoints of a training", checkpoints.Options, "run", checkpoints.make),
}
