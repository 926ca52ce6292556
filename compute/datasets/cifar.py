"""What CIFAR-10 and CIFAR-100 share: 60,000 colour photographs, 32 x 32 (Krizhevsky 2009), torchvision's loader.

The files are pickles, so each is held against its published md5 before the loader opens it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from protocol.errors import InputError

from .data import Augmentation, DatasetEntry, Split
from .download import fetch_into

FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}  # torchvision's, the published archives'


def loader(name: str) -> Any:
    """torchvision's class for the name."""
    from torchvision import datasets

    return {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]


def finder(name: str) -> Callable[[Sequence[Path]], Path | None]:
    """Looks for the unpacked archive in root, root/<name>, or root itself where it is that folder."""

    def find(roots: Sequence[Path]) -> Path | None:
        for root in roots:
            for folder in (root / FOLDERS[name], root / name / FOLDERS[name]):
                if folder.is_dir():
                    return folder
            if root.name == FOLDERS[name] and root.is_dir():
                return root
        return None

    return find


def reader(name: str) -> Callable[[Split, Path], tuple[Tensor, Tensor]]:
    """uint8 images (N, 3, 32, 32) and int64 targets (N,) from the unpacked archive's folder."""

    def read(split: Split, where: Path) -> tuple[Tensor, Tensor]:
        from torchvision.datasets.utils import check_integrity

        kind = loader(name)
        for file, md5 in (*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])):
            found = (where / file).is_file()
            if not found or not check_integrity(str(where / file), md5):
                what = "the file is damaged (its md5 is not the published one)" if found else "the file is missing"
                raise InputError(f"{where / file}: {what}: run `thalweg data fetch {name}`", code="integrity")
        samples = kind(str(where.parent), train=split == "train")
        images = torch.from_numpy(samples.data).permute(0, 3, 1, 2).contiguous()
        return images, torch.tensor(samples.targets, dtype=torch.int64)

    return read


def fetcher(name: str) -> Callable[[Path], Path]:
    def fetch(root: Path) -> Path:
        def download(tmp: Path) -> None:
            loader(name)(str(tmp), download=True)

        return fetch_into(root, name, FOLDERS[name], download)

    return fetch


def entry(
    name: str, classes: tuple[str, ...], mean: tuple[float, ...], std: tuple[float, ...], statistics: str
) -> DatasetEntry:
    return DatasetEntry(
        name=name,
        summary=f"60,000 colour photographs of {len(classes)} classes, 32 x 32",
        channels=3,
        image_size=32,
        classes=classes,
        counts=(50_000, 10_000),
        mean=mean,
        std=std,
        statistics=statistics,
        augmentation=Augmentation(pad=4, flip=True),  # He et al. 2016, section 4.2
        expected=f"its unpacked archive, the folder {FOLDERS[name]},",
        find=finder(name),
        read=reader(name),
        fetch=fetcher(name),
    )
