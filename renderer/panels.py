"""Several surfaces in one picture: beside each other, each in a panel of its own, or two in one box.

    panels = Panels(renderer)                       one for each Renderer; a window keeps it
    frames = panels.draw(scenes, width, height, scale, dirty=[...], samples=...)
    renderer.pixels()                               the picture, as after Renderer.draw

+----------------------------------------+      +------------------------------------+
| title                                  |      | title                              |
| a                  b             | bar |      | a          b          c            |
| +------------+     +------------+|     |      | +--------+ +--------+ +--------+   |
| |            |     |            || leg |  or  | |        | |        | |        |   |
| +------------+     +------------+| end |      | +--------+ +--------+ +--------+   |
| foot                             |     |      | bar    legend                      |
+----------------------------------------+      +------------------------------------+

The first scene's view serves all: mode, colours, camera, and `arrange` and `shared_scale`, which only matter here. One
scene alone is drawn as by the Renderer, so that a window may draw through this class whatever it shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from protocol.errors import InputError
from protocol.view import View
from renderer import auto, comparing, overlay, together
from renderer import frame as frames
from renderer.camera import Rect
from renderer.frame import Frame
from renderer.gl.kit import Kit
from renderer.ink import Ink
from renderer.layers import Layer, air, axes, base, box, critical, labels, legend, path, surface
from renderer.layout import Layout, is_flat
from renderer.layout import compute as one_layout
from renderer.picture import Part, Renderer
from renderer.scene import EVERYTHING, Dirty, Scene

SIDE, STRIP = 310.0, 148.0  # units: what bar and legend take, beside the panels or below them
HEAD = 50.0  # a panel's name and note
APART = 26.0  # between panels
BESIDE = 84.0  # a panel's own colour bar
ACROSS = 1.3  # width to height of a raised box, about


@dataclass(frozen=True, eq=False)
class Plan:
    """Where the panels stand, in device pixels. Layouts are of the whole picture with the plot of one panel."""

    whole: Layout  # its panel is the place of bar and legend
    cells: tuple[Rect, ...]
    layouts: tuple[Layout, ...]
    across: bool  # bar and legend below the panels


def plan(view: View, width: int, height: int, scale: float, sides: Sequence[tuple[float, float]]) -> Plan:
    """The arrangement of as many panels as there are `sides` (half the world sides of each grid) that draws the plots
    largest: columns and rows, and bar and legend beside or below."""
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    unit = scale * min(max(min(width / 1280, height / 800), 0.7), 2.5)
    w, h = size[0] / unit, size[1] / unit
    layers, flat = view.layers, is_flat(view)
    margin = min(32.0, 0.05 * w)
    top = margin + (58 if layers.title else 0)
    foot = h - margin * 0.6 - ((26 if w > 1000 else 44) if layers.provenance else 0)
    own = layers.colorbar and not view.shared_scale
    ratio = max(s[0] for s in sides) / max(s[1] for s in sides) if flat else ACROSS
    around = _around(view, flat, own)
    best: tuple[float, int, bool] | None = None
    for across in (False, True) if layers.legend or layers.colorbar else (False,):
        room_w, room_h = _rooms(view, w - 2 * margin, foot - top, across)
        for columns in range(1, len(sides) + 1):
            rows = math.ceil(len(sides) / columns)
            cell = ((room_w + APART) / columns - APART, (room_h + 0.5 * APART) / rows - 0.5 * APART)
            small = _small(cell, unit, scale) / unit
            plot = cell[0] - (around[0] + around[1]) * small, cell[1] - (around[2] + around[3]) * small
            worth = min(plot[0] / ratio, plot[1])
            if best is None or worth > best[0] + 1:
                best = worth, columns, across
    assert best is not None
    _, columns, across = best
    rows = math.ceil(len(sides) / columns)
    room_w, room_h = _rooms(view, w - 2 * margin, foot - top, across)
    cell = ((room_w + APART) / columns - APART, (room_h + 0.5 * APART) / rows - 0.5 * APART)
    if across:
        panel = Rect(margin, top + room_h + 14, w - margin, foot - 4)
    else:
        panel = Rect(margin + room_w + APART, top + 6, w - margin, foot)
    whole = Layout(
        size=size,
        unit=unit,
        plot=_scaled(Rect(margin, top, margin + room_w, top + room_h), unit),
        panel=_scaled(panel, unit) if layers.colorbar or layers.legend else Rect(0, 0, 0, 0),
        title=(margin * unit, (margin + 16) * unit),
        subtitle_lines=1,
        margin=margin * unit,
        provenance=(margin * unit, (h - margin * 0.6) * unit),
        below=False,
        flat=flat,
    )
    small = _small(cell, unit, scale)
    cells, layouts = [], []
    for k, half in enumerate(sides):
        row, column = divmod(k, columns)
        x, y = margin + column * (cell[0] + APART), top + row * (cell[1] + 0.5 * APART)
        at = _scaled(Rect(x, y, x + cell[0], y + cell[1]), unit)
        rect = _plot(at, half, flat, tuple(a * small for a in around))
        cells.append(at)
        layouts.append(replace(whole, unit=small, plot=rect, panel=Rect(0, 0, 0, 0)))
    return Plan(whole, tuple(cells), tuple(layouts), across)


def _rooms(view: View, width: float, height: float, across: bool) -> tuple[float, float]:
    """What is left for the panels, in units."""
    if not (view.layers.legend or view.layers.colorbar):
        return width, height
    if across:
        return width, height - STRIP
    return width - APART - (SIDE if view.layers.legend else 120.0), height


def _small(cell: tuple[float, float], unit: float, scale: float) -> float:
    """Device pixels a unit of what is written around a plot."""
    least = min(0.7 * scale, unit)
    return min(max(unit * min(cell[0] / 560, cell[1] / 440), least), unit)


def _around(view: View, flat: bool, own: bool) -> tuple[float, float, float, float]:
    """What a plot needs left, right, above and below, in its units."""
    left, right, below = (74.0, 10.0, 58.0) if flat else (62.0, 26.0, 52.0)
    if not view.layers.axes:
        left, right, below = (2.0, 2.0, 2.0) if flat else (8.0, 8.0, 8.0)
    above = HEAD + (6.0 if flat else 18.0) if view.layers.title else 8.0
    return left, right + (BESIDE if own else 0.0), above, below


def _plot(cell: Rect, half: tuple[float, float], flat: bool, around: tuple[float, ...]) -> Rect:
    left, right, above, below = around
    inner = Rect(cell.x0 + left, cell.y0 + above, cell.x1 - right, cell.y1 - below)
    if not flat:
        return inner
    s = max(min(inner.width / half[0], inner.height / half[1]), 1.0)
    w, h = s * half[0], s * half[1]
    x, y = inner.x0 + (inner.width - w) / 2, inner.y0 + (inner.height - h) / 2
    return Rect(*(float(round(v)) for v in (x, y, x + w, y + h)))


def _scaled(rect: Rect, unit: float) -> Rect:
    return Rect(*(float(round(v * unit)) for v in (rect.x0, rect.y0, rect.x1, rect.y1)))


def share(scenes: Sequence[Scene]) -> list[bool]:
    """Give scenes the scales by which they are compared, or each its own; which of them had another one."""
    view = scenes[0].view
    held = [scene for scene in scenes if scene.axes is not None]
    if view.shared_scale:
        scales = dict(zip(map(id, held), auto.shared([scene.measured for scene in held], view)))
    else:
        scales = {id(scene): auto.scale(*scene.measured, view) for scene in held}
    return [id(scene) in scales and scene.share(scales[id(scene)]) for scene in scenes]


@dataclass(eq=False)
class _Slot:
    """A scene with its values on the GPU and its layers."""

    scene: Scene
    kit: Kit
    fresh: bool = True

    def __post_init__(self) -> None:
        kit = self.kit
        self.axes, self.box, self.base, self.labels = axes.Axes(), box.Box(kit), base.Base(kit), labels.Labels()
        self.surface, self.air, self.wires = surface.Surface(kit), air.Air(kit), overlay.Wires(kit)
        self.marks: list[Layer] = [critical.Critical(kit), path.Path(kit)]

    @property
    def layers(self) -> list[Layer]:
        """What stands in a panel, in drawing order (layers/__init__.py)."""
        return [self.box, self.base, self.surface, self.air, self.axes, *self.marks, self.labels]


class Panels:
    """Draws several scenes into one picture with one Renderer, whose framebuffer holds it afterwards."""

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer
        self._slots: list[_Slot] = []
        self._alone: Scene | None = None
        self._shared: tuple[object, ...] = ()
        self._cells: tuple[Rect, ...] = ()

    def draw(
        self,
        scenes: Sequence[Scene],
        width: int = 1280,
        height: int = 800,
        scale: float = 1.0,
        *,
        dirty: Sequence[Dirty] | None = None,
        samples: int | None = None,
    ) -> list[Frame]:
        """Draw 1 to 4 scenes; the frame of each, in their order. `dirty` says what changed in each since the last
        call (default: everything); a scene that was not drawn before is taken whole.

        The other scenes take the first one's view. Raises InputError for too many scenes, or an overlay of other than
        two.
        """
        check(scenes)
        changed = [EVERYTHING] * len(scenes) if dirty is None else list(dirty)
        renderer = self.renderer
        if len(scenes) == 1:
            self._hold([])
            known, self._alone = self._alone is scenes[0], scenes[0]
            self._cells = ()
            found = renderer.draw(
                scenes[0], width, height, scale, dirty=changed[0] if known else EVERYTHING, samples=samples
            )
            return [found]
        self._alone = None
        view = scenes[0].view
        for k, scene in enumerate(scenes):
            changed[k] |= scene.apply(view)
        self._share(scenes, changed)
        with renderer.ctx:
            self._hold(scenes)
            for k, slot in enumerate(self._slots):
                if slot.fresh:
                    changed[k], slot.fresh = EVERYTHING, False
            if view.arrange == "overlay":
                return self._overlaid(scenes, width, height, scale, changed, samples)
            return self._beside(scenes, width, height, scale, changed, samples)

    def at(self, x: float, y: float) -> int:
        """Which scene, of those last drawn, is meant by a place of the picture in device pixels: that of the nearest
        panel; the first in an overlay."""
        if not self._cells:
            return 0

        def away(cell: Rect) -> float:
            return math.hypot(max(cell.x0 - x, 0, x - cell.x1), max(cell.y0 - y, 0, y - cell.y1))

        return min(range(len(self._cells)), key=lambda k: away(self._cells[k]))

    def release(self) -> None:
        """Free what the scenes have on the GPU; the renderer is the caller's."""
        with self.renderer.ctx:
            self._hold([])

    def _hold(self, scenes: Sequence[Scene]) -> None:
        kept = []
        for scene in scenes:
            slot = next((s for s in self._slots if s.scene is scene), None)
            kept.append(slot or _Slot(scene, self.renderer.kit.beside()))
        for slot in self._slots:
            if slot not in kept:
                slot.kit.leave()
        self._slots = kept

    def _share(self, scenes: Sequence[Scene], changed: list[Dirty]) -> None:
        key = (*((id(scene), scene.revision) for scene in scenes),)
        if key != self._shared:
            for k, other in enumerate(share(scenes)):
                if other:
                    changed[k] |= Dirty(view=True)
            self._shared = key

    def _beside(
        self,
        scenes: Sequence[Scene],
        width: int,
        height: int,
        scale: float,
        changed: Sequence[Dirty],
        samples: int | None,
    ) -> list[Frame]:
        view = scenes[0].view
        where = plan(view, width, height, scale, [frames.sides(scene) for scene in scenes])
        lens = view.camera if where.whole.flat else frames.automatic(scenes)
        self._cells = where.cells
        parts = []
        for slot, cell, layout in zip(self._slots, where.cells, where.layouts):
            frame = frames.placed(slot.scene, layout, lens)
            parts.append(Part(frame, slot.layers, cell))
        self.renderer.ready(where.whole.size)
        for slot, dirty in zip(self._slots, changed):
            slot.kit.store.sync(slot.scene, dirty)
        said = comparing.names(scenes)

        def letter(ink: Ink) -> None:
            found = [part.frame for part in parts]
            whole = replace(found[0], layout=where.whole)
            together.names(whole, ink, said)
            for k, (frame, cell) in enumerate(zip(found, where.cells)):
                together.heading(frame, ink, cell, comparing.LETTERS[k], said.panels[k], said.notes[k])
                if not frame.scale.measured:
                    legend.nothing(frame, ink)
                elif view.layers.colorbar and not view.shared_scale:
                    together.own_bar(frame, ink)
            together.key(whole, ink, found, where.across)

        return self.renderer.paint(parts, changed, samples, letter)

    def _overlaid(
        self,
        scenes: Sequence[Scene],
        width: int,
        height: int,
        scale: float,
        changed: Sequence[Dirty],
        samples: int | None,
    ) -> list[Frame]:
        first, second = scenes
        self._cells = ()
        hull = overlay.hull(scenes)
        view = first.view
        layout = one_layout(view, width, height, scale, frames.sides(hull))
        lens = view.camera if layout.flat else frames.automatic(scenes)
        around = frames.placed(hull, layout, lens)
        lines = not view.layers.surface and not view.layers.mesh and view.layers.contours  # in the air
        joint = comparing.ground(scenes) == "plane"
        drawn_scenes = overlay.first(first, layout.flat), overlay.second(second, layout.flat or lines)
        under, top = (frames.placed(scene, layout, lens) for scene in drawn_scenes)
        under = replace(under, projection=overlay.moved(around, under, joint))
        top = replace(
            top, projection=overlay.moved(around, top, joint), theme=replace(top.theme, mesh=overlay.WIRE[view.theme])
        )
        a, b = self._slots
        seen: list[Layer] = [a.base, a.surface, a.air]
        over: list[Layer] = [b.surface, b.air] if layout.flat or lines else [b.wires]
        drawn = [
            Part(around, [a.box]),
            Part(under, seen),
            Part(top, over),
            Part(around, [a.axes]),
            Part(under, [*a.marks, a.labels]),
            Part(top, [*b.marks, b.labels]),
        ]
        self.renderer.ready(layout.size)
        for slot, scene, dirty in zip(self._slots, drawn_scenes, changed):
            slot.kit.store.sync(scene, dirty)
        said = comparing.names(scenes)

        def letter(ink: Ink) -> None:
            together.names(around, ink, said)
            together.both(around, ink, under, top, said, lines or layout.flat)

        which = (0, 0, 1, 0, 0, 1)
        self.renderer.paint(drawn, [changed[k] for k in which], samples, letter)
        return [under, top]


def check(scenes: Sequence[Scene]) -> None:
    """Raise InputError where these scenes cannot be one picture."""
    if not 1 <= len(scenes) <= comparing.MOST:
        raise InputError(f"picture: expected 1 to {comparing.MOST} surfaces in one, got {len(scenes)}")
    if len(scenes) > 2 and scenes[0].view.arrange == "overlay":
        raise InputError(f"view.arrange: overlay takes 2 surfaces, got {len(scenes)}: leave it side-by-side")
