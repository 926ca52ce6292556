"""`thalweg export`: a surface as a file that other programs read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from protocol.errors import InputError
from protocol.messages import Execution, ExportSpec
from tui import errand, flags, progress, reach, session, things
from tui.session import Common
from tui.submission import JobFlags, alone, submitted
from tui.workspace import folders


def export(
    surface: Annotated[str, Parameter(help="Surface: its id, the last characters of it, its name, or `last`.")],
    /,
    *,
    format: Annotated[
        Literal["npz", "csv", "ply"],
        Parameter(help="`npz`: everything that is known. `csv`: a line a point, the path beside it. `ply`: a mesh."),
    ] = "npz",
    out: Annotated[
        Path | None,
        Parameter(help="File, or folder for what the format writes; by default named after the surface, here."),
    ] = None,
    option: Annotated[
        list[str] | None, Parameter(negative=(), help="Option of the format, as NAME=VALUE; may be repeated.")
    ] = None,
    job: JobFlags | None = None,
    common: Common | None = None,
) -> None:
    """Export a surface: the daemon writes the files, and they are fetched."""
    common = session.common(common)
    options = flags.pairs(option or [], "--option")
    if alone(job, common):
        raise InputError("--no-daemon: an export is a job of the daemon: leave it out")
    target = (out or Path()).expanduser().absolute()
    one = out is not None and not target.is_dir() and target.suffix == f".{format}"
    if out is not None and not one and target.suffix and not target.is_dir():
        raise InputError(f"--out: expected a folder, or a file that ends in .{format}, got '{target.name}'")
    with folders(target.parent if one else target), reach.daemon(common) as there:
        found = things.thing(there.client, "surface", surface)
        options = {"name": found.get("name") or found["id"][-6:], **options}
        spec = ExportSpec(target=found["id"], format=format, options=options)
        ended = errand.run(there, submitted(there.client, spec, job, Execution()), job, common.json)
        if ended is None:
            return
        names = ended.result.files if ended.result else ()
        files = [there.client.fetch(place(target, one, n, names[0]), job=ended.job, name=n) for n in names]
    if common.json:
        result: dict[str, Any] = {"t": "result", "job": ended.job, "surface": found["id"]}
        progress.print_json({**result, "files": [str(f) for f in files]})
        return
    for file in files:
        print(file)


def place(target: Path, one: bool, name: str, main: str) -> Path:
    """Where a file of the export goes: into the folder, or beside the main file, named after it."""
    if not one:
        return target / name
    stem, _, ending = main.rpartition(".")
    rest = name.removeprefix(stem)
    return target if name == main else target.with_name(target.name.removesuffix(f".{ending}") + rest)
