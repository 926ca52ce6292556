"""The descent: a line on the surface from a yellow start to a cyan end, with a dark halo and a dot a checkpoint.

What the surface hides is drawn again at 35 %, with the depth test reversed. A path that hardly lies in the plane is
pale and unjoined: a line would tell a way that was not taken. Points outside of the grid are left out and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import moderngl
import numpy as np
from numpy.typing import NDArray

from renderer.frame import Frame, Same
from renderer.gl.kit import Kit
from renderer.ink import Ink, capsules
from renderer.scene import Dirty

PIECES = 24  # a segment is bent over the surface in so many
HIDDEN = 0.45
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ends:
    """Line pieces from a to b in the plane (n, 2) at t (n,) along the path in [0, 1]; checkpoints `dots` (m, 2)."""

    a: Floats
    b: Floats
    ta: Floats
    tb: Floats
    dots: Floats
    td: Floats


def cut(
    alpha: Floats, beta: Floats, box: tuple[float, float, float, float], joined: bool, pieces: int = PIECES
) -> Ends:
    """The path's pieces inside of the box (alpha lo, hi, beta lo, hi); dots only at checkpoints inside."""
    points = np.stack([alpha, beta], 1)
    t = np.linspace(0, 1, len(points)) if len(points) > 1 else np.zeros(len(points))
    good = np.asarray(np.isfinite(points).all(1))

    def inside(p: Floats) -> NDArray[np.bool_]:
        e = 1e-9 * np.array([box[1] - box[0], box[3] - box[2]])
        lo, hi = np.array([box[0], box[2]]) - e, np.array([box[1], box[3]]) + e
        return np.asarray(((p >= lo) & (p <= hi)).all(-1))

    dots = good & inside(points)
    if not joined or len(points) < 2:
        empty = np.zeros((0, 2))
        return Ends(empty, empty, np.zeros(0), np.zeros(0), points[dots], t[dots])
    s = np.arange(pieces + 1) / pieces
    first, second = points[:-1][good[:-1] & good[1:]], points[1:][good[:-1] & good[1:]]
    t0, t1 = t[:-1][good[:-1] & good[1:]], t[1:][good[:-1] & good[1:]]
    way = first[:, None] + (second - first)[:, None] * s[None, :, None]
    tt = t0[:, None] + (t1 - t0)[:, None] * s[None]
    a, b = way[:, :-1].reshape(-1, 2), way[:, 1:].reshape(-1, 2)
    keep = inside(a) & inside(b)
    return Ends(a[keep], b[keep], tt[:, :-1].ravel()[keep], tt[:, 1:].ravel()[keep], points[dots], t[dots])


class Path:
    def __init__(self, kit: Kit) -> None:
        self.kit = kit

    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        scene, view, u, size = frame.scene, frame.view, frame.unit, frame.layout.size
        if not view.layers.path or not len(scene.path) or scene.axes is None:
            return
        off = scene.path_off_plane
        ends = self._ends(frame, off)
        radius = view.path_width * u / 2
        halo = np.array(frame.theme.halo)
        tint = self._tint(frame, off)

        lines: list[NDArray[np.float32]] = []
        if len(ends.a):
            pa, pb = self._pixels(frame, ends.a), self._pixels(frame, ends.b)
            rim = np.tile(halo, (len(pa), 1))
            lines = [
                capsules(pa, pb, radius + 1.3 * u, rim, rim),
                capsules(pa, pb, radius, tint(ends.ta), tint(ends.tb)),
            ]
        dots = [] if frame.layout.flat else self._dots(frame, ends, radius, tint, halo, off)
        ctx = self.kit.ctx
        if frame.flat:
            ctx.disable(moderngl.DEPTH_TEST)
            passes = [("<=", 1.0)]
        else:
            ctx.enable(moderngl.DEPTH_TEST)
            passes = [(">", HIDDEN), ("<=", 1.0)]
        ctx.fbo.depth_mask = False
        for test, opacity in passes:
            ctx.depth_func = test
            for k, shapes in enumerate([*lines, *dots]):
                # a hidden halo would darken what hides it
                if test == ">" and k % 2 == 0:
                    continue
                self.kit.shapes.draw(shapes, size, opacity=opacity)
        ctx.fbo.depth_mask = True
        ctx.depth_func = "<="

    def _ends(self, frame: Frame, off: bool) -> Ends:
        """The path inside of the grid, the same at every frame of a still picture."""
        path, axes = frame.scene.path, frame.scene.axes
        assert axes is not None
        x, y = axes
        box = (float(x[0]), float(x[-1]), float(y[0]), float(y[-1]))
        return cut(path["alpha"], path["beta"], box, joined=not off)

    def _pixels(self, frame: Frame, points: Floats) -> Floats:
        """Pixels of places on the surface, drawn towards the eye so that half the line's width stays in front."""
        world = frame.world(points[:, 0], points[:, 1])
        if frame.flat:
            return frame.pixels(world)
        p = frame.pixels(world)
        p[:, 2] = frame.pixels(world + frame.projection.eye * 0.03)[:, 2]
        return p

    def _tint(self, frame: Frame, off: bool) -> Callable[[Floats], Floats]:
        def colours(t: Floats) -> Floats:
            rgb = frame.path_table[np.round(np.clip(t, 0, 1) * 255).astype(int)] / 255.0
            if off:
                rgb = frame.pale(rgb)
            return np.concatenate([rgb, np.ones((len(t), 1))], 1)

        return colours

    def _dots(
        self, frame: Frame, ends: Ends, radius: float, tint: Callable[[Floats], Floats], halo: Floats, off: bool
    ) -> list[NDArray[np.float32]]:
        if not len(ends.dots):
            return []
        u = frame.unit
        p = self._pixels(frame, ends.dots)
        rim = np.tile(halo, (len(p), 1))
        small = max(radius * 1.25, 2.2 * u)
        many = len(p) > 60  # so many checkpoints are a line already
        point = off and float(np.linalg.norm(p[:, :2] - p[-1, :2], axis=1).max()) < 4 * u  # one dot says it all
        keep = (ends.td == 0) | (ends.td == 1) | (not many)
        big = (ends.td == 0) | (ends.td == 1)
        r = np.where(big & (not off), small * 1.75, small * (1.25 if point else 1.0))
        if point:
            keep = np.arange(len(p)) == len(p) - 1
        r = r[keep]
        p, rim, colour = p[keep], rim[keep], tint(ends.td)[keep]
        out = []
        for extra, c in ((1.4 * u, rim), (0.0, colour)):
            shapes = capsules(p, p, 0.0, c, c)
            shapes[:, 6] = r + extra
            out.append(shapes)
        return out

    def key(self, frame: Frame) -> object:
        return (frame.place, Same(frame.scene.axes), Same(frame.scene.path)) if frame.layout.flat else ()

    def overlay(self, frame: Frame, ink: Ink) -> None:
        """Seen from above, dots lie over the frame of the axes, so that those on the border are whole."""
        scene = frame.scene
        if not frame.layout.flat or not frame.view.layers.path or not len(scene.path) or scene.axes is None:
            return
        off = scene.path_off_plane
        ends = self._ends(frame, off)
        radius = frame.view.path_width * frame.unit / 2
        for shapes in self._dots(frame, ends, radius, self._tint(frame, off), np.array(frame.theme.halo), off):
            for shape in shapes:
                if frame.shows(shape[:2]):
                    r, g, b, a = (float(v) for v in shape[8:12])
                    ink.dot((float(shape[0]), float(shape[1])), float(shape[6]), (r, g, b, a))
