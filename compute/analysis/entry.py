"""What an analysis declares, and what it gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from numpy.typing import NDArray

from protocol.files import Surface


@dataclass(frozen=True, eq=False)
class Findings:
    """What an analysis found: a summary (plain data, JSON) and arrays by the names that they have in surface.npz."""

    summary: msgspec.Struct
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def onto(self, surface: Surface) -> Surface:
        """The surface with the arrays in it, as a new one; the given one is only read."""
        changed: dict[str, Any] = dict(self.arrays)
        return dataclasses.replace(surface, **changed)


@dataclass(frozen=True)
class Analysis:
    """An analysis of a surface.

    `make(surface, options)` is a generator: it yields (done, total) between its phases and returns the findings.
    Raises InputError for a surface or options that it cannot work with.
    """

    summary: str
    options: type[msgspec.Struct]
    make: Callable[[Surface, Any], Generator[tuple[int, int], None, Findings]]
