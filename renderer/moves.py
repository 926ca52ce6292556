"""What moves a camera: pure functions from a view, and the place where its plot stands, to another view.

Mouse, keys and the wire all go through these. Points are device pixels of the picture, y downwards. Two rules hold:
what was automatic becomes a number before it is moved, and a move changes nothing but what it says, so that the picture
never jumps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from protocol.view import Camera, Mode, View
from protocol.view import Point as Spot
from renderer import camera as cameras
from renderer.camera import Floats, Projection, Rect
from renderer.frame import Frame, box_top
from renderer.layout import Layout, compute

Name = Literal["top", "front", "side", "iso", "fit"]
LEAST, MOST = 0.05, 100.0  # zoom, as in protocol.view
FARTHEST = 200.0  # shift, as there
IN_SIGHT = 0.12  # of the plot that the box keeps at least, however far it is panned
PLACES: dict[Name, tuple[float, float]] = {  # azimuth, elevation
    "top": (0.0, 90.0),
    "front": (0.0, 0.0),
    "side": (90.0, 0.0),
    "iso": (-45.0, math.degrees(math.atan(1 / math.sqrt(2)))),
}


@dataclass(frozen=True)
class Place:
    """Where a plot stands: `layout(view)` of the picture (or of one panel of it), half the world `sides` of the grid,
    and what the view's automatic angles come to, in degrees."""

    layout: Callable[[View], Layout]
    sides: tuple[float, float]
    azimuth: float = cameras.CORNERS[0]
    elevation: float = cameras.ELEVATIONS[0]

    @classmethod
    def of(cls, frame: Frame, width: float, height: float, scale: float) -> Place:
        """That of the frame last drawn, for a picture of width x height at `scale`."""
        azimuth, elevation = frame.camera.azimuth, frame.camera.elevation
        return cls(
            lambda view: compute(view, width, height, scale, frame.sides),
            frame.sides,
            cls.azimuth if azimuth == "auto" else azimuth,
            cls.elevation if elevation == "auto" else elevation,
        )

    def plot(self, view: View) -> Rect:
        return self.layout(view).plot

    def projection(self, view: View) -> Projection:
        """World to pixels, as frame.make has it for a view whose angles are settled."""
        layout = self.layout(view)
        if layout.flat:
            return cameras.flat(layout.plot, layout.size, self.sides, view.camera)
        return cameras.turntable(layout.plot, layout.size, self.sides, box_top(view), view.camera)


def _with(view: View, **changes: object) -> View:
    return msgspec.structs.replace(view, camera=msgspec.structs.replace(view.camera, **changes))


def _angles(view: View) -> tuple[float, float]:
    azimuth, elevation = view.camera.azimuth, view.camera.elevation
    assert azimuth != "auto"
    assert elevation != "auto"
    return azimuth, elevation


def wrapped(azimuth: float) -> float:
    """The same direction in (-180, 180]."""
    return 180.0 - (180.0 - azimuth) % 360.0


def settled(view: View, place: Place) -> View:
    """The same picture with its automatic angles as numbers: call it for a live surface as well, or the camera would
    move as rows come."""
    if view.mode == "2d" or "auto" not in (view.camera.azimuth, view.camera.elevation):
        return view
    return msgspec.structs.replace(view, camera=cameras.settled(view.camera, place.azimuth, place.elevation))


def held(view: View, place: Place) -> View:
    """The same picture with a target in place of the automatic fit, so that turning it keeps its size."""
    view = settled(view, place)
    if view.mode == "2d" or view.camera.target != "auto":
        return view
    middle = cameras.middle(box_top(view))
    right = cameras.axes(*_angles(view))[0]
    at, beside = place.projection(view).pixels(np.stack([middle, middle + 0.01 * right]))[:, :2]
    view = _with(view, target=_spot(middle))
    rect = place.plot(view)
    zoom = float(np.linalg.norm(beside - at)) / 0.01 / cameras.span(rect, place.sides)
    return _anchored(_with(view, zoom=_limited(zoom)), rect, at)


def _spot(point: Floats) -> Spot:
    x, y, z = (float(v) for v in np.clip(point, -50, 50))
    return (x, y, z)


def _limited(zoom: float) -> float:
    return min(max(zoom, LEAST), MOST)


def _anchor(view: View, rect: Rect) -> Floats:
    """The pixel (2,) that zooming by itself would leave in place: the middle of the plot, shifted."""
    shift = np.array([view.camera.shift_x, -view.camera.shift_y])
    middle = np.array([rect.x0 + rect.x1, rect.y0 + rect.y1]) / 2
    out: Floats = middle + shift * [rect.width, rect.height] / 2
    return out


def _anchored(view: View, rect: Rect, at: Floats) -> View:
    """The view whose anchor is that pixel."""
    middle = np.array([rect.x0 + rect.x1, rect.y0 + rect.y1]) / 2
    shift = np.clip((at - middle) * 2 / np.maximum([rect.width, rect.height], 1.0), -FARTHEST, FARTHEST)
    return _with(view, shift_x=float(shift[0]), shift_y=-float(shift[1]))


