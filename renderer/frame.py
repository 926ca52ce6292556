"""What every layer is given to draw one frame: the scene, where things stand, and plane and heights to pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from protocol.view import Camera, View
from renderer import camera, colormaps
from renderer.auto import Scale
from renderer.camera import Projection
from renderer.layout import Layout, compute
from renderer.scene import Scene
from renderer.theme import THEMES, Colour, Theme

BOX_HEIGHT = 0.86  # world height of the box at height 1; its longer side is 2
REST = 0.015  # units of the height scale that the lowest point at least stays clear of the floor
Floats = NDArray[np.float64]

AUTO_FILL, AUTO_LINES = "lipari", "plasma"  # thin lines need more saturation than areas


class Same:
    """Equal to what wraps the very same object: for keys that hold arrays."""

    def __init__(self, held: object) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.held is self.held

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture to be. `jitter` is the sub-pixel shift of the pass being drawn."""

    scene: Scene
    layout: Layout
    sides: tuple[float, float]
    projection: Projection
    theme: Theme
    table: colormaps.Table  # the colour map in use (256, 3)
    path_table: colormaps.Table
    camera: Camera  # the view's, with what was automatic filled in
    jitter: tuple[float, float] = (0.0, 0.0)
    live: bool = False  # one frame of many: what is costly to place stays where it was
    coarse: bool = False  # somebody is turning it: fewer vertices
    alone: bool = True  # no other sheet stands in the same picture

    @property
    def view(self) -> View:
        return self.scene.view

    @property
    def scale(self) -> Scale:
        return self.scene.scale

    @cached_property
    def place(self) -> object:
        """What decides where things stand, to compare with another frame's: view, layout and projection."""
        return self.view, self.layout, self.sides, self.projection.matrix.tobytes()

    @property
    def unit(self) -> float:
        """Device pixels a unit of length (layout.py)."""
        return self.layout.unit

    @property
    def flat(self) -> bool:
        return self.view.mode == "2d"

    @property
    def top(self) -> float:
        """World height of the box."""
        return box_top(self.view)

    @property
    def floor(self) -> float:
        """World height of unit value 0."""
        if self.flat:
            return 0.0
        return self.top * self._free / (1 + self._free)

    @cached_property
    def _free(self) -> float:
        """How deep the floor lies under unit value 0, in units; the same for every preset of a surface."""
        return REST if self.view.normalise else max(REST, self.scale.depth(self.scale.floor))

    def heights(self, values: Floats) -> Floats:
        """World heights of values of the metric, those between floor and lowest point included."""
        scale = self.scale
        units = scale.unit(values, scale.log_height)
        units = np.where(values < scale.lo, [-scale.depth(float(v)) for v in values], units)
        out: Floats = self.floor + self.rise * units
        return out

    @property
    def rise(self) -> float:
        """World height of unit value 1 over unit value 0."""
        return 0.0 if self.flat else self.top - self.floor

    @property
    def plateau(self) -> float:
        """The unit value above which the surface is flat."""
        return 1.0 if self.scale.clip is not None else 1.06

    @property
    def mesh_steps(self) -> tuple[int, int]:
        """Every how many columns and rows a line of the mesh is drawn: a power of two that leaves room between them."""
        room = (10.0 if self.layout.flat or not self.view.layers.base else 14.0) * self.unit  # pixels
        rows, columns = self.scene.n.shape
        closer = self.view.camera.zoom  # a camera that is held fits at up to 1.5
        closer = closer if closer > (1.0 if self.layout.flat else 1.5) else 1.0
        spans = (self.layout.plot.width * closer, self.layout.plot.height * closer)
        crowd = [room * max(c - 1, 1) / max(s, 1.0) for c, s in zip((columns, rows), spans)]
        steps = [2 ** math.ceil(math.log2(c)) if c > 1 else 1 for c in crowd]
        return steps[0], steps[1]

    def colour(self, units: Floats) -> Floats:
        """RGBA (n, 4) in 0..1 of unit values in the space of the field."""
        c = np.clip(self.scale.convert(np.asarray(units, float), self.scale.log_color), 0, 1)
        rgb = self.table[np.round(c * 255).astype(int)] / 255.0
        return np.concatenate([rgb, np.ones((*rgb.shape[:-1], 1))], -1)

    def at(self, unit: float) -> Colour:
        """The colour of one unit value."""
        r, g, b, _ = self.colour(np.array([unit]))[0]
        return (float(r), float(g), float(b), 1.0)

    def world(self, alpha: Floats, beta: Floats, units: Floats | float | None = None) -> Floats:
        """World points (n, 3) of places in the plane, at the height of unit values (one or n); None: on the surface."""
        assert self.scene.axes is not None
        alpha, beta = np.atleast_1d(np.asarray(alpha, float)), np.atleast_1d(np.asarray(beta, float))
        xy = []
        for values, axis, side in zip((alpha, beta), self.scene.axes, self.sides):
            xy.append(((values - axis[0]) / (axis[-1] - axis[0]) * 2 - 1) * side)
        if self.flat:
            z = np.zeros_like(alpha)
        else:
            units = self.scene.field.at(alpha, beta) if units is None else np.broadcast_to(units, alpha.shape)
            units = np.clip(units, -0.02, self.plateau)
            z = self.floor + self.rise * self.scale.convert(units, self.scale.log_height)
        return np.stack([*xy, z], 1)

    def pixels(self, points: Floats) -> Floats:
        """Pixel x, y and depth (n, 3) of world points (n, 3)."""
        return self.projection.pixels(points)

    def pale(self, rgb: Floats) -> Floats:
        """Path colours (..., 3) of a path that hardly lies in the plane: nearer to the paper, and still seen on it."""
        keep = 0.45 if self.view.theme == "light" else 0.75
        out: Floats = rgb * keep + np.array(self.theme.paper[:3]) * (1 - keep)
        return out

    def shows(self, pixel: Floats) -> bool:
        """Whether a place is inside of a flat plot, its border included."""
        plot = self.layout.plot
        return bool(plot.x0 - 1 <= pixel[0] <= plot.x1 + 1 and plot.y0 - 1 <= pixel[1] <= plot.y1 + 1)

    @property
    def contour_ink(self) -> str:
        """auto (dark or light by what lies under a line), map, dark or light."""
        ink = self.view.contours.ink
        if ink == "auto" and not self.view.layers.surface:
            return "map"
        return ink

    @property
    def on_paper(self) -> bool:
        """Whether marks lie on white paper and not on colours."""
        return self.view.theme == "light" and not self.view.layers.surface


