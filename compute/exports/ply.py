"""PLY in the seed project's layout: ASCII, vertices `x y z vx vy vz s` and quads.

    x, y   alpha, beta; x runs fastest        z, vx, vy, vz   0
    s      the loss, 18 significant digits, so that it reads back as the same float64
    face   4 corners: (i, j), (i, j+1), (i+1, j+1), (i+1, j) as vertex numbers i * W + j

A diverged point keeps its `nan` or `inf`; one that was not measured is `nan`. The path goes beside it as the seed wrote
it: `x,y` a line, first epoch first, no header, CR LF. Files of the seed are written again byte for byte.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from protocol.files import Surface

from .staged import Name, staged, stem

HEADER: Final = """ply
format ascii 1.0
element vertex {vertices}
property double x
property double y
property double z
property double vx
property double vy
property double vz
property double s
element face {faces}
property list uchar int vertex_indices
end_header
"""
PATH_SUFFIX: Final = "_gradient_descent_results.csv"


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`name` is the file's name without `.ply`; empty: the surface's own name. `path`: write
    `NAME_gradient_descent_results.csv` too, where the surface has a path."""

    name: Name = ""
    path: bool = True


def make(surface: Surface, folder: Path, options: Options) -> list[Path]:
    """Write `NAME.ply`, and `NAME_gradient_descent_results.csv` where there is a path."""
    base = stem(surface, options.name)
    names = [f"{base}.ply"]
    height, width = surface.shape
    with staged(folder) as stage:
        with open(stage / names[0], "w", encoding="ascii", newline="") as out:
            out.write(HEADER.format(vertices=height * width, faces=(height - 1) * (width - 1)))
            alpha = [f"{a:.18g}" for a in surface.alpha.tolist()]
            for i, beta in enumerate(surface.beta.tolist()):
                loss = np.where(surface.n[i] > 0, surface.loss[i], np.nan).tolist()
                out.writelines(f"{a} {beta:.18g} 0 0 0 0 {s:.18g}\n" for a, s in zip(alpha, loss))
            for i in range(height - 1):
                out.writelines(
                    f"4 {v} {v + 1} {v + width + 1} {v + width}\n" for v in range(i * width, (i + 1) * width - 1)
                )
        if options.path and len(surface.path):
            names.append(f"{base}{PATH_SUFFIX}")
            with open(stage / names[1], "w", encoding="ascii", newline="") as out:
                out.writelines(
                    f"{x!r},{y!r}\r\n" for x, y in zip(surface.path["alpha"].tolist(), surface.path["beta"].tolist())
                )
    return [folder / name for name in names]
