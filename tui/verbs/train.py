"""`thalweg train`: a recipe becomes a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import Group, Parameter

from protocol.errors import InputError, unknown_name
from protocol.messages import PRESETS, CheckpointSaved, Event, Execution, Recipe, RunEpoch, TrainSpec
from tui import flags, loop, progress, session
from tui.link import Link
from tui.session import Common
from tui.workspace import SHORT, Workspace, about

if TYPE_CHECKING:
    PresetName = str
    RecipeFlags = Any
    ExecutionFlags = Any
else:
    PresetName = Literal[tuple(PRESETS)]
    RecipeFlags = flags.derive(Recipe, group=Group("Recipe", sort_key=10))
    ExecutionFlags = flags.derive(Execution, only=("device", "threads"), group=flags.EXECUTION)


def train(
    *,
    preset: Annotated[PresetName | None, Parameter(help="Start from this recipe; any flag below overrides it.")] = None,
    resume: Annotated[str | None, Parameter(help="Go on with this unfinished run (id, its last characters).")] = None,
    recipe: RecipeFlags | None = None,
    execution: ExecutionFlags | None = None,
    common: Common | None = None,
) -> None:
    """Train a network and keep its checkpoints: the weights before the first step and after each epoch."""
    common = session.common(common)
    place = common.place()
    changes = flags.given(recipe)
    if resume is not None:
        if preset is not None or changes:
            raise InputError("--resume: expected no recipe beside it, a run goes on with its own: leave the others out")
        resume = place.run(resume)
        wanted = recipe_of(place, resume)
    else:
        wanted = chosen_recipe(preset, changes)
    run_on = flags.build(Execution, None, flags.given(execution))
    with session.worker(place) as link, progress.display(as_json=common.json) as show:
        job = loop.Job(
            spec=TrainSpec(recipe=wanted),
            workspace=place.root,
            data=common.data_folder(),
            execution=run_on,
            resume=resume,
        )
        result, last = train_on(link, job, show)
    if common.json:
        progress.print_json({"t": "result", "run": result.run, "metrics": last, "seconds": result.seconds})
        return
    short = (result.run or "")[-SHORT:]
    print(f"\nrun {result.run}\n  {place.root / 'runs' / (result.run or '')}")
    print(f"next: thalweg plane --run {short} --direction pca")


def chosen_recipe(preset: str | None, changes: dict[str, Any]) -> Recipe:
    """The preset's recipe, or the defaults where model and data set are named, with what was typed."""
    if preset is None and not {"model", "dataset"} <= changes.keys():
        raise InputError(
            f"train: expected --preset {' or --preset '.join(PRESETS)}, or both --model and --dataset; "
            "`thalweg train --help` has examples"
        )
    if preset is not None and preset not in PRESETS:
        raise unknown_name("--preset", preset, PRESETS)
    return flags.build(Recipe, None if preset is None else PRESETS[preset], changes)


def recipe_of(place: Workspace, run: str) -> Recipe:
    """The recipe of a run, as its last checkpoint says."""
    files = place.checkpoints(run)
    if not files:
        raise InputError(f"run {run}: it has no checkpoint to go on from: train it anew", code="not_found")
    try:
        return msgspec.convert(about(files[-1]).get("recipe"), Recipe)
    except msgspec.ValidationError as e:
        raise InputError(f"{files[-1]}: does not say how it was trained: train it anew", code="integrity") from e


def train_on(link: Link, job: loop.Job, show: progress.Display) -> tuple[loop.Result, dict[str, float]]:
    """Train on a worker that is up, showing it; the result and the last epoch's metrics."""
    assert isinstance(job.spec, TrainSpec)
    recipe, last, saved = job.spec.recipe, {}, 0

    def on_event(event: Event, arrays: progress.Arrays) -> None:
        nonlocal last, saved
        if isinstance(event, RunEpoch):
            last = event.metrics
        saved += isinstance(event, CheckpointSaved)
        show.event(event, arrays)

    show.start(f"train {recipe.model}")
    result = loop.drive(loop.run(link, job), on_event)
    show.done(progress.short_metrics(last) or "done")
    bad = [name for name, value in last.items() if "loss" in name and not math.isfinite(value)]
    if bad:
        show.say(f"the training diverged: {bad[0].replace('_', ' ')} is {last[bad[0]]} (a smaller --lr may help)")
    return result, last
