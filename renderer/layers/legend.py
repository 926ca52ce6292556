"""The legend: what each mark means, with the numbers that a reader wants: start, end, lowest point, what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from renderer import draft, fonts
from renderer.frame import Frame
from renderer.ink import Ink
from renderer.layers import colorbar
from renderer.layers.critical import KINDS, glyph, interior
from renderer.scene import Dirty
from renderer.theme import Colour
from renderer.ticks import number


@dataclass(frozen=True)
class Entry:
    """A mark, drawn around a point by `draw(ink, x, y)`, with a heading and lines of detail."""

    draw: Callable[[Ink, float, float], None]
    heading: str
    lines: tuple[str, ...] = ()


class Legend:
    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        pass

    def overlay(self, frame: Frame, ink: Ink) -> None:
        panel, u, theme = frame.layout.panel, frame.unit, frame.theme
        if frame.scene.axes is None:
            return
        if not frame.scale.measured:
            _nothing(frame, ink)
        if not frame.view.layers.legend or panel.width <= 0:
            return
        x0, y = panel.x0, panel.y0 + 10 * u
        if colorbar.height(frame):
            if frame.layout.below:
                x0 += min(190 * u, 0.45 * panel.width)
            else:
                y += colorbar.height(frame) - 4 * u
        room = panel.x1 - x0 - 24 * u
        for entry in entries(frame):
            lines = [line for text in entry.lines for line in fonts.wrapped(text, 11.5 * u, room)]
            if y + (8 + 15 * len(lines)) * u > panel.y1 + 4 * u:
                break
            entry.draw(ink, x0 + 8 * u, y)
            heading = fonts.shortened(entry.heading, 12 * u, room, True)
            ink.text(heading, x0 + 24 * u, y, 12 * u, theme.text, anchor="middle", bold=True)
            for line in lines:
                y += 15.5 * u
                ink.text(line, x0 + 24 * u, y, 11.5 * u, theme.muted, anchor="middle")
            y += 22 * u


def _nothing(frame: Frame, ink: Ink) -> None:
    plot, u = frame.layout.plot, frame.unit
    what = "Every measured point diverged" if frame.scale.diverged else "Nothing is measured yet"
    ink.text(
        what,
        (plot.x0 + plot.x1) / 2,
        (plot.y0 + plot.y1) / 2,
        15 * u,
        frame.theme.text,
        align=0.5,
        anchor="middle",
        bold=True,
        halo=frame.theme.paper,
        halo_width=5 * u,
    )


def entries(frame: Frame) -> list[Entry]:
    """The legend's entries, most wanted first."""
    scene, scale, view, u = frame.scene, frame.scale, frame.view, frame.unit
    out: list[Entry] = []
    assert scene.axes is not None
    if view.layers.path and len(scene.path):
        out += _path(frame)
    if view.layers.minimum and scale.lowest is not None and not scale.constant:
        i, j = scale.lowest
        word = "Highest" if view.metric == "accuracy" else "Lowest"
        at = f"measured at α = {number(float(scene.axes[0][j]), 3)}, β = {number(float(scene.axes[1][i]), 3)}"
        value = number(float(scene.shown[i, j]), 4)
        out.append(
            Entry(
                lambda ink, x, y: glyph(ink, "lowest", (x, y), u, frame.on_paper),
                f"{word} value: {value}",
                (at,),
            )
        )
    if scale.clip is not None:
        how = (
            "cut away"
            if view.clip_mode == "cut"
            else "drawn flat at that height"
            if view.mode == "3d"
            else "drawn as one colour"
        )
        total = scale.measured
        out.append(
            Entry(
                _swatch(frame, frame.at(1.0) if view.clip_mode == "plateau" else frame.theme.paper),
                f"Clipped above {number(scale.clip, 3)}",
                (f"{scale.clipped} of {total} points, {how}",),
            )
        )
    total = scene.n.size
    if scale.diverged:
        out.append(
            Entry(
                _hatch(frame, True, frame.theme.diverged),
                "Diverged",
                (f"{scale.diverged} of {total} points: loss not finite",),
            )
        )
    if scale.missing:
        lines = [f"{scale.missing} of {total} points"]
        if scene.unfinished and draft.gaps(scene.n):
            lines.append("pale: drawn straight from row to row")
        out.append(Entry(_hatch(frame, False, frame.theme.hatch), "Not measured", tuple(lines)))
    if scale.below:
        out.append(
            Entry(
                lambda ink, x, y: None,
                "Zero or less",
                (f"{scale.below} points, drawn at {number(scale.lo, 3)}: they have no logarithm",),
            )
        )
    if view.layers.critical and len(scene.critical):
        for kind in KINDS:
            count = int(np.count_nonzero(interior(scene.critical)["kind"] == kind))
            if count:
                plural = {"minimum": "minima", "saddle": "saddles", "maximum": "maxima"}[kind]
                name = f"{count} {kind if count == 1 else plural}"
                out.append(Entry(lambda ink, x, y, k=kind: glyph(ink, k, (x, y), u), name))  # type: ignore[misc]
    return out


