"""The lettering of a picture of several surfaces: names, headings, colour bar and legend, each thing said once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from renderer import comparing, draft, facts, fonts, words
from renderer.camera import Rect
from renderer.facts import Fact
from renderer.frame import Frame
from renderer.ink import Ink
from renderer.layers import colorbar, critical, legend, title
from renderer.layers.colorbar import ColorBar
from renderer.layers.critical import glyph
from renderer.layers.legend import Entry
from renderer.theme import fade
from renderer.tiling import Where

BAR = 16.0  # thickness of a bar, in units
WIDE = 270.0  # the least width of the legend's columns where it lies below


def names(whole: Frame, ink: Ink, said: comparing.Names) -> None:
    """Title, the line under it, and the foot."""
    u, theme, layout = whole.unit, whole.theme, whole.layout
    widest = layout.right - layout.margin
    if whole.view.layers.title:
        x, y = layout.margin, layout.title[1]
        size = 24 * u
        while fonts.width(said.title, size, True) > widest and size > 16 * u:
            size *= 0.95
        ink.text(fonts.shortened(said.title, size, widest, True), x, y, size, theme.text, bold=True)
        small = fonts.SUBTITLE * u
        for k, line in enumerate(title.broken(said.subtitle, small, widest, layout.subtitle_lines)):
            ink.text(line, x, y + (25 + 20 * k) * u, small, theme.muted)
    if whole.view.layers.provenance:
        x, y = layout.margin, layout.provenance[1]
        small = fonts.NOTE * u
        for k, line in enumerate(reversed(feet(said.foot, small, widest))):
            ink.text(line, x, y - 19 * k * u, small, theme.muted)


def feet(texts: Sequence[str], size: float, room: float) -> list[str]:
    """The foot as one line of `room` pixels, or two; the second is cut if it must be."""
    lines: list[str] = []
    for text in texts:
        if lines and (len(lines) == 2 or fonts.width(f"{lines[-1]}   {text}", size) <= room):
            lines[-1] += f"   {text}"
        else:
            lines.append(text)
    return [fonts.shortened(line, size, room) for line in lines]


def heading(frame: Frame, ink: Ink, cell: Rect, letter: str, name: str, note: str) -> None:
    """Letter, name and note over a panel."""
    if not frame.view.layers.title:
        return
    u, theme = frame.unit, frame.theme
    x, y = cell.x0, cell.y0 + 15 * u
    if frame.layout.flat:
        x, y = max(frame.layout.plot.x0 - 1, cell.x0), frame.layout.plot.y0 - 35 * u
    big, small, step = 17 * u, fonts.SMALL * u, 20 * u
    need = step + max(fonts.width(name, big, True), fonts.width(note, small))
    x = max(cell.x0, min(x, cell.x1 - need))  # a line too long for its place begins further left
    room = cell.x1 - x
    ink.text(letter, x, y, big, theme.text, bold=True)
    ink.text(fonts.shortened(name, big, room - step, True), x + step, y, big, theme.text, bold=True)
    ink.text(fonts.shortened(note, small, room - step), x + step, y + 20 * u, small, theme.muted)


def key(whole: Frame, ink: Ink, found: Sequence[Frame], where: Where) -> None:
    """Colour bar and legend of all panels."""
    panel, u, layers = whole.layout.panel, whole.unit, whole.view.layers
    if panel.width <= 0:
        return
    base = next((frame for frame in found if frame.scale.measured), None)
    if base is None:
        return
    whole = replace(whole, scene=base.scene)
    entries: list[Entry] = []
    left, top = panel.x0, panel.y0
    if layers.colorbar and whole.view.shared_scale:
        heading, note = words.bar(whole.scene)
        if whole.view.normalise:
            note = words.normalised(whole.scale)
        small = fonts.SMALL * u
        across = where == "below"
        room = 300 * u if across else panel.width
        body = fonts.BODY * u
        heading = fonts.shortened(heading, body, room, True)
        ink.text(heading, left, top + 12 * u, body, whole.theme.text, bold=True)
        ink.text(fonts.shortened(note, small, room), left, top + 31 * u, small, whole.theme.muted)
        if across:
            _bar(whole, ink, Rect(left, top + 46 * u, left + room, top + (46 + BAR) * u), 5)
            left += room + 44 * u
        else:
            top += 56 * u
            bottom = min(panel.y1 - 6 * u, top + 460 * u)
            wide = _bar(whole, ink, Rect(left, top, left + BAR * u, bottom), 6)
            left += BAR * u + wide + 20 * u
    elif layers.colorbar:
        heading, note = words.bar(whole.scene)
        entries.append(Entry(legend.blank, Fact(heading, ("each panel has its own scale",))))
    if layers.legend:
        entries += _entries(whole, found)
        column = WIDE if where == "below" and panel.x1 - left > 2 * WIDE * u else legend.COLUMN
        legend.put(whole, ink, entries, left, top + 10 * u, panel.x1, panel.y1, column)


def own_bar(frame: Frame, ink: Ink) -> None:
    """The colour bar of one panel, at the right of its plot."""
    u, plot = frame.unit, frame.layout.plot
    x = plot.x1 + (16 if frame.layout.flat else 30) * u
    inset = 0.0 if frame.layout.flat else 0.12 * plot.height
    _bar(frame, ink, Rect(x, plot.y0 + inset, x + BAR * u, plot.y1 - inset), 5)


def _bar(frame: Frame, ink: Ink, at: Rect, count: int) -> float:
    """A colour bar on whole pixels (colorbar.bar)."""
    x0, y0, x1, y1 = (round(v) for v in (at.x0, at.y0, at.x1, at.y1))
    return colorbar.bar(frame, ink, Rect(x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)), count)


def _each(found: Sequence[Frame], tell: Callable[[Frame], str | None]) -> tuple[str, ...]:
    """What is to be told of each panel, after its letter; nothing of those without."""
    told: dict[str, list[str]] = {}
    for k, frame in enumerate(found):
        if text := tell(frame):
            told.setdefault(text, []).append(comparing.LETTERS[k])
    return tuple(f"{comparing.letters(letters)}: {text}" for text, letters in told.items())


def _said(fact: Fact | None) -> str | None:
    """A fact's lines as one."""
    return ", ".join(fact.lines) if fact is not None else None


