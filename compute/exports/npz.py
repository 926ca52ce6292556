"""surface.npz: everything that is known of a surface, its path and critical points included."""

from __future__ import annotations

from pathlib import Path

import msgspec

from protocol.files import Surface

from .staged import Name, staged, stem


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`name` is the file's name without `.npz`; empty: the surface's own name."""

    name: Name = ""


def make(surface: Surface, folder: Path, options: Options) -> list[Path]:
    """Write `NAME.npz`; `import npz` and `Surface.load` read it back bit for bit."""
    name = f"{stem(surface, options.name)}.npz"
    with staged(folder) as stage:
        surface.save(stage / name)
    return [folder / name]