def _in_sight(view: View, place: Place) -> View:
    """The view, moved so that a part of the box is in the plot: nobody loses it by panning."""
    rect = place.plot(view)
    top = 0.0 if view.mode == "2d" else box_top(view)
    image = place.projection(view).pixels(cameras.corners(place.sides, top))[:, :2]
    lo, hi = image.min(0), image.max(0)
    free = np.minimum(np.array([rect.width, rect.height]) * IN_SIGHT, (hi - lo) / 2)
    back = np.clip(0.0, np.array([rect.x0, rect.y0]) + free - hi, np.array([rect.x1, rect.y1]) - free - lo)
    return _anchored(view, rect, _anchor(view, rect) + back) if back.any() else view


def orbit(view: View, place: Place, azimuth: float, elevation: float) -> View:
    """Turn by these degrees around the pivot, which keeps its place in the picture. In 2d nothing turns.

    The azimuth wraps; the elevation ends at the zenith, and at the horizon for an eye that is over it.
    """
    if view.mode == "2d":
        return view
    view = held(view, place)
    a, e = _angles(view)
    return turned(view, place, a + azimuth, min(max(e + elevation, min(e, 0.0)), 90.0))


def turned(view: View, place: Place, azimuth: float | None, elevation: float | None) -> View:
    """Turn to these degrees; None: as it is. A camera that fits the box into the picture goes on doing so."""
    view = settled(view, place)
    if view.mode == "2d":  # kept for when it is raised again
        a, e = view.camera.azimuth, view.camera.elevation
        return _with(
            view, azimuth=a if azimuth is None else wrapped(azimuth), elevation=e if elevation is None else elevation
        )
    before = _angles(view)
    after = (before[0] if azimuth is None else wrapped(azimuth), before[1] if elevation is None else elevation)
    lens = view.camera
    view = _with(view, azimuth=after[0], elevation=after[1])
    if lens.target == "auto" or lens.pivot == "auto":
        return view
    target, pivot = np.array(lens.target), np.array(lens.pivot)
    return _with(view, target=_spot(pivot + cameras.axes(*after).T @ (cameras.axes(*before) @ (target - pivot))))


def pan(view: View, place: Place, dx: float, dy: float) -> View:
    """Move the picture by these pixels."""
    view = settled(view, place)
    rect = place.plot(view)
    return _in_sight(_anchored(view, rect, _anchor(view, rect) + np.array([dx, dy])), place)


def zoom(view: View, place: Place, factor: float, x: float | None = None, y: float | None = None) -> View:
    """Zoom by a factor, within the limits; what is drawn at pixel (x, y) stays there (default: the plot's middle)."""
    view = settled(view, place)
    rect = place.plot(view)
    at = np.array([(rect.x0 + rect.x1) / 2 if x is None else x, (rect.y0 + rect.y1) / 2 if y is None else y])
    new = _limited(view.camera.zoom * factor)
    anchor = at + (_anchor(view, rect) - at) * (new / view.camera.zoom)
    return _in_sight(_anchored(_with(view, zoom=new), rect, anchor), place)


def pivot(view: View, place: Place, spot: Floats | None) -> View:
    """Turn around this world point from now on, without moving anything; None: around the middle of the box."""
    if view.mode == "2d":
        return view
    return _with(held(view, place), pivot=_spot(cameras.middle(box_top(view)) if spot is None else spot))


def pivot_pixel(view: View, place: Place) -> tuple[float, float]:
    """Where in the picture the point is that the camera turns around."""
    lens = settled(view, place).camera
    spot = lens.pivot if lens.pivot != "auto" else lens.target
    world = cameras.middle(box_top(view)) if spot == "auto" else np.array(spot)
    x, y, _ = place.projection(settled(view, place)).pixels(world[None])[0]
    return float(x), float(y)


def to(view: View, name: Name) -> View:
    """A named place, fitted into the picture; `fit` is the automatic one. The projection stays."""
    lens = Camera(projection=view.camera.projection)
    if name != "fit":
        azimuth, elevation = PLACES[name]
        lens = msgspec.structs.replace(lens, azimuth=azimuth, elevation=elevation)
    return msgspec.structs.replace(view, camera=lens)


def through(view: View, place: Place, projection: Literal["perspective", "orthographic"]) -> View:
    """Through the other lens; the target keeps its place and size."""
    return _with(settled(view, place), projection=projection)


def as_mode(view: View, mode: Mode) -> View:
    """In 2d or 3d; zoom and shift of one are nothing to the other, and are given up."""
    if view.mode == mode:
        return view
    return msgspec.structs.replace(_with(view, zoom=1.0, shift_x=0.0, shift_y=0.0), mode=mode)
