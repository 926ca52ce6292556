"""What a model declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from torch import nn


class NoOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model without options."""


class Build(Struct, frozen=True, kw_only=True):
    """What a model is built for. `options` is an instance of the entry's option struct."""

    num_classes: int
    in_channels: int
    image_size: int
    options: Any


class ModelEntry(Struct, frozen=True, kw_only=True):
    """A model by name.

    `make(build)` gives the module with its initial weights drawn from torch's global CPU generator, which
    `models.build` seeds. `heads` names the modules whose size is the number of classes, the main one first: these alone
    stay at their initial weights when pretrained ones are of another number of classes. The smallest image is the
    smallest that runs in training and in evaluation; `min_size_for(options)` says it where options change it.
    """

    name: str
    family: str
    summary: str
    make: Callable[[Build], nn.Module]
    heads: tuple[str, ...]
    min_image_size: int  # pixels a side
    min_size_for: Callable[[Any], int] | None = None
    image_multiple: int = 1  # the side must be a multiple of this
    in_channels: int | None = None  # None: whatever the data has; 3: a grey image is repeated
    options: type[Struct] = NoOptions
    aux_weights: tuple[float, ...] = ()  # loss weights of the auxiliary outputs that training mode gives after the main
    pretrained: bool = False  # whether there are published weights for it
