"""`thalweg import`: a surface or a training of another program becomes one of the workspace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import Group, Parameter

from protocol.errors import InputError
from protocol.messages import Execution, ImportSpec, Recipe
from protocol.requests import JobInfo
from tui import errand, flags, packing, progress, reach, session, things
from tui.reach import Reach
from tui.session import Common
from tui.submission import JobFlags, alone, submitted
from tui.tables import tell as tell_lines
from tui.verbs.surface import surface_lines
from tui.workspace import SHORT

if TYPE_CHECKING:
    RecipeFlags = Any
else:
    RecipeFlags = flags.derive(
        Recipe,
        only=("model", "model_options", "dataset", "image_size"),
        group=Group("For checkpoints that do not say", sort_key=20),
    )

Format = Literal["npz", "csv", "ply", "checkpoints"]
ENDINGS: dict[str, Format] = {".npz": "npz", ".csv": "csv", ".ply": "ply", ".safetensors": "checkpoints"}


def import_(
    file: Annotated[Path, Parameter(help="File, or folder of checkpoints; zip and tar archives of them too.")],
    /,
    *,
    format: Annotated[
        Format | None,
        Parameter(help="What it is; by default as its ending says, a folder being checkpoints (safetensors)."),
    ] = None,
    option: Annotated[
        list[str] | None, Parameter(negative=(), help="Option of the format, as NAME=VALUE; may be repeated.")
    ] = None,
    recipe: RecipeFlags | None = None,
    job: JobFlags | None = None,
    common: Common | None = None,
) -> None:
    """Import a surface (npz, csv, ply) or a training's checkpoints; the file is sent to the daemon."""
    common = session.common(common)
    source = file.expanduser()
    kind = format or guessed(source)
    options = flags.pairs(option or [], "--option")
    foreign = flags.given(recipe)
    if foreign and kind != "checkpoints":
        raise InputError(f"--{next(iter(foreign)).replace('_', '-')}: expected checkpoints beside it, this is {kind}")
    if foreign:
        options["recipe"] = msgspec.to_builtins(flags.build(Recipe, None, foreign))
    if alone(job, common):
        raise InputError("--no-daemon: an import is a job of the daemon: leave it out")
    name = source.name.partition(".")[0]
    if kind != "checkpoints":
        options = {"name": (job.name if job and job.name else name)[:100], **options}
    with packing.packed(source) as sent, reach.daemon(common) as there:
        upload = there.client.upload(sent, timeout_s=60.0)
        spec = ImportSpec(upload=upload, format=kind, options=options)
        ended = errand.run(
            there, submitted(there.client, spec, job, Execution(), name), job, common.json, file=str(source)
        )
        if ended is not None:
            tell(there, ended)


def guessed(source: Path) -> Format:
    """The format of a file by its ending. Raises InputError where that says nothing."""
    if not source.exists():
        raise InputError(f"{source}: expected a file or a folder, found nothing there", code="not_found")
    found = "checkpoints" if source.is_dir() else ENDINGS.get(source.suffix.lower())
    if found is None:
        raise InputError(f"--format: expected one of npz, csv, ply, checkpoints: '{source.name}' does not say")
    return found


def tell(there: Reach, ended: JobInfo) -> None:
    """What an import gave."""
    surface, run = (ended.result.surface, ended.result.run) if ended.result else (None, None)
    if there.common.json:
        progress.print_json({"t": "result", "job": ended.job, "surface": surface, "run": run})
    elif surface is not None:
        found = things.surface(there.client, surface)
        tell_lines(["", f"surface {surface}", *(f"  {line}" for line in surface_lines(found))])
        print(f"next: {there.hint(f'render {surface[-SHORT:]} --preset contours-3d')}")
    elif run is not None:
        record = things.thing(there.client, "run", run)
        print(f"\nrun {run}\n  {record['recipe']['model']}, {record['checkpoints']} checkpoints")
        print(f"next: {there.hint(f'plane --run {run[-SHORT:]} --direction pca')}")
