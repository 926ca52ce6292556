"""Wide residual networks: Zagoruyko & Komodakis 2016, arXiv:1605.07146.

WRN-d-k: three stages of (d - 4) / 6 blocks of k * 16, k * 32 and k * 64 channels, batch norm and ReLU before each
convolution, dropout between a block's two (section 2.4). Li et al. 2018 draw WRN-56-k; the paper's best is WRN-28-10.
"""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from msgspec import Meta, Struct
from torch import Tensor, nn

from .entry import Build, ModelEntry


class WideOptions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of the wide ResNets."""

    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.0  # between a block's convolutions; the paper uses 0.3 on CIFAR


class WideBlock(nn.Module):
    """Norm, ReLU, convolution, twice, beside the shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(x))
        beside = x if self.shortcut is None else self.shortcut(y)
        y = self.dropout(self.conv1(y))
        return self.conv2(F.relu(self.bn2(y))) + beside


class WideResNet(nn.Module):
    """Images (N, C, H, W) to logits (N, num_classes)."""

    def __init__(self, depth: int, factor: int, build: Build) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(build.in_channels, 16, 3, padding=1, bias=False)
        self.stages = nn.Sequential()
        inputs = 16
        for stage in range(3):
            outputs = 16 * factor * 2**stage
            layers = nn.Sequential()
            for i in range((depth - 4) // 6):
                stride = 2 if stage > 0 and i == 0 else 1
                layers.append(WideBlock(inputs, outputs, stride, build.options.dropout))
                inputs = outputs
            self.stages.append(layers)
        self.bn = nn.BatchNorm2d(inputs)
        self.fc = nn.Linear(inputs, build.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.stages(self.conv1(x))))
        return self.fc(x.mean(dim=(2, 3)))


def entry(depth: int, factor: int) -> ModelEntry:
    return ModelEntry(
        name=f"wrn-{depth}-{factor}",
        family="wide-resnet-cifar",
        summary=f"Wide ResNet {depth}-{factor} for small images (Zagoruyko & Komodakis)",
        make=lambda build: WideResNet(depth, factor, build),
        heads=("fc",),
        min_image_size=4,
        options=WideOptions,
    )


ENTRIES = (entry(16, 4), entry(28, 10))
