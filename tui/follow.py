"""Jobs of a daemon followed to their end: events become a display, Ctrl-C leaves them running.

One subscription holds the topics of the jobs and their logs; a second one the run or surface that the job in work
fills. What was missed (the daemon was restarted, this process slept) comes as a snapshot, and is told as events, each
epoch once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.client import Subscription
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.follower import Link
from protocol.messages import Event, JobProgress, JobStateEvent, LogLine, RunEpoch, SurfaceRow
from protocol.requests import JobGet, JobInfo, RunGet
from protocol.snapshots import Restored
from protocol.states import ENDS, STATES
from tui import progress
from tui.children import ChildError
from tui.interrupt import Interrupt, Left
from tui.reach import Reach
from tui.workspace import SHORT

TICK_S = 0.1
THING_AGAIN_S = 0.3  # a surface is there a moment after its job has begun
ERROR_S = 0.5  # an error line that the job's own error repeats need not be told twice
QUEUED_S = 3.0  # before a person is told why nothing happens

OnEvent = Callable[[Event, progress.Arrays], None]


def title(job: JobInfo) -> str:
    """A job in two or three words: `train resnet20`, `pca plane`, `surface`."""
    spec = job.spec
    if job.kind == "train":
        return f"train {spec.get('recipe', {}).get('model', 'resnet20')}"
    if job.kind == "plane":
        return f"{spec.get('direction', 'random')} plane"
    if job.kind in ("export", "import"):
        return f"{job.kind} {spec.get('format', 'npz')}"
    return str(spec.get("analysis", "critical")) + " points" if job.kind == "analysis" else job.kind


def failure(job: JobInfo, reach: Reach) -> Exception | None:
    """What a command says of a job that ended, None where it is done."""
    short = job.job[-SHORT:]
    if job.state == "failed":
        error = job.error or "it failed"
        if job.code == "internal":
            return ChildError(f"{error.rstrip('.')}; what it said: {reach.hint(f'jobs logs {short}')}")
        return InputError(error, code=job.code or "bad_request")  # type: ignore[arg-type]
    if job.state == "cancelled":
        return ChildError(f"job {short} was cancelled; go on with: {reach.hint(f'jobs retry {short}')}")
    return None


class Follow:
    """Follows jobs, one after the other in the order given; use as a context manager."""

    def __init__(self, reach: Reach, jobs: Sequence[str], show: progress.Display, stop: Interrupt) -> None:
        self._reach, self._show, self._stop = reach, show, stop
        self._order = list(jobs)
        self._infos: dict[str, JobInfo] = {}
        self._states: dict[str, JobStateEvent] = {}
        self._current = ""
        self._on_event: OnEvent = show.event
        self._jobs = reach.client.subscribe([f"{kind}/{job}/" for kind in ("job", "log") for job in jobs])
        self._thing: Subscription | None = None
        self._thing_topic = ""
        self._thing_at = 0.0
        self._epochs: set[int] = set()
        self._error: tuple[float, LogLine] | None = None
        self._lost = False

    def __enter__(self) -> Follow:
        return self

    def __exit__(self, *_: object) -> None:
        self._jobs.close()
        self._drop_thing()

    def until_end(self, job: str, on_event: OnEvent | None = None) -> JobInfo:
        """Show a job until it has ended; what it is then.

        Raises InputError or ChildError where it did not end well, Left at Ctrl-C.
        """
        self._current, self._on_event = job, on_event or self._show.event
        self._epochs.clear()
        began, told_queue = time.monotonic(), False
        self._take_up(job)
        while not self._ended(job):
            if self._stop.count:
                raise Left(self._left(job))
            self._reach.check()
            self._read(TICK_S)
            if not told_queue and time.monotonic() - began > QUEUED_S:
                told_queue = True
                self._say_why_it_waits(job)
        self._finish_thing()
        info: JobInfo = self._reach.client.request(JobGet(id=new_id(), job=job)).job
        if info.kind == "train" and info.run:
            self._missing_epochs(info.run)
        if (error := failure(info, self._reach)) is not None:
            raise error
        self._tell_error()
        return info

    # ------------------------------------------------------------ reading

    def _read(self, wait_s: float) -> None:
        for thing, arrays in self._jobs.poll(wait_s):
            self._job_thing(thing, arrays)
        self._follow_thing()
        if self._error and time.monotonic() - self._error[0] > ERROR_S:
            self._tell_error()

    def _job_thing(self, thing: Any, arrays: progress.Arrays) -> None:
        match thing:
            case Restored():
                info = msgspec.convert(thing.state, JobInfo)
                known = self._infos.get(info.job)
                self._infos[info.job] = info
                if info.job == self._current and info.total and info.state not in ENDS:
                    self._on_event(JobProgress(job=info.job, done=info.done, total=info.total), {})
                if known is None or known.state != info.state:
                    self._state(
                        JobStateEvent(
                            job=info.job, state=info.state, kind=info.kind, name=info.name, result=info.result,
                            error=info.error, run=info.run, surface=info.surface,
                        )
                    )  # fmt: skip
            case JobStateEvent():
                self._state(thing)
            case JobProgress() if thing.job == self._current:
                self._on_event(thing, arrays)
            case LogLine():
                self._log(thing)
            case Link():
                self._link(thing)

    def _state(self, event: JobStateEvent) -> None:
        self._states[event.job] = event
        if event.job == self._current:
            self._on_event(event, {})
            self._take_up(event.job)
            if event.state == "paused":
                why = f": {event.error}" if event.error else ""
                resume = self._reach.hint(f"jobs resume {event.job[-SHORT:]}")
                self._show.say(f"paused{why}; it goes on with: {resume}")

    def _take_up(self, job: str) -> None:
        """Follow the run or surface of a job as soon as it is known."""
        event = self._states.get(job)
        if event is None or event.state in ENDS:
            return
        topic = f"run/{event.run}/" if event.kind == "train" and event.run else ""
        topic = f"surface/{event.surface}/" if event.kind == "surface" and event.surface else topic
        if topic and topic != self._thing_topic:
            self._drop_thing()
            self._thing_topic = topic

    def _follow_thing(self) -> None:
        if not self._thing_topic or time.monotonic() < self._thing_at:
            return
        try:
            if self._thing is None:
                self._thing = self._reach.client.subscribe(self._thing_topic)
            for thing, arrays in self._thing.poll(0.0):
                self._thing_thing(thing, arrays)
        except InputError as e:
            if e.code != "not_found":
                raise
            self._close_thing()
            self._thing_at = time.monotonic() + THING_AGAIN_S

    def _thing_thing(self, thing: Any, arrays: progress.Arrays) -> None:
        match thing:
            case Restored() if thing.topic.startswith("run/"):
                self._epochs_of(thing.state)
            case Restored():
                for event, row in rows_of(thing):
                    self._on_event(event, row)
            case RunEpoch():
                if thing.epoch not in self._epochs:
                    self._epochs.add(thing.epoch)
                    self._on_event(thing, arrays)
            case Link():
                pass  # the other subscription tells
            case _:
                self._on_event(thing, arrays)

    def _epochs_of(self, run: dict[str, Any]) -> None:
        for known in run.get("epochs", ()):
            event = RunEpoch(run=run["id"], epoch=known["epoch"], step=known["step"], metrics=known["metrics"])
            self._thing_thing(event, {})

    def _missing_epochs(self, run: str) -> None:
        """Epochs that ended before anybody listened, from the store."""
        try:
            self._epochs_of(self._reach.client.request(RunGet(id=new_id(), run=run)).item)
        except InputError:
            return  # it was deleted meanwhile

    def _finish_thing(self) -> None:
        """What is on its way still: the last row, the path's losses."""
        end = time.monotonic() + 1.0
        while self._thing is not None and time.monotonic() < end:
            before = time.monotonic()
            self._follow_thing()
            if self._thing is None or (self._thing.following.follower.caught_up and time.monotonic() > before):
                break
            time.sleep(0.01)
        self._drop_thing()

    def _drop_thing(self) -> None:
        self._close_thing()
        self._thing_topic, self._thing_at = "", 0.0

    def _close_thing(self) -> None:
        if self._thing is not None:
            self._thing.close()
            self._thing = None

    # ------------------------------------------------------------ words

    def _log(self, line: LogLine) -> None:
        if line.job != self._current or (line.level == "info" and line.text.partition(":")[0] in STATES):
            return  # the daemon's own note of a state, which the events tell
        if line.level == "error":
            self._tell_error()
            self._error = time.monotonic(), line
        else:
            self._on_event(line, {})

    def _tell_error(self) -> None:
        if self._error is not None:
            line, self._error = self._error[1], None
            self._on_event(line, {})

    def _link(self, link: Link) -> None:
        if link.state == "lost" and not self._lost:
            self._lost = True
            start = self._reach.hint("daemon start")
            self._show.say(f"no word from the daemon for 10 s: waiting. Where it has ended: {start}")
        elif link.state == "live" and self._lost:
            self._lost = False
            self._show.say("the daemon is back")

    def _ended(self, job: str) -> bool:
        event = self._states.get(job)
        return event is not None and event.state in ENDS

    def _left(self, job: str) -> str:
        going = [j for j in self._order if not self._ended(j)]
        what = f"job {job[-SHORT:]} goes on" if len(going) < 2 else f"{len(going)} jobs go on"
        cancel = self._reach.hint(f"jobs cancel {job[-SHORT:]}")
        watch = self._reach.hint(f"jobs watch {' '.join(j[-SHORT:] for j in going[-1:])}")
        return f"{what} without this command; stop with: {cancel} (watch with: {watch})"

    def _say_why_it_waits(self, job: str) -> None:
        event = self._states.get(job)
        if event is None or event.state not in ("queued", "waiting"):
            return
        from tui.things import newest_jobs

        ahead = [j for j in newest_jobs(self._reach.client, ("running",), 10) if j.job not in self._order]
        if ahead:
            busy = ", ".join(f"{j.job[-SHORT:]} ({title(j)})" for j in ahead[:3])
            self._show.say(f"queued: the worker is busy with {busy}; `thalweg jobs move` changes the order")


def rows_of(snapshot: Restored) -> list[tuple[SurfaceRow, dict[str, NDArray[Any]]]]:
    """The rows that a snapshot of a surface holds, as the events that told them."""
    n = snapshot.arrays.get("n")
    if n is None or "loss" not in snapshot.arrays:
        return []
    shown = {name: a for name, a in snapshot.arrays.items() if a.shape == n.shape and a.dtype == np.dtype("<f4")}
    return [
        (
            SurfaceRow(surface=str(snapshot.state.get("id", "")), i=i, pass_=0, n=int(n[i].max())),
            {name: a[i] for name, a in shown.items()},
        )
        for i in range(len(n))
        if n[i].max() > 0
    ]
