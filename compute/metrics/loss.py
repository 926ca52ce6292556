"""The loss: its mean over the samples, and the standard error of that mean."""

from __future__ import annotations

from torch import Tensor

from protocol.shares import MetricDecl, Value

DECL = MetricDecl(
    name="loss",
    sums={"loss_sum": "<f8", "loss_sq_sum": "<f8"},
    values={"loss": Value("mean", "loss_sum"), "sem": Value("sem", "loss_sum", "loss_sq_sum")},
)


def sums(output: Tensor, losses: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Sum and sum of squares of the per-sample losses, in float64, so that no batch size shows in the value."""
    wide = losses.double()
    return {"loss_sum": wide.sum(), "loss_sq_sum": wide.square().sum()}


def applies(output: Tensor, target: Tensor) -> bool:
    """Always."""
    return True
