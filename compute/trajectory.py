"""Sweeps over a trajectory's checkpoints in pieces of theta: Gram matrix, mapping back, projection.

Every sweep reads the same piece [a, b) of each checkpoint with `pread`, subtracts the reference and works in float64.
Peak memory of a sweep is `BUDGET`, whatever the number of checkpoints is. Each is a generator that yields how many of
the P columns are done and fills what it was given, so that a caller can show progress and stop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compute.checkpoints import Checkpoint

BUDGET = 40 * 1024 * 1024  # bytes of blocks held at once; with the libraries' own work space, under 64 MiB


def displacements(
    points: Sequence[Checkpoint], reference: Checkpoint | Tensor
) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
    """(a, b, D): the columns [a, b) of the matrix with rows theta_i - reference, float64 (n, b - a), piece by piece."""
    layout = points[0].layout
    single = np.float64 if layout.dtype == torch.float64 else np.float32
    width = max(1024, BUDGET // (len(points) * 8 + 2 * 8 + 3 * 8))
    width = min(width, layout.size)
    block = np.empty((len(points), width))
    piece, origin = np.empty(width, dtype=single), np.empty(width, dtype=single)
    for a in range(0, layout.size, width):
        b = min(a + width, layout.size)
        if isinstance(reference, Tensor):
            ref = reference[a:b].numpy()
        else:
            reference.read(a, b, origin[: b - a])
            ref = origin[: b - a]
        for k, point in enumerate(points):
            point.read(a, b, piece[: b - a])
            np.subtract(piece[: b - a], ref, out=block[k, : b - a], dtype=np.float64)
        yield a, b, block[:, : b - a]


def gram(points: Sequence[Checkpoint], reference: Checkpoint | Tensor, out: NDArray[np.float64]) -> Iterator[int]:
    """Add D D^T, the inner products of the displacements, to `out` (n, n)."""
    for _, b, block in displacements(points, reference):
        out += block @ block.T
        yield b


def mapped(
    points: Sequence[Checkpoint], reference: Checkpoint, weights: NDArray[np.float64], out: tuple[Tensor, Tensor]
) -> Iterator[int]:
    """Fill two vectors (P,) with D^T w for the two columns w of `weights` (n, 2), then make them unit."""
    squares = np.zeros(2)
    for a, b, block in displacements(points, reference):
        for k in range(2):
            values = weights[:, k] @ block
            squares[k] += values @ values
            out[k][a:b] = torch.from_numpy(values)
        yield b
    for k in range(2):
        out[k].div_(float(np.sqrt(squares[k])))


def path_coordinates(
    points: Sequence[Checkpoint],
    reference: Checkpoint | Tensor,
    directions: tuple[Tensor, Tensor],
    out: NDArray[np.float64],
    off_plane: NDArray[np.float64] | None = None,
) -> Iterator[int]:
    """Fill `out` (n, 2) with least-squares coordinates, `off_plane` (n,) with relative distances from the plane.

    c = argmin ||theta_i - theta* - c_0 delta - c_1 eta||, by the 2 x 2 Gram system, so that a displacement of 0.5 delta
    has alpha 0.5 even where the axes are neither orthogonal nor unit. off_plane = residual / ||theta_i - theta*||,
    0 at theta* itself.
    """
    inner, square, basis = np.zeros((len(points), 2)), np.zeros(len(points)), np.zeros((2, 2))
    for a, b, block in displacements(points, reference):
        pair = np.stack([d[a:b].numpy() for d in directions]).astype(np.float64)
        inner += block @ pair.T
        square += np.einsum("ij,ij->i", block, block)
        basis += pair @ pair.T
        yield b
    out[:] = np.linalg.solve(basis, inner.T).T
    if off_plane is not None:
        residual = square - 2 * np.sum(out * inner, axis=1) + np.einsum("ij,jk,ik->i", out, basis, out)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.sqrt(np.maximum(residual, 0.0) / square)
        off_plane[:] = np.where(square == 0.0, 0.0, ratio)
