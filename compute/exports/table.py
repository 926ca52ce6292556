"""CSV in long form: `alpha,beta,loss,accuracy,sem,n`, one line a point, row by row, alpha running fastest.

Numbers have the fewest digits that read back as the same float64. A cell is empty where a value was not computed; the
loss of a point that diverged is `nan` or `inf` (n says how many samples it saw), that of one not measured is empty.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from protocol.files import Surface, write_path_csv

from .staged import Name, staged, stem

COLUMNS: Final = ("alpha", "beta", "loss", "accuracy", "sem", "n")


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`name` is the file's name without `.csv`; empty: the surface's own name. `path`: write `NAME-path.csv` too,
    where the surface has a path."""

    name: Name = ""
    path: bool = True


def make(surface: Surface, folder: Path, options: Options) -> list[Path]:
    """Write `NAME.csv`, and `NAME-path.csv` (the columns of path.csv) where there is a path."""
    base = stem(surface, options.name)
    names = [f"{base}.csv"]
    with staged(folder) as stage:
        with open(stage / names[0], "w", encoding="ascii", newline="") as out:
            out.write(",".join(COLUMNS) + "\n")
            alpha = [repr(a) for a in surface.alpha.tolist()]
            for i, beta in enumerate(surface.beta.tolist()):
                columns = (getattr(surface, name)[i].tolist() for name in COLUMNS[2:])
                out.writelines(
                    f"{a},{beta!r},{repr(z) if n else ''},{_cell(q)},{_cell(s)},{n}\n"
                    for a, z, q, s, n in zip(alpha, *columns)
                )
        if options.path and len(surface.path):
            names.append(f"{base}-path.csv")
            write_path_csv(stage / names[1], surface.path, surface.meta.plane)
    return [folder / name for name in names]


def _cell(value: float) -> str:
    return "" if value != value else repr(value)
