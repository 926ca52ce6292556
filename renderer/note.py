"""A sentence over the picture: what the window has to tell, on a pill at the foot of the plot. Pure."""

from __future__ import annotations

from renderer import fonts
from renderer.frame import Frame
from renderer.ink import Ink
from renderer.theme import Theme, fade

SIZE = 13.0  # of the text, in units


def draw(ink: Ink, text: str, frame: Frame) -> None:
    """Draw the sentence where it hides least; a long one is shortened."""
    if not text:
        return
    theme: Theme = frame.theme
    u, (width, height) = frame.unit, frame.layout.size
    size, pad = SIZE * u, 14 * u
    text = fonts.shortened(text, size, max(width - 4 * pad, 1.0))
    room = fonts.width(text, size) / 2
    plot = frame.layout.plot
    x = min(max((plot.x0 + plot.x1) / 2, room + pad), max(width - room - pad, room + pad))
    y = min(plot.y1 - 8 * u, height - 20 * u)
    line = 2.1 * size
    ink.line((x - room, y), (x + room, y), line + 2 * u, fade(theme.line, 0.9))
    ink.line((x - room, y), (x + room, y), line, theme.wall)
    ink.text(text, x, y, size, theme.text, align=0.5, anchor="middle")
