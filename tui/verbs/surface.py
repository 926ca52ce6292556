"""`thalweg surface`: a plane becomes a measured surface."""

from __future__ import annotations

import dataclasses
import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Group, Parameter

from protocol import grid as grids
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.files import Surface
from protocol.grid import GridSpec
from protocol.messages import Execution, SurfaceSpec
from protocol.requests import JobInfo, Status
from tui import errand, flags, loop, progress, reach, session, things
from tui.link import Link
from tui.reach import Reach
from tui.session import Common
from tui.submission import JobFlags, alone, submitted, was_there
from tui.tables import tell as tell_lines
from tui.workspace import SHORT, Workspace, about, folders, looks_like_file

if TYPE_CHECKING:
    SurfaceFlags = Any
    ExecutionFlags = Any
else:
    SurfaceFlags = flags.derive(
        SurfaceSpec, leave_out=("plane", "path", "grid", "data"), group=Group("What is measured", sort_key=10)
    )
    ExecutionFlags = flags.derive(Execution, only=("device", "threads", "batch_size"), group=flags.EXECUTION)

# The seed's 25 x 25 quads have 26 x 26 vertices; its ranges by the kind of plane.
SEED_COUNT = 26
SEED_RANGES = {"random": (-0.5, 0.5), "pca": (-9.0, 9.75)}
FLAGS = {
    "grid": "--grid",
    "grid.alpha.count": "--grid",
    "grid.beta.count": "--grid",
    "grid.alpha.lo": "--alpha",
    "grid.alpha.hi": "--alpha",
    "grid.beta.lo": "--beta",
    "grid.beta.hi": "--beta",
}


def surface(
    plane: Annotated[str, Parameter(help="Plane: its id, the last characters of it, or `last`.")],
    /,
    *,
    grid: Annotated[
        str | None, Parameter(help="Points: one number for both axes, or ALPHAxBETA, as 51x26. [default: 25]")
    ] = None,
    alpha: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="Range of the first axis as START:END, in units of the plane's direction. [default: -1:1, or around "
            "the path on a pca plane]",
        ),
    ] = None,
    beta: Annotated[str | None, Parameter(allow_leading_hyphen=True, help="The same for the second axis.")] = None,
    path: Annotated[
        str | None, Parameter(help="Run whose path is projected onto the plane; by default the plane's own.")
    ] = None,
    preset: Annotated[
        Literal["seed"] | None,
        Parameter(help="`seed`: 26 x 26 points, +-0.5 on a random plane, -9 to 9.75 on a pca one."),
    ] = None,
    out: Annotated[Path | None, Parameter(help="File to write; by default one in the workspace.")] = None,
    dataset: Annotated[str | None, Parameter(help="Data set to measure on; by default the run's own.")] = None,
    measured: SurfaceFlags | None = None,
    execution: ExecutionFlags | None = None,
    job: JobFlags | None = None,
    common: Common | None = None,
) -> None:
    """Measure loss and accuracy on a grid over a plane, and project the path of the training onto it."""
    common = session.common(common)
    typed = flags.given(measured)
    if dataset is not None:
        typed["data"] = dataset
    run_on = flags.build(Execution, None, flags.given(execution))
    if out is not None and out.suffix != ".npz":
        raise InputError(f"--out: expected a file that ends in .npz, got '{out.name}'")
    wanted = Wanted(plane, path, grid, alpha, beta, preset, typed)
    wanted.check()
    if alone(job, common) or looks_like_file(plane):
        if looks_like_file(plane) and job is not None and job.detach:
            raise InputError("--detach: expected a plane of the workspace, a file is measured by this command itself")
        surface_here(wanted, out, run_on, common)
        return
    with ExitStack() as stack:
        if out is not None:
            stack.enter_context(folders(out.expanduser().absolute().parent))
        there = stack.enter_context(reach.daemon(common))
        spec = wanted.spec(there)
        ended = errand.run(there, submitted(there.client, spec, job, run_on), job, common.json, "surface")
        if ended is not None:
            tell(there, ended, out)


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What was typed of a surface; `typed` are fields of the spec."""

    plane: str
    path: str | None
    grid: str | None
    alpha: str | None
    beta: str | None
    preset: str | None
    typed: dict[str, Any]

    def build(self, plane: str, path: str | None, kind: str) -> SurfaceSpec:
        """The spec, with the plane and path that were found. Raises InputError with the flag's name."""
        tree = grid_tree(self.grid, self.alpha, self.beta, self.preset, kind)
        spec = flags.build(SurfaceSpec, None, {**self.typed, "plane": plane, "path": path, "grid": tree}, FLAGS)
        check_grid(spec.grid)
        return spec

    def check(self) -> None:
        """Raise InputError for what is wrong whatever the plane is."""
        self.build("", None, "random")

    def spec(self, there: Reach) -> SurfaceSpec:
        """The spec for a daemon, with whole ids."""
        record = things.thing(there.client, "plane", self.plane)
        path = None if self.path is None else things.thing(there.client, "run", self.path)["id"]
        if self.preset is None and "passes" not in self.typed:  # what the workspace's config.toml says
            default = there.client.request(Status(id=new_id())).config.get("passes", 1)
            return dataclasses.replace(self, typed={**self.typed, "passes": default}).spec(there)
        return self.build(record["hash"], path, str(record["meta"].get("kind", "")))


