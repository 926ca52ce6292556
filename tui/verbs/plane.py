"""`thalweg plane`: a run, or checkpoint files, become a plane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from protocol.errors import InputError
from protocol.files import PlaneMeta
from protocol.messages import Execution, PlaneSpec, Recipe
from tui import flags, loop, progress, session
from tui.link import Link
from tui.session import Common
from tui.workspace import SHORT, Workspace

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
    common: Common | None = None,
) -> None:
    """Cut a plane through weight space: a centre (the trained weights) and two directions."""
    common = session.common(common)
    place = common.place()
    if preset == "seed" and direction == "random" and normalize is None:
        normalize = "layer"
    typed = {"normalize": normalize, "ignore": ignore, "seed": seed, "orthogonal": orthogonal, "centre": centre}
    spec = plane_spec(
        place, run, direction, checkpoints, {k: v for k, v in typed.items() if v is not None}, flags.given(recipe)
    )
    run_on = flags.build(Execution, None, flags.given(execution))
    with session.worker(place) as link, progress.display(as_json=common.json) as show:
        job = loop.Job(spec=spec, workspace=place.root, data=common.data_folder(), execution=run_on)
        result = plane_on(link, job, show)
    if common.json:
        progress.print_json({"t": "result", "plane": result.plane, "meta": result.plane_meta})
        return
    print(f"\nplane {result.plane}\n  {place.plane_file(result.plane or '')}")
    print(f"next: thalweg surface {(result.plane or '')[-SHORT:]}")


def plane_spec(
    place: Workspace,
    run: str | None,
    direction: str,
    files: list[str] | None,
    options: dict[str, Any],
    foreign: dict[str, Any],
) -> PlaneSpec:
    """The spec of what was typed, with ids written out and files found."""
    if (run is None) == (not files):
        raise InputError("plane: expected either --run or --checkpoints: name what the plane goes through")
    if foreign and not files:
        raise InputError(
            f"--{next(iter(foreign)).replace('_', '-')}: expected --checkpoints beside it, a run knows its own"
        )
    own = flags.build(Recipe, None, foreign) if foreign else None
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
    show.done(plane_text(result.plane_meta))
    return result


def plane_text(meta: PlaneMeta | None) -> str:
    """What is worth knowing of a plane, in a few words."""
    if meta is None:
        return "done"
    if meta.explained_variance_ratio is not None:
        return f"explains {100 * sum(meta.explained_variance_ratio):.1f} %"
    if meta.cosine is not None:
        return f"cosine {cosine_text(meta.cosine)}"
    return "done"


def cosine_text(cosine: float) -> str:
    """Four decimals; what rounds to zero has no sign."""
    return f"{round(cosine, 4) + 0.0:.4f}"
