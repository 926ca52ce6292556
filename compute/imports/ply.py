"""PLY in the seed project's layout (compute/exports/ply.py draws it): ASCII, vertices with x, y and the loss in s.

Further properties, such as the flat z of the seed, are ignored; so are the faces, but they must be there. Doubles are
read as they stand. Which points were never measured the format cannot say: all count as measured (n = 1).
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Generator
from pathlib import Path
from typing import TextIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.files import Surface, read_path_csv
from protocol.grid import MAX_COUNT

from .points import Name, to_surface
from .sources import one, opened

NUMBERS = {"char", "uchar", "short", "ushort", "int", "uint", "float", "double"} | {
    "int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"
}  # fmt: skip


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`name` is what the surface is called; empty: the file's name."""

    name: Name = ""


def make(source: Path, folder: Path, options: Options) -> Generator[tuple[int, int], None, Surface]:
    """The surface of a PLY; with its path where a folder or archive holds one CSV too."""
    yield 0, 1
    with opened(source) as files:
        paths = [f for f in files if f.suffix.lower() == ".csv"] if len(files) > 1 else []
        file = one([f for f in files if f not in paths], source, ".ply")
        surface = read(file, one(paths, source, ".csv") if paths else None, options.name)
    yield 1, 1
    return surface


def read(file: Path, path: Path | None = None, name: str = "") -> Surface:
    """Read and check a mesh, and its path (path.csv, or the seed's `x,y`). Raises InputError, naming the file."""
    try:
        with open(file, encoding="latin-1") as text:
            vertices, faces, names = _header(file, text)
            columns, got = _vertices(file, text, vertices, names)
            got += sum(1 for line in text if line.strip())
    except OSError as e:
        raise InputError(f"{file}: cannot read it ({e.strerror})", code="not_found") from e
    if got != vertices + faces:
        raise InputError(
            f"{file}: expected {vertices} vertices and {faces} faces, got {got} lines: it is truncated, or not what "
            "its header says",
            code="integrity",
        )
    x, y, s = columns
    return to_surface(file, x, y, {"loss": s}, name, read_path_csv(path) if path else None)


def _vertices(file: Path, text: TextIO, count: int, names: list[str]) -> tuple[list[NDArray[np.float64]], int]:
    """x, y and s of the next `count` lines, and how many there were."""
    wanted = [names.index(c) for c in ("x", "y", "s")]
    columns = [array("d") for _ in wanted]  # a million vertices are 24 MB so, 500 MB as text
    got = 0
    for line in itertools.islice(text, count):
        cells = line.split()
        if len(cells) != len(names):
            raise InputError(
                f"{file}: expected {len(names)} numbers for each vertex, got {len(cells)} in vertex {got}: it is "
                "truncated, or not what its header says",
                code="integrity",
            )
        try:
            for column, k in zip(columns, wanted):
                column.append(float(cells[k]))
        except ValueError as e:
            raise InputError(f"{file}: expected numbers for each vertex ({e})", code="integrity") from e
        got += 1
    return [np.array(c) for c in columns], got


def _header(file: Path, text: TextIO) -> tuple[int, int, list[str]]:
    """The number of vertices and of faces, and the names of a vertex's properties; reads up to the header's end."""
    if text.readline(8).strip() != "ply":
        raise InputError(f"{file}: expected a PLY file, this is another kind of file", code="integrity")
    counts: dict[str, int] = {}
    names: list[str] = []
    while (line := text.readline(1000).rstrip()) != "end_header":
        match line.split():
            case ["comment" | "obj_info", *_] | ["format", "ascii", _]:
                pass
            case ["format", other, *_]:
                raise InputError(f"{file}: expected format ascii, got {other}: save it as ASCII")
            case ["element", ("vertex" | "face") as kind, number] if number.isdecimal() and len(number) < 10:
                counts[kind] = int(number)
            case ["property", kind, name] if list(counts) == ["vertex"] and kind in NUMBERS:
                names.append(name)
            case ["property", "list", *_] if list(counts) == ["vertex", "face"]:
                pass
            case _:
                raise InputError(f"{file}: expected elements vertex and face alone, its header says '{line[:60]}'")
    if not {"x", "y", "s"} <= set(names) or list(counts) != ["vertex", "face"]:
        raise InputError(
            f"{file}: expected vertices with the properties x, y and s, then faces; got {', '.join(names) or 'none'}: "
            "the loss has to be the scalar s"
        )
    if counts["vertex"] > MAX_COUNT**2:
        raise InputError(f"{file}: expected at most {MAX_COUNT} x {MAX_COUNT} vertices", code="too_large")
    return counts["vertex"], counts["face"], names
