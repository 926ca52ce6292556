"""The job table, pure: a table and a command go in, a new table and what has to be done come out.

No socket, file or clock: times and ids are arguments. What comes out is done by the daemon, in this order: `Save`
records in one transaction, then what follows from the commit (`Resolve`, `Tell`, events). A command that cannot be
obeyed raises InputError and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec

from compute import references
from compute.store.records import ENDS, JobRecord
from protocol import states
from protocol.errors import Code, InputError
from protocol.messages import Done, Execution, Spec
from protocol.requests import Submitted
from protocol.states import Happening

Lane = Literal["device", "light"]
LANES: dict[str, Lane] = {
    "train": "device",
    "plane": "device",
    "surface": "device",
    "analysis": "light",  # a surface that takes hours must not hold up an export
    "export": "light",
    "import": "light",
}
MAX_TRIES = 3  # workers that may die on a job, with nothing stored in between, before it is given up
MAX_ERROR = 4000  # characters: it stands in headers of at most 64 KiB, and may list all models


@dataclass(frozen=True)
class Save:
    """Store this record, and publish its state where that changed."""

    job: JobRecord
    changed: bool = True


@dataclass(frozen=True)
class Resolve:
    """The inputs of this job exist: replace its references, compute its identity, look for a result."""

    job: JobRecord


@dataclass(frozen=True)
class Tell:
    """Say this to the worker that runs the job."""

    job: str
    what: Literal["cancel", "pause"]
    when: Literal["now", "boundary"] = "now"


Effect = Save | Resolve | Tell


@dataclass(frozen=True)
class Table:
    """Jobs that have not ended, by id. `number` is the last one given."""

    jobs: Mapping[str, JobRecord] = field(default_factory=dict)
    number: int = 0

    def get(self, job: str) -> JobRecord:
        """The job of this id. Raises InputError where it has ended or never was."""
        if job not in self.jobs:
            raise InputError(f"job: expected one that has not ended, got {job}", code="not_found", path="$.job")
        return self.jobs[job]


Outcome = tuple[Table, list[Effect]]


def loaded(records: Iterable[JobRecord], number: int) -> Outcome:
    """The table after a start of the daemon: what was running is queued again, what was being stopped is stopped."""
    table, effects = Table({r.id: r for r in records if r.state not in ENDS}, number), []
    for record in list(table.jobs.values()):
        if record.state in ("running", "pausing", "cancelling"):
            table, more = _step(table, record, "requeue")
            effects += more
    for record in list(table.jobs.values()):
        if (record.state == "waiting" and not _open(table, record)) or (
            record.state == "queued" and record.identity is None and record.kind != "import"
        ):
            effects.append(Resolve(record))
    return table, effects


def submit(table: Table, submitted: Sequence[Submitted], ended: Mapping[str, JobRecord], now: str) -> Outcome:
    """Take jobs, all or none. `ended` holds the ended jobs among those that they wait for.

    Raises InputError: an id used twice, a dependency that is not known, that failed, or that would be a circle.
    """
    new: dict[str, JobRecord] = {}
    for k, s in enumerate(submitted):
        if s.job in new or s.job in table.jobs or s.job in ended:
            raise InputError(
                f"jobs[{k}].job: expected a new id, {s.job} is in use", code="exists", path=f"$.jobs[{k}].job"
            )
        after = tuple(dict.fromkeys((*s.after, *sorted(references.jobs_of(s.spec)))))
        for other in after:
            if other not in new and other not in table.jobs and other not in ended:
                raise InputError(
                    f"jobs[{k}].after: expected a known job, or one earlier in this submission, got '{other}'",
                    code="not_found",
                    path=f"$.jobs[{k}].after",
                )
            if other in ended and ended[other].state != "done":
                raise InputError(
                    f"jobs[{k}].after: job {other[-6:]} ended {ended[other].state}: retry it first",
                    code="wrong_state",
                    path=f"$.jobs[{k}].after",
                )
        new[s.job] = JobRecord(
            id=s.job,
            number=table.number + len(new) + 1,
            kind=type(s.spec).__struct_config__.tag,  # type: ignore[arg-type]
            spec=s.spec,
            name=s.name,
            priority=s.priority,
            device=s.device,
            execution=s.execution,
            after=after,
            on_conflict=s.on_conflict,
            state="waiting",
            created=now,
        )
    table = replace(table, jobs={**table.jobs, **new}, number=table.number + len(new))
    effects: list[Effect] = [Save(record) for record in new.values()]
    effects += [Resolve(record) for record in new.values() if not _open(table, record)]
    return table, effects


def ready(table: Table, job: str, spec: Spec, identity: str | None, existing: JobRecord | None, now: str) -> Outcome:
    """A waiting job's inputs exist: queue it, or give it the result that the same question already has."""
    record = table.get(job)
    record = msgspec.structs.replace(record, spec=spec, identity=identity)
    if record.state == "waiting":
        table, effects = _step(table, record, "ready")
    else:
        table, effects = _put(table, record), [Save(record, changed=False)]
    record = table.get(job)
    if existing is None or record.on_conflict == "new" or record.state != "queued":
        return table, effects
    if record.on_conflict == "error":
        table, more = failed(
            table, job, "exists", f"the same was asked before: job {existing.id[-6:]} has the result", now
        )
    else:
        table, more = _step(table, msgspec.structs.replace(record, result=existing.result), "existing", now)
        more = [*more, *_woken(table, job)]
    return table, more  # the state in between is never seen


