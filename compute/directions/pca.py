"""The plane of a trajectory's two leading principal components (Li et al. 2018, section 7.2), exact, out of core.

M has rows theta_i - theta_n, i = 0..n-1. scikit-learn's PCA centres M (`centre=True`); the formula as written does not
(`centre=False`). The n x n Gram matrix is summed in float64 from the checkpoints block by block, its two leading
eigenvectors are mapped back to weight space in a second sweep: memory does not grow with n.
"""

from __future__ import annotations

from collections.abc import Generator

import msgspec
import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray

from compute.checkpoints import Checkpoint
from compute.parameters import Layout
from compute.trajectory import gram, mapped, path_coordinates
from protocol.errors import InputError

from .vectors import Directions

DEGENERATE = 1e-12  # second eigenvalue relative to the first
UNSURE = 1e-6  # of the path's extent: a coordinate of theta_0 too small to fix a sign


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`centre`: subtract the mean of the displacements, as scikit-learn's PCA does."""

    centre: bool = True


def make(
    layout: Layout, checkpoints: list[Checkpoint], options: Options
) -> Generator[tuple[int, int], None, Directions]:
    """Unit directions; theta_0 has alpha >= 0 and beta >= 0. Three sweeps, counted as 3 P; the third also gives the
    places of the path."""
    n, need = len(checkpoints) - 1, 3 if options.centre else 2
    if n < need:
        raise InputError(
            f"trajectory: expected at least {need + 1} checkpoints for a "
            f"{'centred' if options.centre else 'plain'} PCA, got {len(checkpoints)}: train for more epochs or save "
            "checkpoints more often"
        )
    total = 3 * layout.size
    last = checkpoints[-1]
    product = np.zeros((n, n))
    for done in gram(checkpoints[:-1], last, product):
        yield done, total
    if not np.isfinite(product).all():
        bad = next(c.what for k, c in enumerate(checkpoints[:-1]) if not np.isfinite(product[k, k]))
        raise InputError(
            f"trajectory: expected finite weights, got NaN or infinity in {bad}: choose checkpoints from before the "
            "training diverged"
        )
    centred = centre(product) if options.centre else product
    values, vectors = scipy.linalg.eigh(centred, subset_by_index=[n - 2, n - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    second = max(0.0, float(values[1] / values[0])) if values[0] > 0 else 0.0
    if second <= DEGENERATE:
        raise InputError(
            "trajectory: its checkpoints lie on a line (or a point): expected a second direction, found a second "
            f"eigenvalue of {second:.1e} of the first: use more checkpoints or a random plane"
        )
    weights = vectors / np.sqrt(values)
    if options.centre:
        weights = weights - weights.mean(axis=0)
    delta, eta = torch.empty(layout.size, dtype=layout.dtype), torch.empty(layout.size, dtype=layout.dtype)
    for done in mapped(checkpoints[:-1], last, weights, (delta, eta)):
        yield layout.size + done, total
    places, off_plane = np.zeros((n + 1, 2)), np.zeros(n + 1)  # the last row is theta* itself
    coordinates = places[:-1]
    for done in path_coordinates(checkpoints[:-1], last, (delta, eta), coordinates, off_plane[:-1]):
        yield 2 * layout.size + done, total
    for k, direction in enumerate((delta, eta)):
        start, extent = coordinates[0, k], float(np.abs(coordinates).max())
        if abs(start) < UNSURE * extent:
            start = float(direction[int(direction.abs().argmax())])
        if start < 0:
            direction.neg_()
            coordinates[:, k] = 0.0 - coordinates[:, k]  # never -0.0
    ratios = values / np.trace(centred)
    return Directions(
        delta,
        eta,
        explained_variance_ratio=(float(ratios[0]), float(ratios[1])),
        random_walk_ratio=random_walk_ratio(n, options.centre),
        path_places=(places, off_plane),
    )


def centre(product: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Gram matrix (n, n) of the rows less their mean: J G J with J = I - 11^T / n."""
    rows = product - product.mean(axis=0)
    return np.asarray(rows - rows.mean(axis=1, keepdims=True))


def random_walk_ratio(n: int, centred: bool) -> tuple[float, float]:
    """Explained variance ratios of the first two components of a random walk of n steps, in the limit of large P
    (Antognini & Sohl-Dickstein 2018, arXiv:1806.08805): its Gram matrix is L L^T, L the lower triangle of ones."""
    steps = np.arange(1.0, n + 1)
    product = np.minimum(steps[:, None], steps[None, :])  # (L L^T)[i, k] = min(i, k) + 1, counted from 0
    if centred:
        product = centre(product)
    values = scipy.linalg.eigh(product, eigvals_only=True, subset_by_index=[n - 2, n - 1])[::-1]
    return float(values[0] / np.trace(product)), float(values[1] / np.trace(product))
