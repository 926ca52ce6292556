"""Several surfaces in one picture: beside each other, each in a panel of its own, or two in one box.

    panels = Panels(renderer)                       one for each Renderer; a window keeps it
    frames = panels.draw(scenes, width, height, scale, dirty=[...], samples=...)
    renderer.pixels()                               the picture, as after Renderer.draw

The first scene's view serves all: mode, colours, camera, and `arrange` and `shared_scale`, which only matter here. One
scene alone is drawn as by the Renderer, so that a window may draw through this class whatever it shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from protocol.errors import InputError
from protocol.view import Camera, View
from renderer import auto, comparing, fonts, overlay, tiling, together
from renderer import frame as frames
from renderer.camera import Rect
from renderer.frame import Frame
from renderer.gl.kit import Kit
from renderer.ink import Ink
from renderer.layers import Layer, air, axes, base, box, critical, epochs, labels, legend, path, surface
from renderer.layout import Layout, is_flat
from renderer.layout import compute as one_layout
from renderer.picture import Part, Renderer
from renderer.scene import EVERYTHING, Dirty, Scene


def share(scenes: Sequence[Scene]) -> list[bool]:
    """Give scenes the scales by which they are compared, or each its own; which of them had another one."""
    view = scenes[0].view
    held = [scene for scene in scenes if scene.axes is not None]
    if view.shared_scale:
        scales = dict(zip(map(id, held), auto.tallied([scene.tally for scene in held], view)))
    else:
        scales = {id(scene): auto.tallied([scene.tally], view)[0] for scene in held}
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
        self._aside: overlay.Aside | None = None
        self.epochs = epochs.Epochs()
        self.marks: list[Layer] = [critical.Critical(kit), path.Path(kit)]

    def aside(self, first: labels.Labels, under: Frame) -> overlay.Aside:
        """Labels that keep clear of the first surface's."""
        if self._aside is None or self._aside.first is not first:
            self._aside = overlay.Aside(first)
        self._aside.under = under
        return self._aside

    @property
    def layers(self) -> list[Layer]:
        """What stands in a panel, in drawing order (layers/__init__.py)."""
        return [self.box, self.base, self.surface, self.air, self.axes, *self.marks, self.labels, self.epochs]


@dataclass(frozen=True, eq=False)
class _Picture:
    """What was asked of one call of `Panels.draw`."""

    width: float
    height: float
    scale: float
    changed: list[Dirty]
    samples: int | None
    interacting: bool


