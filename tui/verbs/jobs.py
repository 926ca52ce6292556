"""`thalweg jobs list|show|watch|cancel|pause|resume|retry|move|logs`: what the daemon does, did and will do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from protocol.client import Client
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.messages import State
from protocol.requests import (
    JobCancel,
    JobInfo,
    JobMove,
    JobPause,
    JobReply,
    JobResume,
    JobRetry,
    LogTail,
    Request,
)
from protocol.states import ENDS
from tui import follow, outcome, progress, reach, session, things
from tui.interrupt import interrupts
from tui.reach import Reach
from tui.session import Common
from tui.tables import table
from tui.workspace import SHORT

GLYPHS = {
    "waiting": "◌", "queued": "◐", "running": "●", "pausing": "◑", "paused": "‖",
    "cancelling": "◑", "done": "✓", "failed": "✗", "cancelled": "–",
}  # fmt: skip
Jobs = Annotated[
    list[str], Parameter(negative=(), help="Jobs: their ids, the last characters of them, names, or `last`.")
]
Job = Annotated[str, Parameter(help="Job: its id, the last characters of it, its name, or `last`.")]


def jobs_list(
    *,
    state: Annotated[
        list[State] | None, Parameter(negative=(), help="Only jobs in this state; may be repeated.")
    ] = None,
    limit: Annotated[int, Parameter(help="How many of the newest.")] = 20,
    common: Common | None = None,
) -> None:
    """List jobs, newest last."""
    common = session.common(common)
    if limit < 1:
        raise InputError(f"--limit: expected at least 1, got {limit}")
    with reach.maybe(common) as there:
        found = [] if there is None else list(things.newest_jobs(there.client, tuple(state or ()), limit))
    found.reverse()
    if common.json:
        for job in found:
            progress.print_json(job)
        return
    table(
        ("job", "state", "what", "name", "done", "asked", "took"),
        [
            (
                job.job[-SHORT:],
                state_text(job.state),
                follow.title(job),
                job.name or "-",
                share(job),
                clock(job.created),
                took(job),
            )
            for job in found
        ],
        empty="no job" + (f" that is {' or '.join(state)}" if state else " yet: thalweg train --preset demo"),
    )


def state_text(state: str) -> str:
    """Glyph and word on a terminal, the word alone for programs."""
    return f"{GLYPHS[state]} {state}" if sys.stdout.isatty() else state


def share(job: JobInfo) -> str:
    """How far a job is: `61 %`, or a dash where that says nothing."""
    if job.state == "done":
        return "100 %" if job.started else "known"  # the same was asked before
    return f"{100 * job.done / job.total:.0f} %" if job.total else "-"


def clock(stamp: str) -> str:
    """A time of the store as local time: `11-24 12:03`."""
    try:
        return datetime.fromisoformat(stamp).astimezone().strftime("%m-%d %H:%M")
    except ValueError:
        return "-"


def took(job: JobInfo) -> str:
    """How long a job took, or has taken so far."""
    try:
        start = datetime.fromisoformat(job.started)
        end = datetime.fromisoformat(job.ended) if job.ended else datetime.now(start.tzinfo)
    except ValueError:
        return "-"
    return (
        progress.seconds_text(max(0.0, (end - start).total_seconds())) if job.ended or job.state == "running" else "-"
    )


def jobs_show(job: Job, /, *, common: Common | None = None) -> None:
    """Show one job: what was asked, how far it is, what it gave."""
    common = session.common(common)
    with reach.daemon(common) as there:
        found = things.job(there.client, job)
        if common.json:
            progress.print_json(found)
            return
        for line in job_lines(found, there):
            print(line)


def job_lines(job: JobInfo, there: Reach) -> list[str]:
    """A job for a person."""
    lines = [f"job {job.job}" + (f" '{job.name}'" if job.name else ""), f"  {follow.title(job)}, {job.state}"]
    if job.error:
        lines.append(f"  {job.error}")
    if job.state not in ENDS and job.total:
        lines.append(f"  {job.done} of {job.total} done")
    lines.append(f"  asked {clock(job.created)}, started {clock(job.started)}, ended {clock(job.ended)}; {took(job)}")
    if job.priority:
        lines.append(f"  priority {job.priority}")
    if job.after:
        lines.append(f"  after {', '.join(a[-SHORT:] for a in job.after)}")
    if job.execution is not None:
        how = {f: getattr(job.execution, f) for f in job.execution.__struct_fields__}
        lines.append("  " + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in how.items() if v is not None))
    result = job.result
    for what in ("run", "plane", "surface"):
        if result is not None and getattr(result, what):
            short = getattr(result, what)[-SHORT:]
            lines.append(f"  gave {what} {short}: {there.hint(f'{what}s show {short}')}")
    lines += ["", *spec_lines(job.spec)]
    return lines


def spec_lines(spec: dict[str, Any], indent: str = "  ") -> list[str]:
    """What was asked, a line a field that says something."""
    out: list[str] = []
    for name, value in spec.items():
        if value in (None, {}, [], ""):
            continue
        if isinstance(value, dict):
            out += [f"{indent}{name.replace('_', ' ')}", *spec_lines(value, indent + "  ")]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            out.append(f"{indent}{name.replace('_', ' '):<16} {text}")
    return out


def jobs_watch(
    jobs: Annotated[
        list[str] | None, Parameter(negative=(), help="Jobs to follow; by default all that have not ended.")
    ] = None,
    /,
    *,
    common: Common | None = None,
) -> None:
    """Follow jobs to their end; Ctrl-C leaves them running."""
    common = session.common(common)
    with reach.daemon(common) as there, interrupts() as stop, progress.display(as_json=common.json) as show:
        chosen = (
            [things.job(there.client, j) for j in jobs]
            if jobs
            else [j for j in things.newest_jobs(there.client, (), 200) if j.state not in ENDS][::-1]
        )
        if not chosen:
            show.say("no job is left to watch: thalweg jobs list shows what was done")
            return
        first: Exception | None = None
        with follow.Follow(there, [j.job for j in chosen], show, stop) as following:
            for job in chosen:
                show.start(follow.title(job))
                try:
                    ended = following.until_end(job.job)
                except (InputError, follow.ChildError) as e:
                    first = first or e
                    show.failed(str(e))
                    continue
                show.done(outcome.text(there.client, ended))
                if common.json:
                    progress.print_json({"t": "result", "job": ended})
        if first is not None:
            raise first


def jobs_cancel(
    jobs: Jobs,
    /,
    *,
    when: Annotated[
        Literal["now", "boundary"],
        Parameter(help="`now`: at the next step or row. `boundary`: after the epoch or row in progress."),
    ] = "now",
    common: Common | None = None,
) -> None:
    """Cancel jobs; what they had stored is kept, and `thalweg jobs retry` goes on with it."""
    each(common, jobs, lambda job: JobCancel(id=new_id(), job=job, when=when))


def jobs_pause(jobs: Jobs, /, *, common: Common | None = None) -> None:
    """Pause jobs at the next step or row; others take their place."""
    each(common, jobs, lambda job: JobPause(id=new_id(), job=job))


def jobs_resume(jobs: Jobs, /, *, common: Common | None = None) -> None:
    """Go on with paused jobs."""
    each(common, jobs, lambda job: JobResume(id=new_id(), job=job))


def jobs_retry(jobs: Jobs, /, *, common: Common | None = None) -> None:
    """Queue failed or cancelled jobs again; what they had stored is kept."""
    each(common, jobs, lambda job: JobRetry(id=new_id(), job=job))


def jobs_move(
    jobs: Jobs,
    /,
    *,
    priority: Annotated[int, Parameter(help="-100 to 100; higher ones are done first.")],
    common: Common | None = None,
) -> None:
    """Change the priority of jobs that have not ended."""
    if not -100 <= priority <= 100:
        raise InputError(f"--priority: expected -100 to 100, got {priority}")
    each(common, jobs, lambda job: JobMove(id=new_id(), job=job, priority=priority))


def each(common: Common | None, jobs: list[str], ask: Callable[[str], Request]) -> None:
    """Ask the same of several jobs; all of them are found before anything is changed."""
    common = session.common(common)
    with reach.daemon(common) as there:
        ids = [things.job(there.client, j).job for j in jobs]
        for id in dict.fromkeys(ids):
            reply: JobReply = there.client.request(ask(id))
            tell(common, reply.job)


def tell(common: Common, job: JobInfo) -> None:
    """What a job is now, in a line."""
    if common.json:
        progress.print_json(job)
        return
    moved = f", priority {job.priority}" if job.priority else ""
    print(f"job {job.job[-SHORT:]} ({follow.title(job)}) is {job.state}{moved}")


def jobs_logs(
    job: Job,
    /,
    *,
    follow_on: Annotated[
        bool, Parameter(name="--follow", negative=(), show_default=False, help="Print what is added, until it ends.")
    ] = False,
    common: Common | None = None,
) -> None:
    """Print a job's log."""
    common = session.common(common)
    with reach.daemon(common) as there:
        found = things.job(there.client, job)
        at = print_log(there.client, found.job, -65536)
        if not at and not follow_on:
            print(f"job {found.job[-SHORT:]} has said nothing yet", file=sys.stderr)
        import time

        while follow_on and things.job(there.client, found.job).state not in ENDS:
            time.sleep(0.3)
            at = print_log(there.client, found.job, at)
        print_log(there.client, found.job, at)


def print_log(client: Client, job: str, offset: int) -> int:
    """Print a log from there on; where its end is now."""
    while True:
        reply, arrays = client.call(LogTail(id=new_id(), job=job, offset=offset))
        text = arrays["text"].tobytes() if "text" in arrays else b""
        sys.stdout.write(text.decode("utf-8", "replace"))
        sys.stdout.flush()
        offset = reply.offset + len(text)
        if not text or offset >= reply.total:
            return int(offset)
