"""Jobs of a command: submitted in one transaction, told by their ids, followed to their end or left to the daemon."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from protocol.errors import InputError
from protocol.messages import Event, SurfaceRow
from protocol.requests import JobInfo, Submitted
from tui import outcome, progress
from tui.follow import Follow, OnEvent, title
from tui.interrupt import Interrupt, interrupts
from tui.reach import Reach
from tui.submission import JobFlags, was_there
from tui.workspace import SHORT

UPLOADED = re.compile(r"\S*/uploads/[0-9A-HJKMNP-TV-Z]{26}(?:/(?:\d{5}-)?)?")


class Errand:
    """Jobs that were submitted, with the display that shows them."""

    def __init__(self, there: Reach, show: progress.Display, stop: Interrupt, following: Follow) -> None:
        self.there, self.show, self.stop, self._following = there, show, stop, following

    def until_end(self, job: JobInfo, heading: str = "", on_event: OnEvent | None = None, file: str = "") -> JobInfo:
        """Show a job until it is done. `file`: what was uploaded for it, to name it in an error.

        Raises InputError or ChildError where it does not end well, Left at Ctrl-C.
        """
        lowest = math.inf

        def watched(event: Event, arrays: progress.Arrays) -> None:
            nonlocal lowest
            if isinstance(event, SurfaceRow) and "loss" in arrays:
                lowest = min(lowest, float(np.min(arrays["loss"], where=np.isfinite(arrays["loss"]), initial=math.inf)))
            (on_event or self.show.event)(event, arrays)

        self.show.start(heading or title(job))
        try:
            ended = self._following.until_end(job.job, watched)
        except InputError as e:
            raise InputError(own_names(e.msg, file), code=e.code, path=e.path) from e
        gave = outcome.text(self.there.client, ended)
        if was_there(ended):
            self.show.done(outcome.known(ended))
        else:
            self.show.done(f"lowest loss {progress.number_text(lowest)}" if math.isfinite(lowest) else gave)
        return ended


def own_names(sentence: str, file: str) -> str:
    """The daemon's name of an upload replaced by the file's own, or by nothing before a name of its contents."""
    return UPLOADED.sub(lambda m: "" if m[0].endswith(("/", "-")) else file or "the upload", sentence)


def submit(there: Reach, jobs: Sequence[Submitted], flags: JobFlags | None, as_json: bool) -> list[JobInfo] | None:
    """Submit jobs, all or none, and tell their ids; None where they are to be left alone."""
    infos = list(there.client.submit(*jobs))
    if as_json:
        progress.print_json({"t": "submitted", "jobs": [j.job for j in infos]})
    elif flags is not None and flags.detach:
        for info in infos:
            print(f"job {info.job}  {title(info)}" + (f" '{info.name}'" if info.name else ""))
        print(f"watch it with: {there.hint(f'jobs watch {infos[-1].job[-SHORT:]}')}")
    return None if flags is not None and flags.detach else infos


@contextmanager
def errand(there: Reach, infos: Sequence[JobInfo], as_json: bool) -> Iterator[Errand]:
    """Follow jobs for the block, Ctrl-C leaving them to the daemon."""
    with (
        interrupts() as stop,
        progress.display(as_json=as_json) as show,
        Follow(there, [j.job for j in infos], show, stop) as following,
    ):
        ids = ", ".join(j.job[-SHORT:] for j in infos)
        show.say(
            f"job{'s' if len(infos) > 1 else ''} {ids}; Ctrl-C leaves {'them' if len(infos) > 1 else 'it'} running"
        )
        yield Errand(there, show, stop, following)


def run(
    there: Reach, job: Submitted, flags: JobFlags | None, as_json: bool, heading: str = "", file: str = ""
) -> JobInfo | None:
    """Submit one job and follow it to its end; None where it is left alone."""
    infos = submit(there, [job], flags, as_json)
    if infos is None:
        return None
    with errand(there, infos, as_json) as doing:
        return doing.until_end(infos[0], heading, file=file)
