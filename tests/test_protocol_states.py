"""The job states: the whole table, walked."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import InputError
from protocol.states import BEGINNINGS, ENDS, HAPPENINGS, STATES, TABLE, Happening, State, step

PAIRS = [(s, h) for s in get_args(State) for h in get_args(Happening)]


@pytest.mark.parametrize(("state", "happening"), PAIRS)
def test_every_pair_steps_or_raises_and_says_why(state: State, happening: Happening) -> None:
    if happening in TABLE[state]:
        assert step(state, happening) in STATES
        return
    with pytest.raises(InputError, match=f"it is {state}; '{happening}' needs") as refused:
        step(state, happening)
    assert refused.value.code == "wrong_state"


def test_the_table_has_a_line_for_every_state() -> None:
    assert set(TABLE) == STATES


def test_every_happening_is_allowed_somewhere() -> None:
    assert {h for line in TABLE.values() for h in line} == set(HAPPENINGS)


@pytest.mark.parametrize("beginning", sorted(BEGINNINGS))
def test_every_end_is_reachable(beginning: State) -> None:
    seen, todo = {beginning}, [beginning]
    while todo:
        for after in TABLE[todo.pop()].values():
            if after not in seen:
                seen.add(after)
                todo.append(after)
    assert seen >= ENDS


def test_an_end_can_be_reached_from_every_state() -> None:
    reaching = set(ENDS)
    for _ in STATES:
        reaching |= {s for s in STATES if reaching & set(TABLE[s].values())}
    assert reaching == STATES


def test_done_is_final() -> None:
    assert not TABLE["done"]


@pytest.mark.parametrize(
    ("before", "after"), [("running", "queued"), ("pausing", "paused"), ("cancelling", "cancelled")]
)
def test_a_restart_keeps_what_was_asked_for(before: State, after: State) -> None:
    assert step(before, "requeue") == after


@given(st.sampled_from(sorted(BEGINNINGS)), st.lists(st.sampled_from(HAPPENINGS), max_size=60))
def test_a_refused_event_changes_nothing(state: State, happenings: list[Happening]) -> None:
    for happening in happenings:
        try:
            after = step(state, happening)
        except InputError:
            assert happening not in TABLE[state]
            continue
        assert after in STATES
        if after == "running":
            assert (state, happening) == ("queued", "start")  # nothing runs that was not queued
        state = after
