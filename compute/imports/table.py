"""CSV in long form, as exported: a header with `alpha`, `beta`, `loss`, and where known `accuracy`, `sem`, `n`.

The columns may stand in any order and others beside them; so may the lines. Without n, an
empty loss is a point that was not measured.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Generator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.files import Surface, read_path_csv
from protocol.grid import MAX_COUNT

from .points import Name, to_surface
from .sources import one, opened

WANTED = ("alpha", "beta", "loss")
KNOWN = (*WANTED, "accuracy", "sem", "n")
PATH_ENDING = "-path.csv"


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`name` is what the surface is called; empty: the file's name."""

    name: Name = ""


def make(source: Path, folder: Path, options: Options) -> Generator[tuple[int, int], None, Surface]:
    """The surface of a CSV; with its path where a folder or archive holds `*-path.csv` too."""
    yield 0, 1
    with opened(source) as files:
        tables = [f for f in files if not f.name.endswith(PATH_ENDING)] or files
        file = one(tables, source, ".csv")
        paths = [f for f in files if f.name.endswith(PATH_ENDING) and f != file]
        surface = read(file, one(paths, source, ".csv") if paths else None, options.name)
    yield 1, 1
    return surface


def read(file: Path, path: Path | None = None, name: str = "") -> Surface:
    """Read and check a table, and its path. Raises InputError, naming the file and line, for anything else."""
    try:
        with open(file, encoding="utf-8-sig", newline="") as text:
            columns = _columns(file, text)
    except (UnicodeDecodeError, csv.Error) as e:
        raise InputError(f"{file}: expected a CSV file, this is another kind ({e})", code="integrity") from e
    except OSError as e:
        raise InputError(f"{file}: cannot read it ({e.strerror})", code="not_found") from e
    alpha, beta = columns.pop("alpha"), columns.pop("beta")
    n = columns["n"]
    if not np.all((n >= 0) & (n == np.floor(n)) & (n < 2**53)):
        raise InputError(f"{file}: expected whole numbers of samples in the column n", code="integrity")
    return to_surface(file, alpha, beta, columns, name, read_path_csv(path) if path else None)


def _columns(file: Path, text: Any) -> dict[str, NDArray[np.float64]]:
    rows = csv.reader(text)
    header = [h.strip() for h in next(rows, [])]
    missing = [c for c in WANTED if c not in header]
    if missing:
        raise InputError(
            f"{file}: expected the columns {','.join(WANTED)} in its first line, '{missing[0]}' is not there"
        )
    where = {c: header.index(c) for c in KNOWN if c in header}
    out = {c: array("d") for c in (*where, "n")}  # a list would hold a Python object a number
    for row in rows:
        if not row:
            continue
        try:
            for c, k in where.items():
                out[c].append(float(row[k] or "nan"))
            if "n" not in where:
                out["n"].append(float(row[where["loss"]] != ""))
        except (ValueError, IndexError) as e:
            why = f"'{row[k]}' is no number" if isinstance(e, ValueError) else f"it has {len(row)} columns"
            raise InputError(f"{file}, line {rows.line_num}: expected a number as {c}, {why}", code="integrity") from e
        if len(out["loss"]) > MAX_COUNT**2:
            raise InputError(f"{file}: expected at most {MAX_COUNT} x {MAX_COUNT} points", code="too_large")
    return {c: np.array(values) for c, values in out.items()}
