"""Persisted events: contiguous per topic, written in the transaction of what they tell, replayed to whoever missed one.

The event of a row is stored as (i, pass) alone. Its values are derived on replay from the stored sums, folded up to
that pass, with the arithmetic that published it first (protocol.shares). Where a topic's older events are not kept,
its `floor` is the newest of them: who asks for what lies at or below it is told to take a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgpack
import msgspec

from protocol import codec
from protocol.messages import EventMessage

from .base import Base
from .records import Replay, StoredEvent
from .replay import RowReplay

PIECE = 4 * 1024 * 1024


class Events(Base):
    """Topics with their heads, and the events that are kept."""

    def append_event(self, topic: str, header: bytes, buffers: Sequence[bytes] = ()) -> int:
        """Append an event to a topic, as codec.encode made it; its seq, one more than that before. The header is
        stored with this seq in it, so that a replay gives the very bytes that are published."""
        seq = self._next(topic)
        self._append(topic, seq, msgpack.packb({**msgpack.unpackb(header), "seq": seq}), buffers)
        return seq

    def append_message(
        self, topic: str, message: EventMessage, arrays: codec.Arrays | None = None
    ) -> tuple[int, list[bytes]]:
        """Append an event to a topic; its seq, and the frames to publish once this is committed."""
        seq = self._next(topic)
        frames = codec.encode(msgspec.structs.replace(message, seq=seq), arrays)
        self._append(topic, seq, frames[0], frames[1:])
        return seq, frames

    def _append(self, topic: str, seq: int, header: bytes, buffers: Sequence[bytes]) -> None:
        packed = msgpack.packb(list(buffers)) if buffers else None
        self.db.execute(
            "INSERT INTO events (topic, seq, header, buffers) VALUES (?, ?, ?, ?)", (topic, seq, header, packed)
        )

    def append_row_events(self, topic: str, rows: Sequence[tuple[int, int]]) -> range:
        """Append the events of rows (i, pass) that this transaction stores; their seqs."""
        last = self._next(topic, len(rows))
        seqs = range(last - len(rows) + 1, last + 1)
        places = ", ".join(["(?, ?, ?, ?)"] * len(rows))
        values = [x for seq, (i, pass_) in zip(seqs, rows) for x in (topic, seq, i, pass_)]
        self.db.execute(f"INSERT INTO events (topic, seq, i, pass) VALUES {places}", values)
        return seqs

    def _next(self, topic: str, count: int = 1) -> int:
        """The seq of the last of `count` new events."""
        (head,) = self.db.execute(
            "INSERT INTO topics (name, head) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET head = head + excluded.head RETURNING head",
            (topic, count),
        ).fetchone()
        return int(head)

    def heads(self, topics: Iterable[str]) -> dict[str, int]:
        """The newest seq of these topics, 0 where there was no event yet."""
        return {topic: self._topic(topic)[0] for topic in topics}

    def heads_beneath(self, prefix: str, most: int) -> dict[str, int]:
        """The newest seq of the topics that begin with `prefix` (`job/`): at most so many, those of the newest ids."""
        after = f"{prefix[:-1]}{chr(ord(prefix[-1]) + 1)}"
        found = self.db.execute(
            "SELECT name, head FROM topics WHERE name >= ? AND name < ? ORDER BY name DESC LIMIT ?",
            (prefix, after, max(0, most)),
        )
        return {name: int(head) for name, head in found}

    def _topic(self, topic: str) -> tuple[int, int]:
        row = self.db.execute("SELECT head, floor FROM topics WHERE name = ?", (topic,)).fetchone()
        return (int(row[0]), int(row[1])) if row else (0, 0)

    def events_since(self, topic: str, seq: int, max_bytes: int = PIECE) -> Replay:
        """The events of a topic after `seq`, in order, cut where they would pass `max_bytes` (one always comes)."""
        head, floor = self._topic(topic)
        if seq < floor:
            return Replay(head=head, events=[], gone=True)
        found = self.db.execute(
            "SELECT seq, header, buffers, i, pass FROM events WHERE topic = ? AND seq > ? ORDER BY seq", (topic, seq)
        )
        out: list[StoredEvent] = []
        size, rows = 0, None
        for at, header, buffers, i, pass_ in found:
            if header is not None:
                event = StoredEvent(seq=at, header=header, buffers=msgpack.unpackb(buffers) if buffers else [])
            else:
                rows = rows or RowReplay(self.db, topic.split("/")[1])
                event = rows.event(at, i, pass_)
            size += len(event.header) + sum(map(len, event.buffers))
            if out and size > max_bytes:
                return Replay(head=head, events=out, next=out[-1].seq)
            out.append(event)
        return Replay(head=head, events=out)

    def forget_rows(self, topic: str, pass_: int = 0) -> None:
        """Forget the events of rows (of this pass and later ones) and all before the last of them; the head stays."""
        (last,) = self.db.execute(
            "SELECT max(seq) FROM events WHERE topic = ? AND i IS NOT NULL AND pass >= ?", (topic, pass_)
        ).fetchone()
        if last is not None:
            self.forget_events(topic, last)

    def forget_events(self, topic: str, upto: int | None = None) -> None:
        """Forget the events of a topic up to this seq (None: all); the head stays."""
        upto = self._topic(topic)[0] if upto is None else upto
        self.db.execute("DELETE FROM events WHERE topic = ? AND seq <= ?", (topic, upto))
        self.db.execute("UPDATE topics SET floor = max(floor, ?) WHERE name = ?", (upto, topic))