def tell(there: Reach, ended: JobInfo, out: Path | None) -> None:
    """What a surface shows; it is fetched into `out` where that is given."""
    id = (ended.result.surface if ended.result else None) or ""
    if out is not None:
        file = there.client.fetch(out.expanduser().absolute(), surface=id)
        found = Surface.load(file)
    else:
        found = things.surface(there.client, id)
        relative = things.thing(there.client, "surface", id).get("file") or ""
        file = there.root / relative if there.root is not None else Path()
    if there.common.json:
        progress.print_json(
            {
                "t": "result",
                "job": ended.job,
                "surface": id,
                "file": str(file) if file.name else None,
                "existing": was_there(ended),
                **summary(found),
            }
        )
        return
    place = [f"  {file}"] if file.name else []
    tell_lines(["", f"surface {id}", *place, *(f"  {s}" for s in surface_lines(found))])
    print(f"next: {there.hint(f'render {out or id[-SHORT:]} --preset contours-3d')}")


def surface_here(wanted: Wanted, out: Path | None, run_on: Execution, common: Common) -> None:
    """Measure with a worker of this command's own."""
    place = common.place()
    plane, path, preset = wanted.plane, wanted.path, wanted.preset
    plane = place.plane(plane) if not looks_like_file(plane) else str(Path(plane).expanduser().absolute())
    spec = wanted.build(
        plane, None if path is None else path_address(place, path), plane_kind(place, plane) if preset else ""
    )
    job = loop.Job(spec=spec, workspace=place.root, data=common.data_folder(), execution=run_on)
    file = out.expanduser().absolute() if out else place.surface_file(job.id)
    job = dataclasses.replace(job, file=file)
    with folders(file.parent), session.worker(place) as link, progress.display(as_json=common.json) as show:
        result = surface_on(link, job, show, "surface")
    assert result.surface is not None
    if common.json:
        progress.print_json(
            {"t": "result", "surface": result.surface.meta.id, "file": str(file), **summary(result.surface)}
        )
        return
    tell_lines(
        ["", f"surface {result.surface.meta.id}", f"  {file}", *(f"  {s}" for s in surface_lines(result.surface))]
    )
    print(f"next: thalweg render {file if out else result.surface.meta.id[-SHORT:]} --preset contours-3d")


def path_address(place: Workspace, text: str) -> str:
    """The trajectory that `--path` names."""
    return place.address(text) if looks_like_file(text) else place.run(text)


def plane_kind(place: Workspace, plane: str) -> str:
    """`random`, `pca`, ..., as the plane's file says."""
    said = about(place.plane_file(plane) if not looks_like_file(plane) else Path(plane))
    meta = said.get("plane")
    return str(meta.get("kind", "")) if isinstance(meta, dict) else ""


