"""Persisted events, packed for `events.since` replies: a MessagePack stream of `[header, [buffer, ...]]`.

Header and buffers are the very bytes that were published, so that a replayed event is read like a live one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from protocol import codec
from protocol.errors import InputError
from protocol.messages import Event, EventMessage
from protocol.requests import PIECE

ROOM = 16  # bytes of MessagePack around an event and around each of its buffers, at most

Frames = Sequence[bytes]
"""Of one message as codec.encode makes them: the header, then the buffers."""


def pack(items: Iterable[Frames], limit: int = PIECE) -> tuple[bytes, int]:
    """(buffer, count): as many of these events, in order, as fit `limit` bytes; the first one always does.

    The frames are those of codec.encode. The reader of `items` is asked for at most one more than was packed.
    """
    packer = msgpack.Packer()
    parts: list[bytes] = []
    size = 0
    for frames in items:
        if parts and size + sum(len(f) + ROOM for f in frames) > limit:
            break
        parts.append(packer.pack([bytes(frames[0]), [bytes(f) for f in frames[1:]]]))
        size += len(parts[-1])
    return b"".join(parts), len(parts)


def unpack(buffer: bytes | NDArray[np.uint8]) -> list[tuple[EventMessage, dict[str, NDArray[Any]]]]:
    """The events of a buffer and their arrays, in order. Raises InputError for anything that is not such a stream."""
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=True, max_buffer_size=codec.MAX_FRAME)
    data = buffer if isinstance(buffer, bytes) else buffer.tobytes()
    raw, consumed, size = [], 0, len(data)
    try:
        unpacker.feed(data)
        while consumed < size:
            raw.append(unpacker.unpack())
            consumed = unpacker.tell()
    except msgpack.OutOfData as e:
        raise InputError("events: the last event is cut off", code="bad_frame") from e
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as e:
        raise InputError(f"events: expected a MessagePack stream ({e.__class__.__name__})", code="bad_frame") from e
    return [read(_frames(item)) for item in raw]


def read(frames: Frames) -> tuple[EventMessage, dict[str, NDArray[Any]]]:
    """An event and its arrays. One of a kind that only a later version knows becomes a bare EventMessage with its seq,
    so that the count of its topic stays whole."""
    try:
        return codec.decode(frames, Event)
    except InputError as e:
        if e.code != "unknown_command":
            raise
        seq = msgpack.unpackb(frames[0], raw=False).get("seq")
        if seq is not None and not isinstance(seq, int):
            raise
        return EventMessage(seq=seq), {}


def _frames(item: object) -> list[bytes]:
    match item:
        case [header, [*buffers]]:
            frames = [f for f in (header, *buffers) if isinstance(f, bytes)]
            if len(frames) == 1 + len(buffers):
                return frames
    raise InputError("events: expected [header, [buffer, ...]] for each event", code="bad_frame")
