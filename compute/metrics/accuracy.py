"""Top-1 accuracy: the share of samples whose largest output is their class.

It is a share of all n samples: one whose target the loss ignores (`ignore_index`) counts in n, and as wrong.
"""

from __future__ import annotations

import torch
from torch import Tensor

from protocol.shares import MetricDecl, Value

DECL = MetricDecl(name="accuracy", sums={"correct": "<i4"}, values={"accuracy": Value("mean", "correct")})


def sums(output: Tensor, losses: Tensor, target: Tensor) -> dict[str, Tensor]:
    """The number of correct samples. A row of NaN outputs counts as wrong: argmax would call it class 0."""
    right = (output.argmax(1) == target) & ~torch.isnan(losses)
    return {"correct": right.sum()}


def applies(output: Tensor, target: Tensor) -> bool:
    """Outputs (B, C) of at least two classes against integer classes (B,). The argmax of one column is always 0."""
    return output.ndim == 2 and output.shape[1] >= 2 and target.ndim == 1 and not target.is_floating_point()
