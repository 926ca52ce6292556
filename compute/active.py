"""What the parts of the service share: a job in work, where messages go, how an event is stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from numpy.typing import NDArray

from compute.store import ENDS, JobRecord, Tables
from protocol.messages import (
    EventMessage,
    JobStateEvent,
    Message,
)
from protocol.pace import Pace
from protocol.sheet import Came, Sheet

AHEAD = 3  # rows leased at once, at the beginning

Arrays = dict[str, NDArray[Any]]
Told = list[tuple[str, EventMessage, Arrays]]
"""Events to be stored and published: topic, event, arrays."""


class Post(Protocol):
    """Where messages go."""

    def publish(self, topic: str, event: EventMessage, arrays: Arrays | None = None) -> None:
        """To every subscriber of the topic."""
        ...

    def to_worker(self, peer: bytes, message: Message) -> None:
        """To one worker."""
        ...


@dataclass(eq=False)
class Active:
    """A job that a worker has, or whose surface is being sealed."""

    job: str
    kind: str
    started: float
    pace: Pace
    sheet: Sheet | None = None
    surface: str = ""
    leased: list[tuple[int, int]] = field(default_factory=list)  # oldest first: the one in work
    came: list[Came] = field(default_factory=list)  # rows that came and are not on their way into the store yet
    writing: int = 0  # groups of rows on their way into the store
    ahead: int = AHEAD  # rows it may have, so that it never waits for a commit
    ended: bool = False  # the lease without rows is sent
    sealing: bool = False
    told: float = 0.0
    measured: float | None = None  # calibrated seconds for what was to be done at the start
    samples: int = 0
    epochs: int = 0  # of a training, done by this worker

    def left_s(self, now: float) -> float | None:
        """Seconds until it is done: by its pace, and before it has one by what its beginning was timed to take."""
        left = self.pace.left_s(now)
        if left is None and self.measured is not None:
            left = max(0.0, self.measured - (now - self.started))
        return left


def utc() -> str:
    """Now, for records."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def job_state(job: JobRecord) -> JobStateEvent:
    """The event that tells a job's state."""
    ended = job.state in ENDS
    return JobStateEvent(
        job=job.id,
        state=job.state,
        kind=job.kind,
        name=job.name,
        result=job.result if ended else None,
        error=job.error,
        run=job.run,
        surface=job.surface,
    )


def persisted(t: Tables, topic: str, event: EventMessage, arrays: Arrays) -> EventMessage:
    """The event with its seq, stored."""
    seq, _ = t.append_message(topic, event, arrays)
    return msgspec.structs.replace(event, seq=seq)
