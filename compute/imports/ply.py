"""PLY in the seed project's layout (compute/exports/ply.py draws it): ASCII, vertices with x, y and the loss in s.

Further properties, such as the flat z of the seed, are ignored; so are the faces, but they must be there. Doubles are
read as they stand. Which points were never measured the format cannot say: all count as measured (n = 1).
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import msgspec
import numpy as np

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
        raw = file.read_bytes()
    except OSError as e:
        raise InputError(f"{file}: cannot read it ({e.strerror})", code="not_found") from e
    head, end, body = raw.partition(b"end_header")
    if not raw.startswith(b"ply") or not end:
        raise InputError(f"{file}: expected a PLY file, this is another kind of file", code="integrity")
    vertices, faces, names = _header(file, head.decode("latin-1"))
    lines = body.decode("latin-1").split("\n")[1:]
    lines = [line for line in lines if line.strip()]
    if len(lines) != vertices + faces:
        raise InputError(
            f"{file}: expected {vertices} vertices and {faces} faces, got {len(lines)} lines: it is truncated, or not "
            "what its header says",
            code="integrity",
        )
    try:
        table = np.array([[float(v) for v in line.split()] for line in lines[:vertices]]).reshape(vertices, -1)
    except ValueError as e:
        raise InputError(f"{file}: expected {len(names)} numbers for each vertex ({e})", code="integrity") from e
    if table.shape[1] != len(names):
        raise InputError(
            f"{file}: expected {len(names)} numbers for each vertex, got {table.shape[1]}", code="integrity"
        )
    x, y, s = (table[:, names.index(c)] for c in ("x", "y", "s"))
    return to_surface(file, x, y, {"loss": s}, name, read_path_csv(path) if path else None)


def _header(file: Path, text: str) -> tuple[int, int, list[str]]:
    """The number of vertices and of faces, and the names of a vertex's properties."""
    counts: dict[str, int] = {}
    names: list[str] = []
    for line in text.splitlines()[1:]:
        match line.split():
            case [] | ["comment" | "obj_info", *_] | ["format", "ascii", _]:
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
                raise InputError(f"{file}: expected elements vertex and face alone, got the line '{line[:60]}'")
    if not {"x", "y", "s"} <= set(names) or list(counts) != ["vertex", "face"]:
        raise InputError(
            f"{file}: expected vertices with the properties x, y and s, then faces; got {', '.join(names) or 'none'}: "
            "the loss has to be the scalar s"
        )
    if counts["vertex"] > MAX_COUNT**2:
        raise InputError(f"{file}: expected at most {MAX_COUNT} x {MAX_COUNT} vertices", code="too_large")
    return counts["vertex"], counts["face"], names
