"""Flags of every command that makes a job, and the submission that comes of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from protocol.client import Client
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.messages import Execution, Spec
from protocol.requests import JobInfo, Submitted
from tui import things
from tui.session import Common

JOB = Group("Job", sort_key=60)


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class JobFlags:
    """How a job is queued."""

    detach: Annotated[
        bool,
        Parameter(group=JOB, negative=(), show_default=False, help="Return at once; `thalweg jobs watch` follows it."),
    ] = False
    name: Annotated[str | None, Parameter(group=JOB, help="Name for the job and its result, instead of an id.")] = None
    priority: Annotated[int, Parameter(group=JOB, help="-100 to 100; higher ones are done first.")] = 0
    after: Annotated[
        list[str] | None,
        Parameter(group=JOB, negative=(), help="Job that has to be done first; may be repeated."),
    ] = None
    on_conflict: Annotated[
        Literal["existing", "new", "error"],
        Parameter(
            group=JOB,
            help="Where the same was asked before: `existing` gives that result at once, `new` does it again, "
            "`error` refuses.",
        ),
    ] = "existing"
    no_daemon: Annotated[
        bool,
        Parameter(
            group=JOB,
            negative=(),
            show_default=False,
            help="Do it in this command alone: Ctrl-C then stops it, and the daemon learns of the result when it "
            "starts the next time.",
        ),
    ] = False


def alone(job: JobFlags | None, common: Common) -> bool:
    """Whether the command does its job itself. Raises InputError for flags that need a daemon then."""
    if job is None or not job.no_daemon:
        return False
    plain = JobFlags()
    for name in ("detach", "name", "priority", "after", "on_conflict"):
        if getattr(job, name) != getattr(plain, name):
            raise InputError(f"--{name.replace('_', '-')}: expected a daemon, got --no-daemon too: leave one out")
    if common.elsewhere:
        raise InputError("--no-daemon: expected a workspace here, got another machine too: leave one out")
    return True


def submitted(client: Client, spec: Spec, flags: JobFlags | None, execution: Execution, name: str = "") -> Submitted:
    """One job of a submission, with what was typed. Raises InputError with the flag's name."""
    flags = flags or JobFlags()
    if not -100 <= flags.priority <= 100:
        raise InputError(f"--priority: expected -100 to 100, got {flags.priority}")
    if len(flags.name or "") > 200:
        raise InputError(f"--name: expected at most 200 characters, got {len(flags.name or '')}")
    return Submitted(
        job=new_id(),
        spec=spec,
        name=flags.name or name,
        priority=flags.priority,
        device=execution.device,
        execution=None if execution == Execution() else execution,
        after=tuple(things.job(client, j).job for j in flags.after or ()),
        on_conflict=flags.on_conflict,
    )


def was_there(job: JobInfo) -> bool:
    """Whether a job that is done got the result of an earlier one, without being started."""
    return job.state == "done" and not job.started
