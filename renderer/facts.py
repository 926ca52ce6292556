"""What the legend tells, in words: the path, the lowest value, contours, measured points, what was clipped. Pure.

One rule for numbers: values of the metric have four significant digits, places in the plane three, shares two.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from renderer import draft, levels
from renderer.scene import Scene
from renderer.ticks import number

DRAFTED = "pale: drawn straight from row to row"


class Fact(NamedTuple):
    """A heading and its lines; those numbered in `spare` are given up first where room is short."""

    heading: str
    lines: tuple[str, ...] = ()
    spare: tuple[int, ...] = ()

    def short(self) -> Fact:
        """The same without the spare lines."""
        return Fact(self.heading, tuple(t for k, t in enumerate(self.lines) if k not in self.spare))


def value(v: float) -> str:
    """A value of the metric."""
    return number(v, 4)


def place(alpha: float, beta: float) -> str:
    """A place in the plane."""
    return f"α = {number(alpha, 3)}, β = {number(beta, 3)}"


def share(v: float) -> str:
    """A share as a percentage that never rounds up to the whole: 53 %, 99.4 %, over 99.9 %."""
    if 0.9995 <= v < 1:
        return "over 99.9 %"
    return f"{number(100 * v, 3 if 0.99 < v < 1 else 2)} %"


def lowest(scene: Scene) -> Fact:
    """The best measured point, and whether it lies on the border of the grid, where it may not be the best at all."""
    assert scene.axes is not None
    assert scene.scale.lowest is not None
    i, j = scene.scale.lowest
    highest = scene.view.metric == "accuracy"
    height, width = scene.n.shape
    heading = f"{'Highest' if highest else 'Lowest'} value: {value(float(scene.shown[i, j]))}"
    at = f"measured at {place(float(scene.axes[0][j]), float(scene.axes[1][i]))}"
    if i in (0, height - 1) or j in (0, width - 1):
        on = "on the border of what was measured: " + ("it may rise further" if highest else "the valley may go on")
        return Fact(heading, (at, on), (0,))
    return Fact(heading, (at,), (0,))


def off_plane_share(path: NDArray[np.void]) -> float:
    """The median off-plane distance of the checkpoints, NaN where it is unknown. That of the origin itself is 0 by
    definition, and does not count."""
    off = path["off_plane"][np.isfinite(path["off_plane"])]
    off = off[off > 0]
    return float(np.median(off)) if len(off) else math.nan


def path_end(path: NDArray[np.void]) -> str:
    """What off-plane distances are measured from: the end of the path, where that is the origin of the plane."""
    last = path[-1]
    return "the end" if last["alpha"] == 0 and last["beta"] == 0 and not last["off_plane"] > 0 else "the origin"


def own_loss(row: np.void) -> float:
    """The loss of a checkpoint itself: with its own batch statistics, else with those of the surface."""
    return next((float(row[c]) for c in ("loss_true", "loss_weights") if np.isfinite(row[c])), math.nan)


def when(path: NDArray[np.void], k: int) -> str:
    """Which checkpoint of the path this is: its epoch, else its step where steps are not just its number."""
    row = path[k]
    if np.isfinite(row["epoch"]):
        return f"epoch {number(float(row['epoch']), 3)}"
    return f"step {int(row['step'])}" if len(path) > 1 and int(path["step"][-1]) != len(path) - 1 else ""


def path_scale(path: NDArray[np.void]) -> tuple[str, str, str]:
    """What the colour along the path counts, and its two ends."""
    if np.isfinite(path["epoch"][[0, -1]]).all():
        return "epoch", number(float(path["epoch"][0]), 3), number(float(path["epoch"][-1]), 3)
    if int(path["step"][-1]) != len(path) - 1:
        return "step", str(int(path["step"][0])), str(int(path["step"][-1]))
    return "checkpoint", "1", str(len(path))


def path_on_a_point(scene: Scene) -> Fact:
    """A path off the plane of which all points fall onto one."""
    path = scene.path
    lines = [f"all {len(path)} checkpoints project onto this point"]
    lines[0] += f": {share(off_plane_share(path))} of their distance from {path_end(path)} is not in this plane"
    first, last = own_loss(path[0]), own_loss(path[-1])
    if np.isfinite([first, last]).all():
        names = [" at the start", " at the end"]
        if np.isfinite(path["epoch"][[0, -1]]).all():
            names = [f" at {when(path, 0)}", f" at {when(path, len(path) - 1)}"]
        lines.append(f"their own losses: {value(first)}{names[0]}, {value(last)}{names[1]}")
    return Fact("Path: off this plane", tuple(lines), (1,))


def path(scene: Scene) -> Fact:
    """How the path was brought into the plane."""
    way = scene.path
    off = off_plane_share(way)
    if scene.path_off_plane:
        text = f"pale and unjoined: {share(off)} of a checkpoint's distance from {path_end(way)} (median) is not in it"
        return Fact("Path: off this plane", (text,))
    heading = f"Path, coloured by {path_scale(way)[0]}"
    if math.isnan(off):
        return Fact(heading)
    text = f"projected; median {share(off)} of a checkpoint's distance from {path_end(way)} lies off this plane"
    return Fact(heading, (text,))


def path_point(scene: Scene, k: int, word: str, inside: bool) -> Fact:
    """Start or end of the path: where it is, its own loss, and the surface's there where that differs."""
    row = scene.path[k]
    name = when(scene.path, k)
    lines = [place(float(row["alpha"]), float(row["beta"]))]
    own, drawn = own_loss(scene.path[k]), float(row["loss_plane"])
    if not inside:
        lines.append("outside of the grid: not drawn")
    if np.isfinite(own):
        text = f"own loss {value(own)}"
        if scene.view.metric == "loss" and np.isfinite(drawn) and abs(own - drawn) > 0.005 * max(abs(own), abs(drawn)):
            text += f"; surface {value(drawn)}"
        lines.append(text)
    elif np.isfinite(drawn):
        lines.append(f"loss in the plane {value(drawn)}")
    return Fact(f"{word} of the path" + (f", {name}" if name else ""), tuple(lines), (0,))


