"""Draws the grid as a sheet, raised or flat (shaders/sheet): fill, mesh and isolines in one pass of one program.

One pass, because three would cost the vertices three times and fight over the same depths.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import moderngl
import numpy as np

from renderer.colormaps import luminance
from renderer.frame import Frame
from renderer.gl.programs import Programs, put
from renderer.gl.store import Store
from renderer.theme import fade, hexa

# Vertices a side; a finer grid is drawn with a stride (level of detail). Colours and lines keep the full field.
MOST_VERTICES, MOST_VERTICES_LIVE = 640, 128
LEVELS = 64
BINS = 1024  # of the unit scale, to find an isoline without a search


class Sheet:
    """The program, its colour table texture, and one call that draws."""

    def __init__(self, ctx: moderngl.Context, programs: Programs, store: Store) -> None:
        self.ctx, self.store, self.programs = ctx, store, programs
        self._arrays: dict[tuple[str, ...], moderngl.VertexArray] = {}
        self._table = ctx.texture((256, 1), 3, alignment=1)
        self._levels = ctx.texture((LEVELS, 1), 4, dtype="f4")
        self._finder = ctx.texture((BINS, 1), 1, dtype="f4")
        self._table.repeat_x = self._table.repeat_y = False
        self._held = b""

    def stride(self, flat: bool, most: int = MOST_VERTICES) -> int:
        """Display vertices from one drawn vertex to the next. A plane needs only its corners, or the measured columns
        and rows where these are not evenly spaced."""
        assert self.store.field is not None
        if flat:
            return max(self.store.field.size) if self.store.even else self.store.k
        return max(1, math.ceil(max(self.store.field.size) / most))

    def draw(
        self,
        frame: Frame,
        *,
        fill: Literal["none", "map", "paper"] = "none",
        contours: bool = False,
        mesh: bool = False,
        mesh_map: bool = False,
        raised: bool = True,
        height: float = 0.0,
        patches: bool = False,
    ) -> None:
        """Draw the sheet into the bound framebuffer: raised by its values, or flat at a world `height`."""
        store, scale, view, unit = self.store, frame.scale, frame.view, frame.unit
        assert store.field is not None
        assert store.raw is not None
        assert store.axes is not None
        table = frame.table.tobytes()
        if table != self._held:
            self._table.write(table)
            self._held = table
        variant = self._variant(frame, fill, contours, mesh, raised, patches)
        program = self.programs[variant]
        if variant not in self._arrays:
            self._arrays[variant] = self.ctx.vertex_array(program, [])
        for location, texture in enumerate(
            (store.field, store.raw, self._table, *store.axes, self._levels, self._finder, store.draft or store.raw)
        ):
            texture.use(location)
        most = MOST_VERTICES_LIVE if frame.live else MOST_VERTICES
        stride = self.stride(not raised or frame.rise == 0.0, most)
        decades = math.log10(scale.hi) - math.log10(scale.lo) if scale.log else 0.0
        rows, columns = store.shape
        across = (frame.sides[0] * 2 / (columns - 1), frame.sides[1] * 2 / (rows - 1))
        put(
            program,
            field=0,
            raw=1,
            table=2,
            axis_x=3,
            axis_y=4,
            levels=5,
            finder=6,
            draft=7,
            k=store.k,
            stride=stride,
            camera=tuple(frame.projection.matrix.T.ravel()),
            floor_z=frame.floor if raised else height,
            rise=frame.rise if raised else 0.0,
            decades=decades if scale.log and not scale.log_height else 0.0,
            decades_color=decades if scale.log and not scale.log_color else 0.0,
            plateau=frame.plateau,
            cut=1.0 if scale.clip is not None and view.clip_mode == "cut" else 1e9,
            cell=across,
            sun=tuple(sun(frame)),
            light=view.light,
            paper=frame.theme.paper,
            missing_ink=frame.theme.hatch,
            diverged_ink=frame.theme.diverged,
            unit_px=unit,
            **{name: store.transform[name] for name in ("a", "b", "shift", "least", "logarithmic")},
        )
        if contours:
            self._put_levels(program, frame)
        if mesh:
            self._put_mesh(program, frame, mesh_map)
        field_columns, field_rows = store.field.size
        strips = (field_rows - 2) // stride + 1
        side = (field_columns - 2) // stride + 2
        self._arrays[variant].render(moderngl.TRIANGLE_STRIP, vertices=strips * (2 * side + 2))

    def _variant(
        self, frame: Frame, fill: str, contours: bool, mesh: bool, raised: bool, patches: bool
    ) -> tuple[str, ...]:
        """The program's name and defines (shaders/sheet.frag)."""
        flags = {
            "FILL_MAP": fill == "map",
            "FILL_PAPER": fill == "paper",
            "LIT": fill == "map" and raised and frame.view.light > 0 and frame.rise > 0,
            "TILES": fill == "map" and frame.view.smoothing == "none",
            "MESH": mesh,
            "LEVELS": contours and bool(frame.scale.levels),
            "MAP_INK": contours and frame.contour_ink == "map",
            "EVERYWHERE": not raised and not patches,
            "DRAFT": self.store.draft is not None and (raised or patches),
            "PATCHES": patches,
        }
        return ("sheet", *(name for name, on in flags.items() if on))

    def _put_levels(self, program: moderngl.Program, frame: Frame) -> None:
        scale, view, unit = frame.scale, frame.view, frame.unit
        found = scale.levels[:LEVELS]
        units = scale.unit(np.array([level.value for level in found], float)) if found else np.zeros(0)
        mapped = frame.contour_ink == "map"
        some_minor = any(not level.major for level in found) and any(level.major for level in found)
        data = np.zeros((LEVELS, 4), np.float32)
        data[:, 0] = 1e9  # past the last: never near
        gaps = np.diff(units, prepend=-1e9, append=1e9)
        for i, (level, u) in enumerate(zip(found, units)):
            strong = level.major or not some_minor
            width = view.contours.width * unit * ((1.3 if mapped else 1.0) if strong else 0.8)
            pale = luminance(frame.colour(np.array([u]))[0, :3]) < 0.16
            light = pale if frame.contour_ink == "auto" else frame.contour_ink == "light"
            opacity = 1.0 if strong else (0.85 if mapped else 0.62)
            data[i] = (u, -opacity if light else opacity, width, min(gaps[i], gaps[i + 1]))
        self._levels.write(data.tobytes())
        self._finder.write(np.searchsorted(units, np.arange(BINS) / BINS).astype("<f4").tobytes())
        put(
            program,
            dark_ink=hexa("0b0e13", 0.62),
            light_ink=hexa("ffffff", 0.55),
            crowded=5.0 * unit,
        )

    def _put_mesh(self, program: moderngl.Program, frame: Frame, mapped: bool) -> None:
        put(
            program,
            mesh_width=(1.15 if mapped else 0.8) * max(frame.unit, 1.0),
            mesh_step=tuple(float(s) for s in frame.mesh_steps),
            mesh_ink=fade(frame.theme.mesh, 0.5 if frame.flat else 0.65 if frame.contour_ink == "map" else 1.0),
            mesh_map=mapped,
        )

    def release(self) -> None:
        for array in self._arrays.values():
            array.release()
        for texture in (self._table, self._levels, self._finder):
            texture.release()


def sun(frame: Frame) -> Any:
    """Unit vector towards the light: high, over the left shoulder of whoever looks, from every side alike."""
    eye = frame.projection.eye
    flat = np.array([eye[0], eye[1], 0.0])
    length = np.linalg.norm(flat)
    towards = flat / length if length > 1e-6 else np.array([0.0, -1.0, 0.0])
    right = np.array([-towards[1], towards[0], 0.0])
    v = -0.62 * right + 0.28 * towards + np.array([0.0, 0.0, 0.80])
    return v / np.linalg.norm(v)
