"""Published weights, from files that are already here. Nothing is downloaded."""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from protocol.errors import InputError, unknown_name

from .entry import ModelEntry

# DenseNet's files are older than the rule that a module's name has no dot.
DENSENET_KEY = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")


def file_name(name: str, weights: str) -> str:
    """The file that holds these weights of a torchvision model, by the name it is published under."""
    from torchvision import models

    known = models.get_model_weights(name)
    if weights == "DEFAULT":
        return str(known.DEFAULT.url).rsplit("/", 1)[1]
    if weights not in known.__members__:
        error = unknown_name(f"weights of {name}", weights, known.__members__)
        raise InputError(error.msg, code="not_found", path="$.recipe.model_options.weights")
    return str(known[weights].url).rsplit("/", 1)[1]


def folders(roots: Sequence[Path]) -> list[Path]:
    """Where weight files are looked for: torch hub's checkpoints, then each data folder and its `checkpoints`."""
    return [Path(torch.hub.get_dir()) / "checkpoints", *(f for root in roots for f in (root / "checkpoints", root))]


def find(name: str, weights: str, roots: Sequence[Path]) -> Path:
    """The file, or InputError with the name that is expected and the places."""
    wanted = file_name(name, weights)
    places = folders(roots)
    for place in places:
        if (place / wanted).is_file():
            return place / wanted
    raise InputError(
        f"pretrained: expected the file {wanted} in {' or '.join(str(p) for p in places)}, found none: put it there, "
        "or train without pretrained",
        code="not_found",
        path="$.recipe.pretrained",
    )


def read(file: Path) -> dict[str, Tensor]:
    """The tensors of a published file; its name carries the first digits of its sha256, which are checked."""
    digits = re.search(r"-([0-9a-f]{8,})\.pth$", file.name)
    with file.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    damaged = InputError(
        f"pretrained: {file} is damaged (its sha256 begins with {actual[:8]}"
        f"{f', expected {digits[1]}' if digits else ''}): replace it",
        code="integrity",
        path="$.recipe.pretrained",
    )
    if digits and not actual.startswith(digits[1]):
        raise damaged
    try:
        return dict(torch.load(file, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        raise damaged from None


def load(declared: ModelEntry, model: nn.Module, options: Any, roots: Sequence[Path]) -> None:
    """Put the published weights into a freshly built model."""
    put(declared, model, read(find(declared.name, options.weights, roots)))


def put(declared: ModelEntry, model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy weights by name, heads of another number of classes and absent auxiliary branches aside.

    A vision transformer's position embeddings are interpolated where the image has another size (Dosovitskiy et al.
    2021, arXiv:2010.11929, section 3.2).
    """
    weights = {DENSENET_KEY.sub(r"\1\2", key): value for key, value in weights.items()}
    own = model.state_dict()
    position = "encoder.pos_embedding"
    if position in weights and position in own and weights[position].shape != own[position].shape:
        from torchvision.models.vision_transformer import interpolate_embeddings

        weights = dict(interpolate_embeddings(model.image_size, model.patch_size, weights))
    heads = tuple(f"{head}." for head in declared.heads)
    branches = tuple(f"{head.split('.')[0]}." for head in declared.heads[1:])
    fitting = {}
    for key, value in weights.items():
        fits = key in own and own[key].shape == value.shape
        if fits:
            fitting[key] = value
        elif not (key.startswith(heads) or (key not in own and key.startswith(branches))):
            raise InputError(
                f"pretrained: '{key}' of shape {tuple(value.shape)} does not fit {declared.name}: the file is of "
                "another version of the model",
                code="integrity",
                path="$.recipe.pretrained",
            )
    left = [k for k in own if k not in fitting and not k.startswith(heads) and not k.endswith("num_batches_tracked")]
    if left:
        raise InputError(
            f"pretrained: the file has no '{left[0]}' of {declared.name}: it is of another version of the model",
            code="integrity",
            path="$.recipe.pretrained",
        )
    model.load_state_dict(fitting, strict=False)