def _path(frame: Frame) -> list[Entry]:
    scene, u = frame.scene, frame.unit
    path, inside = scene.path, scene.path_inside()
    off = scene.path_off_plane
    table = frame.path_table / 255.0
    out = []
    for k, colour, word in ((0, table[0], "Start"), (len(path) - 1, table[-1], "End")):
        row = path[k]
        when = f"epoch {number(float(row['epoch']), 3)}" if np.isfinite(row["epoch"]) else ""
        if not when and len(path) > 1 and int(path["step"][-1]) != len(path) - 1:
            when = f"step {int(row['step'])}"
        heading = f"{word} of the path" + (f", {when}" if when else "")
        lines = [f"α = {number(float(row['alpha']), 3)}, β = {number(float(row['beta']), 3)}"]
        for column in ("loss_weights", "loss_plane"):
            if np.isfinite(row[column]):
                lines[0] += f"; loss {number(float(row[column]), 3)}"
                break
        if not inside[k]:
            lines.append("outside of the grid")
        rgb: Colour = (float(colour[0]), float(colour[1]), float(colour[2]), 1.0)
        if off:
            p = frame.theme.paper
            rgb = (rgb[0] * 0.45 + p[0] * 0.55, rgb[1] * 0.45 + p[1] * 0.55, rgb[2] * 0.45 + p[2] * 0.55, 1.0)
        out.append(Entry(_dot(frame, rgb, u), heading, tuple(lines)))
        if len(path) == 1:
            break
    outside = int(np.count_nonzero(~inside))
    notes = []
    if off:
        median = float(np.median(path["off_plane"][np.isfinite(path["off_plane"])]))
        notes.append(
            Entry(
                lambda ink, x, y: None,
                "Path: off this plane",
                (f"median distance from it {100 * median:.1f} % of the way",),
            )
        )
    if outside and len(path) > 2:
        notes.append(
            Entry(lambda ink, x, y: None, f"{outside} of {len(path)} path points", ("lie outside of the grid",))
        )
    return out + notes


def _dot(frame: Frame, colour: Colour, u: float) -> Callable[[Ink, float, float], None]:
    def draw(ink: Ink, x: float, y: float) -> None:
        ink.dot((x, y), 6.2 * u, frame.theme.halo)
        ink.dot((x, y), 4.8 * u, colour)

    return draw


def _swatch(frame: Frame, colour: Colour) -> Callable[[Ink, float, float], None]:
    def draw(ink: Ink, x: float, y: float) -> None:
        r, u = 6, frame.unit
        box = (round(x - r * u), round(y - r * u), round(x + r * u), round(y + r * u))
        ink.rect(*box, colour)
        ink.frame(*box, max(1.0, round(0.75 * u)), frame.theme.line)

    return draw


def _hatch(frame: Frame, crossed: bool, colour: Colour) -> Callable[[Ink, float, float], None]:
    def draw(ink: Ink, x: float, y: float) -> None:
        u = frame.unit
        box = (round(x - 7 * u), round(y - 7 * u), round(x + 7 * u), round(y + 7 * u))
        ink.hatch(*box, 6 * u, crossed, colour)
        ink.frame(*box, max(1.0, round(0.75 * u)), frame.theme.line)

    return draw
