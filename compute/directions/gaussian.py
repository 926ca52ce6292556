"""Random directions, normalised against theta* (Li et al. 2018, arXiv:1712.09913, section 4)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, Literal

import msgspec
import torch
from torch import Tensor

from compute.checkpoints import Checkpoint
from compute.parameters import Layout
from protocol.errors import InputError

from .vectors import BLOCK, Directions, cosine, dot

EPSILON = 1e-10  # in the denominator, as in Li et al.'s code
COLLINEAR = 1e-9  # 1 - |cosine| of two directions that span no plane


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`normalize`: filter (Li et al.), layer (what the seed did), weight, none. `ignore`: bias_bn sets biases and
    batch-norm scale and shift to zero, nothing moves them too. `orthogonal`: Gram-Schmidt of eta against delta."""

    normalize: Literal["filter", "layer", "weight", "none"] = "filter"
    ignore: Literal["bias_bn", "nothing"] = "bias_bn"
    orthogonal: bool = False
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0


def make(
    layout: Layout, checkpoints: list[Checkpoint], options: Options
) -> Generator[tuple[int, int], None, Directions]:
    """Two directions drawn from N(0, 1) on the CPU, so that every device gives the same plane, then normalised."""
    theta = checkpoints[-1].theta()
    yield 0, 2
    generator = torch.Generator().manual_seed(options.seed)
    drawn = []
    for k in range(2):
        drawn.append(draw(theta, layout, generator, options))
        yield k + 1, 2
    delta, eta = drawn
    if not dot(delta, delta) or not dot(eta, eta):
        raise InputError(
            "plane: the random directions are zero: every tensor of this model is ignored or has zero norm: "
            "use ignore=nothing or normalize=none"
        )
    if abs(cosine(delta, eta)) > 1 - COLLINEAR:
        raise InputError(
            "plane: expected two directions, but both random ones lie on one line: too few weights can move: use "
            "ignore=nothing, normalize=none or another seed"
        )
    if options.orthogonal:
        orthogonalise(eta, delta)
    return Directions(delta, eta)


def draw(theta: Tensor, layout: Layout, generator: torch.Generator, options: Options) -> Tensor:
    """One normalised direction (P,) for the weights theta (P,)."""
    out = torch.empty_like(theta)
    for _, shape, start, stop in layout:
        d = torch.randn(shape, generator=generator, dtype=torch.float32).to(theta.dtype)
        if len(shape) <= 1 and options.ignore == "bias_bn":
            d.zero_()
        else:
            normalize(d, theta[start:stop].view(shape), options.normalize)
        out[start:stop] = d.view(-1)
    return out


def normalize(d: Tensor, theta: Tensor, rule: str) -> None:
    """Scale a direction's tensor d in place against the weights' tensor theta of the same shape.

    filter: each slice of dim 0 (tensors of ndim <= 1 are one unit) <- d * ||theta_u|| / (||d_u|| + 1e-10);
    layer: the whole tensor is one unit; weight: d * theta, elementwise; none: as drawn.
    """
    if rule == "none":
        return
    if rule == "weight":
        d.mul_(theta)
        return
    if rule not in ("filter", "layer"):
        raise InputError(f"normalize: expected one of filter, layer, weight, none; got '{rule}'")
    units = d.shape[0] if rule == "filter" and d.ndim > 1 else 1
    du, tu = d.view(units, -1), theta.reshape(units, -1)
    scale = norms(tu) / (norms(du) + EPSILON)
    du.mul_(scale.to(d.dtype)[:, None])


def norms(rows: Tensor) -> Tensor:
    """The Euclidean norms (n,) of the rows of a matrix, summed in float64 without a float64 copy of it."""
    height, width = max(1, BLOCK // max(1, rows.shape[1])), min(BLOCK, max(1, rows.shape[1]))
    blocks = [
        torch.stack([torch.linalg.vector_norm(part, dim=1, dtype=torch.float64) for part in some.split(width, dim=1)])
        for some in rows.split(height)
    ]
    return torch.cat([torch.linalg.vector_norm(b, dim=0) if len(b) > 1 else b[0] for b in blocks])


def orthogonalise(eta: Tensor, delta: Tensor) -> None:
    """Gram-Schmidt in place: eta <- eta - <eta, delta> / ||delta||^2 * delta, twice against rounding.

    Without the division by ||delta||^2, eta becomes -||delta||^2 * delta and the plane a line.
    """
    square = dot(delta, delta)
    for _ in range(2):
        eta.sub_(delta, alpha=dot(eta, delta) / square)
