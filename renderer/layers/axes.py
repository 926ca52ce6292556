"""Ticks, their labels and the names of the axes: outside of the frame in 2d, along the near edges of the floor and one
upright edge in 3d."""

from __future__ import annotations

import itertools

import numpy as np

from renderer import fonts, words
from renderer.frame import Frame, Same
from renderer.ink import Ink
from renderer.layers.box import axis_ticks, height_ticks
from renderer.scene import Dirty

SIZE = fonts.TICK
NAME = fonts.BODY
Box = tuple[float, float, float, float]  # middle x, y and half width, half height of a label


class Axes:
    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        pass

    def key(self, frame: Frame) -> object:
        return frame.place, Same(frame.scene.axes), frame.scene.meta, frame.scale

    def overlay(self, frame: Frame, ink: Ink) -> None:
        if frame.scene.axes is None or not frame.view.layers.axes:
            return
        if frame.layout.flat:
            _flat(frame, ink)
        else:
            _raised(frame, ink)


def _flat(frame: Frame, ink: Ink) -> None:
    u, theme, plot = frame.unit, frame.theme, frame.layout.plot
    sx, sy = frame.sides
    w = max(1.0, round(u))
    ink.frame(plot.x0, plot.y0, plot.x1, plot.y1, w, theme.line)
    ends = frame.pixels(np.array([[-sx, -sy, 0.0], [sx, sy, 0.0]]))  # with zoom and shift
    found: list[tuple[str, Box]] = []
    for x, label in axis_ticks(frame, 0):
        px = ends[0, 0] + (x / sx + 1) / 2 * (ends[1, 0] - ends[0, 0])
        if not plot.x0 - 1 <= px <= plot.x1 + 1:
            continue
        px = round(px)
        ink.rect(px - w / 2, plot.y1 + w, px + w / 2, plot.y1 + w + 5 * u, theme.line)
        found.append((label, (px, 0.0, fonts.width(label, SIZE * u) / 2, 0.0)))
    for label, (px, *_) in _apart(found, u):
        ink.text(label, px, plot.y1 + 22 * u, SIZE * u, theme.text, align=0.5)
    widest = 0.0
    found = []
    for y, label in axis_ticks(frame, 1):
        py = ends[0, 1] + (y / sy + 1) / 2 * (ends[1, 1] - ends[0, 1])
        if not plot.y0 - 1 <= py <= plot.y1 + 1:
            continue
        py = round(py)
        ink.rect(plot.x0 - w - 5 * u, py - w / 2, plot.x0 - w, py + w / 2, theme.line)
        found.append((label, (0.0, py, 0.0, SIZE * u * 0.5)))
    for label, (_, py, *_) in _apart(found, u):
        ink.text(label, plot.x0 - 10 * u, py, SIZE * u, theme.text, align=1.0, anchor="middle")
        widest = max(widest, fonts.width(label, SIZE * u))
    name = _fitting(frame, 0, plot.width)
    ink.text(name, (plot.x0 + plot.x1) / 2, plot.y1 + 50 * u, NAME * u, theme.text, align=0.5)
    name = _fitting(frame, 1, plot.height)
    x = plot.x0 - max(10 * u + widest + 18 * u, 54 * u)
    ink.text(name, x, (plot.y0 + plot.y1) / 2, NAME * u, theme.text, align=0.5, angle=90.0)


def _fitting(frame: Frame, which: int, room: float) -> str:
    """The longest name of alpha (0) or beta (1) that is not longer than its side of the plot."""
    names = words.axis(frame.scene, which), words.axis_short(frame.scene, which)
    return next((name for name in names if fonts.width(name, NAME * frame.unit) <= room), "αβ"[which])


