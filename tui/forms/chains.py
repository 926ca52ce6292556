"""What is to come after a job, submitted together with it: planes and surfaces that name the job before by its id."""

from __future__ import annotations

from protocol import grid as grids
from protocol.messages import Passes, SurfaceSpec
from tui.fields import Choice, Field

THEN = (
    Choice("nothing"),
    Choice("pca", "PCA plane and surface"),
    Choice("random", "random plane and surface"),
    Choice("both", "both planes and surfaces"),
)


def grid_count(path: str, group: str) -> Field:
    """How many points a side."""
    return Field(
        path, "integer", "points a side", 25, lo=grids.MIN_COUNT, hi=grids.MAX_COUNT, group=group,
        help="The surface is measured on so many by so many points.",
    )  # fmt: skip


def surface_of(plane_job: str, count: int, passes: Passes) -> SurfaceSpec:
    """A surface over the plane that another job of the submission cuts."""
    axis = grids.AxisSpec(count=count)
    return SurfaceSpec(plane=f"job:{plane_job}", grid=grids.GridSpec(alpha=axis, beta=axis), passes=passes)


def surface_last(count: int, passes: Passes) -> str:
    """The same as a command: a surface over the newest plane."""
    grid = "" if count == grids.AxisSpec().count else f" --grid {count}"
    return f"thalweg surface last{grid} --passes {passes}"