def next_job(table: Table, belongs: Callable[[JobRecord], bool], besides: Container[str] = ()) -> JobRecord | None:
    """The queued job that a free worker takes, of those that belong to it: highest priority, then first come.
    `besides`: jobs that are for another one."""
    fit = [
        r
        for r in table.jobs.values()
        if r.state == "queued" and (r.identity is not None or r.kind == "import") and r.id not in besides and belongs(r)
    ]
    return min(fit, key=lambda r: (-r.priority, r.number), default=None)


def started(table: Table, job: str, now: str, **works_on: str | None) -> Outcome:
    """A worker takes the job; `works_on` names the `run` or `surface` it makes, which stays its own over restarts."""
    record = table.get(job)
    return _step(table, msgspec.structs.replace(record, started=record.started or now, **works_on), "start")


def begun(table: Table, job: str, execution: Execution, total: int) -> Outcome:
    """The worker has read the inputs: the execution is fixed."""
    record = msgspec.structs.replace(table.get(job), execution=execution, total=total)
    return _put(table, record), [Save(record, changed=False)]


def progressed(table: Table, job: str, done: int, total: int) -> Table:
    """How far it is; kept in memory, stored with the next change of state."""
    return _put(table, msgspec.structs.replace(table.get(job), done=done, total=total))


def advanced(table: Table, job: str) -> Table:
    """Something new of it is stored: workers that died before that do not count any more."""
    return _put(table, msgspec.structs.replace(table.get(job), tries=0))


def finished(table: Table, job: str, result: Done, now: str) -> Outcome:
    """The job is done; those that wait for it alone become ready."""
    record = msgspec.structs.replace(table.get(job), result=result)
    record = msgspec.structs.replace(record, done=max(record.done, record.total))
    table, effects = _step(table, record, "finish", now)
    return table, [*effects, *_woken(table, job)]


def failed(table: Table, job: str, code: Code, msg: str, now: str) -> Outcome:
    """The job cannot be done; nor can those that wait for it, and their error names it."""
    record = msgspec.structs.replace(table.get(job), code=code, error=msg[:MAX_ERROR])
    table, effects = _step(table, record, "fail", now)
    return _fail_dependants(table, effects, record, now)


def released(table: Table, job: str, now: str) -> Outcome:
    """The worker has let go at a boundary: the job is paused or cancelled, as was asked; else it is queued again."""
    record = table.get(job)
    if record.state == "cancelling":
        table, effects = _step(table, record, "cancelled", now)
        return _fail_dependants(table, effects, record, now)
    return _step(table, record, "paused" if record.state == "pausing" else "requeue")


