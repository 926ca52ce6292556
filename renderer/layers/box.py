"""The box around the landscape: floor and the walls behind it, with faint lines at the ticks. In 2d the axes' frame
does this."""

from __future__ import annotations

import moderngl
import numpy as np

from renderer import ticks
from renderer.camera import corners
from renderer.frame import Frame
from renderer.gl.kit import Kit
from renderer.ink import Ink, Point, capsules
from renderer.scene import Dirty

TICKS = 5


def axis_ticks(frame: Frame, which: int) -> list[tuple[float, str]]:
    """(world coordinate, label) of the round values along alpha (0) or beta (1)."""
    assert frame.scene.axes is not None
    axis, side = frame.scene.axes[which], frame.sides[which]
    lo, hi = float(axis[0]), float(axis[-1])
    count = max(2, round(TICKS * side / max(frame.sides)))
    return [(((t.value - lo) / (hi - lo) * 2 - 1) * side, t.label) for t in ticks.linear(lo, hi, count)]


def height_ticks(frame: Frame) -> list[tuple[float, str]]:
    """(world height, label) along the height axis."""
    scale = frame.scale
    count = 5 if frame.top > 0.5 else 2
    return [
        (frame.floor + frame.rise * u, label)
        for u, label in scale.ticks(count, scale.log_height, frame.view.normalise)
        if frame.rise > 0.02
    ]


def behind(frame: Frame) -> tuple[int, int]:
    """On which side (-1 or 1) the far walls stand: the one across alpha and the one across beta."""
    eye = frame.projection.eye
    return (-1 if eye[0] >= 0 else 1), (-1 if eye[1] >= 0 else 1)


class Box:
    def __init__(self, kit: Kit) -> None:
        self.kit = kit

    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        if frame.layout.flat or not frame.view.layers.box or frame.scene.axes is None:
            return
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
        self.kit.ctx.disable(moderngl.DEPTH_TEST)
        for lines, colour, width in ((faint, theme.faint, 0.9), (strong, theme.line, 1.0)):
            if not lines:
                continue
            ends = frame.pixels(np.array(lines, float).reshape(-1, 3)).reshape(-1, 2, 3)
            tint = np.tile(np.array(colour), (len(ends), 1))
            shapes = capsules(ends[:, 0], ends[:, 1], width * unit / 2, tint, tint)
            self.kit.shapes.draw(shapes, frame.layout.size)

    def overlay(self, frame: Frame, ink: Ink) -> None:
        pass
