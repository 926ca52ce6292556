"""What is drawn at a pixel: a sight line through the picture, marched over the measured values. Pure; asks no GPU.

Heights are those of the picture: smoothing, plateau or cut, logarithms, the height multiplier. Cells that are not drawn
let the line through, down to the hatching on the floor that says why. Where isolines hang alone in the air, the sight
line goes on to the first isoline that it passes; where it passes none, it hits the sheet that they lie on, unseen as
that is, so that every place between the lines has its value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from renderer.field import refinement
from renderer.frame import Frame

State = Literal["measured", "missing", "diverged"]
NEAR = 4.0  # units of length from an isoline that is pointed at
FINE = 17  # places between two steps of the march that a crossing is looked for at
FINEST = 4  # steps a measured cell, where the surface is smooth between the points
MOST = 4096  # steps
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Hit:
    """What a pixel shows: the place (`alpha`, `beta`), `world` (3,), and the nearest measured point (row `i`, column
    `j`) with its values, NaN where unknown. `missing`: it is not measured yet; `diverged`: its loss is not finite."""

    alpha: float
    beta: float
    world: Floats
    i: int
    j: int
    state: State
    loss: float
    accuracy: float
    sem: float
    n: int


def pick(frame: Frame, x: float, y: float) -> Hit | None:
    """What is drawn at pixel (x, y) of the picture; None where nothing is."""
    scene, layout = frame.scene, frame.layout
    if scene.axes is None:
        return None
    seen = layout.plot if layout.flat else layout.stage
    if seen is not None and not (seen.x0 <= x <= seen.x1 and seen.y0 <= y <= seen.y1):
        return None
    near, far = sight(frame, x, y)
    if frame.flat:
        return _floor(frame, near, far, patches_only=False)
    layers = frame.view.layers
    sheet = layers.surface or layers.mesh or layers.contours
    found = _march(frame, near, far) if sheet else None
    return found if found is not None else _floor(frame, near, far, patches_only=True)


def nearest(frames: Sequence[Frame], x: float, y: float) -> int:
    """Which of the frames beside each other in a picture is meant by a place in its pixels; the first in an overlay."""

    def away(frame: Frame) -> float:
        plot = frame.layout.plot
        return max(plot.x0 - x, 0.0, x - plot.x1) ** 2 + max(plot.y0 - y, 0.0, y - plot.y1) ** 2

    return min(range(len(frames)), key=lambda k: away(frames[k]))


def sight(frame: Frame, x: float, y: float) -> tuple[Floats, Floats]:
    """The two ends (3,), nearest first, of the line of all world points that are drawn at a pixel."""
    w, h = frame.layout.size
    ends = np.array([[2 * x / w - 1, 1 - 2 * y / h, z, 1.0] for z in (-1.0, 1.0)])
    p = np.linalg.solve(frame.projection.matrix, ends.T).T
    return p[0, :3] / p[0, 3], p[1, :3] / p[1, 3]


def _march(frame: Frame, near: Floats, far: Floats) -> Hit | None:
    """Where the line first meets the surface where it is drawn."""
    way = far - near
    t0, t1 = 0.0, 1.0
    (sx, sy), scale = frame.sides, frame.scale
    lid = float(frame.floor + frame.rise * scale.convert(np.array(frame.plateau), scale.log_height))
    for axis, (lo, hi) in enumerate(((-sx, sx), (-sy, sy), (-1e-6, lid + 1e-6))):
        if abs(way[axis]) < 1e-12:
            if not lo <= near[axis] <= hi:
                return None
            continue
        a, b = sorted(((lo - near[axis]) / way[axis], (hi - near[axis]) / way[axis]))
        t0, t1 = max(t0, a), min(t1, b)
    if t1 <= t0:
        return None
    t = np.linspace(t0, t1, _steps(frame, np.abs(way) * (t1 - t0)))
    over = _over(frame, near, way, t)
    first: Hit | None = None
    alone = not (frame.view.layers.surface or frame.view.layers.mesh)
    for a, b in _crossings(over):
        fine = np.linspace(t[a], t[b], FINE)
        d = _over(frame, near, way, fine)
        for m in np.flatnonzero((d[1:] > 0) != (d[:-1] > 0)):
            at = near + way * (fine[m] + (fine[m + 1] - fine[m]) * d[m] / (d[m] - d[m + 1]))
            hit = _hit(frame, at)
            if hit is not None and (not alone or _by_a_line(frame, hit)):
                return hit
            first = first or hit
    return first


def _by_a_line(frame: Frame, hit: Hit) -> bool:
    """Whether an isoline is drawn by a place on the surface."""
    levels = frame.scale.levels
    if not levels or frame.scene.axes is None:
        return False
    spans = [float(axis[-1] - axis[0]) for axis in frame.scene.axes]
    da, db = (1e-3 * span for span in spans)
    a, b = hit.alpha, hit.beta
    u, right, up = frame.scene.field.at(np.array([a, a + da, a]), np.array([b, b, b + db]))
    slope = np.array([right - u, up - u])  # for a thousandth of each side
    steep = float(slope @ slope)
    if not math.isfinite(steep) or steep == 0.0:
        return False
    units = frame.scale.unit(np.array([level.value for level in levels], float))
    way = slope * (units[np.abs(units - u).argmin()] - u) / steep
    line = frame.world(np.array([a + way[0] * da]), np.array([b + way[1] * db]))[0]
    ends = frame.pixels(np.stack([hit.world, line]))[:, :2]
    return bool(np.linalg.norm(ends[1] - ends[0]) <= NEAR * frame.unit)


def _steps(frame: Frame, way: Floats) -> int:
    """Steps that leave out no measured cell on a way (3,) of these lengths."""
    assert frame.scene.axes is not None
    cells = max(
        length / (2 * side) * float((axis[-1] - axis[0]) / np.diff(axis).min())
        for length, side, axis in zip(way, frame.sides, frame.scene.axes)
    )
    rows, columns = frame.scene.n.shape
    return min(max(2, math.ceil(cells * min(refinement(columns, rows), FINEST)) + 1), MOST)


def _crossings(over: Floats) -> list[tuple[int, int]]:
    """Pairs of steps between which the line crosses the surface, in order; or grazes it, and may have crossed twice."""
    found = [(int(k), int(k) + 1) for k in np.flatnonzero((over[1:] > 0) != (over[:-1] > 0))]
    if len(over) > 2:
        a, b, c = np.abs(over[:-2]), np.abs(over[1:-1]), np.abs(over[2:])
        bend, slope = a - 2 * b + c, (c - a) / 2
        with np.errstate(all="ignore"):
            near = (b <= a) & (b <= c) & (b - slope**2 / (2 * bend) <= bend)  # the turning point of a parabola
        found += [(int(k), int(k) + 2) for k in np.flatnonzero(near)]
    return sorted(found)


def _over(frame: Frame, near: Floats, way: Floats, t: Floats) -> Floats:
    """How far places on the line (n,) are over the surface, in world units."""
    p = near + way * t[:, None]
    alpha, beta = _plane(frame, p)
    units = np.clip(frame.scene.field.at(alpha, beta), -0.02, frame.plateau)
    out: Floats = p[:, 2] - frame.floor - frame.rise * frame.scale.convert(units, frame.scale.log_height)
    return out


def _plane(frame: Frame, points: Floats) -> tuple[Floats, Floats]:
    """alpha (n,) and beta (n,) of world points (n, 3), on the grid's border where they are beyond."""
    assert frame.scene.axes is not None
    alpha, beta = (
        axis[0] + (np.clip(points[:, k] / side, -1, 1) + 1) / 2 * (axis[-1] - axis[0])
        for k, (axis, side) in enumerate(zip(frame.scene.axes, frame.sides))
    )
    return alpha, beta