def _entries(whole: Frame, found: Sequence[Frame]) -> list[Entry]:
    """The legend of several panels: what each mark means, once, and what is told of each panel."""
    view, u = whole.view, whole.unit
    out = _paths(whole, found)
    if view.layers.minimum and any(f.scale.lowest is not None and not f.scale.constant for f in found):
        word = "Highest" if view.metric == "accuracy" else "Lowest"
        on_paper = whole.on_paper
        out.append(Entry(lambda ink, x, y: glyph(ink, "lowest", (x, y), u, on_paper), Fact(f"{word} value of each")))
    if view.layers.critical:
        for kind, plural in (("minimum", "Minima"), ("saddle", "Saddles"), ("maximum", "Maxima")):
            counts = [int(np.count_nonzero(critical.interior(f.scene.critical)["kind"] == kind)) for f in found]
            if any(counts):
                lines = ", ".join(f"{comparing.LETTERS[k]}: {count}" for k, count in enumerate(counts))
                out.append(
                    Entry(lambda ink, x, y, k=kind: glyph(ink, k, (x, y), u), Fact(plural, (lines,)), 2)  # type: ignore[misc]
                )
    if view.layers.contours and whole.scale.levels:
        shared = facts.contours(whole.scene) if view.shared_scale else None
        each = _each(found, lambda f: _said(facts.contours(f.scene)))
        out.append(Entry(legend.isolines(whole), shared or Fact("Contours", each), 3))
    if view.layers.mesh or (view.layers.base and not whole.flat):
        grids = [facts.grid(f.scene, f.mesh_steps) for f in found]
        if len(set(grids)) > 1:
            grids = [Fact(grids[0].heading, _each(found, lambda f: _said(facts.grid(f.scene, f.mesh_steps))))]
        out.append(Entry(legend.mesh(whole), grids[0], 4))
    out += _left_out(whole, found)
    return out


