"""`thalweg estimate`: what a surface, or a training, would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.messages import Execution, Recipe, Spec, SurfaceSpec, TrainSpec
from protocol.requests import EstimateReply, JobEstimate
from tui import flags, progress, reach, session
from tui.session import Common
from tui.verbs.surface import Wanted
from tui.verbs.train import PresetName, chosen_recipe

if TYPE_CHECKING:
    RecipeFlags = Any
    SurfaceFlags = Any
    DeviceFlags = Any
else:
    RecipeFlags = flags.derive(Recipe, group=Group("Recipe", sort_key=10))
    SurfaceFlags = flags.derive(
        SurfaceSpec, leave_out=("plane", "path", "grid", "data"), group=Group("What is measured", sort_key=10)
    )
    DeviceFlags = flags.derive(Execution, only=("device",), group=flags.EXECUTION)

LONG_S = 120.0  # a worker may have to start, and to time the first steps
HOW = {
    "measured": "measured",
    "similar": "from a job of another size",
    "unknown": "not known",
}


def estimate_surface(
    plane: Annotated[str, Parameter(help="Plane: its id, the last characters of it, its name, or `last`.")],
    /,
    *,
    grid: Annotated[str | None, Parameter(help="Points: one number, or ALPHAxBETA, as 51x26. [default: 25]")] = None,
    alpha: Annotated[str | None, Parameter(allow_leading_hyphen=True, help="Range of the first axis.")] = None,
    beta: Annotated[str | None, Parameter(allow_leading_hyphen=True, help="The same for the second axis.")] = None,
    path: Annotated[str | None, Parameter(help="Run whose path is projected; by default the plane's own.")] = None,
    preset: Annotated[Literal["seed"] | None, Parameter(help="`seed`: 26 x 26 points.")] = None,
    dataset: Annotated[str | None, Parameter(help="Data set to measure on; by default the run's own.")] = None,
    measured: SurfaceFlags | None = None,
    device: DeviceFlags | None = None,
    common: Common | None = None,
) -> None:
    """Say what measuring a surface would cost."""
    common = session.common(common)
    typed = flags.given(measured)
    if dataset is not None:
        typed["data"] = dataset
    wanted = Wanted(plane, path, grid, alpha, beta, preset, typed)
    wanted.check()
    with reach.daemon(common) as there:
        tell(there, wanted.spec(there), flags.given(device).get("device"))


def estimate_train(
    *,
    preset: Annotated[PresetName | None, Parameter(help="Start from this recipe; any flag below overrides it.")] = None,
    recipe: RecipeFlags | None = None,
    device: DeviceFlags | None = None,
    common: Common | None = None,
) -> None:
    """Say what a training would cost."""
    common = session.common(common)
    wanted = TrainSpec(recipe=chosen_recipe(preset, flags.given(recipe)))
    with reach.daemon(common) as there:
        tell(there, wanted, flags.given(device).get("device"))


def tell(there: reach.Reach, spec: Spec, device: Any) -> None:
    """Ask, and say it."""
    try:
        reply: EstimateReply = there.client.request(
            JobEstimate(id=new_id(), spec=spec, device=device), timeout_s=LONG_S
        )
    except InputError as e:
        raise InputError(e.msg.removeprefix("estimate: "), code=e.code, path=e.path) from e
    if there.common.json:
        progress.print_json(reply)
        return
    if isinstance(spec, TrainSpec):
        print(f"steps     {reply.points:,}" if reply.points else "steps     unknown")
    elif reply.points:
        samples = f", each over {reply.samples:,} images" if reply.samples else ""
        print(f"points    {reply.points:,}{samples}")
    elif reply.samples:
        print(f"images    {reply.samples:,}")
    if reply.bytes:
        print(f"disk      {reply.bytes / 1e6:.1f} MB")
    took = "unknown" if reply.seconds is None else f"about {progress.seconds_text(reply.seconds)}"
    print(f"time      {took} ({HOW.get(reply.how, reply.how)})")
