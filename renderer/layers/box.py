"""The box around the landscape: floor and the walls behind it, with faint lines at the ticks. In 2d the axes' frame
does this."""

from __future__ import annotations

import math

import moderngl
import numpy as np
from numpy.typing import NDArray

from renderer import ticks
from renderer.camera import corners
from renderer.frame import Frame, Same
from renderer.gl.kit import Kit
from renderer.ink import FLOATS, Ink, Point, capsules
from renderer.scene import Dirty

TICKS, FEWEST = 5, 4


def axis_ticks(frame: Frame, which: int) -> list[tuple[float, str]]:
    """(world coordinate, label) of the round values along alpha (0) or beta (1)."""
    assert frame.scene.axes is not None
    axis, side = frame.scene.axes[which], frame.sides[which]
    lo, hi = float(axis[0]), float(axis[-1])
    count = max(2, round(TICKS * side / max(frame.sides)))
    (first, last), share = seen(frame, which)
    if frame.layout.flat:
        count = max(2, round(count * share))
    elif frame.camera.zoom > 1.5:  # as large as it is, there is room for more of them
        count = round(count * min(frame.camera.zoom, 12.0))
    found = ticks.linear(first, last, count)
    fewest = FEWEST if share > 0.9 else 2
    while len(found) < fewest and count < 3 * FEWEST:  # so coarse a step leaves too few inside of the range
        count += 1
        found = ticks.linear(first, last, count)
    return [(((t.value - lo) / (hi - lo) * 2 - 1) * side, t.label) for t in found]


def seen(frame: Frame, which: int) -> tuple[tuple[float, float], float]:
    """The range of alpha (0) or beta (1) that a flat plot shows, zoomed and shifted, and the share of the plot's side
    that it takes; all of it in a raised picture."""
    assert frame.scene.axes is not None
    axis, lens = frame.scene.axes[which], frame.view.camera
    lo, hi = float(axis[0]), float(axis[-1])
    if not frame.layout.flat or (lens.zoom, lens.shift_x, lens.shift_y) == (1.0, 0.0, 0.0):
        return (lo, hi), 1.0
    shift = (lens.shift_x, lens.shift_y)[which]
    ends = [(edge - shift) / lens.zoom for edge in (-1.0, 1.0)]  # of the plot, where the grid is from -1 to 1
    a, b = max(ends[0], -1.0), min(ends[1], 1.0)
    if a >= b:
        return (lo, hi), 0.0
    return (lo + (a + 1) / 2 * (hi - lo), lo + (b + 1) / 2 * (hi - lo)), (b - a) / (ends[1] - ends[0])


def height_ticks(frame: Frame) -> list[tuple[float, str]]:
    """(world height, label) along the height axis, from the floor's value to the highest, upwards."""
    scale = frame.scale
    if frame.rise <= 0.02 or not scale.measured:
        return []
    count = 5 if frame.top > 0.5 else 2
    if frame.view.normalise:
        return [(frame.floor + frame.rise * u, label) for u, label in scale.ticks(count, scale.log_height, True)]
    ends = frame.pixels(np.array([[*frame.sides, 0.0], [*frame.sides, frame.top]]))
    count = min(count + 1, max(1, int(np.linalg.norm(ends[1, :2] - ends[0, :2]) / (22 * frame.unit))))
    marks = upright(scale.floor, scale.hi, scale.log_height, count)
    heights = frame.heights(np.array([t.value for t in marks], float))
    return [(float(z), t.label) for z, t in zip(heights, marks)]


def upright(low: float, hi: float, log: bool, count: int) -> list[ticks.Tick]:
    """About `count` ticks from the floor's value, itself one, to the highest; decades are counted from the floor."""
    power = round(math.log10(low)) if log else 0
    if log and abs(low / 10.0**power - 1) < 1e-9 and math.log10(hi) - power >= 2:
        stride = max(1, math.ceil((math.log10(hi) - power) / (count + 0.5)))
        decades = range(power, math.floor(math.log10(hi) + 1e-9) + 1, stride)
        return [ticks.Tick(float(f"1e{e}"), ticks.number(float(f"1e{e}"), 3)) for e in decades]
    marks = ticks.log(low, hi, count) if log else ticks.linear(low, hi, count)
    if marks and marks[0].value - low > 1e-9 * (hi - low):
        marks = [ticks.Tick(low, ticks.number(low, 3)), *marks]
    return marks


def behind(frame: Frame) -> tuple[int, int]:
    """On which side (-1 or 1) the far walls stand: the one across alpha and the one across beta."""
    eye = frame.projection.eye
    return (-1 if eye[0] >= 0 else 1), (-1 if eye[1] >= 0 else 1)


class Box:
    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self._key: object = None
        self._lines = np.zeros((0, FLOATS), np.float32)

    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        if frame.layout.flat or not frame.view.layers.box or frame.scene.axes is None:
            return
        scale = frame.scale
        range_ = (scale.lo, scale.hi, scale.log_height, bool(scale.measured))
        key = (frame.place, Same(frame.scene.axes), range_, frame.theme)
        if key != self._key:
            self._key, self._lines = key, self._made(frame)
        self.kit.ctx.disable(moderngl.DEPTH_TEST)
        self.kit.shapes.draw(self._lines, frame.layout.size)

    def _made(self, frame: Frame) -> NDArray[np.float32]:
        (sx, sy), top, theme, unit = frame.sides, frame.top, frame.theme, frame.unit
        wx, wy = behind(frame)
        faint: list[tuple[Point, Point]] = []
        strong: list[tuple[Point, Point]] = []
        bare = not frame.view.layers.base  # a base brings its own lines
        for x, _ in axis_ticks(frame, 0):
            if bare:
                faint.append(((x, -sy, 0), (x, sy, 0)))
            faint.append(((x, wy * sy, 0), (x, wy * sy, top)))
        for y, _ in axis_ticks(frame, 1):
            if bare:
                faint.append(((-sx, y, 0), (sx, y, 0)))
            faint.append(((wx * sx, y, 0), (wx * sx, y, top)))
        for z, _ in height_ticks(frame):
            faint.append(((-sx, wy * sy, z), (sx, wy * sy, z)))
            faint.append(((wx * sx, -sy, z), (wx * sx, sy, z)))
        c = corners(frame.sides, top)
        for a, b in ((0, 1), (1, 2), (2, 3), (3, 0)):
            strong.append((tuple(c[a]), tuple(c[b])))
        for x, y in ((wx, wy), (wx, -wy), (-wx, wy)):
            strong.append(((x * sx, y * sy, 0), (x * sx, y * sy, top)))
        strong.append(((-sx, wy * sy, top), (sx, wy * sy, top)))
        strong.append(((wx * sx, -sy, top), (wx * sx, sy, top)))
        out = [np.zeros((0, FLOATS), np.float32)]
        for lines, colour, width in ((faint, theme.faint, 0.9), (strong, theme.line, 1.0)):
            if not lines:
                continue
            ends = frame.pixels(np.array(lines, float).reshape(-1, 3)).reshape(-1, 2, 3)
            tint = np.tile(np.array(colour), (len(ends), 1))
            out.append(capsules(ends[:, 0], ends[:, 1], width * unit / 2, tint, tint))
        return np.concatenate(out)

    def key(self, frame: Frame) -> object:
        return ()  # there is none

    def overlay(self, frame: Frame, ink: Ink) -> None:
        pass
