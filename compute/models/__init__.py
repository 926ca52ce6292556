"""Models by name: what they declare, and how one is built.

A new model is one file with `ENTRIES` and one line in MODELS. Importing this builds nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from protocol.errors import InputError, unknown_name

from . import densenet, mlp, pretrained_weights, resnet, torchvision_zoo, vgg, wide_resnet
from .entry import Build, ModelEntry, NoOptions

__all__ = [
    "MODELS",
    "Build",
    "ModelEntry",
    "NoOptions",
    "build",
    "catalogue",
    "check",
    "check_pretrained",
    "entry",
    "fit_channels",
]

FAMILIES = (resnet, vgg, wide_resnet, densenet, mlp, torchvision_zoo)

MODELS: dict[str, ModelEntry] = {e.name: e for family in FAMILIES for e in family.ENTRIES}


def entry(name: str) -> ModelEntry:
    """What the model of this name declares; InputError lists the known ones."""
    if name not in MODELS:
        raise unknown_name("model", name, MODELS)
    return MODELS[name]


def build(
    name: str,
    *,
    num_classes: int,
    in_channels: int,
    image_size: int,
    options: Mapping[str, Any] | None = None,
    pretrained: bool = False,
    seed: int = 0,
    roots: Sequence[Path] = (),
) -> nn.Module:
    """The model on the CPU, in training mode, its weights a function of `seed`; the caller's random state is untouched.

    `in_channels` and `image_size` are the data's. `pretrained` reads published weights from torch hub's checkpoint
    folder or a data folder (`roots`), never from the network; heads of another number of classes stay as drawn.
    Raises InputError as `check` does, and for weights that are absent or damaged.
    """
    declared = entry(name)
    wanted = check(name, in_channels=in_channels, image_size=image_size, options=options, pretrained=pretrained)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = declared.make(
            Build(
                num_classes=num_classes,
                in_channels=declared.in_channels or in_channels,
                image_size=image_size,
                options=wanted,
            )
        )
    if pretrained:
        pretrained_weights.load(declared, model, wanted, roots)
    return model.train()


def check(
    name: str,
    *,
    in_channels: int,
    image_size: int,
    options: Mapping[str, Any] | None = None,
    pretrained: bool = False,
) -> Any:
    """The options as the entry's struct, defaults filled in, after everything that can be refused without building."""
    declared = entry(name)
    try:
        wanted = msgspec.convert(dict(options or {}), declared.options)
    except msgspec.ValidationError as error:
        known = ", ".join(declared.options.__struct_fields__) or "none"
        raise InputError(
            f"model_options of {name}: {str(error)[0].lower()}{str(error)[1:]} (its options: {known})",
            path="$.recipe.model_options",
        ) from None
    if declared.in_channels is not None and in_channels not in (1, declared.in_channels):
        raise InputError(
            f"{name}: expected images of {declared.in_channels} channels (or 1, which is repeated), got {in_channels}",
            path="$.recipe.model",
        )
    smallest = declared.min_size_for(wanted) if declared.min_size_for else declared.min_image_size
    multiple = declared.image_multiple
    if image_size < smallest or image_size % multiple:
        also = "" if multiple == 1 else f", a multiple of {multiple}"
        usable = -(-max(image_size, smallest) // multiple) * multiple
        raise InputError(
            f"{name}: expected images of at least {smallest} pixels a side{also}, got {image_size}: "
            f"resize with --image-size {usable}",
            path="$.recipe.image_size",
        )
    if pretrained and not declared.pretrained:
        raise InputError(
            f"pretrained: there are no published weights for {name}; leave it out, or choose a torchvision model",
            path="$.recipe.pretrained",
        )
    return wanted


def check_pretrained(name: str, options: Mapping[str, Any] | None, roots: Sequence[Path]) -> Path:
    """The file of published weights that `build` would read; InputError says which is expected where."""
    declared = entry(name)
    return pretrained_weights.find(name, msgspec.convert(dict(options or {}), declared.options).weights, roots)  # type: ignore[attr-defined]


def fit_channels(name: str, images: Tensor) -> Tensor:
    """Images (N, C, H, W) with the channels that the model wants: a grey one three times, as a view."""
    wanted = entry(name).in_channels
    if wanted is None or images.shape[1] == wanted:
        return images
    if images.shape[1] != 1:
        raise InputError(f"{name}: expected images of {wanted} channels, got {images.shape[1]}")
    return images.expand(-1, wanted, -1, -1)


def catalogue() -> list[dict[str, Any]]:
    """One row a model, as plain data: what it declares, its options as a JSON schema."""
    return [
        {
            "name": e.name,
            "family": e.family,
            "summary": e.summary,
            "min_image_size": e.min_image_size,
            "image_multiple": e.image_multiple,
            "in_channels": e.in_channels,
            "pretrained": e.pretrained,
            "options": msgspec.json.schema(e.options),
        }
        for e in MODELS.values()
    ]
