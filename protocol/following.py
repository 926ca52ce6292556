"""A subscription between its sockets and the follower: frames in; requests to send and things to read out. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from protocol import events
from protocol.conversations import Ask, restoring
from protocol.errors import InputError
from protocol.exchange import Answer, ClientError, new_id
from protocol.follower import (
    RETRY_S,
    Action,
    AskHeads,
    AskSince,
    AskSnapshot,
    Deliver,
    Follower,
    Link,
    Question,
    is_whole,
)
from protocol.messages import EventMessage
from protocol.requests import EventsSince, Heads
from protocol.snapshots import Restored

Arrays = Mapping[str, NDArray[Any]]
Item = tuple[EventMessage | Restored | Link, Arrays]
"""What a subscriber reads: an event, a snapshot, or a change of the connection; with its arrays."""

HEARTBEAT = "hb/"


def check_topics(topics: str | Iterable[str]) -> tuple[str, ...]:
    """The topics, checked. Raises InputError for one that ZeroMQ would match to nothing, or to more than was meant."""
    names = (topics,) if isinstance(topics, str) else tuple(topics)
    for name in names:
        if not name.endswith("/") or name == HEARTBEAT:
            raise InputError(
                f"topic '{name}': expected KIND/ID/ or KIND/, with '/' at its end, such as surface/01J.../"
            )
    if not names:
        raise InputError("subscribe: expected at least one topic")
    return names


class Following:
    """`asks` are to be sent and answered with `answered`; `items` are to be read."""

    def __init__(self, topics: Iterable[str], now: float) -> None:
        names = check_topics(topics)
        self.prefixes = [*names, HEARTBEAT]  # to subscribe, in this order: the beat tells that all are
        self.follower = Follower(names, now)
        self.named = frozenset(n for n in names if is_whole(n))
        self.asks: deque[Ask] = deque()
        self.items: deque[Item] = deque()
        self.unreadable = 0  # events that were no messages of this protocol
        self._questions: dict[str, tuple[Question, Any]] = {}  # by request id, with its conversation

    def frames(self, frames: Sequence[bytes], now: float) -> None:
        """An event came."""
        try:
            topic = frames[0].decode("ascii")
            event, arrays = events.read(frames[1:])
        except (InputError, UnicodeDecodeError, IndexError):
            self.unreadable += 1
            return
        self._do(self.follower.event(topic, event, arrays, now))

    def tick(self, now: float) -> None:
        """Time passed."""
        self._do(self.follower.tick(now))

    def reconnected(self, now: float) -> None:
        """The event socket was connected anew."""
        self._do(self.follower.reconnected(now))

    def answered(self, answer: Answer, now: float) -> None:
        """A request of `asks` was answered. Raises InputError where a topic that was asked for by name is not there."""
        if answer.request.id not in self._questions:
            return
        question, conversation = self._questions.pop(answer.request.id)
        try:
            reply, arrays = answer.get()
            match question:
                case AskSnapshot():
                    try:
                        self._ask(conversation.send((reply, arrays)), question, conversation)
                    except StopIteration as done:
                        self._do(self.follower.restored(done.value, now))
                case AskSince(topic):
                    got = events.unpack(arrays["events"]) if "events" in arrays else []
                    self._do(self.follower.replayed(topic, got, reply.head, reply.gone, now))
                case AskHeads():
                    self._do(self.follower.heads(question, reply.heads, now))
        except InputError as e:
            self._do(self.follower.failed(question, now, getattr(e, "retry_after_s", None) or RETRY_S))
            if (
                isinstance(question, AskHeads)
                or isinstance(e, ClientError)
                or e.code not in ("not_found", "bad_request")
            ):
                return
            self.follower.drop(question.topic)
            if question.topic in self.named:
                raise

    def _ask(self, ask: Ask, question: Question, conversation: Any = None) -> None:
        self._questions[ask[0].id] = (question, conversation)
        self.asks.append(ask)

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case Deliver(_, event, arrays):
                    if type(event) is not EventMessage:  # one of a later version: counted, not shown
                        self.items.append((event, arrays))
                case Restored():
                    self.items.append((action, action.arrays))
                case Link():
                    self.items.append((action, {}))
                case AskSnapshot(topic):
                    conversation = restoring(topic)
                    self._ask(next(conversation), action, conversation)
                case AskSince(topic, seq):
                    self._ask((EventsSince(id=new_id(), topic=topic, seq=seq), None), action)
                case AskHeads(topics):
                    self._ask((Heads(id=new_id(), topics=topics), None), action)
