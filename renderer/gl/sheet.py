"""Draws the grid as a sheet, raised or flat (shaders/sheet, shaders/shade): fill, mesh and isolines by one program.

One, because three would cost the vertices three times and fight over the same depths.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import moderngl
import numpy as np

from renderer.colormaps import luminance
from renderer.frame import Frame
from renderer.gl import context
from renderer.gl.programs import Programs, put
from renderer.gl.store import Store
from renderer.theme import fade, hexa

LEVELS = 64
BINS = 4096  # of the unit scale, as in shaders/ink.glsl: colours and isolines are looked up, not searched
NO_LEVEL = LEVELS - 1  # an index that no isoline has
# Vertices; colours and lines keep the full field. Of a fine grid a still has one every PIXELS pixels of the plot, a
# window every PIXELS_LIVE, and at most MOST_COARSE a side while somebody turns it. A coarse grid's curved cells are cut
# into at least so many a side.
PIXELS, PIXELS_LIVE, MOST_COARSE = 2.0, 4.0, 96
PIXELS_CURVED, FEWEST, FEWEST_LIVE, FEWEST_COARSE = 6.0, 90, 72, 60
PIECE = 1 << 16  # vertices at once: Mesa's software renderer keeps the memory of the largest heap of triangles it had


class Sheet:
    """The programs, what they look up, and one call that draws."""

    def __init__(self, ctx: moderngl.Context, programs: Programs, store: Store) -> None:
        self.ctx, self.store, self.programs = ctx, store, programs
        self._software = "llvmpipe" in context.renderer_name(ctx)
        self._arrays: dict[tuple[str, ...], moderngl.VertexArray] = {}
        self._ramp = ctx.texture((BINS, 1), 4, alignment=4)
        self._curve = ctx.texture((BINS, 1), 1, dtype="f4")
        self._levels = ctx.texture((LEVELS, 1), 2, dtype="f4")
        self._level_ink = ctx.texture((LEVELS, 1), 4)
        for texture in (self._ramp, self._curve, self._levels, self._level_ink):
            texture.repeat_x = texture.repeat_y = False
            texture.filter = (moderngl.NEAREST, moderngl.NEAREST)
        self._held: object = None
        self._where: moderngl.Texture | None = None
        self._target: moderngl.Framebuffer | None = None
        self._beside: moderngl.Framebuffer | None = None  # the framebuffer whose depths the target shares

    def stride(self, frame: Frame, flat: bool) -> int:
        """Display vertices from one drawn vertex to the next. A plane needs only its corners, or the measured columns
        and rows where these are not evenly spaced."""
        store = self.store
        assert store.field is not None
        side = max(store.field.size) - 1
        if flat:
            return side + 1 if store.even else store.k
        plot = frame.layout.plot
        pixels = max(plot.width, plot.height) * min(max(frame.camera.zoom, 0.5), 8.0)
        if store.k > 1:  # a divisor of k, so that each measured point is a vertex
            fewest = (
                FEWEST_COARSE if frame.coarse else FEWEST_LIVE if frame.live else max(FEWEST, pixels / PIXELS_CURVED)
            )
            return max(d for d in range(1, store.k + 1) if store.k % d == 0 and (d == 1 or side / d >= fewest))
        if frame.coarse:
            return math.ceil(side / min(MOST_COARSE, pixels / PIXELS))
        return max(1, math.floor(side / pixels * (PIXELS_LIVE if frame.live else PIXELS)))

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
        """Draw the sheet into the bound framebuffer: raised by its values, or flat at a world `height`. What is raised
        is opaque (paper, where nothing else fills it) and needs the depth test."""
        store, scale = self.store, frame.scale
        assert store.raw is not None
        assert store.reference is not None
        self._look_up(frame)
        self._bind()
        raised = raised and frame.rise > 0.0 and not patches
        cut = 1.0 if scale.clip is not None and frame.view.clip_mode == "cut" else 1e9
        holes = (store.any_invalid or cut < 1e9) and (raised or not (mesh and fill == "none" and not contours))
        ways = self._ways(frame, fill, contours, mesh, mesh_map, raised)
        if patches and store.draft is not None:  # what is drafted is hatched where it is drawn
            ways = (*ways, "DRAFT")
        rows, columns = store.shape
        uniforms: dict[str, Any] = {
            "a": store.reference.a,
            "b": store.reference.b,
            "camera": tuple(frame.projection.matrix.T.ravel()),
            "floor_z": frame.floor if raised else height,
            "rise": frame.rise if raised else 0.0,
            "plateau": frame.plateau,
            "cell": (frame.sides[0] * 2 / (columns - 1), frame.sides[1] * 2 / (rows - 1)),
            "cut": cut,
            "sun": tuple(sun(frame)),
            "light": frame.view.light,
            "paper": frame.theme.paper,
            "missing_ink": frame.theme.hatch,
            "diverged_ink": frame.theme.diverged,
            "unit_px": frame.unit,
            "crowded": 5.0 * frame.unit,
            "line_width": _widths(frame),
            "mesh_width": (1.15 if mesh_map else 0.8) * max(frame.unit, 1.0),
            "mesh_step": tuple(float(s) for s in frame.mesh_steps),
            "mesh_ink": (1.0, 1.0, 1.0, 1.0)
            if mesh_map
            else fade(frame.theme.mesh, 0.5 if frame.flat else 0.65 if frame.contour_ink == "map" else 1.0),
        }
        if not raised:
            blank = fill == "none" and not contours and not mesh_map and not holes and not patches
            names = [*(["PATCHES"] if patches else []), *(["BLANK"] if blank else [])]
            self._strips(frame, ("sheet", *ways, *(["HOLES"] if holes and not patches else []), *names), True, uniforms)
            return
        picture = self.ctx.fbo
        target = self._beside_of(picture)
        target.use()
        if not frame.alone:
            target.clear(-1.0, -1.0, -1.0, -1.0)
        self.ctx.disable(moderngl.BLEND)
        draft = ["DRAFT"] if "DRAFT" in ways else []
        self._strips(frame, ("sheet", "WHERE", *draft, *(["HOLES"] if holes else [])), False, uniforms)
        picture.use()
        assert self._where is not None
        self._where.use(10)
        variant = ("shade", *ways, *([] if store.even else ["UNEVEN"]), *([] if frame.alone else ["SHARED"]))
        uniforms |= {"where": 10, "viewport": tuple(float(v) for v in picture.viewport)}
        if not frame.alone:
            self.ctx.enable(moderngl.BLEND)
        picture.depth_mask = False
        self.ctx.depth_func = ">"  # the pass lies at the far end
        self._array(variant, uniforms).render(moderngl.TRIANGLES, vertices=3)
        picture.depth_mask = True
        self.ctx.depth_func = "<="
        self.ctx.enable(moderngl.BLEND)

    def _strips(self, frame: Frame, variant: tuple[str, ...], flat: bool, uniforms: dict[str, Any]) -> None:
        store, scale = self.store, frame.scale
        assert store.field is not None
        stride = self.stride(frame, flat)
        decades = math.log10(scale.hi) - math.log10(scale.lo) if scale.log else 0.0
        array = self._array(
            variant,
            uniforms
            | {
                "stride": stride,
                "decades": decades if not scale.log_height else 0.0,
                "backwards": bool(frame.projection.eye[1] > 0),
            },
        )
        columns, rows = store.field.size
        strips, each = (rows - 2) // stride + 1, 2 * ((columns - 2) // stride) + 6
        at_once = max(1, PIECE // each) if self._software else strips
        for strip in range(0, strips, at_once):
            if strip > 0:
                self.ctx.finish()
            array.render(moderngl.TRIANGLE_STRIP, vertices=min(at_once, strips - strip) * each, first=strip * each)

    def _array(self, variant: tuple[str, ...], uniforms: dict[str, Any]) -> moderngl.VertexArray:
        """The vertex array of a program whose uniforms are set."""
        program = self.programs[variant]
        if variant not in self._arrays:
            self._arrays[variant] = self.ctx.vertex_array(program, [])
        put(program, k=self.store.k, **UNITS, **uniforms)
        return self._arrays[variant]

    def _bind(self) -> None:
        store = self.store
        assert store.field is not None
        assert store.slope is not None
        assert store.raw is not None
        assert store.axes is not None
        drafted = store.draft or store.raw
        textures = (store.field, store.slope, store.raw, drafted, self._ramp, self._curve, self._levels)
        for location, texture in enumerate((*textures, self._level_ink, *store.axes)):
            texture.use(location)

    def _beside_of(self, picture: moderngl.Framebuffer) -> moderngl.Framebuffer:
        """The target for places on the grid, of the size of `picture` and with its depths, viewport and scissor."""
        if self._target is None or self._beside is not picture:
            self._free_target()
            self._where = self.ctx.texture(picture.size, 2, dtype="f4", alignment=4)
            self._where.filter = (moderngl.NEAREST, moderngl.NEAREST)
            self._target, self._beside = self.ctx.framebuffer([self._where], picture.depth_attachment), picture
        self._target.viewport = picture.viewport
        self._target.scissor = picture.scissor
        return self._target

    def _free_target(self) -> None:
        for thing in (self._target, self._where):
            if thing is not None:
                thing.release()
        self._target = self._where = self._beside = None

    def _ways(
        self, frame: Frame, fill: str, contours: bool, mesh: bool, mesh_map: bool, raised: bool
    ) -> tuple[str, ...]:
        """The defines of shaders/ink.glsl."""
        flags = {
            "FILL_MAP": fill == "map",
            "FILL_PAPER": fill == "paper",
            "LIT": fill == "map" and raised and frame.view.light > 0,
            "CURVED": raised and frame.scale.log and not frame.scale.log_height,
            "TILES": fill == "map" and frame.view.smoothing == "none",
            "MESH": mesh,
            "MESH_MAP": mesh and mesh_map,
            "LEVELS": contours and bool(frame.scale.levels),
            "DRAFT": self.store.draft is not None and (raised or fill != "none" or contours or mesh_map),
        }
        return tuple(name for name, on in flags.items() if on)

    def _look_up(self, frame: Frame) -> None:
        """Bring the tables up to date that hold what depends on a value alone."""
        scale, ink = frame.scale, frame.contour_ink
        key = (frame.table.tobytes(), scale.lo, scale.hi, scale.log_color, scale.log_height, scale.levels, ink)
        if key == self._held:
            return
        self._held = key
        s = np.linspace(0, 1, BINS)
        ramp = np.full((BINS, 4), NO_LEVEL, np.uint8)
        where = np.clip(scale.convert(s, scale.log_color), 0, 1) * 255
        ramp[:, :3] = np.stack([np.round(np.interp(where, np.arange(256), frame.table[:, c])) for c in range(3)], 1)
        found = scale.levels[: LEVELS - 1]
        levels, tints = np.zeros((LEVELS, 2), np.float32), np.zeros((LEVELS, 4))
        levels[:, 0] = 1e9  # never near
        if found:
            units = scale.unit(np.array([level.value for level in found], float))
            ramp[:, 3] = np.searchsorted((units[1:] + units[:-1]) / 2, s)
            gaps = np.diff(units, prepend=-1e9, append=1e9)
            some_minor = len({level.major for level in found}) > 1
            for i, (level, u) in enumerate(zip(found, units)):
                strong = level.major or not some_minor
                gap = min(gaps[i], gaps[i + 1])
                levels[i] = (u, gap if strong else -gap)
                rgb = frame.colour(np.array([u]))[0, :3]
                light = luminance(rgb) < 0.16 if ink == "auto" else ink == "light"
                tint = (*rgb, 1.0) if ink == "map" else LIGHT_INK if light else DARK_INK
                tints[i] = fade(tint, 1.0 if strong else 0.85 if ink == "map" else 0.62)
        self._ramp.write(ramp.tobytes())
        self._levels.write(levels.tobytes())
        self._level_ink.write(np.round(tints * 255).astype(np.uint8).tobytes())
        if scale.log and not scale.log_height:
            e = 1e-3
            steep = (scale.convert(s + e, False) - scale.convert(s - e, False)) / (2 * e)
            self._curve.write(steep.astype("<f4").tobytes())

    def release(self) -> None:
        self._free_target()
        for array in self._arrays.values():
            array.release()
        for texture in (self._ramp, self._curve, self._levels, self._level_ink):
            texture.release()


DARK_INK, LIGHT_INK = hexa("0b0e13", 0.62), hexa("ffffff", 0.55)
# Where each texture is bound.
NAMES = ("field", "slope", "raw", "draft", "ramp", "curve", "levels", "level_ink", "axis_x", "axis_y")
UNITS = {name: unit for unit, name in enumerate(NAMES)}


def _widths(frame: Frame) -> tuple[float, float]:
    """Widths of minor and major isolines in pixels."""
    width = frame.view.contours.width * frame.unit
    return width * 0.8, width * (1.3 if frame.contour_ink == "map" else 1.0)


def sun(frame: Frame) -> Any:
    """Unit vector towards the light: high, over the left shoulder of whoever looks, from every side alike."""
    eye = frame.projection.eye
    flat = np.array([eye[0], eye[1], 0.0])
    length = np.linalg.norm(flat)
    towards = flat / length if length > 1e-6 else np.array([0.0, -1.0, 0.0])
    right = np.array([-towards[1], towards[0], 0.0])
    v = -0.62 * right + 0.28 * towards + np.array([0.0, 0.0, 0.80])
    return v / np.linalg.norm(v)
