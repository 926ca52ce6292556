"""When a row of the table can be done, and the sentence that says why it cannot. Pure.

`when` of a row is a list of the words below; all must hold, and the first that does not is told.
"""

from __future__ import annotations

from collections.abc import Callable

from tui.state import Choice, Store

Condition = Callable[[Store, Choice], bool]


def _job(store: Store, choice: Choice) -> str:
    job = store.jobs.get(choice.job)
    return job.state if job is not None else ""


CONDITIONS: dict[str, tuple[Condition, str]] = {
    "live": (lambda s, _: s.link.state == "live", "the daemon is not connected: nothing can be changed now"),
    "run": (lambda _, c: bool(c.run), "choose a run first"),
    "plane": (lambda _, c: bool(c.plane), "choose a plane, or a run that has one: p makes one"),
    "surface": (lambda _, c: bool(c.surface), "choose a surface first: s makes one"),
    "sealed": (
        lambda s, c: c.surface in s.surfaces and s.surfaces[c.surface].sealed,
        "choose a surface that is complete",
    ),
    "job": (lambda _, c: bool(c.job), "choose a job, or a run or surface that one made"),
    "active": (
        lambda s, c: _job(s, c) in ("waiting", "queued", "running", "pausing", "paused", "cancelling"),
        "choose a job that has not ended",
    ),
    "paused": (lambda s, c: _job(s, c) == "paused", "choose a job that is paused"),
    "ended": (lambda s, c: _job(s, c) in ("failed", "cancelled"), "choose a job that failed or was cancelled"),
    "asked": (
        lambda s, c: c.job in s.jobs and bool(s.jobs[c.job].spec),
        "choose a job, or a run or surface that one made",
    ),
    "thing": (lambda _, c: c.kind is not None, "choose something in the list first"),
}


def why_not(when: str, store: Store, choice: Choice) -> str:
    """Why it cannot be done now, in one sentence; "" where it can."""
    for word in when.split():
        holds, sentence = CONDITIONS[word]
        if not holds(store, choice):
            return sentence
    return ""
