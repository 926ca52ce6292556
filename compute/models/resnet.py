"""ResNets for small images, with and without shortcuts.

He et al. 2016, arXiv:1512.03385, section 4.2: a 3 x 3 convolution, three stages of n blocks at 16, 32 and 64 channels
and halving resolution, global average, one linear layer: 6n + 2 layers. The shortcut that changes shape is a strided
1 x 1 convolution with batch norm, as in Li et al. 2018, arXiv:1712.09913, whose no-shortcut versions (section 6) these
are. Convolutions are drawn as in He et al. 2015, arXiv:1502.01852 (normal, fan out).
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from msgspec import Meta, Struct
from torch import Tensor, nn

from .entry import Build, ModelEntry


class ResNetOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the small ResNets."""

    width: Annotated[int, Meta(ge=1, le=1024)] = 16  # channels of the first stage


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)


class Block(nn.Module):
    """Two convolutions, and the shortcut around them unless it is left out."""

    def __init__(self, inputs: int, outputs: int, stride: int, shortcut: bool) -> None:
        super().__init__()
        self.conv1 = conv3x3(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = conv3x3(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module | None = None
        if shortcut and (stride != 1 or inputs != outputs):
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )
        elif shortcut:
            self.shortcut = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        return F.relu(y)


class ResNet(nn.Module):
    """Images (N, C, H, W) to logits (N, num_classes)."""

    def __init__(self, blocks: int, shortcut: bool, build: Build) -> None:
        super().__init__()
        width = build.options.width
        self.conv1 = conv3x3(build.in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = nn.Sequential()
        inputs = width
        for stage in range(3):
            outputs = width * 2**stage
            layers = nn.Sequential()
            for i in range(blocks):
                layers.append(Block(inputs, outputs, 2 if stage > 0 and i == 0 else 1, shortcut))
                inputs = outputs
            self.stages.append(layers)
        self.fc = nn.Linear(inputs, build.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.stages(x)
        return self.fc(x.mean(dim=(2, 3)))


def entry(depth: int, shortcut: bool) -> ModelEntry:
    blocks = (depth - 2) // 6
    return ModelEntry(
        name=f"resnet{depth}" if shortcut else f"resnet{depth}-noshort",
        family="resnet-cifar",
        summary=f"ResNet-{depth} for small images{'' if shortcut else ' without its shortcuts'} (He et al., Li et al.)",
        make=lambda build: ResNet(blocks, shortcut, build),
        heads=("fc",),
        min_image_size=4,  # three resolutions: below 4 the last stage has nothing left to halve
        options=ResNetOptions,
    )


ENTRIES = tuple(entry(depth, shortcut) for depth in (20, 56, 110) for shortcut in (True, False))
