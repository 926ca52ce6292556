"""The epoch (or step, or number) of the checkpoints, written beside their dots where there is room.

The two ends come first, then those that halve what is left, so that few labels still pace the whole way. A label stands
in the first of eight places around its dot where it touches no dot, no line of the path and no other label; a
checkpoint without such a place, or behind the surface, has none.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from renderer import fonts
from renderer.facts import path_scale
from renderer.frame import Frame, Same
from renderer.ink import Ink
from renderer.picking import pick
from renderer.scene import Dirty
from renderer.ticks import number

SIZE = 11.5
AWAY = 9.0  # units from a dot's middle to its label's nearest side
AROUND = [(1, 0), (0, -1), (-1, 0), (0, 1), (0.75, -0.75), (-0.75, -0.75), (0.75, 0.75), (-0.75, 0.75)]
MARK = 11.0  # units around the lowest point and the ends that are taken
MOST = 24  # labels
NEAR = 0.06  # of the grid: a sight line that hits no nearer to a dot meets something in front of it
Floats = NDArray[np.float64]


class Epochs:
    def __init__(self) -> None:
        self._key: object = None
        self._seen: list[int] = []

    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        pass

    def key(self, frame: Frame) -> object:
        return frame.place, Same(frame.scene.axes), Same(frame.scene.path), frame.live, frame.scale.lowest

    def overlay(self, frame: Frame, ink: Ink) -> None:
        scene, view, u = frame.scene, frame.view, frame.unit
        path = scene.path
        if not (view.layers.path and view.layers.epochs) or len(path) < 3 or scene.axes is None or scene.path_off_plane:
            return
        inside = np.flatnonzero(scene.path_inside())
        if not len(inside):
            return
        at = frame.pixels(frame.world(path["alpha"][inside], path["beta"][inside]))[:, :2]
        key = (Same(scene.path), len(inside))
        if not frame.live or key != self._key:  # a moving picture keeps those that were in sight
            self._key = key
            self._seen = [k for k, p in enumerate(at) if frame.shows(p) and _in_sight(frame, int(inside[k]), p)]
        names = [name(path, int(k)) for k in inside]
        sizes = np.array([(fonts.width(text, SIZE * u, True), SIZE * u * 0.8) for text in names])
        for k, (x, y) in places(at, sizes, order(len(at), self._seen), u, _ways(frame, inside)):
            ink.text(
                names[k],
                x,
                y,
                SIZE * u,
                frame.theme.text,
                align=0.5,
                anchor="middle",
                bold=True,
                halo=frame.theme.paper,
                halo_width=2.4 * u,
            )


def name(path: NDArray[np.void], k: int) -> str:
    """What counts the checkpoints along a path, for its k-th: as the legend's scale does."""
    match path_scale(path)[0]:
        case "epoch":
            return number(float(path["epoch"][k]), 3)
        case "step":
            return str(int(path["step"][k]))
    return str(k + 1)


def order(count: int, among: list[int]) -> list[int]:
    """Those of 0..count-1 that are `among`, the ends first, then by halving."""
    out: list[int] = [0, count - 1]
    step = 2 ** math.ceil(math.log2(max(count, 2)))
    while step >= 1:
        out += [k for k in range(0, count, step) if k not in out]
        step //= 2
    return [k for k in dict.fromkeys(out) if k in set(among)][:MOST]


def places(
    at: Floats, sizes: Floats, wanted: list[int], u: float, ways: Floats
) -> list[tuple[int, tuple[float, float]]]:
    """(k, middle) of each label that has room: dots `at` (n, 2), label `sizes` (n, 2), pixels `ways` (m, 2) of the
    path."""
    taken: list[tuple[float, float, float, float]] = []
    out = []
    for k in wanted:
        w, h = sizes[k] / 2
        for dx, dy in AROUND:
            x, y = at[k, 0] + dx * (AWAY * u + w), at[k, 1] + dy * (AWAY * u + h)
            box = (x - w - 2 * u, y - h - 1.5 * u, x + w + 2 * u, y + h + 1.5 * u)
            hit = (ways[:, 0] > box[0]) & (ways[:, 0] < box[2]) & (ways[:, 1] > box[1]) & (ways[:, 1] < box[3])
            if hit.any() or any(b[0] < box[2] and box[0] < b[2] and b[1] < box[3] and box[1] < b[3] for b in taken):
                continue
            taken.append(box)
            out.append((k, (float(x), float(y))))
            break
    return out


def _in_sight(frame: Frame, k: int, pixel: Floats) -> bool:
    """Whether nothing lies in front of a checkpoint."""
    if frame.flat or frame.view.mode == "2d" or not frame.view.layers.surface:
        return True
    scene = frame.scene
    hit = pick(frame, float(pixel[0]), float(pixel[1]))
    if hit is None or scene.axes is None:
        return True  # beside the sheet by less than a pixel
    away = [
        abs(float(scene.path[name][k]) - value) / float(axis[-1] - axis[0])
        for name, value, axis in zip(("alpha", "beta"), (hit.alpha, hit.beta), scene.axes)
    ]
    return max(away) < NEAR


def _ways(frame: Frame, inside: NDArray[np.intp]) -> Floats:
    """Pixels along the path and around the marks, dense enough that no label slips between."""
    path, scene = frame.scene.path, frame.scene
    t = np.arange(len(path))
    fine = np.linspace(0, len(path) - 1, min(40 * len(path), 2000))
    alpha, beta = np.interp(fine, t, path["alpha"]), np.interp(fine, t, path["beta"])
    assert scene.axes is not None
    x, y = scene.axes
    on = (alpha >= x[0]) & (alpha <= x[-1]) & (beta >= y[0]) & (beta <= y[-1])
    out = [frame.pixels(frame.world(alpha[on], beta[on]))[:, :2]]
    marks = [(float(path["alpha"][k]), float(path["beta"][k])) for k in inside]
    if frame.view.layers.critical:
        marks += [(float(c["alpha"]), float(c["beta"])) for c in scene.critical]
    ring = np.array([(math.cos(a), math.sin(a)) for a in np.linspace(0, 2 * math.pi, 12, endpoint=False)])
    centres = frame.pixels(frame.world(np.array([m[0] for m in marks]), np.array([m[1] for m in marks])))[:, :2]
    out.append((centres[:, None] + ring * 4.5 * frame.unit).reshape(-1, 2))
    if frame.view.layers.minimum and frame.scale.lowest is not None:
        i, j = frame.scale.lowest
        low = frame.pixels(frame.world(np.array([x[j]]), np.array([y[i]])))[:, :2]
        out.append((low[:, None] + ring * MARK * frame.unit * 0.8).reshape(-1, 2))
    return np.concatenate(out)
