"""The demo as jobs: train, then on a PCA plane and on a random one measure a surface. The command line and the
terminal UI submit the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from protocol.grid import AxisSpec, GridSpec
from protocol.messages import PRESETS, PlaneSpec, Recipe, Spec, SurfaceSpec, TrainSpec
from protocol.requests import Submitted

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


def jobs(tour: Tour, make: Callable[[Spec], Submitted]) -> list[Submitted]:
    """Train; then, for each kind, the plane and the surface on it, one kind after the other. `make` gives a job its id
    and whatever else was asked for all of them."""
    train = make(TrainSpec(recipe=tour.recipe))
    out, before = [train], train.after
    for kind in DIRECTIONS:
        run = f"job:{train.job}"
        plane = make(PlaneSpec(direction=kind, origin=f"{run}@last", trajectory=run))
        surface = make(SurfaceSpec(plane=f"job:{plane.job}", path=run, grid=tour.spec_grid, limit=tour.limit))
        base = train.name and f"{train.name}-{kind}"
        out.append(msgspec.structs.replace(plane, after=before, name=base))
        out.append(msgspec.structs.replace(surface, after=(), name=base))
        before = (surface.job,)
    return out
