"""References in a spec against the store: short ids made whole, contents for identity, files for a worker. No torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from compute.references import FIELDS
from compute.store import CheckpointRecord, JobRecord, PlaneRecord, RunRecord, SurfaceRecord, Tables
from compute.workspace import unique
from protocol.errors import InputError
from protocol.messages import AnalysisSpec, ExportSpec, ImportSpec, Spec


def run(t: Tables, given: str) -> RunRecord:
    """The run of this id, unique suffix or name."""
    found = t.get_run(given) or t.get_run(named("run", given, t.names("runs")))
    assert found is not None
    return found


def plane(t: Tables, given: str) -> PlaneRecord:
    """The plane of this id, hash, unique suffix or name."""
    found = t.get_plane(given)
    if found is None:
        names = t.names("planes")
        hashes = {h: i for i, h in t.db.execute("SELECT id, hash FROM planes")}
        starts = {i for h, i in hashes.items() if len(given) >= 6 and (h.startswith(given) or h.endswith(given))}
        found = t.get_plane(starts.pop() if len(starts) == 1 else named("plane", given, names))
    assert found is not None
    return found


def surface(t: Tables, given: str) -> SurfaceRecord:
    """The surface of this id, unique suffix or name."""
    found = t.get_surface(given) or t.get_surface(named("surface", given, t.names("surfaces")))
    assert found is not None
    return found


def named(what: str, given: str, known: Iterable[tuple[str, str]]) -> str:
    """The id of a thing from what a person typed."""
    known = list(known)
    by_name = [i for i, name in known if name and name == given]
    if len(by_name) == 1:
        return by_name[0]
    if by_name:
        raise InputError(f"{what} '{given}' is ambiguous: it could be {', '.join(by_name)}", code="ambiguous")
    return unique(what, given, [i for i, _ in known])


def checkpoint(t: Tables, address: str) -> tuple[str, CheckpointRecord]:
    """(run id, checkpoint) of `RUN@step`, `RUN@epoch:3`, `RUN@first`, `RUN@last` or `RUN` (its last)."""
    given, _, which = address.partition("@")
    record = run(t, given)
    known = t.checkpoints(record.id)
    found = {
        "": known[-1:],
        "last": known[-1:],
        "first": known[:1],
    }.get(which)
    if found is None and which.startswith("epoch:"):
        found = [c for c in known if str(c.epoch).removesuffix(".0") == which.removeprefix("epoch:")]
    if found is None:
        found = [c for c in known if str(c.step) == which]
    if not found:
        have = f"steps {known[0].step} to {known[-1].step}" if known else "none yet"
        raise InputError(
            f"checkpoint '{address}': expected RUN@first, RUN@last, RUN@epoch:N or RUN@STEP of a run that has it; "
            f"the run has {have}",
            code="not_found",
        )
    return record.id, found[0]


def trajectory(t: Tables, given: str) -> tuple[str, list[CheckpointRecord]]:
    """(run id, its theta_0 and every epoch's end)."""
    record = run(t, given)
    found = [c for c in t.checkpoints(record.id) if float(c.epoch).is_integer()]
    if not found:
        raise InputError(f"run {given}: it has no checkpoint yet", code="not_found")
    return record.id, found


def canonical(t: Tables, spec: Spec) -> Spec:
    """The spec with every reference whole: run ids, `RUN@step` with a number, plane hashes, surface ids.

    Raises InputError with the field's path where a reference names nothing, or a file: paths do not cross the wire.
    """
    changed: dict[str, object] = {}
    for name, what in FIELDS[type(spec)].items():
        value = getattr(spec, name)
        if value is None:
            continue
        try:
            if isinstance(value, str):
                changed[name] = _whole(t, what, value, single=name == "origin")
            else:
                changed[name] = tuple(_whole(t, what, v, single=True) for v in value)
        except InputError as e:
            raise InputError(f"{name}: {e.msg}", code=e.code, path=f"$.spec.{name}") from e
    return msgspec.structs.replace(spec, **changed)


def _whole(t: Tables, what: str, address: str, *, single: bool) -> str:
    if "/" in address or address.endswith((".safetensors", ".npz")):
        raise InputError(f"expected the id of a {what}, got a path: import the file first")
    if what == "plane":
        return plane(t, address).hash
    if what == "surface":
        return surface(t, address).id
    if single or "@" in address:
        run_id, record = checkpoint(t, address)
        return f"{run_id}@{record.step}"
    return run(t, address).id


def content(t: Tables, what: str, address: str) -> str:
    """The sha256 of what a canonical address names."""
    if what == "plane":
        return plane(t, address).hash
    if what == "surface":
        found = surface(t, address)
        if found.sha256 is None:
            raise InputError(f"surface {address[-6:]}: it is not finished: wait for its job", code="wrong_state")
        return found.sha256
    if what == "checkpoint":
        return checkpoint(t, address)[1].sha256
    digests = [c.sha256 for c in trajectory(t, address)[1]]
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def for_worker(t: Tables, workspace: Path, spec: Spec) -> Spec:
    """The spec with files in the place of surfaces and uploads, which a worker opens."""
    match spec:
        case AnalysisSpec() | ExportSpec():
            found = surface(t, spec.target)
            if found.file is None or found.missing:
                why = "its file is missing" if found.missing else "it is not finished: wait for its job"
                raise InputError(f"target: surface {found.id[-6:]}: {why}", code="wrong_state", path="$.spec.target")
            return msgspec.structs.replace(spec, target=str(workspace / found.file))
        case ImportSpec():
            file = workspace / "uploads" / spec.upload
            if not file.is_file():
                raise InputError(
                    f"upload: expected a complete upload of this id, found none: {spec.upload}",
                    code="not_found",
                    path="$.spec.upload",
                )
            return msgspec.structs.replace(spec, upload=str(file))
        case _:
            return spec


def still_there(t: Tables, workspace: Path, job: JobRecord) -> bool:
    """Whether what a done job gave has not been deleted since."""
    result = job.result
    if result is None:
        return False
    if result.surface is not None:
        found = t.get_surface(result.surface)
        return found is not None and found.file is not None and not found.missing
    if result.plane is not None:
        kept = t.get_plane(result.plane)
        return kept is not None and not kept.missing
    if result.run is not None:
        return t.get_run(result.run) is not None
    if job.kind == "export":
        return all((workspace / "exports" / job.id / name).is_file() for name in result.files)
    return True
