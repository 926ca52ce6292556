"""Frames for remote viewers: who gets which when. Pure: the caller brings the clock and the pictures.

A stream sends a picture when what is drawn has changed, at most `fps` a second, never more than two that were not
acknowledged, and a lossless one when nothing moves any more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from protocol.errors import InputError
from protocol.windows import FrameFormat, FramesStart

IN_FLIGHT = 2
FORGET_S = 30.0  # a peer that has not acknowledged for so long is gone
MOST = 16  # streams at once
RAW_BYTES = 4 * 1024 * 1024  # of one raw frame
Kind = Literal["moving", "still"]


@dataclass(eq=False)
class Stream:
    """One peer's."""

    peer: bytes
    ask: FramesStart
    number: int = 0  # frames sent
    acked: int = 0
    revision: int = -1  # of the newest frame sent
    still: bool = False  # that one was
    next_at: float = 0.0
    heard_at: float = 0.0
    seen: Any = None  # what the newest frame shows and where it stands there, as the caller drew it

    def due(self, revision: int, settled: bool, now: float) -> Kind | None:
        """Whether a frame is to be sent now, and which."""
        if self.number - self.acked >= IN_FLIGHT or now < self.next_at:
            return None
        if settled:
            return "still" if revision != self.revision or not self.still else None
        return "moving" if revision != self.revision else None

    def wait_s(self, revision: int, settled: bool, now: float) -> float | None:
        """How long until `due` may say something, None while nothing changes or is acknowledged."""
        if self.number - self.acked >= IN_FLIGHT:
            return None
        if revision == self.revision and (self.still or not settled):
            return None
        return max(0.0, self.next_at - now)

    def sent(self, kind: Kind, revision: int, now: float) -> int:
        """A frame goes out; its number."""
        self.number += 1
        self.revision, self.still = revision, kind == "still"
        self.next_at = now + 1.0 / self.ask.fps
        return self.number

    def format(self, kind: Kind) -> FrameFormat:
        """How a frame is packed: JPEG only while things move."""
        return "png" if self.ask.format == "jpeg" and kind == "still" else self.ask.format


class Streams:
    """All of them, by peer."""

    def __init__(self) -> None:
        self._streams: dict[bytes, Stream] = {}

    def __iter__(self) -> Iterator[Stream]:
        return iter(list(self._streams.values()))

    def __len__(self) -> int:
        return len(self._streams)

    def start(self, peer: bytes, ask: FramesStart, now: float) -> None:
        """A peer wants a stream; it replaces the one that it has. Raises InputError, with nothing changed."""
        if ask.format == "raw" and 3 * ask.width * ask.height > RAW_BYTES:
            raise InputError(
                f"frames: {ask.width} x {ask.height} raw pixels are over {RAW_BYTES // 2**20} MiB: ask for jpeg",
                code="too_large",
            )
        if peer not in self._streams and len(self._streams) >= MOST:
            raise InputError(f"frames: {MOST} streams run already: stop one", code="busy")
        before = self._streams.get(peer)
        new = Stream(peer, ask, heard_at=now)
        if before is not None:  # numbers go on, so that a late acknowledgement means what it says
            new.number, new.acked = before.number, before.acked
        self._streams[peer] = new

    def ack(self, peer: bytes, number: int, now: float) -> None:
        """A frame came, and all before it."""
        stream = self._streams.get(peer)
        if stream is not None:
            stream.acked = min(max(stream.acked, number), stream.number)
            stream.heard_at = now

    def of(self, peer: bytes) -> Stream:
        """A peer's stream, with a frame sent. Raises InputError where there is none."""
        stream = self._streams.get(peer)
        if stream is None or stream.seen is None:
            raise InputError("stream: no frame was sent to this peer yet: begin with frames.start", code="wrong_state")
        return stream

    def stop(self, peer: bytes) -> None:
        """No more frames for this peer."""
        self._streams.pop(peer, None)

    def forget(self, now: float) -> None:
        """Let go of peers that do not acknowledge."""
        for stream in self:
            if stream.number > stream.acked and now - stream.heard_at > FORGET_S:
                del self._streams[stream.peer]
