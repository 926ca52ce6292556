"""surface.npz as this project writes it, or any npz with arrays `alpha` (W,), `beta` (H,) and `loss` (H, W)."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Generator
from pathlib import Path

import msgspec
import numpy as np

from protocol.errors import InputError
from protocol.files import Surface
from protocol.grid import MAX_COUNT

from .points import Name
from .sources import one

MAX_BYTES = 2 << 30  # unpacked; the largest grid with all its arrays is 0.5 GiB


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`name` is what the surface is called; empty: its own name, else the file's."""

    name: Name = ""


def make(source: Path, folder: Path, options: Options) -> Generator[tuple[int, int], None, Surface]:
    """The surface with whatever the file knows of it; of another program's file, points count as measured (n = 1)."""
    yield 0, 1
    files = sorted(source.rglob("*.npz")) if source.is_dir() else [source]  # an npz is a zip archive itself
    surface = read(one(files, source, ".npz"), options.name)
    yield 1, 1
    return surface


def read(file: Path, name: str = "") -> Surface:
    """Read and check the file. Raises InputError, naming it, for anything that is not a surface."""
    try:
        with zipfile.ZipFile(file) as z:
            size = sum(i.file_size for i in z.infolist())
            foreign = "meta.npy" not in z.namelist()
    except Exception:  # whatever a damaged directory of names raises
        size, foreign = 0, True  # `load` says what is wrong with it
    if size > MAX_BYTES:
        raise InputError(
            f"{file}: expected at most {MAX_BYTES >> 20:,} MiB unpacked, got {size >> 20:,}", code="too_large"
        )
    surface = Surface.load(file)
    if not all(np.isfinite(a).all() and len(a) <= MAX_COUNT for a in (surface.alpha, surface.beta)):
        raise InputError(f"{file}: expected axes of 2 to {MAX_COUNT} finite values", code="integrity")
    changes = {"loss": "", "note": f"imported from {file.name}"} if foreign else {}
    meta = msgspec.structs.replace(surface.meta, name=name or surface.meta.name or file.stem, **changes)
    return dataclasses.replace(surface, meta=meta)
