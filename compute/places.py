"""Where workers work: one place a device, and one for what needs none. Pure: which job belongs in which place.

A place has at most one worker. On a machine with several devices of a kind (`cuda:0`, `cuda:1`), or where config.toml
names one twice (`cpu`, `cpu`), as many jobs run at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from compute.jobs import LANES, Lane
from compute.store.records import JobRecord
from protocol.errors import InputError

KINDS = ("cuda", "mps", "cpu")  # the best first


@dataclass(frozen=True)
class Place:
    """One worker's. `device` is empty until the first worker has told which there are; it chooses one itself then.
    `number` tells two places of one device apart."""

    lane: Lane
    device: str = ""
    number: int = 0

    @property
    def kind(self) -> str:
        """cuda, mps or cpu."""
        return self.device.partition(":")[0]


LIGHT = Place("light")
UNKNOWN = (Place("device"), LIGHT)


def of_devices(devices: Iterable[str]) -> tuple[Place, ...]:
    """A place for each device, the best kind first, and the light one."""
    names = sorted(devices, key=lambda name: KINDS.index(name.partition(":")[0]))
    return (*(Place("device", name, names[:k].count(name)) for k, name in enumerate(names)), LIGHT)


def wanted(job: JobRecord) -> str | None:
    """The kind of device that a job asks for, or has begun on; None: the best."""
    return job.device or (job.execution.device if job.execution else None)


def takes(place: Place, kind: str | None, places: Iterable[Place]) -> bool:
    """Whether work that asks for this kind of device belongs there: in a place of that kind, else of the best."""
    if place.lane != "device" or not place.kind:
        return place.lane == "device"
    return place.kind == (kind or best(places))


def belongs(place: Place, job: JobRecord, places: Iterable[Place]) -> bool:
    """Whether a job is for this place."""
    return LANES[job.kind] == place.lane and (place.lane == "light" or takes(place, wanted(job), places))


def best(places: Iterable[Place]) -> str | None:
    """The best kind of device there is, None where that is not known yet."""
    return next((p.kind for p in places if p.lane == "device" and p.kind), None)


def absent(kind: str | None, places: Iterable[Place]) -> InputError | None:
    """The sentence for a kind of device that no place has."""
    kinds = list(dict.fromkeys(p.kind for p in places if p.lane == "device"))
    if kind is None or "" in kinds or kind in kinds:
        return None
    return InputError(
        f"device: {kind} was asked for, this daemon works on {', '.join(kinds)}: use one of these, or see `devices` "
        "in its config.toml",
        code="unavailable",
        path="$.device",
    )
