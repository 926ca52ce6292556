"""The keys of the terminal UI: those of the table, then what the user's config says. Pure.

Textual rebinds by the id of a binding (`set_keymap`), which here is the id of the table's row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tui.commands import Command, actions

TAKEN = frozenset({"ctrl+a", "ctrl+b", "ctrl+j", "ctrl+s", "ctrl+z"})
"""Taken by screen, tmux, the terminal (ctrl+j is Enter, ctrl+s stops its output) and the shell."""

SHOWN = {
    "slash": "/", "question_mark": "?", "space": "space", "right_square_bracket": "]", "left_square_bracket": "[",
    "plus": "+", "minus": "-", "delete": "del", "enter": "enter", "escape": "esc", "full_stop": ".", "comma": ",",
    "up": "↑", "down": "↓", "left": "←", "right": "→", "tab": "tab", "shift+tab": "⇧tab",
}  # fmt: skip
_KEY = re.compile(r"[a-zA-Z0-9_]+(\+[a-zA-Z0-9_]+)*")


def shown(key: str) -> str:
    """How a key is written on the screen: `^p`, `/`, `F1`."""
    name = key.split(",")[0].strip()
    if name.startswith("ctrl+"):
        return "^" + SHOWN.get(name[5:], name[5:])
    if re.fullmatch(r"f\d+", name):
        return name.upper()
    return SHOWN.get(name, name)


def checked(wanted: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The keymap that can be used, and a sentence for each entry that cannot."""
    known = {c.id: c for c in actions()}
    keymap: dict[str, str] = {}
    problems: list[str] = []
    for id, keys in wanted.items():
        names = [k.strip() for k in keys.split(",")]
        bad = next((n for n in names if not _KEY.fullmatch(n)), None)
        taken = next((n for n in names if n in TAKEN), None)
        if id not in known:
            problems.append(f"keys.{id}: expected one of {', '.join(sorted(known))}")
        elif bad is not None:
            problems.append(f"keys.{id}: expected keys such as n or ctrl+n, got '{bad}'")
        elif taken is not None:
            problems.append(f"keys.{id}: '{taken}' is taken by tmux, screen or the terminal: choose another")
        else:
            keymap[id] = ",".join(names)
    used: dict[str, str] = {}
    for id, command in known.items():
        for name in keymap.get(id, command.key).split(","):
            if name and name in used:
                problems.append(f"keys: '{name}' is both {used[name]} and {id}: the first one has it")
            used.setdefault(name, id)
    return keymap, tuple(problems)


def keys_of(command: Command, keymap: Mapping[str, str]) -> str:
    """The keys of a row, with commas."""
    return keymap.get(command.id, command.key)
