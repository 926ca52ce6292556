"""Job states and their transitions, as a table; zero I/O, after h11's `_state.py`.

    waiting --ready--> queued --start--> running --finish--> done
                       ^    |            |     |
                 resume|    |pause  pause|     |cancel
                       |    v            v     v
                       paused <------ pausing  cancelling --> cancelled --retry--> queued

`step` is the only way from one state to the next: what the table does not hold raises, and nothing was changed.
"""

from __future__ import annotations

from typing import Literal, get_args

from protocol.errors import InputError
from protocol.messages import State

Happening = Literal[
    "ready",  # all of `after` is done, the inputs exist
    "dependency_failed",  # one of `after` failed or was cancelled
    "existing",  # a result of the same identity was already there
    "start",  # a worker took it
    "pause",  # somebody asked; also: no space left
    "paused",  # the worker reached the row or step where it lets go
    "resume",
    "cancel",
    "cancelled",  # the worker reached the row or step where it stops
    "finish",
    "fail",
    "requeue",  # the worker died, or the daemon was restarted
    "retry",
    "retry_waiting",  # a retry of a job whose `after` has not ended yet
]

STATES: frozenset[State] = frozenset(get_args(State))
HAPPENINGS: tuple[Happening, ...] = get_args(Happening)
ENDS: frozenset[State] = frozenset({"done", "failed", "cancelled"})
BEGINNINGS: frozenset[State] = frozenset({"waiting", "queued"})

TABLE: dict[State, dict[Happening, State]] = {
    "waiting": {"ready": "queued", "dependency_failed": "failed", "fail": "failed", "cancel": "cancelled"},
    "queued": {
        "start": "running",
        "pause": "paused",
        "cancel": "cancelled",
        "existing": "done",
        "fail": "failed",
    },
    "running": {
        "pause": "pausing",
        "cancel": "cancelling",
        "finish": "done",
        "fail": "failed",
        "requeue": "queued",
    },
    # What was asked for before a restart still holds after it: pausing ends paused, cancelling ends cancelled.
    "pausing": {
        "paused": "paused",
        "finish": "done",
        "fail": "failed",
        "cancel": "cancelling",
        "requeue": "paused",
    },
    "cancelling": {
        "cancel": "cancelling",  # `boundary` becomes `now`
        "cancelled": "cancelled",
        "finish": "done",  # the last row was in progress
        "fail": "failed",
        "requeue": "cancelled",
    },
    "paused": {"resume": "queued", "cancel": "cancelled"},
    "done": {},
    "failed": {"retry": "queued", "retry_waiting": "waiting"},
    "cancelled": {"retry": "queued", "retry_waiting": "waiting"},
}


def step(state: State, event: Happening) -> State:
    """The state after `event`. Raises InputError (`wrong_state`), naming the states that would allow it."""
    after = TABLE[state].get(event)
    if after is None:
        allowed = " or ".join(s for s in TABLE if event in TABLE[s])
        raise InputError(f"job: it is {state}; '{event}' needs a job that is {allowed}", code="wrong_state")
    return after