def lost(table: Table, job: str, why: str, now: str) -> Outcome:
    """The worker died: the job is queued again, or given up when it has killed three."""
    record = table.get(job)
    record = msgspec.structs.replace(record, tries=record.tries + 1)
    if record.tries >= MAX_TRIES and record.state == "running":
        return failed(
            _put(table, record), job, "internal", f"{record.tries} workers died on it, the last one {why}", now
        )
    table, effects = _step(table, record, "requeue", now)
    if table.jobs.get(job) is None:  # it was being cancelled
        return _fail_dependants(table, effects, record, now)
    return table, effects


def cancel(table: Table, job: str, when: Literal["now", "boundary"], now: str) -> Outcome:
    """Cancel a job: at once where no worker has it, else the worker is told."""
    record = table.get(job)
    had = record.state
    table, effects = _step(table, record, "cancel", now)
    if had in ("running", "pausing", "cancelling"):
        return table, [*effects, Tell(job, "cancel", when)]
    return _fail_dependants(table, effects, record, now)


def pause(table: Table, job: str) -> Outcome:
    """Pause a job: at once where no worker has it, else the worker is told."""
    record = table.get(job)
    had = record.state
    table, effects = _step(table, record, "pause")
    return table, [*effects, Tell(job, "pause")] if had == "running" else effects


def resume(table: Table, job: str) -> Outcome:
    """Queue a paused job again."""
    record = msgspec.structs.replace(table.get(job), error=None, code=None)
    return _step(table, record, "resume")


def held(table: Table, job: str, code: Code, why: str) -> Outcome:
    """A running job cannot go on for now (no space): it is paused with the reason; the worker is told."""
    record = msgspec.structs.replace(table.get(job), code=code, error=why[:MAX_ERROR])
    table = _put(table, record)
    return pause(table, job) if record.state == "running" else (table, [Save(record, changed=False)])


def retry(table: Table, record: JobRecord) -> Outcome:
    """Queue a failed or cancelled job again; what it had committed is kept."""
    again = msgspec.structs.replace(record, error=None, code=None, tries=0, ended="", result=None)
    waits = _open(table, again)
    event: Happening = "retry_waiting" if waits or again.identity is None else "retry"
    table, effects = _step(table, again, event)
    if event == "retry_waiting" and not waits:
        effects.append(Resolve(table.get(record.id)))
    return table, effects


def move(table: Table, job: str, priority: int) -> Outcome:
    """Change the priority of a job that has not ended."""
    record = msgspec.structs.replace(table.get(job), priority=priority)
    return _put(table, record), [Save(record, changed=False)]


# ---------------------------------------------------------------- pieces


def _put(table: Table, record: JobRecord) -> Table:
    jobs = dict(table.jobs)
    if record.state in ENDS:
        jobs.pop(record.id, None)
    else:
        jobs[record.id] = record
    return replace(table, jobs=jobs)


def _step(table: Table, record: JobRecord, event: Happening, now: str = "") -> Outcome:
    state = states.step(record.state, event)
    record = msgspec.structs.replace(record, state=state, ended=now if state in ENDS else record.ended)
    return _put(table, record), [Save(record)]


def _open(table: Table, record: JobRecord) -> bool:
    """Whether a job it waits for has not ended."""
    return any(other in table.jobs for other in record.after)


def _woken(table: Table, job: str) -> list[Effect]:
    return [Resolve(r) for r in table.jobs.values() if r.state == "waiting" and job in r.after and not _open(table, r)]


def _fail_dependants(table: Table, effects: list[Effect], root: JobRecord, now: str) -> Outcome:
    """Those that wait for a job that failed or was cancelled fail too, and so on down."""
    gone = [root]
    while gone:
        cause = gone.pop()
        for record in list(table.jobs.values()):
            if record.state == "waiting" and cause.id in record.after:
                name = f"'{cause.name}'" if cause.name else f"{cause.kind} {cause.id[-6:]}"
                record = msgspec.structs.replace(
                    record, code="wrong_state", error=f"it waits for the job {name}, which did not end well"
                )
                table, more = _step(table, record, "dependency_failed", now)
                effects = [*effects, *more]
                gone.append(record)
    return table, effects
