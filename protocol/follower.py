"""The subscriber as a pure state machine: no socket, no clock of its own. Time is passed in, in seconds of any
monotonic clock; what to do comes back as a list of actions, in order.

    connecting --hb--> snapshot of each topic --> apply events, seq by seq
                                                  |  a gap, or a head ahead of what arrived: events.since
                                                  |  reconnected, another boot, beats missed, silence: heads

Each persisted event of a topic is delivered exactly once and in order; a snapshot (`Restored`) stands for all events up
to its seq. Events that come early wait here, within bounds; what does not fit is asked for again. Events without a seq
(progress, step losses) are delivered as they come and never asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from protocol.messages import EventMessage, Heartbeat
from protocol.snapshots import Restored

STALE_S = 3.0  # three beats missed
LOST_S = 10.0
BEATS = 4  # a larger step between two beats: something was missed
RETRY_S = 1.0  # before a question that failed is asked again
HOLD_BYTES = 16 * 1024 * 1024  # of events that came early, for each topic
TOPICS_A_QUESTION = 200
COUNTED = frozenset({"run", "plane", "surface", "job"})  # kinds of topics whose events are persisted
PATIENCE = 3  # replays that bring nothing although the head is ahead, before a snapshot is taken

LinkState = Literal["connecting", "live", "stale", "lost"]
Arrays = Mapping[str, NDArray[Any]]

# ---------------------------------------------------------------- actions


@dataclass(frozen=True, eq=False)
class Deliver:
    """The next event of a topic."""

    topic: str
    event: EventMessage
    arrays: Arrays = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """The connection changed its state. `age_s`: since the last beat, None before the first."""

    state: LinkState
    age_s: float | None = None


@dataclass(frozen=True)
class AskSnapshot:
    """Take a snapshot of the topic; answer with `restored`."""

    topic: str


@dataclass(frozen=True)
class AskSince:
    """Ask for the topic's events after `seq`; answer with `replayed`."""

    topic: str
    seq: int


@dataclass(frozen=True)
class AskHeads:
    """Ask for the heads of these topics; answer with `heads`."""

    topics: tuple[str, ...]


Question = AskSnapshot | AskSince | AskHeads
Action = Deliver | Restored | Link | Question

# ---------------------------------------------------------------- state


@dataclass(eq=False)
class _Topic:
    name: str
    applied: int | None = None  # the newest seq that was delivered or is in the snapshot; None: none was taken yet
    seen: int = 0  # the newest seq known to exist
    asked: Question | None = None
    retry_at: float | None = None
    fruitless: int = 0
    held: dict[int, Deliver] = field(default_factory=dict)
    held_bytes: int = 0


def is_whole(topic: str) -> bool:
    """Whether this is one topic (`run/<id>/`) and not a prefix of many (`run/`)."""
    return topic.endswith("/") and topic.count("/") >= 2 and "//" not in topic


def _kind(topic: str) -> str:
    return topic.partition("/")[0]


