"""docs/keys.md, written from the table of keys.

python tests/keys_docs.py           print the page as it should be
python tests/keys_docs.py --write   write it
"""

from __future__ import annotations

import sys
from pathlib import Path

from renderer import controls
from renderer.layers.help import named

PAGE = Path(__file__).parent.parent / "docs" / "keys.md"
HEAD = """# Mouse and keys of the window

`h` shows these in the window. Commands of a script or of the terminal do the same (docs/protocol.md): the camera is
one, whoever moves it, and several surfaces in one window share it. The picture never jumps: what was automatic becomes
a number before it is moved, and what is under the pointer stays there while it is zoomed.

Over the picture the probe tells what was measured at the point nearest to the pointer. It is not in pictures that are
saved, nor in videos.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD, _table("Mouse", [(gesture, words) for gesture, words in controls.MOUSE])]
    for group in controls.GROUPS:
        rows = [(_keys(key), key.words) for key in controls.KEYS if key.group == group]
        parts.append(_table(group, rows))
    return "\n".join(parts)


def _keys(key: controls.Key) -> str:
    """Its keys by name, each once; not how some keyboard types one of them."""
    plain = [name for name in key.keys if name.startswith("shift+") == key.keys[0].startswith("shift+")]
    return ", ".join(f"`{name}`" for name in dict.fromkeys(map(named, plain)))


def _table(name: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"## {name}", "", "| | |", "| --- | --- |", *(f"| {left} | {right} |" for left, right in rows), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page())
    else:
        print(page(), end="")