def contours(scene: Scene) -> Fact | None:
    """Which isolines are drawn."""
    if not scene.view.layers.contours or not scene.scale.levels:
        return None
    return Fact("Contours", (levels.describe(scene.scale.levels, scene.scale.spacing),))


def grid(scene: Scene, steps: tuple[int, int]) -> Fact:
    """What the lines of the mesh are; each `steps`-th column and row is drawn."""
    height, width = scene.n.shape
    text = f"{width} × {height}, where lines cross" if scene.view.layers.mesh else f"{width} × {height}"
    if max(steps) > 1:
        columns, rows = ("2nd" if s == 2 else f"{s}th" if s > 2 else "" for s in steps)
        kinds = [f"{nth} {kind}" for nth, kind in ((columns, "column"), (rows, "row")) if nth]
        text += "; every " + (f"{columns} line" if columns == rows else " and ".join(kinds)) + " drawn"
    return Fact("Grid of measured points", (text,), (0,))


def whole(scene: Scene) -> Fact | None:
    """That nothing was clipped, or nothing even left out; None where something was (the entries below say what)."""
    scale, view = scene.scale, scene.view
    if scale.clip is not None or not scale.measured:
        return None
    outside = view.layers.path and not scene.path_inside().all()
    if scale.diverged or scale.missing or scale.below or outside:
        return Fact("Nothing clipped")
    return Fact("Nothing clipped or left out")


def clipped(scene: Scene) -> Fact:
    """Where values were clipped, how many, and what became of them."""
    scale, view = scene.scale, scene.view
    assert scale.clip is not None
    how = "drawn flat at that height" if view.mode == "3d" else "drawn as one colour"
    how = "cut away" if view.clip_mode == "cut" else how
    return Fact(f"Clipped above {value(scale.clip)}", (f"{scale.clipped} of {scale.measured} points, {how}",))


def diverged(scene: Scene) -> Fact:
    return Fact("Diverged", (f"{scene.scale.diverged} of {scene.n.size} points: loss not finite",))


def missing(scene: Scene) -> Fact:
    lines = [f"{scene.scale.missing} of {scene.n.size} points"]
    if scene.unfinished and draft.gaps(scene.n):
        lines.append(DRAFTED)
    return Fact("Not measured", tuple(lines))


def below(scene: Scene) -> Fact:
    scale = scene.scale
    return Fact("Zero or less", (f"{scale.below} points, drawn at {value(scale.lo)}: they have no logarithm",))


def outside(scene: Scene) -> Fact | None:
    """How many points of the path are not drawn."""
    count = int(np.count_nonzero(~scene.path_inside()))
    if not count or len(scene.path) <= 2:
        return None
    return Fact(f"{count} of {len(scene.path)} path points", ("lie outside of the grid: not drawn",))
