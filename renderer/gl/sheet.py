"""Draws the grid as a sheet, raised or flat (shaders/sheet): fill, mesh and isolines in one pass of one program.

One pass, because three would cost the vertices three times and fight over the same depths.
"""

from __future__ import annotations

import math
from typing import Any

import moderngl
import numpy as np

from renderer.colormaps import luminance
from renderer.frame import Frame
from renderer.gl.programs import Programs, put
from renderer.gl.store import Store
from renderer.theme import fade, hexa

MOST_VERTICES = 640  # vertices a side at full size; a finer grid is drawn with a stride (level of detail)
LEVELS = 64
FILL = {"none": 0, "map": 1, "paper": 2}


class Sheet:
    """The program, its colour table texture, and one call that draws."""

    def __init__(self, ctx: moderngl.Context, programs: Programs, store: Store) -> None:
        self.ctx, self.store, self.program = ctx, store, programs["sheet"]
        self._vao = ctx.vertex_array(self.program, [])
        self._table = ctx.texture((256, 1), 3, alignment=1)
        self._table.repeat_x = self._table.repeat_y = False
        self._held = b""

    def stride(self) -> int:
        assert self.store.field is not None
        return max(1, math.ceil(max(self.store.field.size) / MOST_VERTICES))

    def draw(
        self,
        frame: Frame,
        *,
        fill: str = "none",
        contours: bool = False,
        mesh: bool = False,
        mesh_map: bool = False,
        raised: bool = True,
        height: float = 0.0,
        patches: bool = False,
    ) -> None:
        """Draw the sheet into the bound framebuffer: raised by its values, or flat at a world `height`."""
        store, scale, view, unit = self.store, frame.scale, frame.view, frame.unit
        assert store.field is not None and store.raw is not None and store.axes is not None
        table = frame.table.tobytes()
        if table != self._held:
            self._table.write(table)
            self._held = table
        for location, texture in enumerate((store.field, store.raw, self._table, *store.axes)):
            texture.use(location)
        decades = math.log10(scale.hi) - math.log10(scale.lo) if scale.log else 0.0
        rows, columns = store.shape
        across = (frame.sides[0] * 2 / (columns - 1), frame.sides[1] * 2 / (rows - 1))
        put(
            self.program,
            field=0,
            raw=1,
            table=2,
            axis_x=3,
            axis_y=4,
            k=store.k,
            stride=self.stride(),
            camera=tuple(frame.projection.matrix.T.ravel()),
            floor_z=frame.floor if raised else height,
            rise=frame.rise if raised else 0.0,
            decades=decades if scale.log and not scale.log_height else 0.0,
            decades_color=decades if scale.log and not scale.log_color else 0.0,
            plateau=frame.plateau,
            cut=1.0 if scale.clip is not None and view.clip_mode == "cut" else 1e9,
            tiles=view.smoothing == "none",
            cell=across,
            sun=tuple(sun(frame)),
            light=view.light,
            fill=FILL[fill],
            paper=frame.theme.paper,
            level_count=0,
            mesh_width=0.0,
            patches=int(patches),
            missing_ink=frame.theme.hatch,
            diverged_ink=frame.theme.diverged,
            unit_px=unit,
            **{name: store.transform[name] for name in ("a", "b", "shift", "least", "logarithmic")},
        )
        if contours:
            self._put_levels(frame)
        if mesh:
            self._put_mesh(frame, mesh_map)
        field_columns, field_rows = store.field.size
        stride = self.stride()
        strips = (field_rows - 2) // stride + 1
        side = (field_columns - 2) // stride + 2
        self._vao.render(moderngl.TRIANGLE_STRIP, vertices=strips * (2 * side + 2))

    def _put_levels(self, frame: Frame) -> None:
        scale, view, unit = frame.scale, frame.view, frame.unit
        found = scale.levels[:LEVELS]
        units = scale.unit(np.array([level.value for level in found], float)) if found else np.zeros(0)
        mapped = frame.contour_ink == "map"
        some_minor = any(not level.major for level in found) and any(level.major for level in found)
        data = np.zeros((LEVELS, 4), np.float32)
        for i, (level, u) in enumerate(zip(found, units)):
            strong = level.major or not some_minor
            width = view.contours.width * unit * ((1.3 if mapped else 1.0) if strong else 0.8)
            pale = luminance(frame.colour(np.array([u]))[0, :3]) < 0.16
            light = pale if frame.contour_ink == "auto" else frame.contour_ink == "light"
            data[i] = (u, 1.0 if strong else (0.85 if mapped else 0.62), width, float(light))
        if "levels" in self.program:
            self.program["levels"].write(data.tobytes())
        put(
            self.program,
            level_count=len(found),
            map_ink=mapped,
            dark_ink=hexa("0b0e13", 0.62),
            light_ink=hexa("ffffff", 0.55),
            crowded=5.0 * unit,
        )

    def _put_mesh(self, frame: Frame, mapped: bool) -> None:
        rows, columns = self.store.shape
        room = (8.0 if frame.layout.flat or not frame.view.layers.base else 14.0) * frame.unit  # pixels between lines
        cells = [max(columns - 1, 1), max(rows - 1, 1)]
        spans = [frame.layout.plot.width, frame.layout.plot.height]
        steps = [
            max(1, 2 ** math.ceil(math.log2(max(room * c / s, 1e-9)))) if room * c > s else 1
            for c, s in zip(cells, spans)
        ]
        put(
            self.program,
            mesh_width=(1.15 if mapped else 0.8) * frame.unit,
            mesh_step=tuple(float(s) for s in steps),
            mesh_ink=fade(frame.theme.mesh, 1.0),
            mesh_map=mapped,
        )

    def release(self) -> None:
        self._vao.release()
        self._table.release()


def sun(frame: Frame) -> Any:
    """Unit vector towards the light: high, over the left shoulder of whoever looks, from every side alike."""
    eye = frame.projection.eye
    flat = np.array([eye[0], eye[1], 0.0])
    length = np.linalg.norm(flat)
    towards = flat / length if length > 1e-6 else np.array([0.0, -1.0, 0.0])
    right = np.array([-towards[1], towards[0], 0.0])
    v = -0.62 * right + 0.28 * towards + np.array([0.0, 0.0, 0.80])
    return v / np.linalg.norm(v)
