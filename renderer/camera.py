"""Turntable camera: from a view and the plot's rectangle to one matrix, exact in the pixels it fits into.

World: x along alpha and y along beta, the longer side from -1 to 1; z up from the floor at 0. Seen from azimuth a and
elevation e the eye is towards (sin a cos e, -cos a cos e, sin e).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.view import Camera
from renderer.auto import Scale
from renderer.field import Field

FIELD_OF_VIEW = 24.0  # degrees: long enough that parallel edges stay nearly so
STRETCH = 3.0  # the longest allowed ratio of the sides; a longer grid is squeezed to it
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rect:
    """A rectangle in device pixels, y downwards."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0


def half_sides(width: float, height: float) -> tuple[float, float]:
    """Half the world sides of a grid whose ranges are `width` along alpha and `height` along beta. Both axes have one
    scale unless that would make the box more than STRETCH times as long as wide."""
    ratio = min(max(width / height, 1 / STRETCH), STRETCH)
    return (1.0, 1.0 / ratio) if ratio >= 1 else (ratio, 1.0)


@dataclass(frozen=True, eq=False)
class Projection:
    """World to device pixels: `matrix` (4, 4) to clip space of the whole picture of `size` (w, h) pixels."""

    matrix: Floats
    size: tuple[int, int]
    eye: Floats  # (3,), unit vector from the middle of the box to the eye

    def pixels(self, points: Floats) -> Floats:
        """Pixel x, pixel y (downwards) and depth in [-1, 1] of world points (n, 3), as (n, 3)."""
        homogeneous = np.concatenate([points, np.ones((len(points), 1))], 1) @ self.matrix.T
        ndc = homogeneous[:, :3] / homogeneous[:, 3:]
        w, h = self.size
        return np.stack([(ndc[:, 0] + 1) * w / 2, (1 - ndc[:, 1]) * h / 2, ndc[:, 2]], 1)

    def jittered(self, dx: float, dy: float) -> Projection:
        """The same, moved by a part of a pixel."""
        move = np.eye(4)
        move[0, 3], move[1, 3] = 2 * dx / self.size[0], -2 * dy / self.size[1]
        return Projection(move @ self.matrix, self.size, self.eye)


def corners(sides: tuple[float, float], top: float) -> Floats:
    """The box's eight corners (8, 3): the floor's four counter-clockwise from low alpha, low beta, then the lid's."""
    x, y = sides
    ring = [(-x, -y), (x, -y), (x, y), (-x, y)]
    return np.array([(*p, z) for z in (0.0, top) for p in ring])


CORNERS = (-35.0, 55.0, 145.0, -125.0)  # azimuths to choose from, in order of preference
ELEVATIONS = (35.0, 42.0, 50.0, 57.0)
COARSE = 128  # measured points a side that a sight line is held against
MARGIN = 4.0  # degrees that a place should be seen over the rim with, so that a mark on it is whole
LOWEST_WEIGHT = 0.4  # of the first place beside all others together
DEEP = 30.0  # degrees: a place that deep under its rim is hidden altogether
STEEP = 0.004  # what a degree more costs: 57 instead of 35 must uncover a twelfth of what is wanted


def settled(lens: Camera, azimuth: float, elevation: float) -> Camera:
    """The camera with these angles where its own are automatic."""
    return msgspec.structs.replace(
        lens,
        azimuth=azimuth if lens.azimuth == "auto" else lens.azimuth,
        elevation=elevation if lens.elevation == "auto" else lens.elevation,
    )


def cheapest(found: Sequence[dict[Camera, float]]) -> Camera:
    """The camera of the least cost, summed over pictures that share it; ties go to the first one."""
    total = {lens: sum(cost[lens] for cost in found) for lens in found[0]}
    best, least = next(iter(total)), math.inf
    for lens, cost in total.items():
        if cost < least - 1e-9:
            best, least = lens, cost
    return best


