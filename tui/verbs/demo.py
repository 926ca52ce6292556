"""`thalweg demo`: the whole tour. One worker process for all jobs, so that model and data stay resident; one renderer
process for all pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter

from protocol.errors import InputError
from protocol.files import Surface, write_path_csv
from protocol.grid import AxisSpec, GridSpec
from protocol.messages import PRESETS, Execution, PlaneSpec, Recipe, Render, SurfaceSpec, TrainSpec
from tui import flags, loop, progress, session
from tui.children import JsonChild, need
from tui.link import Link
from tui.session import Common
from tui.tables import tell
from tui.verbs.listing import explained_text
from tui.verbs.plane import plane_on
from tui.verbs.render import draw, renderer
from tui.verbs.surface import summary, surface_lines, surface_on
from tui.verbs.train import train_on
from tui.workspace import SHORT, folders

if TYPE_CHECKING:
    ExecutionFlags = Any
else:
    ExecutionFlags = flags.derive(Execution, only=("device", "threads"), group=flags.EXECUTION)

PICTURES = ("contours-2d", "contours-3d", "mesh")
DIRECTIONS = {"pca": "PCA plane", "random": "random plane"}


@dataclass(frozen=True)
class Tour:
    """How much of everything the demo does."""

    recipe: Recipe
    grid: int
    limit: int | None

    @property
    def spec_grid(self) -> GridSpec:
        """The same number of points on both axes."""
        return GridSpec(alpha=AxisSpec(count=self.grid), beta=AxisSpec(count=self.grid))


FULL = Tour(PRESETS["demo"], 25, None)
QUICK = Tour(msgspec.structs.replace(PRESETS["demo"], epochs=4), 13, 512)


def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder for pictures, surfaces and paths.")] = Path("thalweg-demo"),
    quick: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Less of everything, in under 30 s.")
    ] = False,
    execution: ExecutionFlags | None = None,
    common: Common | None = None,
) -> None:
    """Train, cut two planes, measure, draw."""
    common = session.common(common)
    started = time.monotonic()
    place, tour, folder = common.place(), QUICK if quick else FULL, out.expanduser().absolute()
    run_on = flags.build(Execution, None, flags.given(execution))
    need("window", "moderngl", "PIL")
    if quick and not common.json:
        cut = (
            f"quick: {tour.recipe.epochs} epochs instead of {FULL.recipe.epochs}, {tour.grid} x {tour.grid} points "
            f"instead of {FULL.grid} x {FULL.grid}, each over a sample of {tour.limit} training images instead of all"
        )
        tell([cut])
    with folders(folder), session.worker(place) as link, progress.display(as_json=common.json) as show:
        job = partial(loop.Job, workspace=place.root, data=common.data_folder(), execution=run_on)
        trained, last = train_on(link, job(spec=TrainSpec(recipe=tour.recipe)), show)
        surfaces = {kind: measured(link, show, tour, kind, trained.run or "", folder, job) for kind in DIRECTIONS}
        show.start("pictures")
        with renderer() as child:
            pictures(link, child, show, surfaces, folder)
        show.done(f"{len(PICTURES) * len(surfaces)} drawn")
    seconds = time.monotonic() - started
    if common.json:
        progress.print_json(
            {
                "t": "result",
                "run": trained.run,
                "metrics": last,
                "out": str(folder),
                "surfaces": {kind: {**summary(s), "plane": s.meta.plane} for kind, s in surfaces.items()},
                "seconds": round(seconds, 1),
            }
        )
        return
    done = f"done in {progress.seconds_text(seconds)}"
    tell(["", *report(tour, folder, trained.run or "", last, surfaces), "", done])


def measured(
    link: Link, show: progress.Display, tour: Tour, kind: str, run: str, folder: Path, job: Callable[..., loop.Job]
) -> Surface:
    """Cut the plane of that kind through the run, measure it into the folder, write its path beside it."""
    plane = plane_on(link, job(spec=PlaneSpec(direction=kind, origin=f"{run}@last", trajectory=run)), show)
    spec = SurfaceSpec(plane=plane.plane or "", path=run, grid=tour.spec_grid, limit=tour.limit)
    result = surface_on(link, job(spec=spec, file=folder / f"{kind}.npz"), show, f"{kind} surface")
    surface = result.surface
    if surface is None:
        raise InputError("demo: the worker gave no surface", code="internal")
    write_path_csv(folder / f"{kind}-path.csv", surface.path, surface.meta.plane)
    return surface


def pictures(link: Link, child: JsonChild, show: progress.Display, surfaces: dict[str, Surface], folder: Path) -> None:
    """Draw every surface in every preset of the demo."""
    wanted = [(kind, name) for kind in surfaces for name in PICTURES]
    for done, (kind, name) in enumerate(wanted):
        link.interrupt.check()
        show.event(loop.JobProgress(job="pictures", done=done, total=len(wanted), note=f"{kind}, {name}"), {})
        draw(child, Render(file=str(folder / f"{kind}.npz"), out=str(folder / f"{kind}-{name}.png"), preset=name))


def report(tour: Tour, folder: Path, run: str, last: dict[str, float], surfaces: dict[str, Surface]) -> list[str]:
    """Where everything is and what it shows, in sentences with numbers."""
    recipe = tour.recipe
    accuracy, loss = (last.get(f"test_{name}", math.nan) for name in ("accuracy", "loss"))
    trained = (
        f"{recipe.model} on {recipe.dataset}, {recipe.epochs} epochs: test accuracy {100 * accuracy:.1f} %, "
        f"test loss {loss:.4g}"
    )
    lines = [
        f"In {folder}:",
        *(f"  {kind}-{{{','.join(PICTURES)}}}.png" for kind in surfaces),
        *(f"  {kind}.npz, {kind}-path.csv" for kind in surfaces),
        "",
        trained,
    ]
    for kind, surface in surfaces.items():
        lines += ["", f"{DIRECTIONS[kind]}, {kind}-*.png:"]
        lines += [f"  {line}" for line in surface_lines(surface)]
        if surface.meta.plane.explained_variance_ratio:
            lines.append(f"  {explained_text(surface.meta.plane)}")
    lines += ["", f"the run is {run[-SHORT:]}; next: thalweg plane --run {run[-SHORT:]} --seed 1"]
    return lines
