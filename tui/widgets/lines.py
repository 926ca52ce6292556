"""Lines of styled text, as many as there are, drawn one at a time: only what is on the screen, only what has changed.

A line is a sequence of (text, style name); style names are those of `palette`. Data is never parsed as markup.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

if TYPE_CHECKING:
    from textual.app import App

Span = tuple[str, str]
Line = Sequence[Span]

THEME = {
    "green": "text-success", "yellow": "text-warning", "red": "text-error", "cyan": "text-secondary",
    "blue": "text-primary", "magenta": "text-accent", "white": "foreground",
}  # fmt: skip


def style(app: App[Any], name: str) -> Style:
    """The style of a name such as `green`, `dim`, `bold red`: the theme's own, those that can be read as text."""
    cache = app.__dict__.setdefault("_thalweg_styles", {})
    key = (app.theme, name)
    if key not in cache:
        variables = app.theme_variables
        parts: dict[str, Any] = {}
        for word in name.split():
            if word in THEME:
                colour = variables.get(THEME[word], "")
                parts["color"] = colour if colour.startswith("#") else word
            elif word.startswith("#"):
                parts["color"] = word
            else:
                parts[word] = True
        cache[key] = Style(**parts)
    return cache[key]


def strip(app: App[Any], line: Line, width: int, base: Style) -> Strip:
    """A line as a strip of exactly this width."""
    segments: list[Segment] = []
    left = width
    for text, name in line:
        if left <= 0:
            break
        size = cell_len(text)
        if size > left:
            text, size = (set_cell_size(text, left - 1) + "…" if left > 1 else set_cell_size(text, left)), left
        segments.append(Segment(text, base + style(app, name) if name else base))
        left -= size
    if left > 0:
        segments.append(Segment(" " * left, base))
    return Strip(segments, width)


def facts(name: str, text: str, width: int, look: str = "", *, column: int = 14) -> list[Line]:
    """A fact under its name: as many lines as the width asks for."""
    parts = textwrap.wrap(text, max(10, width - column)) or [""]
    return [[((name if k == 0 else "").ljust(column), "dim"), (part, look)] for k, part in enumerate(parts)]


def sentence(text: str, width: int, look: str = "dim") -> list[Line]:
    """A sentence, wrapped at its words."""
    return [[(part, look)] for part in textwrap.wrap(text, max(10, width)) or [""]]


def plain(line: Line) -> str:
    """The text of a line."""
    return "".join(text for text, _ in line)


class Lines(ScrollView, can_focus=True):
    """A scrolling text of lines. `set_lines` repaints only those that changed."""

    DEFAULT_CSS = "Lines { scrollbar-size: 1 1; }"

    def __init__(self, *lines: Line, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.lines: list[Line] = list(lines)

    def on_mount(self) -> None:
        """Take the size of what is there."""
        self._measure()

    def set_lines(self, lines: Sequence[Line], *, follow: bool = False) -> None:
        """Show these lines; with `follow` the last ones."""
        old, self.lines = self.lines, list(lines)
        if len(old) != len(self.lines):
            self._measure()
        top, height, width = self.scroll_offset.y, self.size.height, max(1, self.size.width)
        changed = [
            y
            for y in range(height)
            if (old[top + y] if top + y < len(old) else None)
            != (self.lines[top + y] if top + y < len(self.lines) else None)
        ]
        if changed:
            self.refresh(*(Region(0, y, width, 1) for y in changed))
        if follow:
            self.scroll_end(animate=False, immediate=True)

    @property
    def moves(self) -> bool:
        """Whether keys move anything here: there is more than can be seen."""
        return self.max_scroll_y > 0

    def _measure(self) -> None:
        self.virtual_size = Size(0, len(self.lines))

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        at = self.scroll_offset.y + y
        line = self.lines[at] if at < len(self.lines) else ()
        return strip(self.app, line, self.size.width, self.rich_style)
