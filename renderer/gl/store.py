"""The values on the GPU: measured (R32F, one sub-image a row) and the display field, made from them there: coded value
(R32F) and gradient (RG16F, for light and the width of lines). Grids that are shown finer than they are pass through
a texture without holes (units.frag), from which the splines are made.

Values go up in the space of reference.py, which stays as it is while rows come. Missing and diverged points are
sentinels set here; no shader asks for NaN.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import moderngl
import numpy as np
from numpy.typing import NDArray

from renderer import reference
from renderer.camera import half_sides
from renderer.field import refinement
from renderer.gl.programs import Programs, put
from renderer.reference import Reference
from renderer.scene import Dirty, Scene

MISSING, DIVERGED = np.float32(-1e38), np.float32(-2e38)
PIECE = 64  # rows that are coded at once: copies of a whole field would double its memory
BORROW, SPLINE = 2, 2  # rows that a row's value can reach: into holes, and by the spline's stencil


class Store:
    """Textures of one scene; `sync` brings them up to date and says nothing."""

    def __init__(self, ctx: moderngl.Context, programs: Programs) -> None:
        self.ctx, self._units_program, self._field_program = ctx, programs["units"], programs["field"]
        self._same_program = programs["field", "SAME"]  # of a grid that is shown as it is
        self._passes = [
            ctx.vertex_array(program, []) for program in (self._units_program, self._field_program, self._same_program)
        ]
        self._units: moderngl.Texture | None = None
        self._units_target: moderngl.Framebuffer | None = None
        self.raw: moderngl.Texture | None = None
        self.draft: moderngl.Texture | None = None  # raw, with drafts in rows not measured yet; None once all rows are
        self.field: moderngl.Texture | None = None
        self.slope: moderngl.Texture | None = None
        self.axes: tuple[moderngl.Texture, moderngl.Texture] | None = None
        self._target: moderngl.Framebuffer | None = None
        self.shape = (0, 0)
        self.k = 1
        self.reference: Reference | None = None
        self.any_invalid = False
        self._held: tuple[object, ...] = ()  # what the textures were made for, beside the values

    def sync(self, scene: Scene, dirty: Dirty) -> None:
        if scene.axes is None:
            return
        scale, view = scene.scale, scene.view
        whole = dirty.all or self.raw is None or self.shape != scene.n.shape
        if whole:
            self._allocate(scene)
        before, self.reference = self.reference, reference.of(scale)
        if whole or view.metric != self._metric or before is None or before.space != self.reference.space:
            self._metric = view.metric
            self._upload(scene, None)
            whole = True
        elif dirty.rows:
            self._upload(scene, sorted(dirty.rows))
        if self.draft is not None and not scene.unfinished:
            self.draft.release()
            self.draft = None
            whole = True  # what was drafted beside diverged points borrows again
        self.any_invalid = bool(scale.missing or scale.diverged)
        held = (self.reference.least, self.reference.ceiling, view.smoothing == "catmull-rom")
        if whole or held != self._held:
            self._held = held
            self._refine(None)
        elif dirty.rows:
            self._refine(sorted(dirty.rows))

    _metric = ""

    def _allocate(self, scene: Scene) -> None:
        self._release_textures()
        assert scene.axes is not None
        height, width = scene.n.shape
        self.shape, self.k = (height, width), refinement(width, height)
        self.raw = self.ctx.texture((width, height), 1, dtype="f4", alignment=4)
        self.raw.filter = (moderngl.NEAREST, moderngl.NEAREST)
        if self.k > 1:
            self._units = self.ctx.texture((width + 2, height + 2), 1, dtype="f4", alignment=4)
            self._units.filter = (moderngl.NEAREST, moderngl.NEAREST)
            self._units_target = self.ctx.framebuffer([self._units])
        size = ((width - 1) * self.k + 1, (height - 1) * self.k + 1)
        self.field = self.ctx.texture(size, 1, dtype="f4", alignment=4)
        self.slope = self.ctx.texture(size, 2, dtype="f2", alignment=4)
        for texture in (self.field, self.slope):
            texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
            texture.repeat_x = texture.repeat_y = False
        self._target = self.ctx.framebuffer([self.field, self.slope])
        alpha, beta = scene.axes
        self.sides = half_sides(float(alpha[-1] - alpha[0]), float(beta[-1] - beta[0]))
        self.even = all(np.allclose(np.diff(v), (v[-1] - v[0]) / (len(v) - 1), rtol=1e-6) for v in (alpha, beta))
        textures = []
        for values, side in zip((alpha, beta), self.sides):
            world = ((values - values[0]) / (values[-1] - values[0]) * 2 - 1) * side
            textures.append(self.ctx.texture((len(values), 1), 1, world.astype("<f4").tobytes(), dtype="f4"))
        self.axes = (textures[0], textures[1])

    sides = (1.0, 1.0)
    even = True  # both axes are evenly spaced

    def _upload(self, scene: Scene, rows: Iterable[int] | None) -> None:
        assert self.raw is not None
        width = self.shape[1]
        if scene.unfinished and self.draft is None:
            self.draft = self.ctx.texture(self.raw.size, 1, dtype="f4", alignment=4)
            self.draft.filter = (moderngl.NEAREST, moderngl.NEAREST)
            if rows is not None:
                self.draft.write(self._coded_draft(scene.draft).tobytes())
        height = self.shape[0]
        whole = [slice(i, min(i + PIECE, height)) for i in range(0, height, PIECE)]
        for part in whole if rows is None else [slice(i, i + 1) for i in rows]:
            viewport = (0, part.start, width, part.stop - part.start)
            self.raw.write(self._coded(scene.shown[part], scene.n[part]).tobytes(), viewport=viewport)
            if self.draft is not None:
                self.draft.write(self._coded_draft(scene.draft[part]).tobytes(), viewport=viewport)

    def _coded(self, values: NDArray[np.float64], n: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        assert self.reference is not None
        coded = self.reference.code(values).astype(np.float32)
        coded[~np.isfinite(values)] = DIVERGED
        if self._metric != "loss":
            coded[np.isnan(values)] = MISSING
        coded[n == 0] = MISSING
        return np.ascontiguousarray(coded)

    def _coded_draft(self, values: NDArray[np.float64]) -> NDArray[np.float32]:
        return self._coded(values, np.where(np.isfinite(values), 1, 0))

    def _refine(self, rows: list[int] | None) -> None:
        """Measured values to unit values to the display field, for the rows that changed and their footprint."""
        assert self.raw is not None
        assert self._target is not None
        least, ceiling, cubic = self._held
        (self.draft or self.raw).use(1)
        if self._units is not None and self._units_target is not None:
            put(self._units_program, raw=1, least=least, ceiling=ceiling)
            put(self._field_program, units=0, k=self.k, cubic=cubic, ceiling=ceiling)
            self._units.use(0)
            passes = [
                (self._passes[0], self._units_target, 1, BORROW),
                (self._passes[1], self._target, self.k, BORROW + SPLINE),
            ]
        else:
            put(self._same_program, raw=1, least=least, ceiling=ceiling)
            passes = [(self._passes[2], self._target, 1, BORROW + SPLINE)]
        self.ctx.disable(moderngl.BLEND | moderngl.DEPTH_TEST)
        for vao, target, scale, reach in passes:
            width, height = target.size
            spans = [(0, height)]
            if rows is not None:  # the units lie one row further up, for their ring
                first = 1 if scale == 1 and target is self._units_target else 0
                spans = [
                    (max(0, (a - reach - 1) * scale + first), min(height, (b + reach + 1) * scale + first + 1))
                    for a, b in runs(rows)
                ]
            target.use()
            target.viewport = (0, 0, width, height)
            for y0, y1 in spans:
                target.scissor = (0, y0, width, y1 - y0)
                vao.render(moderngl.TRIANGLES, vertices=3)
            target.scissor = None  # type: ignore[assignment]

    def _release_textures(self) -> None:
        textures = (self.raw, self.draft, self._units, self.field, self.slope, *(self.axes or ()))
        for thing in (self._target, self._units_target, *textures):
            if thing is not None:
                thing.release()
        self._target = self._units_target = None
        self.raw = self.draft = self._units = self.field = self.slope = self.axes = None

    def release(self) -> None:
        self._release_textures()
        for vao in self._passes:
            vao.release()


def runs(rows: list[int]) -> list[tuple[int, int]]:
    """Sorted row numbers as (first, last) of each run without a gap."""
    out: list[tuple[int, int]] = []
    for i in rows:
        if out and i <= out[-1][1] + 1:
            out[-1] = (out[-1][0], i)
        else:
            out.append((i, i))
    return out
