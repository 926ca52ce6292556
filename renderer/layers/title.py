"""Title, the line under it, and the provenance at the foot."""

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

    def overlay(self, frame: Frame, ink: Ink) -> None:
        u, theme, layout = frame.unit, frame.theme, frame.layout
        if frame.view.layers.title:
            x, y = layout.title
            text = words.title(frame.scene)
            size = 22 * u
            while fonts.width(text, size, True) > layout.title_room and size > 15 * u:
                size *= 0.95
            ink.text(fonts.shortened(text, size, layout.title_room, True), x, y, size, theme.text, bold=True)
            text = fonts.shortened(words.subtitle(frame.scene), 13 * u, layout.title_room)
            ink.text(text, x, y + 23 * u, 13 * u, theme.muted)
        if frame.view.layers.provenance and frame.scene.axes is not None:
            x, y = layout.provenance
            text = fonts.shortened(words.provenance(frame.scene), 10.5 * u, layout.provenance_room)
            ink.text(text, x, y, 10.5 * u, theme.muted)