class Panels:
    """Draws several scenes into one picture with one Renderer, whose framebuffer holds it afterwards."""

    def __init__(self, renderer: Renderer) -> None:
        self.renderer = renderer
        self._slots: list[_Slot] = []
        self._alone: Scene | None = None
        self._shared: tuple[object, ...] = ()
        self._cells: tuple[Rect, ...] = ()
        self._watch = frames.Watch()
        self._drawn: tuple[list[tuple[float, float]], tuple[float, float]] = ([], (0.0, 0.0))  # for tiling.plan

    def draw(
        self,
        scenes: Sequence[Scene],
        width: float = 1280,
        height: float = 800,
        scale: float = 1.0,
        *,
        dirty: Sequence[Dirty] | None = None,
        samples: int | None = None,
        interacting: bool = False,
    ) -> list[Frame]:
        """Draw 1 to 4 scenes; the frame of each, in their order. `dirty` says what changed in each since the last
        call (default: everything); a scene that was not drawn before is taken whole. `samples`, `interacting` and
        what may follow (`renderer.refine`, `show`, `pixels`) are those of Renderer.draw.

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
                scenes[0],
                width,
                height,
                scale,
                dirty=changed[0] if known else EVERYTHING,
                samples=samples,
                interacting=interacting,
            )
            return [found]
        self._alone = None
        view = scenes[0].view
        for k, scene in enumerate(scenes):
            changed[k] |= scene.apply(view)
        self._share(scenes, changed)
        picture = _Picture(width, height, scale, changed, samples, interacting)
        with renderer.ctx:
            self._hold(scenes)
            for k, slot in enumerate(self._slots):
                if slot.fresh:
                    changed[k], slot.fresh = EVERYTHING, False
            anew = any(dirty.all or dirty.path for dirty in changed)
            lens = view.camera if is_flat(view) else self._watch.lens(*scenes, anew=anew)
            return (self._overlaid if view.arrange == "overlay" else self._beside)(scenes, lens, picture)

    def settle(self, scenes: Sequence[Scene]) -> None:
        """Give scenes their shared scale before they are drawn, for whoever asks for it (frame.automatic)."""
        self._share(scenes, [EVERYTHING] * len(scenes))

    def layout(self, view: View, width: float, height: float, scale: float, k: int) -> Layout:
        """The layout of panel k of the scenes last drawn, under another view."""
        return tiling.plan(view, width, height, scale, *self._drawn).layouts[k]

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

    def _beside(self, scenes: Sequence[Scene], lens: Camera, picture: _Picture) -> list[Frame]:
        view = scenes[0].view
        said = comparing.names(scenes)
        widths = fonts.width(said.subtitle, fonts.SUBTITLE), fonts.width("   ".join(said.foot), fonts.NOTE)
        self._drawn = [frames.sides(scene) for scene in scenes], widths
        where = tiling.plan(view, picture.width, picture.height, picture.scale, *self._drawn)
        self._cells = where.cells
        parts = []
        for slot, layout in zip(self._slots, where.layouts):
            frame = frames.placed(slot.scene, layout, lens)
            parts.append(Part(frame, slot.layers))
        self.renderer.ready(where.whole.size)
        for slot, dirty in zip(self._slots, picture.changed):
            slot.kit.store.sync(slot.scene, dirty)

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
            together.key(whole, ink, found, where.where)

        return self.renderer.paint(parts, picture.changed, picture.samples, letter, picture.interacting)

    def _overlaid(self, scenes: Sequence[Scene], lens: Camera, picture: _Picture) -> list[Frame]:
        first, second = scenes
        self._cells = ()
        hull = overlay.hull(scenes)
        view = first.view
        layout = one_layout(view, picture.width, picture.height, picture.scale, frames.sides(hull))
        around = frames.placed(overlay.bare(hull), layout, lens)
        lines = not view.layers.surface and not view.layers.mesh and view.layers.contours  # in the air
        joint = comparing.ground(scenes) == "plane"
        drawn_scenes = (
            overlay.first(first, layout.flat),
            overlay.second(second, layout.flat or lines, path=not (joint and overlay.one_path(scenes))),
        )
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
            Part(top, [*b.marks, b.aside(a.labels, under)]),
        ]
        self.renderer.ready(layout.size)
        for slot, scene, dirty in zip(self._slots, drawn_scenes, picture.changed):
            slot.kit.store.sync(scene, dirty)
        said = comparing.names(scenes)

        def letter(ink: Ink) -> None:
            together.names(around, ink, said)
            together.lowest(under, ink, "a")
            together.lowest(top, ink, "b")
            together.both(around, ink, under, top, said, lines or layout.flat)

        which = (0, 0, 1, 0, 0, 1)
        changed = [picture.changed[k] for k in which]
        self.renderer.paint(drawn, changed, picture.samples, letter, picture.interacting)
        return [under, top]


def check(scenes: Sequence[Scene]) -> None:
    """Raise InputError where these scenes cannot be one picture."""
    if not 1 <= len(scenes) <= comparing.MOST:
        raise InputError(f"picture: expected 1 to {comparing.MOST} surfaces in one, got {len(scenes)}")
    if len(scenes) > 2 and scenes[0].view.arrange == "overlay":
        raise InputError(f"view.arrange: overlay takes 2 surfaces, got {len(scenes)}: leave it side-by-side")
