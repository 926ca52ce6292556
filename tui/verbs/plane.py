"""`thalweg plane`: a run, or checkpoint files, become a plane."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import Group, Parameter

from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.messages import Execution, ImportSpec, PlaneSpec, Recipe
from protocol.requests import JobInfo, RunDelete
from tui import errand, flags, loop, outcome, packing, progress, reach, session, things
from tui.link import Link
from tui.reach import Reach
from tui.session import Common
from tui.submission import JobFlags, alone, submitted, was_there
from tui.workspace import SHORT, Workspace, about

if TYPE_CHECKING:
    ExecutionFlags = Any
    ForeignFlags = Any
else:
    ExecutionFlags = flags.derive(Execution, only=("device", "threads"), group=flags.EXECUTION)
    ForeignFlags = flags.derive(
        Recipe,
        only=("model", "model_options", "dataset", "image_size"),
        group=Group("For checkpoint files that do not say", sort_key=20),
    )

RANDOM, PCA = Group("Random", sort_key=10), Group("PCA", sort_key=11)
Files = Annotated[
    list[str] | None,
    Parameter(
        consume_multiple=True,
        negative=(),
        help="Checkpoint files, first to last, instead of --run; two or more for pca.",
    ),
]
Centre = Annotated[
    bool | None,
    Parameter(group=PCA, help="Subtract the mean of the checkpoints, as scikit-learn does. [default: centre]"),
]


def plane(
    *,
    run: Annotated[
        str | None, Parameter(help="Run to cut through: its id, the last characters of it, RUN@step, or `last`.")
    ] = None,
    direction: Annotated[
        Literal["random", "pca"],
        Parameter(
            help="`random`: two normalised random directions through the trained weights (Li et al. 2018). "
            "`pca`: the two directions in which training moved most."
        ),
    ] = "random",
    checkpoints: Files = None,
    preset: Annotated[
        Literal["seed"] | None, Parameter(help="`seed`: random directions are scaled layer by layer.")
    ] = None,
    normalize: Annotated[
        Literal["filter", "layer", "weight", "none"] | None,
        Parameter(group=RANDOM, help="What each random direction is scaled by. [default: filter]"),
    ] = None,
    ignore: Annotated[
        Literal["bias_bn", "nothing"] | None,
        Parameter(
            group=RANDOM, help="`bias_bn` leaves biases and batch-norm scales where they are. [default: bias_bn]"
        ),
    ] = None,
    seed: Annotated[int | None, Parameter(group=RANDOM, help="Seed of the directions. [default: 0]")] = None,
    orthogonal: Annotated[
        bool | None, Parameter(group=RANDOM, negative=(), help="Make the second direction orthogonal to the first.")
    ] = None,
    centre: Centre = None,
    recipe: ForeignFlags | None = None,
    execution: ExecutionFlags | None = None,
    job: JobFlags | None = None,
    common: Common | None = None,
) -> None:
    """Cut a plane through weight space: a centre (the trained weights) and two directions."""
    common = session.common(common)
    if preset == "seed" and direction == "random" and normalize is None:
        normalize = "layer"
    typed = {"normalize": normalize, "ignore": ignore, "seed": seed, "orthogonal": orthogonal, "centre": centre}
    options = {k: v for k, v in typed.items() if v is not None}
    run_on = flags.build(Execution, None, flags.given(execution))
    foreign = checked(run, checkpoints, flags.given(recipe))
    if alone(job, common):
        plane_here(plane_spec(common.place(), run, direction, checkpoints, options, foreign), run_on, common)
        return
    files = [Path(f).expanduser() for f in checkpoints or ()]
    for file in files:
        about(file)  # refused here, before a daemon is started for it
    with reach.daemon(common) as there:
        if files:
            ended = of_files(there, files, direction, options, foreign, run_on, job)
        else:
            address = things.run_address(there.client, run or "")
            # Of a run that goes on, the last checkpoint may lie within an epoch: a PCA plane goes through the last that
            # is on the path, which is what no origin means.
            origin = None if direction == "pca" and "@" not in (run or "") else address
            spec = PlaneSpec(direction=direction, origin=origin, trajectory=address.partition("@")[0], options=options)
            ended = errand.run(there, submitted(there.client, spec, job, run_on), job, common.json)
        if ended is not None:
            tell(there, ended)


def of_files(
    there: Reach,
    files: list[Path],
    direction: str,
    options: dict[str, Any],
    recipe: Recipe | None,
    run_on: Execution,
    job: JobFlags | None,
) -> JobInfo | None:
    """Import checkpoint files as a run and cut the plane through it, in one submission."""
    with packing.checkpoints(files) as (archive, order):
        upload = there.client.upload(archive)
    importing: dict[str, Any] = {"order": order}
    if recipe is not None:
        importing["recipe"] = msgspec.to_builtins(recipe)
    first = submitted(
        there.client, ImportSpec(upload=upload, format="checkpoints", options=importing), job, Execution()
    )
    first = msgspec.structs.replace(first, name="")
    through = f"job:{first.job}" if len(files) > 1 or direction == "pca" else None
    spec = PlaneSpec(direction=direction, origin=f"job:{first.job}@last", trajectory=through, options=options)
    infos = errand.submit(there, [first, submitted(there.client, spec, job, run_on)], job, there.common.json)
    if infos is None:
        return None
    with errand.errand(there, infos, there.common.json) as doing:
        run = (done.run if (done := doing.until_end(infos[0]).result) else None) or ""
        try:
            return doing.until_end(infos[1])
        except InputError as e:
            steps = [c["step"] for c in things.checkpoints(there.client, run)]
            sentence = e.msg
            for step, file in zip(steps, files):  # they were kept in this order
                sentence = re.sub(rf"{run}@{step}\b", str(file), sentence)
            with suppress(InputError):  # it was imported for this plane alone
                there.client.request(RunDelete(id=new_id(), run=run))
            raise InputError(sentence, code=e.code, path=e.path) from e


def tell(there: Reach, ended: JobInfo) -> None:
    """What a cut gave."""
    result = ended.result
    plane = (result.plane if result else None) or ""
    if there.common.json:
        meta = result.plane_meta if result else None
        progress.print_json(
            {"t": "result", "job": ended.job, "plane": plane, "meta": meta, "existing": was_there(ended)}
        )
        return
    file = "" if there.root is None else f"\n  {Workspace(there.root).plane_file(plane)}"
    print(f"\nplane {plane}{file}")
    print(f"next: {there.hint(f'surface {plane[-SHORT:]}')}")


def plane_here(spec: PlaneSpec, run_on: Execution, common: Common) -> None:
    """Cut with a worker of this command's own."""
    place = common.place()
    with session.worker(place) as link, progress.display(as_json=common.json) as show:
        job = loop.Job(spec=spec, workspace=place.root, data=common.data_folder(), execution=run_on)
        result = plane_on(link, job, show)
    if common.json:
        progress.print_json({"t": "result", "plane": result.plane, "meta": result.plane_meta})
        return
    print(f"\nplane {result.plane}\n  {place.plane_file(result.plane or '')}")
    print(f"next: thalweg surface {(result.plane or '')[-SHORT:]}")


