"""`thalweg train`: a recipe becomes a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import Group, Parameter

from protocol.errors import InputError, unknown_name
from protocol.exchange import new_id
from protocol.messages import PRESETS, CheckpointSaved, Event, Execution, Recipe, RunEpoch, TrainSpec
from protocol.requests import JobInfo, JobResume, JobRetry
from tui import errand, flags, follow, loop, outcome, progress, reach, session, things
from tui.link import Link
from tui.reach import Reach
from tui.session import Common
from tui.submission import JobFlags, alone, submitted, was_there
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
    job: JobFlags | None = None,
    common: Common | None = None,
) -> None:
    """Train a network and keep its checkpoints: the weights before the first step and after each epoch."""
    common = session.common(common)
    changes = flags.given(recipe)
    if resume is not None and (preset is not None or changes):
        raise InputError("--resume: expected no recipe beside it, a run goes on with its own: leave the others out")
    wanted = chosen_recipe(preset, changes) if resume is None else None
    run_on = flags.build(Execution, None, flags.given(execution))
    if alone(job, common):
        train_here(wanted, resume, run_on, common)
        return
    with reach.daemon(common) as there:
        if wanted is None:
            ended = again(there, resume or "", job, common.json)
        else:
            ended = errand.run(there, submitted(there.client, TrainSpec(recipe=wanted), job, run_on), job, common.json)
        if ended is not None:
            tell(there, ended)


def again(there: Reach, typed: str, job: JobFlags | None, as_json: bool) -> JobInfo | None:
    """Go on with an unfinished run: the job that made it is queued again, or followed where it goes on already."""
    run = things.thing(there.client, "run", typed)
    if not run.get("job"):
        raise InputError(
            f"--resume: run {run['id'][-SHORT:]} was not made by a job of the daemon: go on with --no-daemon",
            code="wrong_state",
        )
    info = things.job(there.client, run["job"])
    if info.state == "done":
        short = run["id"][-SHORT:]
        raise InputError(f"--resume: run {short} is finished: train one with more --epochs", code="exists")
    if info.state in ("failed", "cancelled"):
        info = there.client.request(JobRetry(id=new_id(), job=info.job)).job
    elif info.state == "paused":
        info = there.client.request(JobResume(id=new_id(), job=info.job)).job
    if job is not None and job.detach:
        print(f"job {info.job}  {follow.title(info)}, {info.state}")
        return None
    with errand.errand(there, [info], as_json) as doing:
        return doing.until_end(info)


def tell(there: Reach, ended: JobInfo) -> None:
    """What a training gave."""
    run = (ended.result.run if ended.result else None) or ""
    last = outcome.metrics(there.client, run)
    if there.common.json:
        result = {"t": "result", "job": ended.job, "run": run, "metrics": last, "existing": was_there(ended)}
        progress.print_json(result)
        return
    if (text := outcome.diverged(last)) is not None:
        print(text)
    print(f"\nrun {run}" + (f"\n  {there.root / 'runs' / run}" if there.root else ""))
    print(f"next: {there.hint(f'plane --run {run[-SHORT:]} --direction pca')}")


def train_here(wanted: Recipe | None, resume: str | None, run_on: Execution, common: Common) -> None:
    """Train with a worker of this command's own."""
    place = common.place()
    if wanted is None:
        resume = place.run(resume or "")
        wanted = recipe_of(place, resume)
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
    if (text := outcome.diverged(last)) is not None:
        show.say(text)
    return result, last
