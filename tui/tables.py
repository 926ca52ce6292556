"""Tables as plain text: aligned columns that `grep` and `awk` can read, no box, no colour."""

from __future__ import annotations

import shutil
import sys
import textwrap
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


def tell(sentences: Sequence[str]) -> None:
    """Print sentences: on a terminal wrapped at words, each with its indent; in a pipe as they are."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for sentence in sentences:
        indent = sentence[: len(sentence) - len(sentence.lstrip())]
        wrapped = [sentence] if width is None else textwrap.wrap(
            sentence, width, subsequent_indent=indent + "  ", break_long_words=False, break_on_hyphens=False
        )  # fmt: skip
        print("\n".join(wrapped))


def _numeric(text: str) -> bool:
    return text[:1].isdigit() or text in ("-", "")
