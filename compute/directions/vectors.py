"""What a kind of plane gives: two directions and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK = 1 << 20  # elements: float64 copies for exact sums are made a block at a time


@dataclass(frozen=True)
class Directions:
    """delta and eta, vectors (P,) in theta order, and the figures that a kind knows of its own.

    `path_places` is where the checkpoints lie that the directions were made from, theta* (zeros) included: coordinates
    (n + 1, 2) and relative distances from the plane (n + 1,), as `path_coordinates` gives them.
    """

    delta: Tensor
    eta: Tensor
    explained_variance_ratio: tuple[float, float] | None = None
    random_walk_ratio: tuple[float, float] | None = None
    path_places: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None


def dot(a: Tensor, b: Tensor) -> float:
    """<a, b> of two vectors, summed in float64 without a float64 copy of either."""
    return sum(float(torch.dot(x.double(), y.double())) for x, y in zip(torch.split(a, BLOCK), torch.split(b, BLOCK)))


def cosine(a: Tensor, b: Tensor) -> float:
    """cos(a, b); NaN where either is zero."""
    norms = (dot(a, a) * dot(b, b)) ** 0.5
    return dot(a, b) / norms if norms else float("nan")
