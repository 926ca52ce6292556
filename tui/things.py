"""What a typed word means to a daemon: a job, run, plane or surface by its id, the end of it, its name, or `last`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from protocol.client import Client
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.files import Surface
from protocol.messages import State
from protocol.requests import (
    PAGE,
    CheckpointList,
    JobGet,
    JobInfo,
    JobList,
    PlaneGet,
    PlaneList,
    RunGet,
    RunList,
    SurfaceGet,
    SurfaceList,
)

LAST = "last"
HINTS = {
    "job": "submit one, as with `thalweg train --preset demo`",
    "run": "train one with `thalweg train --preset demo`",
    "plane": "cut one with `thalweg plane --run last`",
    "surface": "measure one with `thalweg surface last`",
}
LISTS: dict[str, Callable[..., Any]] = {"run": RunList, "plane": PlaneList, "surface": SurfaceList}
GETS: dict[str, Callable[..., Any]] = {"run": RunGet, "plane": PlaneGet, "surface": SurfaceGet}


def job(client: Client, typed: str) -> JobInfo:
    """The job that was meant. Raises InputError that lists the last ones."""
    if typed == LAST:
        newest = client.request(JobList(id=new_id(), limit=1)).jobs
        if not newest:
            raise nothing("job")
        typed = newest[0].job
    found: JobInfo = client.request(JobGet(id=new_id(), job=typed)).job
    return found


def thing(client: Client, what: str, typed: str) -> dict[str, Any]:
    """The record of the run, plane or surface that was meant. Raises InputError that lists the last ones."""
    if typed == LAST:
        newest = client.request(LISTS[what](id=new_id(), limit=1)).items
        if not newest:
            raise nothing(what)
        typed = newest[0]["id"]
    item: dict[str, Any] = client.request(GETS[what](id=new_id(), **{what: typed})).item
    return item


def nothing(what: str) -> InputError:
    """For a `last` where there is none."""
    return InputError(f"{what}: expected one, this workspace has none: {HINTS[what]}", code="not_found")


def surface(client: Client, id: str) -> Surface:
    """A finished surface, fetched and read."""
    with tempfile.TemporaryDirectory(prefix="thalweg-") as folder:
        return Surface.load(client.fetch(Path(folder) / "surface.npz", surface=id))


def run_address(client: Client, typed: str) -> str:
    """`RUN@WHICH` with the run's whole id, as it was typed or `@last`."""
    run, at, which = typed.partition("@")
    return thing(client, "run", run)["id"] + (at + which if at else "@last")


def checkpoints(client: Client, run: str) -> list[dict[str, Any]]:
    """All checkpoints of a run, first to last."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = client.request(CheckpointList(id=new_id(), run=run, limit=PAGE, cursor=cursor))
        found += page.items
        cursor = page.next
        if cursor is None:
            return found


def newest(client: Client, what: str, limit: int) -> Iterator[dict[str, Any]]:
    """Records of runs, planes or surfaces, newest first."""
    cursor: str | None = None
    while limit > 0:
        page = client.request(LISTS[what](id=new_id(), limit=min(limit, PAGE), cursor=cursor))
        yield from page.items
        limit -= len(page.items)
        cursor = page.next
        if cursor is None or not page.items:
            return


def newest_jobs(client: Client, states: tuple[State, ...], limit: int) -> Iterator[JobInfo]:
    """Jobs, newest first."""
    cursor: str | None = None
    while limit > 0:
        page = client.request(JobList(id=new_id(), states=states, limit=min(limit, PAGE), cursor=cursor))
        yield from page.jobs
        limit -= len(page.jobs)
        cursor = page.next
        if cursor is None or not page.jobs:
            return
