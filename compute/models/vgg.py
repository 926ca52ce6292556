"""VGG-9 for small images: Li et al. 2018, arXiv:1712.09913, section 5.

Six 3 x 3 convolutions with four halvings, then three linear layers of 512 (after Simonyan & Zisserman 2015,
arXiv:1409.1556). Batch norm, as in Li et al.'s code, can be left out.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from torch import Tensor, nn

from .entry import Build, ModelEntry

CHANNELS = (1, 0, 2, 0, 4, 4, 0, 8, 8, 0)  # times the width; 0 halves the resolution


class VggOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of VGG-9."""

    width: Annotated[int, Meta(ge=1, le=1024)] = 64  # channels of the first layer
    batch_norm: bool = True
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # before each linear layer


class Vgg(nn.Module):
    """Images (N, C, H, W) to logits (N, num_classes)."""

    def __init__(self, build: Build) -> None:
        super().__init__()
        options = build.options
        self.features = nn.Sequential()
        inputs, side = build.in_channels, build.image_size
        for factor in CHANNELS:
            if factor == 0:
                self.features.append(nn.MaxPool2d(2))
                side //= 2
                continue
            outputs = factor * options.width
            self.features.append(nn.Conv2d(inputs, outputs, 3, padding=1, bias=not options.batch_norm))
            if options.batch_norm:
                self.features.append(nn.BatchNorm2d(outputs))
            self.features.append(nn.ReLU())
            inputs = outputs
        hidden = inputs
        self.classifier = nn.Sequential()
        for features in (inputs * side * side, hidden):
            if options.dropout:
                self.classifier.append(nn.Dropout(options.dropout))
            self.classifier.append(nn.Linear(features, hidden, bias=not options.batch_norm))
            if options.batch_norm:
                self.classifier.append(nn.BatchNorm1d(hidden))
            self.classifier.append(nn.ReLU())
        if options.dropout:
            self.classifier.append(nn.Dropout(options.dropout))
        self.fc = nn.Linear(hidden, build.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.classifier(self.features(x).flatten(1)))


ENTRIES = (
    ModelEntry(
        name="vgg9",
        family="vgg-cifar",
        summary="VGG-9 for small images (Li et al.)",
        make=Vgg,
        heads=("fc",),
        min_image_size=16,  # four halvings
        options=VggOptions,
    ),
)
