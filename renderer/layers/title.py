"""Title, the line under it, and the provenance at the foot. A line too long for its place begins further left."""

from __future__ import annotations

from renderer import fonts, words
from renderer.frame import Frame
from renderer.ink import Ink
from renderer.scene import Dirty


class Title:
    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        pass

    def key(self, frame: Frame) -> object:
        return frame.place, frame.scene.meta, frame.scene.n.shape

    def overlay(self, frame: Frame, ink: Ink) -> None:
        u, theme, layout = frame.unit, frame.theme, frame.layout
        widest = layout.right - layout.margin
        if frame.view.layers.title:
            x, y = layout.title
            text = words.title(frame.scene)
            size = 24 * u
            while fonts.width(text, size, True) > widest and size > 16 * u:
                size *= 0.95
            text = fonts.shortened(text, size, widest, True)
            small = fonts.SUBTITLE * u
            lines = broken(words.subtitle(frame.scene), small, widest, layout.subtitle_lines)
            need = max(fonts.width(text, size, True), *(fonts.width(line, small) for line in lines))
            x = min(x, max(layout.margin, layout.right - need))
            ink.text(text, x, y, size, theme.text, bold=True)
            for k, line in enumerate(lines):
                ink.text(line, x, y + (25 + 20 * k) * u, small, theme.muted)
        if frame.view.layers.provenance and frame.scene.axes is not None:
            x, y = layout.provenance
            small = fonts.NOTE * u
            text = fonts.shortened(words.provenance(frame.scene), small, widest)
            x = min(x, max(layout.margin, layout.right - fonts.width(text, small)))
            ink.text(text, x, y, small, theme.muted)


def broken(text: str, size: float, room: float, lines: int) -> list[str]:
    """The text in at most `lines` lines, broken between its parts where that is enough, else at any space."""
    parts = text.split(" · ")
    for k in range(len(parts), 0, -1):
        found = [" · ".join(p) for p in (parts[:k], parts[k:]) if p]
        if len(found) <= lines and all(fonts.width(line, size) <= room for line in found):
            return found
    return fonts.wrapped(text, size, room, lines=lines)
