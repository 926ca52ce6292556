"""Jobs: the queue as it is stored."""

from __future__ import annotations

from collections.abc import Sequence

from protocol.errors import InputError
from protocol.messages import State

from . import columns
from .base import Base
from .records import ENDS, JobRecord

_SELECT = f"SELECT {columns.select(JobRecord)} FROM jobs"


class Jobs(Base):
    """Job records, by id, state, order and identity."""

    def put_job(self, job: JobRecord) -> None:
        """Insert a job, or replace the record of the one with this id."""
        columns.insert(self.db, "jobs", job, key="id")

    def set_progress(self, job: str, done: int, total: int) -> None:
        """How far a job is."""
        self.db.execute("UPDATE jobs SET done = ?, total = ? WHERE id = ?", (done, total, job))

    def get_job(self, job: str) -> JobRecord | None:
        """A job by its id."""
        return self.one(JobRecord, "jobs", "id", job)

    def load_jobs(self) -> list[JobRecord]:
        """Every job that has not ended, in the order of their submission."""
        marks = ", ".join("?" * len(ENDS))
        rows = self.db.execute(f"{_SELECT} WHERE state NOT IN ({marks}) ORDER BY number, id", ENDS)
        return [columns.record(JobRecord, row) for row in rows]

    def list_jobs(
        self, states: Sequence[State] = (), limit: int = 50, cursor: str | None = None
    ) -> tuple[list[JobRecord], str | None]:
        """Jobs in these states (none: in any), newest first, and the cursor of the next page (None: that was all)."""
        number, id = _cursor(cursor)
        chosen = f"state IN ({', '.join('?' * len(states))})" if states else "1"
        rows = self.db.execute(
            f"{_SELECT} WHERE {chosen} AND (number, id) < (?, ?) ORDER BY number DESC, id DESC LIMIT ?",
            (*states, number, id, limit + 1),
        ).fetchall()
        found = [columns.record(JobRecord, row) for row in rows[:limit]]
        return found, f"{found[-1].number}-{found[-1].id}" if len(rows) > limit else None

    def job_by_identity(self, identity: str) -> str | None:
        """The id of the newest job that is done and gave the result of this identity."""
        row = self.db.execute(
            "SELECT id FROM jobs WHERE identity = ? AND state = 'done' ORDER BY number DESC, id DESC LIMIT 1",
            (identity,),
        ).fetchone()
        return None if row is None else str(row[0])

    def count_jobs(self) -> dict[str, int]:
        """How many jobs there are in each state."""
        return dict(self.db.execute("SELECT state, count(*) FROM jobs GROUP BY state ORDER BY state"))

    def last_number(self) -> int:
        """The greatest order number of a job, 0 where there is none."""
        (number,) = self.db.execute("SELECT coalesce(max(number), 0) FROM jobs").fetchone()
        return int(number)


def _cursor(cursor: str | None) -> tuple[int, str]:
    if cursor is None:
        return 2**63 - 1, "~"
    number, _, id = cursor.partition("-")
    if not number.isdecimal() or int(number) >= 2**63:
        raise InputError(f"cursor: expected the `next` of an earlier page, got '{cursor[:40]}'", path="$.cursor")
    return int(number), id