def grid_tree(grid: str | None, alpha: str | None, beta: str | None, preset: str | None, kind: str) -> dict[str, Any]:
    """The grid that was typed, as the fields of a GridSpec."""
    counts: list[int | None] = [None, None]
    ranges: list[tuple[float, float] | None] = [None, None]
    if preset == "seed":
        if kind not in SEED_RANGES:
            raise InputError(
                f"--preset: seed has ranges for random and pca planes, this one is {kind or 'of another kind'}"
            )
        counts, ranges = [SEED_COUNT] * 2, [SEED_RANGES[kind]] * 2
    if grid is not None:
        found = re.fullmatch(r"(-?\d+)(?:[xX×](-?\d+))?", grid.strip())
        if not found:
            raise InputError(f"--grid: expected a number of points or ALPHAxBETA, as 25 or 26x51; got '{grid}'")
        counts = [int(found[1]), int(found[2] or found[1])]
    for k, (text, flag) in enumerate(((alpha, "--alpha"), (beta, "--beta"))):
        if text is not None:
            ranges[k] = parse_range(text, flag)
    axes: dict[str, Any] = {}
    for name, count, span in zip(("alpha", "beta"), counts, ranges):
        fields: dict[str, Any] = {} if count is None else {"count": count}
        axes[name] = fields if span is None else {**fields, "lo": span[0], "hi": span[1]}
    return axes


def parse_range(text: str, flag: str) -> tuple[float, float]:
    """`-0.5:0.5` -> (-0.5, 0.5)."""
    start, colon, end = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return float(start), float(end)
    except ValueError as e:
        raise InputError(f"{flag}: expected START:END, as {flag}=-0.5:0.5; got '{text}'") from e


def check_grid(grid: GridSpec) -> None:
    """Refuse an impossible axis before a worker is started for it."""
    for name, spec in (("alpha", grid.alpha), ("beta", grid.beta)):
        if spec.lo is not None and spec.hi is not None:
            try:
                grids.axis(spec.lo, spec.hi, spec.count, f"grid.{name}")
            except InputError as e:
                raise InputError(f"--{name}: {e.msg.partition(': ')[2]}", path=e.path) from e


def surface_on(link: Link, job: loop.Job, show: progress.Display, title: str) -> loop.Result:
    """Measure a surface on a worker that is up, showing it."""
    show.start(title)
    result = loop.drive(loop.run(link, job), show.event)
    assert result.surface is not None
    lowest = loop.finite_minimum(result.surface)
    show.done("every point diverged" if lowest is None else f"lowest loss {progress.number_text(lowest[2])}")
    return result


def summary(surface: Surface) -> dict[str, Any]:
    """What a surface shows, as numbers."""
    import numpy as np

    lowest = loop.finite_minimum(surface)
    off = surface.path["off_plane"][:-1] if len(surface.path) > 1 else np.zeros(0)
    off = off[np.isfinite(off)]
    measured = surface.n > 0
    return {
        "shape": list(surface.shape),
        "samples": surface.meta.samples,
        "minimum": None if lowest is None else dict(zip(("alpha", "beta", "loss"), lowest)),
        "highest": float(np.max(surface.loss[np.isfinite(surface.loss)], initial=-np.inf)),
        "diverged": int(np.sum(measured & ~np.isfinite(surface.loss))),
        "missing": int(np.sum(~measured)),
        "off_plane_median": float(np.median(off)) if len(off) else None,
        "checkpoints_on_path": len(surface.path),
    }


def surface_lines(surface: Surface) -> list[str]:
    """What a surface shows, as sentences for a person."""
    said = summary(surface)
    h, w = said["shape"]
    meta = surface.meta
    images = f", each over {meta.samples} images" if meta.samples else ""
    what = f"{w} x {h} points{images}" + (f" of {meta.data} ({meta.split})" if meta.data else "")
    lines = [what]
    if said["minimum"]:
        low = said["minimum"]
        lines.append(
            f"lowest loss {progress.number_text(low['loss'])} at alpha {low['alpha']:.3g}, beta {low['beta']:.3g}; "
            f"highest {progress.number_text(said['highest'])}"
        )
    if said["diverged"]:
        lines.append(f"{said['diverged']} points diverged (loss not finite); they are kept as they are")
    if said["missing"]:
        lines.append(f"{said['missing']} points are not measured: {meta.note or 'this surface is partial'}")
    if said["off_plane_median"] is not None:
        lines.append(off_plane_text(said["off_plane_median"]))
    return lines


def off_plane_text(median: float) -> str:
    """How much of the path lies off the plane, in words (math.md's threshold of 0.9)."""
    share = f"{100 * median:.0f} % of a checkpoint's way from the centre lies off this plane (median)"
    if median > 0.9:
        return share + ": the path is hardly in it, and pictures draw its points pale and unjoined"
    return share
