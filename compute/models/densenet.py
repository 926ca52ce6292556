"""DenseNet-121 for small images: Huang et al. 2017, arXiv:1608.06993, with the 3 x 3 stem that Li et al. 2018 draw.

Four dense blocks of 6, 12, 24 and 16 layers with growth rate 32, bottlenecks (DenseNet-B) and transitions that halve
channels (C, theta = 0.5) and resolution.
"""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from msgspec import Meta, Struct
from torch import Tensor, nn

from .entry import Build, ModelEntry

BLOCKS = (6, 12, 24, 16)


class DenseOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the small DenseNet."""

    growth: Annotated[int, Meta(ge=2, le=256)] = 32  # channels that each layer adds


class DenseLayer(nn.Module):
    """Adds `growth` channels to those it was given."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.bn1(x)))
        return torch.cat((x, self.conv2(F.relu(self.bn2(y)))), dim=1)


class DenseNet(nn.Module):
    """Images (N, C, H, W) to logits (N, num_classes)."""

    def __init__(self, build: Build) -> None:
        super().__init__()
        growth = build.options.growth
        channels = 2 * growth
        self.stem = nn.Conv2d(build.in_channels, channels, 3, padding=1, bias=False)
        self.blocks = nn.Sequential()
        for i, layers in enumerate(BLOCKS):
            for _ in range(layers):
                self.blocks.append(DenseLayer(channels, growth))
                channels += growth
            if i + 1 < len(BLOCKS):
                transition = (nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1, bias=False))
                self.blocks.append(nn.Sequential(*transition, nn.AvgPool2d(2)))
                channels //= 2
        self.bn = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, build.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.blocks(self.stem(x))))
        return self.fc(x.mean(dim=(2, 3)))


ENTRIES = (
    ModelEntry(
        name="densenet121-cifar",
        family="densenet-cifar",
        summary="DenseNet-121 for small images (Huang et al., Li et al.)",
        make=DenseNet,
        heads=("fc",),
        min_image_size=8,  # three halvings
        options=DenseOptions,
    ),
)
