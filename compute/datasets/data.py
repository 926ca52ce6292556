"""What a data set declares and what loading one gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from msgspec import Struct
from torch import Tensor

Split = Literal["train", "test"]


class Augmentation(Struct, frozen=True, kw_only=True):
    """A data set's own standard augmentation: a shift by up to `pad` pixels of its native size, and mirroring."""

    pad: int
    flip: bool


class DatasetEntry(Struct, frozen=True, kw_only=True):
    """What a data set declares. `find`, `read` and `fetch` are the only things that touch files.

    `find(roots)` gives the folder or file where the data is, or None. `read(split, where)` gives uint8 images
    (N, C, H, W) and int64 targets (N,), or raises InputError with the file's name. `fetch(root)` downloads into root.
    """

    name: str
    summary: str
    channels: int
    image_size: int  # pixels a side
    classes: tuple[str, ...]
    counts: tuple[int, int]  # training and test samples
    scale: float = 255.0  # the stored value that means 1.0
    mean: tuple[float, ...]  # of the training split, per channel, on the scale [0, 1]
    std: tuple[float, ...]
    statistics: str  # where mean and std come from
    augmentation: Augmentation
    expected: str  # what is looked for, for the sentence that says it is not there
    find: Callable[[Sequence[Path]], Path | None]
    read: Callable[[Split, Path], tuple[Tensor, Tensor]]
    fetch: Callable[[Path], Path] | None = None  # None: nothing to download


@dataclass(frozen=True)
class TensorData:
    """A split, resident and normalised: images float32 (N, C, H, W), targets int64 (N,), and what was declared."""

    name: str
    split: str
    images: Tensor
    targets: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: Augmentation
    native_size: int  # pixels a side before any resize
    where: str  # the file or folder it was read from

    def __len__(self) -> int:
        return int(self.targets.shape[0])

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def channels(self) -> int:
        return int(self.images.shape[1])

    @property
    def image_size(self) -> int:
        return int(self.images.shape[-1])

    def take(self, index: Tensor) -> TensorData:
        """The samples at `index` (n,), in that order."""
        return replace(self, images=self.images[index], targets=self.targets[index])


def to_device(images: Tensor, device: torch.device) -> Tensor:
    """Images (N, C, H, W) on the device; a grey image seen as three channels stays a view, a third of the memory."""
    if images.shape[1] > 1 and images.stride(1) == 0:
        return images[:, :1].to(device).expand_as(images)
    return images.to(device)