def _left_out(whole: Frame, found: Sequence[Frame]) -> list[Entry]:
    """What was clipped, diverged, is missing or has no logarithm, panel by panel."""
    view, theme, out = whole.view, whole.theme, []

    def each(tell: Callable[[Frame], str], count: Callable[[Frame], int]) -> tuple[str, ...]:
        return _each(found, lambda f: tell(f) if count(f) else None)

    def over(frame: Frame) -> str:
        count = f"{frame.scale.clipped} of {frame.scale.measured} points"
        return count if one or frame.scale.clip is None else f"above {facts.value(frame.scale.clip)}: {count}"

    one = view.shared_scale and whole.scale.clip is not None
    clip = each(over, lambda f: f.scale.clipped)
    if clip:
        colour = whole.at(1.0) if view.clip_mode == "plateau" else theme.paper
        heading = facts.clipped(whole.scene).heading if one else "Clipped"
        out.append(Entry(legend.swatch(whole, colour), Fact(heading, clip), 1))
    diverged = each(lambda f: f"{f.scale.diverged} of {f.scene.n.size} points", lambda f: f.scale.diverged)
    if diverged:
        out.append(Entry(legend.hatch(whole, True, theme.diverged), Fact("Diverged", diverged), 1))
    missing = each(lambda f: f"{f.scale.missing} of {f.scene.n.size} points", lambda f: f.scale.missing)
    if missing:
        drafted = any(f.scene.unfinished and draft.gaps(f.scene.n) for f in found)
        lines = (*missing, facts.DRAFTED) if drafted else missing
        out.append(Entry(legend.hatch(whole, False, theme.hatch), Fact("Not measured", lines), 1))
    below = each(lambda f: f"{f.scale.below} points, drawn at {facts.value(f.scale.lo)}", lambda f: f.scale.below)
    if below:
        out.append(Entry(legend.blank, Fact("Zero or less: no logarithm", below), 1))
    if not clip:
        out.append(Entry(legend.blank, Fact("Nothing clipped"), 1))
    return out


def _paths(whole: Frame, found: Sequence[Frame]) -> list[Entry]:
    """The paths: what their colours count, from start to end, and which of them hardly lie in their plane."""
    if not whole.view.layers.path:
        return []
    out = []
    with_path = [(comparing.LETTERS[k], f) for k, f in enumerate(found) if len(f.scene.path)]
    joined = [(letter, f) for letter, f in with_path if not f.scene.path_off_plane]
    for name in dict.fromkeys(f.view.path_colormap for _, f in joined):
        alike = [(letter, f) for letter, f in joined if f.view.path_colormap == name]
        scales = {facts.path_scale(f.scene.path) for _, f in alike}
        what, *ends = next(iter(scales)) if len(scales) == 1 else ("way", "start", "end")
        whose = "" if len(alike) == len(found) else " of " + comparing.letters([letter for letter, _ in alike])
        heading = (
            f"Path{whose}" if what == "way" else f"Path{whose} by {what}" if whose else f"Path, coloured by {what}"
        )
        table = alike[0][1].path_table
        out.append(Entry(_dots(replace(whole, path_table=table)), Fact(heading), 0, (ends[0], ends[1]), table))
    off = [
        f"{letter}: {facts.share(facts.off_plane_share(f.scene.path))} of the way"
        for letter, f in with_path
        if f.scene.path_off_plane
    ]
    if off:
        out.append(Entry(legend.blank, Fact("Path off its plane: pale, unjoined", tuple(off)), 1))
    outside = _each(found, lambda f: _leaves(facts.outside(f.scene)))
    if outside:
        out.append(Entry(legend.blank, Fact("Path leaves the grid", outside), 1))
    return out