def _raised(frame: Frame, ink: Ink) -> None:
    (sx, sy), u = frame.sides, frame.unit
    eye = frame.projection.eye * (1 if frame.projection.eye[2] >= 0 else -1)  # from below the far edges are lower
    near_x, near_y = (1 if eye[0] >= 0 else -1), (1 if eye[1] >= 0 else -1)
    middle = frame.pixels(np.array([[0.0, 0.0, 0.0]]))[0, :2]
    edges = [
        (0, np.array([-sx, near_y * sy, 0.0]), np.array([sx, near_y * sy, 0.0])),
        (1, np.array([near_x * sx, -sy, 0.0]), np.array([near_x * sx, sy, 0.0])),
    ]
    # Both axes in words of one length: the longest that fits both edges, else the bare letters.
    ways = [[words.axis(frame.scene, k) for k in (0, 1)], [words.axis_short(frame.scene, k) for k in (0, 1)]]
    rooms = [0.8 * float(np.linalg.norm(np.diff(frame.pixels(np.stack([a, b]))[:, :2], axis=0))) for _, a, b in edges]
    fitting = [w for w in ways if all(fonts.width(name, NAME * u) < room for name, room in zip(w, rooms))]
    names = fitting[0] if fitting else ["α", "β"]
    taken: list[Box] = []  # over all axes: two meet at a corner
    upright = frame.rise > 0.02 and abs(float(frame.camera.elevation)) <= 84
    if upright:
        _upright(frame, ink, taken)
    for which, a, b in edges:
        marks = [(_with(a, which, at), label) for at, label in axis_ticks(frame, which)]
        _edge(frame, ink, a, b, marks, names[which], middle, taken)


def _upright(frame: Frame, ink: Ink, taken: list[Box]) -> None:
    """Ticks along the upright edge that is the leftmost in the picture, the floor's first, and the metric's name."""
    (sx, sy), u = frame.sides, frame.unit
    feet = np.array([(x * sx, y * sy, 0.0) for x in (-1, 1) for y in (-1, 1)])
    foot = feet[int(np.argmin(frame.pixels(feet)[:, 0]))]
    head = foot + np.array([0.0, 0.0, frame.top])
    marks = [(np.array([foot[0], foot[1], z]), label) for z, label in height_ticks(frame)]
    p = frame.pixels(np.stack([foot, head]))
    heading = words.METRIC[frame.view.metric].replace("Standard error of the loss", "Std. error")
    for at, label in marks:
        q = frame.pixels(at[None])[0]
        if not _on_stage(frame, (q[0], q[1], 5 * u, 0.0)):
            continue
        ink.line((q[0], q[1]), (q[0] - 5 * u, q[1]), max(1.0, u), frame.theme.line)
        half = fonts.width(label, SIZE * u) / 2
        box = (q[0] - 9 * u - half, q[1], half, SIZE * u * 0.5)
        if _free(box, taken, 0.0, 2 * u) and _on_stage(frame, box):
            ink.text(label, q[0] - 9 * u, q[1], SIZE * u, frame.theme.text, align=1.0, anchor="middle")
            taken.append(box)
    half = fonts.width(heading, NAME * u) / 2
    shown = _on_stage(frame, (p[1, 0] - 4 * u, p[1, 1] - 18 * u, half, NAME * u / 2))
    if not frame.view.normalise and heading and marks and shown:
        ink.text(heading, p[1, 0] - 4 * u, p[1, 1] - 14 * u, NAME * u, frame.theme.text, align=0.5)


def _free(box: Box, taken: list[Box], across: float, down: float) -> bool:
    """Whether a label keeps its distance from all others."""
    return all(abs(box[0] - t[0]) > box[2] + t[2] + across or abs(box[1] - t[1]) > box[3] + t[3] + down for t in taken)


def _apart(found: list[tuple[str, Box]], u: float) -> list[tuple[str, Box]]:
    """Every label of an axis, or where they are crowded every second, third and so on, zero among them: none is left
    out between two others."""
    zero = next((k for k, (label, _) in enumerate(found) if label == "0"), 0)
    for step in range(1, len(found) + 1):
        some = found[zero % step :: step]
        if all(_free(b, [a], 7 * u, u) for (_, a), (_, b) in itertools.pairwise(some)):
            return some
    return found[:1]


