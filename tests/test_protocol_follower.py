"""The follower against a model of a daemon whose events are lost, doubled and late: what was delivered is what was
published, once and in order."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import follower as f
from protocol.follower import AskHeads, AskSince, AskSnapshot, Deliver, Follower, Link, Restored
from protocol.messages import Heartbeat, JobProgress, LogLine, RunEpoch

RUN = "run/01ARZ3NDEKTSV4RRFFQ69G5FAV/"
JOB = "job/01ARZ3NDEKTSV4RRFFQ69G5FAW/"


def epoch(seq: int | None, value: int = 0) -> RunEpoch:
    return RunEpoch(run="r", epoch=value, step=0, metrics={}, seq=seq)


class World:
    """A daemon, a lossy way to a follower, and a reader who keeps what is delivered."""

    def __init__(self, topics: tuple[str, ...]) -> None:
        self.now = 0.0
        self.follower = Follower(topics, self.now)
        self.published: dict[str, list[int]] = {t: [] for t in topics}
        self.kept = dict.fromkeys(topics, 0)  # events up to here were deleted
        self.boot, self.beats = 1, 0
        self.count = 0
        self.questions: deque[object] = deque()
        self.read: dict[str, list[int]] = {t: [] for t in topics}
        self.links: list[str] = []

    def do(self, actions: list[f.Action]) -> None:
        for action in actions:
            match action:
                case Deliver(topic, event):
                    assert event.seq == len(self.read[topic]) + 1, "not the next one"
                    self.read[topic].append(event.epoch)  # type: ignore[attr-defined]
                case Restored():
                    assert action.seq >= len(self.read[action.topic]), "went back"
                    self.read[action.topic] = list(action.state["values"])
                case Link(state):
                    self.links.append(state)
                case _:
                    self.questions.append(action)

    def publish(self, topic: str, times: int) -> None:
        """Commit an event; it arrives this many times."""
        self.count += 1
        self.published[topic].append(self.count)
        event = epoch(len(self.published[topic]), self.count)
        for _ in range(times):
            self.do(self.follower.event(topic, event, {}, self.now))

    def beat(self, arrives: bool = True) -> None:
        self.beats += 1
        self.now += 1.0
        if arrives:
            heads = {t: len(v) for t, v in self.published.items()} if self.beats % 3 == 0 else {}
            self.do(self.follower.beat(Heartbeat(boot=str(self.boot), beat=self.beats, heads=heads), self.now))
        else:
            self.do(self.follower.tick(self.now))

    def restart(self) -> None:
        self.boot, self.beats = self.boot + 1, 0
        self.do(self.follower.reconnected(self.now))

    def seal(self, topic: str) -> None:
        self.kept[topic] = len(self.published[topic])

    def answer(self, well: bool, page: int = 5) -> None:
        """Answer the oldest question, or fail it."""
        if not self.questions:
            return
        question = self.questions.popleft()
        if not well:
            self.do(self.follower.failed(question, self.now))  # type: ignore[arg-type]
            return
        match question:
            case AskSnapshot(topic):
                values = self.published[topic]
                self.do(self.follower.restored(Restored(topic, len(values), {"values": list(values)}), self.now))
            case AskSince(topic, seq):
                values = self.published[topic]
                gone = seq < self.kept[topic]
                events = [] if gone else [(epoch(s + 1, values[s]), {}) for s in range(seq, len(values))][:page]
                self.do(self.follower.replayed(topic, events, len(values), gone, self.now))
            case AskHeads(topics):
                self.do(self.follower.heads(question, {t: len(self.published[t]) for t in topics}, self.now))

    def settle(self) -> None:
        """Beats arrive and questions are answered until there is nothing left to do."""
        for _ in range(60):
            self.beat()
            while self.questions:
                self.answer(well=True)
        assert self.follower.caught_up


MOVE = st.one_of(
    st.tuples(st.just("publish"), st.integers(0, 1), st.sampled_from([0, 1, 1, 1, 2])),
    st.tuples(st.just("beat"), st.booleans()),
    st.tuples(st.just("answer"), st.booleans(), st.integers(1, 4)),
    st.tuples(st.just("restart")),
    st.tuples(st.just("seal"), st.integers(0, 1)),
    st.tuples(st.just("sleep"), st.sampled_from([0.3, 4.0, 20.0])),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(MOVE, max_size=80))
def test_what_is_delivered_is_what_was_published(moves: list[tuple]) -> None:
    world = World((RUN, JOB))
    for move in moves:
        match move:
            case ("publish", which, times):
                world.publish((RUN, JOB)[which], times)
            case ("beat", arrives):
                world.beat(arrives)
            case ("answer", well, page):
                world.answer(well, page)
            case ("restart",):
                world.restart()
            case ("seal", which):
                world.seal((RUN, JOB)[which])
            case ("sleep", seconds):
                world.now += seconds
                world.do(world.follower.tick(world.now))
    world.settle()
    assert world.read == world.published


def live(*topics: str) -> World:
    world = World(topics or (RUN,))
    world.settle()
    world.publish(RUN, 1)
    assert world.read[RUN] == world.published[RUN]
    return world


def test_it_waits_for_a_beat_before_the_snapshot() -> None:
    follower = Follower([RUN], 0.0)
    assert follower.event(RUN, epoch(7), {}, 0.1) == []
    assert follower.tick(0.2) == []
    assert follower.beat(Heartbeat(boot="a", beat=1), 0.3) == [Link("live", 0.0), AskSnapshot(RUN)]
    snapshot = Restored(RUN, 6)
    got = follower.restored(snapshot, 0.4)
    assert got[0] is snapshot
    assert [a.event.seq for a in got[1:] if isinstance(a, Deliver)] == [7]  # it came before the snapshot


def test_a_gap_is_asked_for_at_once_and_what_came_early_is_kept() -> None:
    world = live()
    world.publish(RUN, 0)
    world.publish(RUN, 1)
    assert list(world.questions) == [AskSince(RUN, 1)]
    world.answer(well=True, page=1)
    assert world.read == world.published  # the second one was not asked for again
    assert not world.questions


def test_the_last_event_lost_is_found_by_the_head_in_a_beat() -> None:
    world = live()
    world.publish(RUN, 0)
    for _ in range(3):
        world.beat()
    assert list(world.questions) == [AskSince(RUN, 1)]


@pytest.mark.parametrize("what", ["restart", "beats missed", "silence"])
def test_heads_are_asked_for_after(what: str) -> None:
    world = live()
    world.beat()
    if what == "restart":
        world.boot += 1
        world.beat()
    elif what == "beats missed":
        world.beats += 5
        world.beat()
    else:
        world.now += 10.5
        world.do(world.follower.tick(world.now))
    assert list(world.questions) == [AskHeads((RUN,))]


def test_a_reconnection_asks_for_heads_at_its_first_beat() -> None:
    world = live()
    world.do(world.follower.reconnected(world.now))
    assert not world.questions
    world.beat()
    assert list(world.questions) == [AskHeads((RUN,))]


def test_what_changed_beneath_a_prefix_meanwhile_is_found_and_nothing_else() -> None:
    old, changed, new = (f"job/{'0' * 25}{k}/" for k in range(3))
    follower = Follower(["job/"], 0.0)
    base, after = AskHeads(("job/",)), AskHeads(("job/",))
    assert follower.beat(Heartbeat(boot="a", beat=1), 0.1) == [Link("live", 0.0), base]
    assert follower.heads(base, {old: 4, changed: 2}, 0.2) == []  # those that are there are not taken up
    assert follower.beat(Heartbeat(boot="a", beat=2), 1.1) == []
    assert follower.beat(Heartbeat(boot="a", beat=30), 1.2) == [after]  # it slept
    asked = follower.heads(after, {old: 4, changed: 3, new: 1}, 1.3)
    assert asked == [AskSnapshot(changed), AskSnapshot(new)]
    follower.restored(Restored(new, 1), 1.4)
    follower.drop(changed)  # it was deleted
    again = AskHeads((new, "job/"))
    assert follower.beat(Heartbeat(boot="a", beat=60), 1.5) == [again]
    assert follower.heads(again, {old: 4, changed: 3, new: 1}, 1.6) == []


def test_four_beats_missed_ask_nothing() -> None:
    world = live()
    world.beat()
    world.beats += 3
    world.beat()
    assert not world.questions


def test_events_that_are_gone_are_replaced_by_a_snapshot() -> None:
    world = live()
    for _ in range(3):
        world.publish(RUN, 0)
    world.seal(RUN)
    world.publish(RUN, 1)
    world.answer(well=True)
    assert list(world.questions) == [AskSnapshot(RUN)]
    world.answer(well=True)
    assert world.read == world.published


def test_a_store_that_went_back_in_time_is_taken_as_it_is() -> None:
    world = live()
    world.publish(RUN, 1)
    world.published[RUN].pop()  # restored from a backup
    world.read[RUN].pop()  # the reader must accept going back
    world.restart()
    world.settle()
    assert world.read == world.published


def test_a_failed_question_is_asked_again_after_a_while_and_not_before() -> None:
    follower = Follower([RUN], 0.0)
    follower.beat(Heartbeat(boot="a", beat=1), 0.0)
    follower.failed(AskSnapshot(RUN), 0.0)
    assert AskSnapshot(RUN) not in follower.tick(0.5)
    assert AskSnapshot(RUN) in follower.tick(1.1)


def test_the_link_ages() -> None:
    follower = Follower([RUN], 0.0)
    assert follower.link == Link("connecting")
    follower.beat(Heartbeat(boot="a", beat=1), 1.0)
    states = [a.state for t in (2.0, 4.5, 5.0, 11.5, 12.0) for a in follower.tick(t) if isinstance(a, Link)]
    assert states == ["stale", "lost"]
    assert follower.link == Link("lost", 11.0)
    assert follower.beat(Heartbeat(boot="a", beat=12), 12.0)[0] == Link("live", 0.0)


def test_an_event_without_a_seq_is_delivered_as_it_comes() -> None:
    follower = Follower([JOB], 0.0)
    event = JobProgress(job="j", done=1, total=2)
    [delivery] = follower.event(JOB, event, {}, 0.0)
    assert isinstance(delivery, Deliver)
    assert delivery.event is event


def test_topics_that_have_no_past_are_not_asked_for() -> None:
    follower = Follower(["log/01ARZ3NDEKTSV4RRFFQ69G5FAW/", "window/"], 0.0)
    assert follower.beat(Heartbeat(boot="a", beat=1), 0.0) == [Link("live", 0.0)]
    assert follower.beat(Heartbeat(boot="b", beat=1), 1.0) == []
    line = LogLine(job="j", level="info", text="x")
    assert [type(a) for a in follower.event("log/01ARZ3NDEKTSV4RRFFQ69G5FAW/", line, {}, 1.1)] == [Deliver]


def test_topics_beneath_a_prefix_are_taken_up_when_they_change() -> None:
    follower = Follower(["job/"], 0.0)
    assert follower.beat(Heartbeat(boot="a", beat=1), 0.0) == [Link("live", 0.0), AskHeads(("job/",))]
    assert follower.event(JOB, epoch(4), {}, 0.1) == [AskSnapshot(JOB)]
    assert follower.event(RUN, epoch(4), {}, 0.1) == []
    other = JOB.replace("W/", "X/")
    assert AskSnapshot(other) in follower.beat(Heartbeat(boot="a", beat=2, heads={other: 9}), 1.0)


def test_what_is_held_is_bounded_and_what_did_not_fit_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f, "HOLD_BYTES", 10_000)
    follower = Follower([RUN], 0.0)
    follower.beat(Heartbeat(boot="a", beat=1), 0.0)
    follower.restored(Restored(RUN, 0), 0.0)
    row = {"loss": np.zeros(1000, "<f4")}
    questions = [a for seq in range(2, 40) for a in follower.event(RUN, epoch(seq), row, 0.1)]
    assert questions == [AskSince(RUN, 0)]
    assert follower._topics[RUN].held_bytes <= 10_000
    got = follower.replayed(RUN, [(epoch(1), row)], 39, False, 0.2)
    assert [a.event.seq for a in got if isinstance(a, Deliver)] == [1, 2, 3]
    assert got[-1] == AskSince(RUN, 3)
    assert follower._topics[RUN].held_bytes == 0


def test_many_topics_are_asked_for_in_pages() -> None:
    names = [f"run/{k:026}/" for k in range(450)]
    follower = Follower(names, 0.0)
    follower.beat(Heartbeat(boot="a", beat=1), 0.0)
    asked = [a for a in follower.beat(Heartbeat(boot="b", beat=1), 1.0) if isinstance(a, AskHeads)]
    assert [len(a.topics) for a in asked] == [200, 200, 50]


def test_many_early_events_do_not_slow_it_down() -> None:
    """Each early event costs the same: the cost does not grow with how many wait."""
    follower = Follower([RUN], 0.0)
    follower.beat(Heartbeat(boot="a", beat=1), 0.0)
    follower.restored(Restored(RUN, 0), 0.0)
    for seq in range(2, 60_000):
        follower.event(RUN, epoch(seq), {}, 0.1)
    got = follower.replayed(RUN, [(epoch(1), {})], 60_000, False, 0.2)
    assert len([a for a in got if isinstance(a, Deliver)]) > 30_000
