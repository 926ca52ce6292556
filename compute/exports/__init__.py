"""The files that a surface can be exported to. A new format is a file here and a line in EXPORTS.

`make(surface, folder, options)` writes into a folder (made where it is absent), all of its files or none, and gives
their paths, the main one first. Raises InputError where it cannot. Importing this loads no format's library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from protocol.files import Surface

from . import npz, ply, table


@dataclass(frozen=True)
class Export:
    """How a format is written."""

    summary: str
    options: type[msgspec.Struct]
    make: Callable[[Surface, Path, Any], list[Path]]


EXPORTS = {
    "npz": Export("surface.npz, with everything that is known of it", npz.Options, npz.make),
    "csv": Export("One line a point, and the path beside it", table.Options, table.make),
    "ply": Export("ASCII PLY mesh of quads with the loss as scalar s, and the path as x,y", ply.Options, ply.make),
}
