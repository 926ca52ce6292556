"""The keys and what the mouse does, in two columns over the picture. Written from controls.KEYS."""

from __future__ import annotations

from dataclasses import dataclass

from renderer import controls, fonts
from renderer.frame import Frame
from renderer.ink import Ink
from renderer.theme import fade

COLUMNS = (("Mouse", "Camera", "Window"), ("Picture", "Layers"))
NAMES = {"left": "←", "right": "→", "up": "↑", "down": "↓", "-": "−", "=": "+"}
LINE, LEAST = 25.0, 13.5  # pixels of a line, where there is room, and the least that can be read
KEYS, WORDS = 7.2, 11.6  # widths of the two parts of a column, in lines


@dataclass(frozen=True)
class Row:
    """A heading (no keys), or keys and what they do."""

    keys: tuple[str, ...]
    words: str


def columns() -> list[list[Row]]:
    """The rows of both columns."""
    mouse = [Row((gesture,), words) for gesture, words in controls.MOUSE]
    groups = {"Mouse": mouse} | {
        group: [Row(tuple(named(key) for key in _shared(keys)), words) for keys, words in lines]
        for group, lines in controls.lines().items()
    }
    return [[row for name in names for row in (Row((), name), *groups[name])] for names in COLUMNS]


def _shared(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Keys of one line, a modifier that all have said once."""
    if len(keys) > 1 and all(key.startswith("shift+") for key in keys):
        return ("shift", *(key.removeprefix("shift+") for key in keys))
    return keys


def named(key: str) -> str:
    """A key as it is printed on it: Tab, Shift G, ←."""
    parts = [key] if len(key) == 1 or key in NAMES else key.split("+")
    return " ".join(NAMES.get(part, part.upper() if len(part) == 1 else part.capitalize()) for part in parts)


def draw(frame: Frame, ink: Ink) -> None:
    theme = frame.theme
    w, h = frame.layout.size
    found = columns()
    rows = max(sum(1.0 if row.keys else 1.35 for row in column) for column in found)
    width_in_lines = 2 * (KEYS + WORDS) + 2.6
    room = min(h / (rows + 2.0), w / (width_in_lines + 0.4))
    line = max(min(LINE * max(frame.unit, 0.8), room), min(LEAST, room))
    width, height = width_in_lines * line, (rows + 1.5) * line
    x0, y0 = round((w - width) / 2), round((h - height) / 2)
    ink.rect(0, 0, w, h, fade(theme.paper, 0.55))
    ink.panel(x0, y0, round(x0 + width), round(y0 + height), 0.5 * line, fade(theme.paper, 0.985), theme.line)
    for k, column in enumerate(found):
        x = x0 + (1.2 + k * (KEYS + WORDS + 0.2)) * line
        y = y0 + 0.6 * line
        for row in column:
            if not row.keys:
                y += 0.35 * line
                ink.text(row.words, x, y + line / 2, 0.64 * line, theme.text, anchor="middle", bold=True)
            else:
                _keys(frame, row.keys, x, y + line / 2, line, ink)
                ink.text(row.words, x + KEYS * line, y + line / 2, 0.6 * line, theme.text, anchor="middle")
            y += line


def _keys(frame: Frame, keys: tuple[str, ...], x: float, y: float, line: float, ink: Ink) -> None:
    """Keys as caps; what the mouse does as plain words."""
    theme, size = frame.theme, 0.54 * line
    if keys[0] in dict(controls.MOUSE):
        ink.text(keys[0], x, y, 0.6 * line, theme.muted, anchor="middle")
        return
    for key in keys:
        wide = max(fonts.width(key, size) + 0.5 * line, 0.86 * line)
        box = (round(x), round(y - 0.4 * line), round(x + wide), round(y + 0.4 * line))
        ink.panel(*box, 0.2 * line, theme.wall, theme.line)
        ink.text(key, (box[0] + box[2]) / 2, y, size, theme.text, align=0.5, anchor="middle")
        x += wide + 0.22 * line
