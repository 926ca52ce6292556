"""Going on with a training: what is kept beside the weights, and how it is put back, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from protocol.errors import InputError
from protocol.messages import Recipe

FORMAT = 1


@dataclass(frozen=True)
class Resume:
    """Where to go on: a checkpoint's weights (parameters and buffers by name, a shared tensor at least once), and what
    its `resume()` gave."""

    weights: Mapping[str, Tensor]
    tensors: Mapping[str, Tensor]
    meta: Mapping[str, Any]


def resume_state(
    recipe: Recipe, step: int, optimizer: torch.optim.Optimizer, loss_sum: Tensor, correct: Tensor
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What a resume needs beside the weights, as copies: named tensors, and JSON-able meta.

    The optimiser's state, the epoch's running sums, the step. No random state: each step seeds its own.
    """
    tensors = {"epoch.loss_sum": loss_sum.clone(), "epoch.correct": correct.clone()}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{index}.{key}"] = value.detach().clone()
    return tensors, {"format": FORMAT, "recipe": msgspec.to_builtins(recipe), "step": step}


def restore(recipe: Recipe, resume: Resume, optimizer: torch.optim.Optimizer, loss_sum: Tensor, correct: Tensor) -> int:
    """Put the optimiser's state and the running sums back; gives the number of steps done."""
    if resume.meta.get("format") != FORMAT:
        raise InputError(
            f"resume state: expected format {FORMAT}, got {resume.meta.get('format')}: it is of another version",
            code="integrity",
        )
    # Read back and compared as structs, so that a field added since then, with its default, is no difference.
    try:
        kept = msgspec.convert(resume.meta.get("recipe"), Recipe)
    except msgspec.ValidationError:
        kept = None
    if kept != msgspec.convert(msgspec.to_builtins(recipe), Recipe):
        raise InputError(
            "resume state: it belongs to another recipe: go on with the recipe it was saved under", code="integrity"
        )
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in resume.tensors.items():
        kind, _, rest = name.partition(".")
        if kind == "optimizer":
            index, _, key = rest.partition(".")
            state.setdefault(int(index), {})[key] = value.clone()
    try:
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        loss_sum.copy_(resume.tensors["epoch.loss_sum"])
        correct.copy_(resume.tensors["epoch.correct"])
        return int(resume.meta["step"])
    except (KeyError, ValueError) as error:
        raise InputError(f"resume state: it is incomplete ({error}): train again", code="integrity") from None


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into the model; a name may be missing only where its tensor is shared with one that is there."""
    own = model.state_dict()
    wrong = sorted(weights.keys() - own.keys()) + sorted(
        name for name, value in weights.items() if name in own and own[name].shape != value.shape
    )
    given = {own[name].data_ptr() for name in weights if name in own}
    missing = [name for name in own if name not in weights and own[name].data_ptr() not in given]
    if wrong or missing:
        raise InputError(
            f"checkpoint: its tensors are not this model's: '{(wrong or missing)[0]}' does not match: "
            "use the recipe it was saved under",
            code="integrity",
        )
    with torch.no_grad():
        for name, value in weights.items():
            own[name].copy_(value)
