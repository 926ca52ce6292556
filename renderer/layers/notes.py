"""Small notes over the picture: that the daemon is away, that a video is being recorded, how many rows are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from renderer import fonts
from renderer.frame import Frame
from renderer.ink import CROSS, RING, Ink
from renderer.theme import Colour, fade, hexa

Kind = Literal["plain", "busy", "record", "bad"]
PAD, HEIGHT, GAP, MARK = 11.0, 30.0, 8.0, 17.0
AMBER = {"light": hexa("c27c0e"), "dark": hexa("f0b429")}


@dataclass(frozen=True)
class Note:
    """A line of text with its mark. `share` in [0, 1] draws how far something is."""

    text: str
    kind: Kind = "plain"
    share: float | None = None


def draw(frame: Frame, notes: Sequence[Note], ink: Ink) -> None:
    """One under the other in the plot's upper left corner, the first one on top."""
    u, theme, plot = frame.unit, frame.theme, frame.layout.plot
    x0, y0 = round(plot.x0 + 10 * u), round(plot.y0 + 10 * u)
    size = fonts.SMALL * u
    room = max(frame.layout.size[0] - x0 - 10 * u, 60 * u)
    for note in notes:
        lead = MARK * u if note.kind != "plain" else 0.0
        text = fonts.shortened(note.text, size, room - lead - 2 * PAD * u)
        width = round(fonts.width(text, size) + lead + 2 * PAD * u)
        height = round(HEIGHT * u)
        ink.panel(x0, y0, x0 + width, y0 + height, 6 * u, fade(theme.paper, 0.94), theme.line)
        y = y0 + height / 2
        _mark(frame, note.kind, x0 + PAD * u + 4.5 * u, y, ink)
        ink.text(text, x0 + PAD * u + lead, y, size, theme.text, anchor="middle")
        if note.share is not None:
            a, b = x0 + 7 * u, x0 + width - 7 * u
            ink.line((a, y0 + height - 1), (b, y0 + height - 1), 2.5 * u, theme.line)
            ink.line(
                (a, y0 + height - 1),
                (a + (b - a) * min(max(note.share, 0.0), 1.0), y0 + height - 1),
                2.5 * u,
                theme.text,
            )
        y0 += height + round(GAP * u)


def _mark(frame: Frame, kind: Kind, x: float, y: float, ink: Ink) -> None:
    u, theme = frame.unit, frame.theme
    amber: Colour = AMBER[frame.view.theme]
    if kind == "record":
        ink.dot((x, y), 5.0 * u, theme.diverged)
    elif kind == "busy":
        ink.glyph(RING, (x, y), 4.6 * u, amber)
    elif kind == "bad":
        ink.glyph(CROSS, (x, y), 5.4 * u, theme.diverged)
