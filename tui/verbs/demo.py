"""`thalweg demo`: the whole tour as one submission, its files fetched; one renderer process for all pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from protocol.client import Client
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.files import Surface, write_path_csv
from protocol.messages import Event, Execution, PlaneSpec, Render, SurfaceBegin, SurfaceRow, SurfaceSpec, TrainSpec
from protocol.requests import Submitted
from protocol.steering import WindowClient
from protocol.windows import Show
from tui import errand, flags, loop, opening, outcome, progress, reach, session
from tui.children import ChildError, JsonChild, need
from tui.interrupt import Interrupt
from tui.link import Link
from tui.opening import Opened
from tui.session import Common
from tui.submission import JobFlags, alone, submitted
from tui.tables import tell
from tui.tour import DIRECTIONS, FULL, QUICK, Tour, jobs
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


def demo(
    *,
    out: Annotated[Path, Parameter(help="Folder for pictures, surfaces and paths.")] = Path("thalweg-demo"),
    quick: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Less of everything, in under 30 s.")
    ] = False,
    window: Annotated[
        bool,
        Parameter(show_default=False, help="Show the surfaces in a window while they fill, where there is a display."),
    ] = True,
    execution: ExecutionFlags | None = None,
    job: JobFlags | None = None,
    common: Common | None = None,
) -> None:
    """Train, cut two planes, measure, draw."""
    common = session.common(common)
    started = time.monotonic()
    tour, folder = QUICK if quick else FULL, out.expanduser().absolute()
    run_on = flags.build(Execution, None, flags.given(execution))
    need("window", "moderngl", "PIL")
    if quick and not common.json:
        cut = (
            f"quick: {tour.recipe.epochs} epochs instead of {FULL.recipe.epochs}, {tour.grid} x {tour.grid} points "
            f"instead of {FULL.grid} x {FULL.grid}, each over a sample of {tour.limit} training images instead of all"
        )
        tell([cut])
    here = alone(job, common)
    with folders(folder):
        if here:
            shown: Shown | None = tour_here(tour, folder, run_on, common)
        else:
            shown = tour_there(tour, folder, run_on, job, common, window)
    if shown is None:
        return
    run, last, surfaces = shown
    seconds = time.monotonic() - started
    if common.json:
        progress.print_json(
            {
                "t": "result",
                "run": run,
                "metrics": last,
                "out": str(folder),
                "surfaces": {kind: {**summary(s), "plane": s.meta.plane} for kind, s in surfaces.items()},
                "seconds": round(seconds, 1),
            }
        )
        return
    done = f"done in {progress.seconds_text(seconds)}"
    tell(["", *report(tour, folder, run, last, surfaces), "", done])


Shown = tuple[str, dict[str, float], dict[str, Surface]]
"""The run, its last metrics, the surface of each kind of plane."""


class Seen:
    """The window that fills while surfaces are measured. What goes wrong with it is told and stops nothing."""

    def __init__(self, root: Path | None, show: progress.Display) -> None:
        """`root`: the workspace; None: no window."""
        self._root, self._show = root, show
        self._opened: Opened | None = None
        self._shown: tuple[str, ...] = ()

    def only(self, *surfaces: str) -> None:
        """Show these."""
        if self._root is None or surfaces == self._shown:
            return
        self._shown = surfaces
        try:
            if self._opened is None:
                self._opened = opening.begin(opening.command(surfaces=surfaces, workspace=self._root))
                self._show.say(f"window {self._opened.window[-SHORT:]} is open; --no-window leaves it out")
            else:
                with WindowClient.open(self._opened.endpoint) as client:
                    client.request(Show(id=new_id(), surfaces=surfaces))
        except (InputError, ChildError) as e:
            self._root = None
            if self._opened is None:  # one that was opened may have been closed
                self._show.say(f"no window: {e}")

    def watched(self, event: Event, arrays: progress.Arrays) -> None:
        """Show what a surface's events tell of."""
        if isinstance(event, SurfaceBegin | SurfaceRow):
            self.only(event.surface)
        self._show.event(event, arrays)


def tour_there(
    tour: Tour, folder: Path, run_on: Execution, job: JobFlags | None, common: Common, window: bool = False
) -> Shown | None:
    """The tour as one submission to the daemon; None where it was left alone."""
    surfaces: dict[str, Surface] = {}
    ids: list[str] = []
    with reach.daemon(common) as there:
        infos = errand.submit(there, submission(there.client, tour, run_on, job), job, common.json)
        if infos is None:
            if not common.json:
                print(f"pictures: {there.hint('demo' + (' --quick' if tour is QUICK else ''))} when they are done")
            return None
        with errand.errand(there, infos, common.json) as doing:
            seen = Seen(there.root if window and opening.has_display() else None, doing.show)
            trained = doing.until_end(infos[0]).result
            run = (trained.run if trained else None) or ""
            for kind, plane, surface in zip(DIRECTIONS, infos[1::2], infos[2::2]):
                doing.until_end(plane)
                result = doing.until_end(surface, f"{kind} surface", seen.watched).result
                ids += [result.surface] if result and result.surface else []
                seen.only(*ids)
                file = there.client.fetch(folder / f"{kind}.npz", surface=result.surface if result else "")
                surfaces[kind] = Surface.load(file)
                write_path_csv(folder / f"{kind}-path.csv", surfaces[kind].path, surfaces[kind].meta.plane)
            drawn(doing.stop, doing.show, surfaces, folder)
        return run, outcome.metrics(there.client, run), surfaces


def submission(client: Client, tour: Tour, run_on: Execution, job: JobFlags | None) -> list[Submitted]:
    """The tour's jobs, with the flags that were typed."""
    return jobs(tour, lambda spec: submitted(client, spec, job, run_on))


def tour_here(tour: Tour, folder: Path, run_on: Execution, common: Common) -> Shown:
    """The tour with a worker of this command's own."""
    place = common.place()
    with session.worker(place) as link, progress.display(as_json=common.json) as show:
        job = partial(loop.Job, workspace=place.root, data=common.data_folder(), execution=run_on)
        trained, last = train_on(link, job(spec=TrainSpec(recipe=tour.recipe)), show)
        surfaces = {kind: measured(link, show, tour, kind, trained.run or "", folder, job) for kind in DIRECTIONS}
        drawn(link.interrupt, show, surfaces, folder)
    return trained.run or "", last, surfaces


def drawn(stop: Interrupt, show: progress.Display, surfaces: dict[str, Surface], folder: Path) -> None:
    """Draw the pictures with one renderer process, showing it."""
    show.start("pictures")
    with renderer() as child:
        pictures(stop, child, show, surfaces, folder)
    show.done(f"{len(PICTURES) * len(surfaces)} drawn")


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


def pictures(
    stop: Interrupt, child: JsonChild, show: progress.Display, surfaces: dict[str, Surface], folder: Path
) -> None:
    """Draw every surface in every preset of the demo."""
    wanted = [(kind, name) for kind in surfaces for name in PICTURES]
    for done, (kind, name) in enumerate(wanted):
        stop.check()
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
