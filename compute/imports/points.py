"""A list of points as a surface: the axes are found, every grid point must be there once, in any order."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.files import PATH_DTYPE, Surface, SurfaceMeta
from protocol.grid import MAX_COUNT

Name = Annotated[str, msgspec.Meta(max_length=200)]


def to_surface(
    file: Path,
    alpha: NDArray[np.float64],
    beta: NDArray[np.float64],
    values: Mapping[str, NDArray[Any]],
    name: str,
    path: NDArray[np.void] | None = None,
) -> Surface:
    """The surface of points (N,) at `alpha`, `beta`, with `values` loss and where known accuracy, sem and n.

    Raises InputError, naming `file`, where the points are no grid: both axes finite, of 2 to 4096 values, and N their
    product, each pair once.
    """
    if not (np.isfinite(alpha).all() and np.isfinite(beta).all()):
        raise InputError(f"{file}: expected finite coordinates, found NaN or infinity among them", code="integrity")
    x, column = np.unique(alpha, return_inverse=True)
    y, row = np.unique(beta, return_inverse=True)
    shape = len(y), len(x)
    if not all(2 <= k <= MAX_COUNT for k in shape):
        raise InputError(
            f"{file}: expected 2 to {MAX_COUNT} different values on each axis, got {shape[1]} of alpha and {shape[0]} "
            "of beta"
        )
    at = row.ravel() * shape[1] + column.ravel()
    if len(at) != shape[0] * shape[1] or len(np.unique(at)) != len(at):
        raise InputError(
            f"{file}: expected a full grid, each of the {shape[1]} values of alpha with each of the {shape[0]} of "
            f"beta once ({shape[0] * shape[1]} points), got {len(at)} points"
            + (" with repetitions or gaps" if len(at) == shape[0] * shape[1] else "")
        )

    def grid(key: str, default: float) -> NDArray[Any]:
        out: NDArray[Any] = np.full(shape[0] * shape[1], default)
        if key in values:
            out[at] = values[key]
        return out.reshape(shape)

    return Surface(
        alpha=x,
        beta=y,
        loss=grid("loss", np.nan),
        accuracy=grid("accuracy", np.nan),
        sem=grid("sem", np.nan),
        n=grid("n", 1).astype(np.int64),
        meta=SurfaceMeta(name=name or file.stem, loss="", note=f"imported from {file.name}"),
        path=np.zeros(0, PATH_DTYPE) if path is None else path,
    )