def box_top(view: View) -> float:
    """World height of the box."""
    return 0.0 if view.mode == "2d" else max(BOX_HEIGHT * view.height, 1e-3)


def sides(scene: Scene) -> tuple[float, float]:
    """Half the world sides of the scene's grid."""
    if scene.axes is None:
        return (1.0, 1.0)
    alpha, beta = scene.axes
    return camera.half_sides(float(alpha[-1] - alpha[0]), float(beta[-1] - beta[0]))


def make(scene: Scene, width: float, height: float, scale: float, watch: Watch | None = None) -> Frame:
    """The frame of a scene for a picture of width x height at `scale`; `watch` holds an automatic camera still."""
    layout = compute(scene.view, width, height, scale, sides(scene))
    if layout.flat:
        return placed(scene, layout, scene.view.camera)
    return placed(scene, layout, watch.lens(scene) if watch is not None else automatic([scene]))


class Watch:
    """Holds a camera that chooses its own angles: while rows come it looks again only when a quarter of them is there,
    which come coarse to fine and span the grid, and when the last one came, so that the picture hardly ever turns."""

    def __init__(self) -> None:
        self._key: tuple[object, ...] = ()
        self._lens = Camera()

    def lens(self, *scenes: Scene, anew: bool = False) -> Camera:
        """The camera of scenes; `anew` looks again whatever was known."""
        key = tuple(self._of(scene) for scene in scenes)
        if anew or key != self._key:
            self._key, self._lens = key, automatic(scenes)
        return self._lens

    def _of(self, scene: Scene) -> tuple[object, ...]:
        height = len(scene.n)
        rows = height - scene.unmeasured
        looks = 2 if rows == height else int(rows >= max(height // 4, 8))
        view = scene.view
        return (
            scene.id, id(scene), looks, len(scene.path), view.camera, view.mode,
            view.height, view.metric, view.normalise, view.layers.path, view.log_height, view.clip,
        )  # fmt: skip


def placed(scene: Scene, layout: Layout, lens: Camera) -> Frame:
    """The frame of a scene with a layout of the caller's, seen through `lens`."""
    view, half = scene.view, sides(scene)
    theme = THEMES[view.theme]
    if layout.flat:
        projection = camera.flat(layout.plot, layout.size, half, lens)
    else:
        projection = camera.turntable(layout.plot, layout.size, half, box_top(view), lens)
    name = (AUTO_FILL if view.layers.surface else AUTO_LINES) if view.colormap == "auto" else view.colormap
    table = _table(name, view.reverse, None if view.layers.surface else view.theme)
    return Frame(scene, layout, half, projection, theme, table, colormaps.table(view.path_colormap), lens)


@lru_cache(16)
def _table(name: str, reverse: bool, on: str | None) -> colormaps.Table:
    """A colour map, made legible for lines on the paper of a theme."""
    table = colormaps.table(name)[:: -1 if reverse else 1]
    if on is not None:  # thin lines in the paper's own colour cannot be seen
        table = colormaps.legible(table, THEMES[on].paper[:3], 1.9 if on == "light" else 2.8)
    return np.ascontiguousarray(table)


def automatic(scenes: Sequence[Scene]) -> Camera:
    """The first view's camera, its automatic angles chosen so that the paths and best points of all are hidden
    least."""
    view = scenes[0].view
    lens = view.camera
    if "auto" not in (lens.azimuth, lens.elevation):
        return lens
    found = []
    for scene in scenes:
        lowest = scene.scale.lowest
        if scene.axes is None or lowest is None:
            continue
        path = scene.path[scene.path_inside()] if view.layers.path and not scene.path_off_plane else scene.path[:0]
        x, y = scene.field.grid(path["alpha"], path["beta"])
        step = max(1, len(path) // 64)
        wanted = np.concatenate([[[lowest[1], lowest[0]]], np.stack([x, y], 1)[::step]])
        free = REST if view.normalise else max(REST, scene.scale.depth(scene.scale.floor))
        rise = box_top(view) / (1 + free)
        found.append(camera.costs(scene.field, wanted, sides(scene), rise, lens, scene.scale))
    if not found:
        return camera.settled(lens, camera.CORNERS[0], camera.ELEVATIONS[0])
    return camera.cheapest(found)


def shifted(frame: Frame, dx: float, dy: float) -> Frame:
    """The same frame, a part of a pixel to the side."""
    return replace(frame, projection=frame.projection.jittered(dx, dy), jitter=(dx, dy))
