"""The jobs that need neither a model nor a device: analyses, exports and imports, as generators of (done, total).

They run in a worker of their own, so that a surface of hours does not hold them up. `target` and `upload` are files:
the parent has looked them up.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from compute.analysis import ANALYSES
from compute.exports import EXPORTS
from compute.imports import IMPORTS
from compute.options import converted
from compute.workspace import Workspace
from protocol.errors import unknown_name
from protocol.files import Surface
from protocol.messages import AnalysisSpec, Done, ExportSpec, ImportSpec

T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]
Steps = Generator[tuple[int, int], None, tuple[Done, Arrays]]


def run(spec: AnalysisSpec | ExportSpec | ImportSpec, workspace: Workspace, job: str, run: str | None) -> Steps:
    """What the job gives, and the arrays that go with it. Raises InputError before anything is written."""
    match spec:
        case AnalysisSpec():
            return analysis(spec)
        case ExportSpec():
            return export(spec, workspace.exports / job)
        case ImportSpec():
            return import_(spec, workspace, job, run or job)


def analysis(spec: AnalysisSpec) -> Steps:
    """The findings: the summary in the result, structured arrays as bytes by name."""
    entry = chosen("analysis", spec.analysis, ANALYSES)
    options = converted(f"{spec.analysis} analysis", spec.options, entry.options)
    surface = Surface.load(spec.target)
    found = yield from entry.make(surface, options)
    arrays = {name: np.frombuffer(array.tobytes(), dtype=np.uint8) for name, array in found.arrays.items()}
    return Done(summary=msgspec.to_builtins(found.summary)), arrays


def export(spec: ExportSpec, folder: Path) -> Steps:
    """The names of the files in the job's export folder."""
    entry = chosen("format", spec.format, EXPORTS)
    options = converted(f"{spec.format} export", spec.options, entry.options)
    surface = Surface.load(spec.target)
    yield 0, 1
    files = entry.make(surface, folder, options)
    yield 1, 1
    return Done(files=tuple(f.name for f in files)), {}


def import_(spec: ImportSpec, workspace: Workspace, job: str, run: str) -> Steps:
    """A surface, left in the uploads for the parent to seal (`files`), or a run in its own folder."""
    entry = chosen("format", spec.format, IMPORTS)
    options = converted(f"{spec.format} import", spec.options, entry.options)
    made = yield from entry.make(Path(spec.upload), workspace.runs / run, options)
    if isinstance(made, Surface):
        file = made.save(workspace.uploads / f"{job}.npz")
        return Done(files=(file.name,)), {}
    return Done(run=run, files=tuple(f.name for f in made)), {}


def forget(workspace: Workspace, job: str) -> None:
    """Take away what a job that did not end well may have left."""
    shutil.rmtree(workspace.exports / job, ignore_errors=True)
    (workspace.uploads / f"{job}.npz").unlink(missing_ok=True)


def chosen(what: str, name: str, entries: Mapping[str, T]) -> T:
    """The entry of this name. Raises InputError that lists the known ones."""
    if name not in entries:
        raise unknown_name(what, name, entries)
    return entries[name]