def _on_stage(frame: Frame, box: Box) -> bool:
    """Whether a label stands where the raised picture may be: one of a zoomed picture may lie beyond."""
    stage = frame.layout.stage
    return stage is None or (
        stage.x0 <= box[0] - box[2]
        and box[0] + box[2] <= stage.x1
        and stage.y0 <= box[1] - box[3]
        and box[1] + box[3] <= stage.y1
    )


def _part_on_stage(frame: Frame, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The part of the line from pixel a to b that lies on the stage (Liang & Barsky 1984)."""
    stage = frame.layout.stage
    if stage is None:
        return a, b
    t0, t1 = 0.0, 1.0
    for start, way, lo, hi in zip(a, b - a, (stage.x0, stage.y0), (stage.x1, stage.y1)):
        if abs(way) < 1e-9:
            if not lo <= start <= hi:
                return None
            continue
        first, last = sorted(((lo - start) / way, (hi - start) / way))
        t0, t1 = max(t0, first), min(t1, last)
    return (a + t0 * (b - a), a + t1 * (b - a)) if t0 < t1 else None


def _with(a: np.ndarray, which: int, at: float) -> np.ndarray:
    out = a.copy()
    out[which] = at
    return out


def _edge(
    frame: Frame,
    ink: Ink,
    a: np.ndarray,
    b: np.ndarray,
    marks: list[tuple[np.ndarray, str]],
    name: str,
    middle: np.ndarray,
    taken: list[Box],
) -> None:
    """Ticks outwards from the edge a-b of the floor, and the axis' name along it."""
    u, theme = frame.unit, frame.theme
    part = _part_on_stage(frame, *frame.pixels(np.stack([a, b]))[:, :2])
    if part is None:
        return
    pa, pb = part
    along = pb - pa
    length = float(np.linalg.norm(along))
    if length < 40 * u:
        return
    along = along / length
    out = np.array([-along[1], along[0]])
    if np.dot(out, (pa + pb) / 2 - middle) < 0:
        out = -out
    reach = 0.0
    found: list[tuple[str, Box]] = []
    for at, label in marks:
        q = frame.pixels(at[None])[0, :2]
        if not _on_stage(frame, (float(q[0]), float(q[1]), 0.0, 0.0)):
            continue
        tip = q + out * 5 * u
        ink.line(tuple(q), tuple(tip), max(1.0, u), theme.line)
        width = fonts.width(label, SIZE * u)
        # the label's box touches the tick's tip from outside
        centre = q + out * 10 * u + out * (abs(out[0]) * width / 2 + abs(out[1]) * SIZE * u * 0.42)
        found.append((label, (float(centre[0]), float(centre[1]), width / 2, SIZE * u * 0.5)))
    for label, box in _apart(found, u):
        if _free(box, taken, 7 * u, u) and _on_stage(frame, box):
            ink.text(label, box[0], box[1], SIZE * u, theme.text, align=0.5, anchor="middle")
            taken.append(box)
            reach = max(reach, 10 * u + abs(out[0]) * 2 * box[2] + abs(out[1]) * SIZE * u)
    angle = float(np.degrees(np.arctan2(-along[1], along[0])))
    angle = (angle + 90) % 180 - 90
    centre = (pa + pb) / 2 + out * (reach + 21 * u)
    half = fonts.width(name, NAME * u) / 2
    room = np.abs(along) * half + np.abs(out) * NAME * u / 2
    if not _on_stage(frame, (float(centre[0]), float(centre[1]), float(room[0]), float(room[1]))):
        return
    ink.text(name, centre[0], centre[1], NAME * u, theme.text, align=0.5, anchor="middle", angle=angle)