def _hit(frame: Frame, world: Floats) -> Hit | None:
    """The hit at a world point of the surface; None where the surface is not drawn there."""
    hit = _nearest(frame, world)
    if not _drawn(frame, hit.i, hit.j):
        return None
    if frame.scale.clip is not None and frame.view.clip_mode == "cut":
        unit = frame.scene.field.at(np.array([hit.alpha]), np.array([hit.beta]))[0]
        if unit > 1.0:
            return None
    return hit


def _drawn(frame: Frame, i: int, j: int) -> bool:
    """Whether the surface is drawn around a measured point: it has a value, or a draft of one."""
    scene = frame.scene
    if scene.n[i, j] > 0 and math.isfinite(scene.values[frame.view.metric][i, j]):
        return True
    return scene.unfinished and math.isfinite(scene.draft[i, j])


def _floor(frame: Frame, near: Floats, far: Floats, patches_only: bool) -> Hit | None:
    """The hit in the plane of the floor: of a flat picture, or of the hatching of what has no value."""
    if abs(far[2] - near[2]) < 1e-12:
        return None
    world = near - (far - near) * near[2] / (far[2] - near[2])
    if abs(world[0]) > frame.sides[0] or abs(world[1]) > frame.sides[1]:
        return None
    hit = _nearest(frame, world)
    if not _drawn(frame, hit.i, hit.j):
        return hit
    return None if patches_only else _hit(frame, world)


def _nearest(frame: Frame, world: Floats) -> Hit:
    """The hit of a world point: the nearest measured point and its values."""
    scene = frame.scene
    a, b = _plane(frame, world[None])
    columns, rows = scene.field.grid(a, b)
    height, width = scene.n.shape
    i = min(max(math.floor(rows[0] + 0.5), 0), height - 1)
    j = min(max(math.floor(columns[0] + 0.5), 0), width - 1)
    values = {name: float(scene.values[name][i, j]) for name in ("loss", "accuracy", "sem")}
    n = int(scene.n[i, j])
    state: State = "missing" if n == 0 else "measured" if math.isfinite(values["loss"]) else "diverged"
    return Hit(float(a[0]), float(b[0]), world, i, j, state, **values, n=n)
