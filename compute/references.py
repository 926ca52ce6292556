"""What a spec refers to: results of other jobs (`job:<id>`), and the identity of a spec whose inputs exist.

Identity is the sha256 of the canonical spec, defaults filled in and references replaced by hashes of what they name,
and of the numerics version: the same question has the same identity, and gets the same result. Name, priority, device
and execution are not part of it. No torch: the daemon imports this.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from protocol.errors import InputError
from protocol.messages import AnalysisSpec, Done, ExportSpec, ImportSpec, PlaneSpec, Spec, SurfaceSpec, TrainSpec

PREFIX = "job:"
# Which field of a spec names what kind of thing.
FIELDS: dict[type[Any], dict[str, str]] = {
    TrainSpec: {},
    PlaneSpec: {"origin": "run", "trajectory": "run"},
    SurfaceSpec: {"plane": "plane", "path": "run"},
    AnalysisSpec: {"target": "surface"},
    ExportSpec: {"target": "surface"},
    ImportSpec: {},
}
KIND_GIVES = {"train": "run", "plane": "plane", "surface": "surface", "import": "surface or run"}

Hash = Callable[[str, str], str]
"""(what: run, checkpoint, plane or surface; its address) -> the sha256 of its contents."""


def _values(spec: Spec) -> Iterator[tuple[str, str, str]]:
    """(field, what it names, address) of every reference in a spec."""
    for name, what in FIELDS[type(spec)].items():
        value = getattr(spec, name)
        for address in (value,) if isinstance(value, str) else value or ():
            yield name, what, address


def jobs_of(spec: Spec) -> frozenset[str]:
    """The ids of the jobs whose results a spec waits for."""
    return frozenset(
        address.removeprefix(PREFIX).partition("@")[0] for _, _, address in _values(spec) if address.startswith(PREFIX)
    )


def resolved(spec: Spec, results: Mapping[str, Done]) -> Spec:
    """The spec with each `job:<id>` replaced by what that job gave. Raises InputError where it gave another kind."""

    def one(name: str, what: str, address: str) -> str:
        if not address.startswith(PREFIX):
            return address
        job, at, which = address.removeprefix(PREFIX).partition("@")
        given = getattr(results[job], what)
        if given is None:
            raise InputError(
                f"{name}: expected a job that gives a {what}, job {job[-6:]} gives none", path=f"$.spec.{name}"
            )
        return f"{given}{at}{which}"

    changed: dict[str, Any] = {}
    for name, what in FIELDS[type(spec)].items():
        value = getattr(spec, name)
        if isinstance(value, str):
            changed[name] = one(name, what, value)
        elif value is not None:
            changed[name] = tuple(one(name, what, v) for v in value)
    return msgspec.structs.replace(spec, **changed)


def identity(spec: Spec, content: Hash, numerics: int) -> str | None:
    """The identity (hex sha256) of a spec without open references; None for an import, which is made anew each time."""
    if isinstance(spec, ImportSpec):
        return None
    canonical = msgspec.to_builtins(spec)
    for name, what in FIELDS[type(spec)].items():
        value = getattr(spec, name)
        if isinstance(value, str):
            canonical[name] = content("checkpoint" if what == "run" and "@" in value else what, value)
        elif value is not None:
            canonical[name] = [content("checkpoint" if what == "run" else what, v) for v in value]
    body = msgspec.json.encode([numerics, canonical], order="deterministic")
    return hashlib.sha256(body).hexdigest()