class Follower:
    """Follows topics, and prefixes of topics: those beneath a prefix are taken up when they first change, also where
    nobody listened at that moment.
    Topics of other kinds (log lines, workers, windows) have no past: their events are delivered as they come."""

    def __init__(self, topics: Iterable[str], now: float) -> None:
        names = list(dict.fromkeys(topics))
        self.prefixes = tuple(n for n in names if not is_whole(n) and _kind(n) in COUNTED)
        self.link = Link("connecting")
        self._topics = {n: _Topic(n) for n in names if is_whole(n) and _kind(n) in COUNTED}
        self._boot: str | None = None
        self._beat = 0
        self._last: float | None = None  # when the last beat came
        self._checked = now  # when heads were last asked for
        self._check = bool(self.prefixes)  # at the next beat; of those beneath a prefix, to see later what changed
        self._heads: dict[AskHeads, dict[str, int | None]] = {}  # asked, with what was applied then
        self._again = False
        self._before: dict[str, int] = {}  # heads of topics beneath a prefix that are not taken up
        self._based: set[str] = set()  # prefixes of which these are known

    # ------------------------------------------------------------ what can be known

    def applied(self, topic: str) -> int | None:
        """The newest seq of the topic that was delivered, None before its first snapshot."""
        return self._topics[topic].applied if topic in self._topics else None

    @property
    def boot(self) -> str | None:
        """The daemon's boot id of the newest beat, None before the first."""
        return self._boot

    @property
    def caught_up(self) -> bool:
        """Whether everything that is known to exist was delivered and no question is open."""
        return not self._heads and all(
            t.asked is None and t.applied is not None and t.applied >= t.seen for t in self._topics.values()
        )

    # ------------------------------------------------------------ what can happen

    def beat(self, hb: Heartbeat, now: float) -> list[Action]:
        """A heartbeat came."""
        step = hb.beat - self._beat
        missed = self._boot is not None and (hb.boot != self._boot or not 0 <= step <= BEATS)
        silent = self._last is not None and now - self._last > LOST_S
        self._boot, self._beat, self._last = hb.boot, hb.beat, now
        actions = self._set_link(now)
        for name, head in hb.heads.items():
            topic = self._topic(name)
            if topic is not None:
                topic.seen = max(topic.seen, head)
        for topic in self._topics.values():
            actions += self._next(topic, now)
        if missed or silent or self._check:
            actions += self._ask_heads(now)
        return actions

    def event(self, name: str, event: EventMessage, arrays: Arrays, now: float) -> list[Action]:
        """An event came on a subscribed topic."""
        if isinstance(event, Heartbeat):
            return self.beat(event, now)
        delivery = Deliver(name, event, arrays)
        if event.seq is None:
            return [delivery]
        topic = self._topic(name)
        if topic is None:
            return []
        topic.seen = max(topic.seen, event.seq)
        self._take(topic, event.seq, delivery)
        return self._drain(topic) + self._next(topic, now)

    def restored(self, snapshot: Restored, now: float) -> list[Action]:
        """The answer to AskSnapshot."""
        topic = self._topics.get(snapshot.topic)
        if topic is None or not isinstance(topic.asked, AskSnapshot):
            return []  # an answer to a question that was given up
        topic.asked, topic.applied, topic.fruitless = None, snapshot.seq, 0
        topic.seen = max(topic.seen, snapshot.seq)
        for seq in [s for s in topic.held if s <= snapshot.seq]:
            topic.held_bytes -= _size(topic.held.pop(seq))
        return [snapshot, *self._drain(topic), *self._next(topic, now)]

    def replayed(
        self, name: str, events: Sequence[tuple[EventMessage, Arrays]], head: int, gone: bool, now: float
    ) -> list[Action]:
        """The answer to AskSince: events in order, the topic's head, and whether they are no longer kept."""
        topic = self._topics.get(name)
        if topic is None or not isinstance(topic.asked, AskSince):
            return []
        topic.asked = None
        topic.seen = max(topic.seen, head)
        before = topic.applied or 0
        for event, arrays in events:
            if event.seq is not None:
                topic.seen = max(topic.seen, event.seq)
                self._take(topic, event.seq, Deliver(name, event, arrays), always=True)
        actions = self._drain(topic)
        topic.fruitless = topic.fruitless + 1 if topic.applied == before else 0
        if gone or topic.fruitless >= PATIENCE:
            self._forget(topic)
        elif topic.fruitless and before < topic.seen:
            topic.retry_at = now + RETRY_S
        return actions + self._next(topic, now)

    def heads(self, question: AskHeads, heads: Mapping[str, int], now: float) -> list[Action]:
        """The answer to AskHeads. A head behind what was applied when it was asked: the store is an older one."""
        asked = self._heads.pop(question, None)
        if asked is None:
            return []
        actions: list[Action] = []
        for name, head in heads.items():
            topic = self._topic(name) if self._is_news(name, head) else None
            if topic is None:
                continue
            if (asked.get(name) or 0) > head:
                self._forget(topic)
                topic.seen = head
            topic.seen = max(topic.seen, head)
            actions += self._next(topic, now)
        self._based.update(p for p in self.prefixes if p in question.topics)
        if self._again and not self._heads:
            actions += self._ask_heads(now)
        return actions

    def failed(self, question: Question, now: float, after_s: float = RETRY_S) -> list[Action]:
        """A question found no answer; it is asked again after a while."""
        if isinstance(question, AskHeads):
            if self._heads.pop(question, None) is not None:
                self._check = True  # at the next beat: until then there is nobody to ask
            return []
        topic = self._topics.get(question.topic)
        if topic is not None and topic.asked == question:
            topic.asked, topic.retry_at = None, now + after_s
        return []

    def drop(self, topic: str) -> None:
        """Follow this topic no longer: it is not there."""
        dropped = self._topics.pop(topic, None)
        if dropped is not None:
            self._before[topic] = dropped.seen

    def reconnected(self, now: float) -> list[Action]:
        """The socket was connected anew: heads are asked for at its first beat, which tells that it is subscribed."""
        self._check = self._check or self._last is not None
        return self.tick(now)

    def tick(self, now: float) -> list[Action]:
        """Time passed. Call it a few times a second."""
        actions = self._set_link(now)
        if self._last is None:
            return actions
        if now - self._last > LOST_S and now - self._checked > LOST_S:
            actions += self._ask_heads(now)
        for topic in self._topics.values():
            if topic.retry_at is not None:
                actions += self._next(topic, now)
        return actions

    # ------------------------------------------------------------ within

    def _topic(self, name: str) -> _Topic | None:
        topic = self._topics.get(name)
        if topic is None and is_whole(name) and any(name.startswith(p) for p in self.prefixes):
            topic = self._topics[name] = _Topic(name)
        return topic

    def _is_news(self, name: str, head: int) -> bool:
        """Whether a head tells of something new: for a topic beneath a prefix, that it changed since heads were asked
        for the first time."""
        prefix = next((p for p in self.prefixes if name.startswith(p)), None)
        if name in self._topics or prefix is None:
            return True
        before, self._before[name] = self._before.get(name), head
        return prefix in self._based and head != before

    def _take(self, topic: _Topic, seq: int, delivery: Deliver, always: bool = False) -> None:
        """Hold an event until its turn. One that is next, or was asked for, is held whatever its size."""
        if seq in topic.held or (topic.applied is not None and seq <= topic.applied):
            return
        size = _size(delivery)
        is_next = topic.applied is not None and seq == topic.applied + 1
        if always or is_next or topic.held_bytes + size <= HOLD_BYTES:
            topic.held[seq] = delivery
            topic.held_bytes += size

    def _drain(self, topic: _Topic) -> list[Action]:
        out: list[Action] = []
        if topic.applied is None:
            return out
        while (delivery := topic.held.pop(topic.applied + 1, None)) is not None:
            out.append(delivery)
            topic.applied += 1
            topic.held_bytes -= _size(delivery)
        return out

    def _forget(self, topic: _Topic) -> None:
        """What was applied does not lead on to what is there: begin with a snapshot."""
        topic.applied, topic.asked, topic.retry_at, topic.fruitless = None, None, None, 0
        topic.held.clear()
        topic.held_bytes = 0

    def _next(self, topic: _Topic, now: float) -> list[Action]:
        """The question that is due for a topic, if any."""
        if topic.asked is not None or self._last is None or (topic.retry_at is not None and now < topic.retry_at):
            return []
        topic.retry_at = None
        if topic.applied is None:
            topic.asked = AskSnapshot(topic.name)
        elif topic.seen > topic.applied:
            topic.asked = AskSince(topic.name, topic.applied)
        return [topic.asked] if topic.asked is not None else []

    def _ask_heads(self, now: float) -> list[Action]:
        if self._heads:
            self._again = True  # the answer on its way may be older than what made us ask
            return []
        self._check = self._again = False
        self._checked = now
        names = [*self._topics, *self.prefixes]
        actions: list[Action] = []
        for k in range(0, len(names), TOPICS_A_QUESTION):
            question = AskHeads(tuple(names[k : k + TOPICS_A_QUESTION]))
            self._heads[question] = {n: self.applied(n) for n in question.topics}
            actions.append(question)
        return actions

    def _set_link(self, now: float) -> list[Action]:
        age = None if self._last is None else max(0.0, now - self._last)
        state: LinkState
        if age is None:
            state = "connecting"
        else:
            state = "lost" if age > LOST_S else "stale" if age > STALE_S else "live"
        before, self.link = self.link, Link(state, age)
        return [self.link] if before.state != state else []


def _size(delivery: Deliver) -> int:
    return 500 + sum(a.nbytes for a in delivery.arrays.values())  # a header without arrays is about that