def costs(
    field: Field, wanted: Floats, sides: tuple[float, float], rise: float, lens: Camera, scale: Scale
) -> dict[Camera, float]:
    """What each camera to choose from hides of the `wanted` places (n, 2), in grid coordinates.

    For each azimuth a march from each place towards the eye gives the elevation from which it comes into sight; the
    first place weighs LOWEST_WEIGHT. Cameras come by order of preference, lower ones first.
    """
    rows, columns = field.shape
    last = np.array([columns - 1, rows - 1], float)
    steps = np.linspace(0, 1, 49)[1:]

    def height(units: Floats) -> Floats:
        return np.clip(scale.convert(np.clip(units, 0, 1), scale.log_height), 0, 1) * rise

    start = height(field.at_grid(wanted[:, 0], wanted[:, 1]))
    values, *lines = field.samples(COARSE)
    terrain = height(values)
    others = max(len(wanted) - 1, 1)
    weight = np.full(len(wanted), (1 - LOWEST_WEIGHT) / others)
    weight[0] = LOWEST_WEIGHT
    out: dict[Camera, float] = {}
    reach = 2 * math.hypot(*sides)
    for azimuth in CORNERS if lens.azimuth == "auto" else (lens.azimuth,):
        a = math.radians(azimuth)
        move = np.array([math.sin(a), -math.cos(a)]) * reach / (2 * np.array(sides)) * last  # grid cells
        way = wanted[:, None] + move * steps[None, :, None]
        inside = ((way >= 0) & (way <= last)).all(-1)
        at = np.clip(way, 0, last)
        over = _between(terrain, lines[0], lines[1], at) - start[:, None] - 0.01
        slope = np.where(inside, over / (reach * steps), -1.0).max(1)
        needed = np.degrees(np.arctan(slope))
        for elevation in ELEVATIONS if lens.elevation == "auto" else (lens.elevation,):
            hidden = np.clip((needed + MARGIN - elevation) / DEEP, 0, 1) + 0.2 * (needed + MARGIN > elevation)
            cost = float((weight * hidden).sum()) + STEEP * (elevation - ELEVATIONS[0])
            out[settled(lens, azimuth, elevation)] = cost
    return out


def _between(terrain: Floats, rows: Floats, columns: Floats, at: Floats) -> Floats:
    """Heights at grid coordinates (..., 2), bilinear: a sight line needs no spline, and there are thousands."""
    y = np.interp(at[..., 1], rows, np.arange(len(rows)))
    x = np.interp(at[..., 0], columns, np.arange(len(columns)))
    i, j = np.minimum(y.astype(int), len(rows) - 2), np.minimum(x.astype(int), len(columns) - 2)
    v, u = y - i, x - j
    lower = terrain[i, j] * (1 - u) + terrain[i, j + 1] * u
    out: Floats = lower * (1 - v) + (terrain[i + 1, j] * (1 - u) + terrain[i + 1, j + 1] * u) * v
    return out


def flat(rect: Rect, size: tuple[int, int], sides: tuple[float, float], camera: Camera) -> Projection:
    """Straight down, orthographic, with the grid's edges on the rectangle's."""
    view = np.diag([1.0, 1.0, -1.0, 1.0])
    view[2, 2] = -0.25  # depth only orders what lies on the plane
    matrix = _fit(view, corners(sides, 0.0), rect, size, camera, stretch=True)
    return Projection(matrix, size, np.array([0.0, 0.0, 1.0]))


