"""A small real problem that trains in a blink: digits and nets of a few thousand weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compute import datasets


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    """The first 700 training digits: (700, 1, 8, 8) and (700,)."""
    data = datasets.load("digits", "train")
    return data.images[:700].contiguous(), data.targets[:700].contiguous()


class TiedHead(nn.Module):
    """An autoencoder with batch norm whose head reads the code through the encoder's own weight: one parameter, two
    names."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(64, 64, bias=False)
        self.norm = nn.BatchNorm1d(64)
        self.again = nn.Linear(64, 64, bias=False)
        self.again.weight = self.encode.weight
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        code = torch.relu(self.norm(self.encode(x.flatten(1))))
        return self.head(self.again(code))


def conv_net(seed: int = 0) -> nn.Module:
    """Two convolutions, two batch norms, a linear head; 8 x 8 grey images in, 10 classes out."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10),
        )  # fmt: skip


class Flattening(nn.Module):
    """A LeNet of the old school: it flattens with `.view`, which a channels-last tensor cannot do."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.head = nn.Linear(6 * 4 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        return self.head(x.view(x.size(0), -1))


def flattening_net(seed: int = 0) -> nn.Module:
    """`Flattening`, its weights drawn by `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Flattening()


def tied_net(seed: int = 0) -> nn.Module:
    """`TiedHead`, its weights drawn by `seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TiedHead()


def trained(
    make: Callable[[], nn.Module] = conv_net, epochs: int = 6, lr: float = 0.2
) -> tuple[nn.Module, list[dict[str, Tensor]]]:
    """A net after a few epochs of SGD, and copies of its state dict at theta_0 and at each epoch's end."""
    model, (x, y) = make(), digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    states = [snapshot(model)]
    for _ in range(epochs):
        for k in range(0, len(x), 100):
            optimizer.zero_grad()
            F.cross_entropy(model(x[k : k + 100]), y[k : k + 100]).backward()
            optimizer.step()
        states.append(snapshot(model))
    return model.eval(), states


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    """A copy of a state dict; `model.state_dict()` alone is a live view."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def save(states: list[dict[str, Tensor]], folder: Path, model: nn.Module) -> list[Path]:
    """The states as checkpoint files of this project."""
    from compute.checkpoints import write_checkpoint
    from protocol.messages import Recipe

    files = []
    for k, state in enumerate(states):
        model.load_state_dict(state)
        files.append(write_checkpoint(folder, model, step=k * 7, epoch=float(k), recipe=Recipe(), metrics={})[0])
    return files