def _leaves(fact: Fact | None) -> str | None:
    return None if fact is None else fact.heading.replace(" path", "")


def _dots(frame: Frame) -> legend.Draw:
    """Start and end of a path, one over the other."""
    first, last = (tuple(float(v) for v in frame.path_table[k] / 255.0) for k in (0, -1))

    def draw(ink: Ink, x: float, y: float) -> None:
        u = frame.unit
        for dx, rgb in ((-4, first), (4, last)):
            ink.dot((x + dx * u, y), 6.2 * u, frame.theme.halo)
            ink.dot((x + dx * u, y), 4.8 * u, (rgb[0], rgb[1], rgb[2], 1.0))

    return draw


def lowest(frame: Frame, ink: Ink, letter: str) -> None:
    """The letter of a surface at its lowest point, where two have such a mark."""
    best, axes = frame.scale.lowest, frame.scene.axes
    if best is None or axes is None or not frame.view.layers.minimum or frame.scale.constant:
        return
    x, y, _ = frame.pixels(frame.world(axes[0][best[1]], axes[1][best[0]]))[0]
    if frame.layout.flat and not frame.shows(np.array([x, y])):
        return
    u, theme = frame.unit, frame.theme
    ink.text(
        letter,
        x + 13 * u,
        y - 11 * u,
        fonts.BODY * u,
        theme.text,
        bold=True,
        halo=fade(theme.paper, 0.85),
        halo_width=2.6 * u,
    )


def _steps(first: Frame, second: Frame) -> list[Entry]:
    """Which values the isolines of an overlay have."""
    found = [facts.contours(f.scene) if f.view.layers.contours else None for f in (first, second)]
    told = [fact for fact in found if fact is not None]
    if not told:
        return []
    if len(set(told)) > 1:
        lines = (f"{letter}: {_said(fact)}" for letter, fact in zip("ab", found) if fact is not None)
        told = [Fact(told[0].heading, tuple(lines))]
    return [Entry(legend.isolines(first if found[0] is not None else second), told[0], 3)]


def both(around: Frame, ink: Ink, first: Frame, second: Frame, said: comparing.Names, lines: bool) -> None:
    """Bar and legend of an overlay: which surface is which, and what can be compared."""
    panel, u, theme = around.layout.panel, around.unit, around.theme
    if panel.width <= 0:
        return
    bar = ColorBar()
    shown = replace(around, scene=first.scene)
    if around.view.layers.colorbar:
        bar.overlay(shown, ink)
    if not around.view.layers.legend:
        return
    drawn = "colours" if first.view.layers.surface else "coloured lines"

    def swatch(ink: Ink, x: float, y: float) -> None:
        stops = first.table[np.linspace(40, 255, 4).astype(int)] / 255.0
        for k, (r, g, b) in enumerate(stops):
            left = x + (4 * k - 8) * u
            ink.rect(left, y - 6 * u, left + 4 * u, y + 6 * u, (float(r), float(g), float(b), 1.0))

    entries = [
        Entry(swatch, Fact(f"a, in {drawn}", (said.panels[0], said.notes[0]))),
        Entry(
            legend.isolines(second) if lines else legend.mesh(replace(second, theme=replace(theme, line=theme.text))),
            Fact("b, in lines of one colour", (said.panels[1], said.notes[1])),
        ),
        Entry(legend.blank, comparing.overlay([first.scene, second.scene])),
        *_steps(first, second),
        *_paths(shown, [first, second] if second.view.layers.path else [first]),
        *_left_out(shown, [first, second]),
    ]
    x0 = panel.x0 + colorbar.width(shown)
    y0 = panel.y0 + max(colorbar.head(shown), 4 * u) + 8 * u
    legend.put(shown, ink, entries, x0, y0, panel.x1, panel.y1)
