"""A snapshot travels in pieces: arrays are cut along their first axis. This puts them together again, purely."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.requests import SnapshotReply


@dataclass(frozen=True, eq=False)
class Restored:
    """The state of a topic at `seq`: everything before is in it, and events go on with `seq + 1`."""

    topic: str
    seq: int
    state: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


def assemble(pieces: Iterable[tuple[SnapshotReply, Mapping[str, NDArray[Any]]]]) -> Restored:
    """The whole of the pieces of one snapshot, in the order they came.

    Raises InputError (`integrity`) where the pieces are of two moments, leave out a row, or do not fit each other.
    """
    parts: dict[str, list[NDArray[Any]]] = {}
    rows: dict[str, int] = {}
    state: dict[str, Any] = {}
    about: tuple[str, int] | None = None
    for reply, arrays in pieces:
        if about is None:
            about, state = (reply.topic, reply.seq), reply.state
        if about != (reply.topic, reply.seq):
            raise InputError(
                f"snapshot of {about[0]}: expected all pieces at seq {about[1]}, got one of {reply.topic} "
                f"at {reply.seq}: take it again",
                code="integrity",
            )
        for name, array in arrays.items():
            start = reply.parts.get(name, 0)
            if start != rows.get(name, 0):
                raise InputError(
                    f"snapshot of {about[0]}: expected row {rows.get(name, 0)} of '{name}', got row {start}: "
                    "take it again",
                    code="integrity",
                )
            parts.setdefault(name, []).append(array)
            rows[name] = start + (len(array) if array.ndim else 1)
    if about is None:
        raise InputError("snapshot: no pieces came", code="integrity")
    whole = {}
    for name, cuts in parts.items():
        try:
            whole[name] = cuts[0] if len(cuts) == 1 else np.concatenate(cuts, casting="no")
        except (ValueError, TypeError) as e:
            raise InputError(f"snapshot of {about[0]}: pieces of '{name}' do not fit ({e})", code="integrity") from e
    return Restored(*about, state=state, arrays=whole)
