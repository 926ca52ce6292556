"""Pieces that a client was sent and has not taken: how many bytes of them the daemon holds for it.

A ROUTER's high-water mark counts messages, and a thousand pieces of 4 MiB are 4 GiB. ZeroMQ tells of a message that is
sent without a copy when it has gone out to the client (or the client is gone), so these are counted here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

Answered = Callable[[list[bytes]], None]


class Tracker(Protocol):
    """Of a message on its way: whether the daemon holds it no longer."""

    @property
    def done(self) -> bool: ...


@dataclass
class Debts:
    """By client. `piece`: bytes that an answer in work is taken for; `most` of both together is let be asked for."""

    piece: int
    most: int

    def __post_init__(self) -> None:
        self._working: Counter[bytes] = Counter()
        self._sent: dict[bytes, list[tuple[int, Tracker]]] = {}

    def of(self, peer: bytes) -> int:
        """Bytes that are held for this client, or will be when what it asked for is answered."""
        sent = [(size, tracker) for size, tracker in self._sent.pop(peer, ()) if not tracker.done]
        if sent:
            self._sent[peer] = sent
        return self._working[peer] * self.piece + sum(size for size, _ in sent)

    def may(self, peer: bytes) -> bool:
        """Whether it may ask for one more piece."""
        return self.of(peer) + self.piece <= self.most

    def begin(self, peer: bytes, answer: Answered) -> Answered:
        """The answer to a request for a piece, which is in work until it is given."""
        self._working[peer] += 1
        working = [peer]

        def given(frames: list[bytes]) -> None:
            if working:  # the first answer, should there be two
                self._working[working.pop()] -= 1
                if not self._working[peer]:
                    del self._working[peer]
            answer(frames)

        return given

    def sent(self, peer: bytes, size: int, tracker: Tracker) -> None:
        """These bytes are on their way to it."""
        self._sent.setdefault(peer, []).append((size, tracker))

    def forget(self) -> None:
        """Let go of those that have taken everything, or are gone."""
        for peer in list(self._sent):
            self.of(peer)