def checked(run: str | None, files: list[str] | None, foreign: dict[str, Any]) -> Recipe | None:
    """The recipe of foreign checkpoint files, None for a run. Raises InputError where neither or both are named."""
    if (run is None) == (not files):
        raise InputError("plane: expected either --run or --checkpoints: name what the plane goes through")
    if foreign and not files:
        raise InputError(
            f"--{next(iter(foreign)).replace('_', '-')}: expected --checkpoints beside it, a run knows its own"
        )
    return flags.build(Recipe, None, foreign) if foreign else None


def plane_spec(
    place: Workspace,
    run: str | None,
    direction: str,
    files: list[str] | None,
    options: dict[str, Any],
    own: Recipe | None,
) -> PlaneSpec:
    """The spec of what was typed, with ids written out and files found."""
    if files:
        addresses = tuple(place.address(f) for f in files)
        return PlaneSpec(
            direction=direction,
            origin=addresses[-1],
            trajectory=addresses if len(addresses) > 1 or direction == "pca" else None,
            options=options,
            recipe=own,
        )
    assert run is not None
    origin = place.address(run)
    return PlaneSpec(direction=direction, origin=origin, trajectory=origin.partition("@")[0], options=options)


def plane_on(link: Link, job: loop.Job, show: progress.Display) -> loop.Result:
    """Cut a plane on a worker that is up, showing it."""
    assert isinstance(job.spec, PlaneSpec)
    show.start(f"{job.spec.direction} plane")
    result = loop.drive(loop.run(link, job), show.event)
    show.done(outcome.plane_text(result.plane_meta))
    return result
