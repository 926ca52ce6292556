"""Tables as plain text: aligned columns that `grep` and `awk` can read, no box, no colour."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, empty: str = "nothing here yet") -> None:
    """Print rows under a head. On a terminal the last column is cut to fit the width; in a pipe nothing is cut."""
    if not rows:
        print(empty)
        return
    for line in lines(head, rows, shutil.get_terminal_size().columns if sys.stdout.isatty() else None):
        print(line)


def lines(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """The lines of a table; numbers stand right, words left."""
    widths = [max(len(r[k]) for r in (head, *rows)) for k in range(len(head))]
    right = [all(_numeric(r[k]) for r in rows) for k in range(len(head))]
    out = []
    for row in (head, *rows):
        cells = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right)]
        line = "  ".join(cells).rstrip()
        out.append(line if width is None or len(line) <= width else line[: max(1, width - 1)] + "…")
    return out


def _numeric(text: str) -> bool:
    return text[:1].isdigit() or text in ("-", "")
