"""A multilayer perceptron on the pixels: the smallest thing with a landscape, and the quickest to measure."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from torch import Tensor, nn

from .entry import Build, ModelEntry


class MlpOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the perceptron."""

    width: Annotated[int, Meta(ge=1, le=65536)] = 64
    depth: Annotated[int, Meta(ge=0, le=64)] = 2  # hidden layers
    batch_norm: bool = False
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0


class Mlp(nn.Module):
    """Images (N, C, H, W) to logits (N, num_classes)."""

    def __init__(self, build: Build) -> None:
        super().__init__()
        options = build.options
        features = build.in_channels * build.image_size**2
        self.hidden = nn.Sequential()
        for _ in range(options.depth):
            self.hidden.append(nn.Linear(features, options.width))
            if options.batch_norm:
                self.hidden.append(nn.BatchNorm1d(options.width))
            self.hidden.append(nn.ReLU())
            if options.dropout:
                self.hidden.append(nn.Dropout(options.dropout))
            features = options.width
        self.fc = nn.Linear(features, build.num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.hidden(x.flatten(1)))


ENTRIES = (
    ModelEntry(
        name="mlp",
        family="mlp",
        summary="multilayer perceptron on the pixels",
        make=Mlp,
        heads=("fc",),
        min_image_size=1,
        options=MlpOptions,
    ),
)
