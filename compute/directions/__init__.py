"""The kinds of plane. A new one is a file here and a line in DIRECTIONS."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from . import gaussian, pca

if TYPE_CHECKING:
    from compute.checkpoints import Checkpoint
    from compute.parameters import Layout

    from .vectors import Directions


@dataclass(frozen=True)
class Direction:
    """How a kind of plane is made.

    `make(layout, checkpoints, options)` is a generator: it yields (done, total) sweeps over the weights and returns the
    directions; the last checkpoint is theta*. `trajectory` says that it needs more than that one.
    """

    options: type[msgspec.Struct]
    make: Callable[[Layout, list[Checkpoint], Any], Generator[tuple[int, int], None, Directions]]
    trajectory: bool


DIRECTIONS = {
    "random": Direction(gaussian.Options, gaussian.make, trajectory=False),
    "pca": Direction(pca.Options, pca.make, trajectory=True),
}