@lru_cache(16)
def turntable(rect: Rect, size: tuple[int, int], sides: tuple[float, float], top: float, camera: Camera) -> Projection:
    """The box from the camera's side: as large as fits into the rectangle at zoom 1, or with its target in the middle
    and a circle of the radius `reach` as large as fits."""
    azimuth = CORNERS[0] if camera.azimuth == "auto" else camera.azimuth
    elevation = ELEVATIONS[0] if camera.elevation == "auto" else camera.elevation
    turn = axes(azimuth, elevation)
    target = middle(top) if camera.target == "auto" else np.array(camera.target)
    rotation = np.eye(4)
    rotation[:3, :3] = turn
    rotation[:3, 3] = -turn @ target
    radius = math.sqrt(sides[0] ** 2 + sides[1] ** 2 + top * top / 4) * 1.05
    near, far = -radius, radius  # depths from the target
    if camera.target != "auto":
        depths = -(corners(sides, top) @ turn[2] + rotation[2, 3])
        near, far = float(depths.min()) - 0.05 * radius, float(depths.max()) + 0.05 * radius
    if camera.projection == "orthographic":
        lens = np.diag([1.0, 1.0, -2.0 / (far - near), 1.0])
        lens[2, 3] = -(far + near) / (far - near)
    else:
        distance = radius / math.tan(math.radians(FIELD_OF_VIEW / 2))
        near, far = max(distance + near, 0.05 * distance), distance + far
        rotation[2, 3] -= distance
        lens = np.zeros((4, 4))
        lens[0, 0] = lens[1, 1] = distance
        lens[2, 2], lens[2, 3] = -(far + near) / (far - near), -2 * far * near / (far - near)
        lens[3, 2] = -1.0
    if camera.target == "auto":
        matrix = _fit(lens @ rotation, corners(sides, top), rect, size, camera)
    else:
        scale = camera.zoom * span(rect, sides)
        matrix = _placed(lens @ rotation, np.full(2, scale), np.zeros(2), rect, size, camera)
    return Projection(matrix, size, turn[2])


def axes(azimuth: float, elevation: float) -> Floats:
    """The camera's axes as rows (3, 3): to the right, upwards, towards the eye."""
    a, e = math.radians(azimuth), math.radians(elevation)
    eye = np.array([math.sin(a) * math.cos(e), -math.cos(a) * math.cos(e), math.sin(e)])
    right = np.array([math.cos(a), math.sin(a), 0.0])
    return np.stack([right, np.cross(eye, right), eye])


def middle(top: float) -> Floats:
    """The middle (3,) of a box of height `top`."""
    return np.array([0.0, 0.0, top / 2])


def span(rect: Rect, sides: tuple[float, float]) -> float:
    """Pixels a world unit at zoom 1 of a camera with a target: the circle around the floor fits, whatever its turn."""
    return max(min(rect.width, rect.height), 1.0) / (2 * math.hypot(*sides))


def _fit(
    matrix: Floats, points: Floats, rect: Rect, size: tuple[int, int], camera: Camera, stretch: bool = False
) -> Floats:
    """Scale and move the image of the points onto the rectangle's middle, then zoom and shift: an affine map in clip
    space, so that the fit is exact whatever the lens. `stretch` fills a rectangle of whole pixels to its edges."""
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], 1) @ matrix.T
    image = homogeneous[:, :2] / homogeneous[:, 3:]
    lo, hi = image.min(0), image.max(0)
    room = np.array([rect.width, rect.height])
    scale = room / np.maximum(hi - lo, 1e-9) * camera.zoom  # pixels a unit
    if not stretch:
        scale = np.full(2, scale.min())
    return _placed(matrix, scale, (lo + hi) / 2, rect, size, camera)


def _placed(matrix: Floats, scale: Floats, centre: Floats, rect: Rect, size: tuple[int, int], camera: Camera) -> Floats:
    """Bring the image's `centre` (2,) into the rectangle's middle, shifted, at `scale` (2,) pixels a unit."""
    room = np.array([rect.width, rect.height])
    at = np.array([(rect.x0 + rect.x1) / 2, (rect.y0 + rect.y1) / 2])
    at = at + np.array([camera.shift_x, -camera.shift_y]) * room / 2
    w, h = size
    fit = np.eye(4)
    fit[0, 0], fit[1, 1] = 2 * scale[0] / w, 2 * scale[1] / h
    fit[0, 3] = 2 * at[0] / w - 1 - centre[0] * fit[0, 0]
    fit[1, 3] = 1 - 2 * at[1] / h - centre[1] * fit[1, 1]
    out: Floats = fit @ matrix
    return out
