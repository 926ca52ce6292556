"""scikit-learn's digits: 1,797 handwritten digits of 8 x 8 pixels in 17 grey levels, embedded in the package.

Alpaydin & Kaynak 1998, UCI "Optical Recognition of Handwritten Digits", its test part. It has no split of its own: here
a seeded one, stratified by class, 80 % for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from protocol.errors import InputError

from .data import Augmentation, DatasetEntry, Split
from .sampling import stratified

SPLIT_SEED = 0  # part of the data set's definition
TRAIN = 1437


def find(roots: Sequence[Path]) -> Path | None:
    """The installed package: the data travels with it."""
    import importlib.util

    found = importlib.util.find_spec("sklearn")
    return Path(found.origin).parent / "datasets" if found and found.origin else None


def read(split: Split, where: Path) -> tuple[Tensor, Tensor]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError(
            "digits: they come with scikit-learn, which is not installed: pip install 'thalweg[compute]'",
            code="unavailable",
        ) from None
    bunch = load_digits()
    images = torch.from_numpy(bunch.images).to(torch.uint8)[:, None]
    targets = torch.from_numpy(bunch.target).to(torch.int64)
    chosen = torch.zeros(len(targets), dtype=torch.bool)
    chosen[stratified(targets, TRAIN, SPLIT_SEED)] = True
    keep = chosen if split == "train" else ~chosen
    return images[keep], targets[keep]


ENTRY = DatasetEntry(
    name="digits",
    summary="scikit-learn's 8 x 8 handwritten digits, embedded",
    channels=1,
    image_size=8,
    classes=tuple("0123456789"),
    counts=(TRAIN, 1797 - TRAIN),
    scale=16.0,
    mean=(0.3055,),
    std=(0.3763,),
    statistics="computed here over the 1,437 training images",
    augmentation=Augmentation(pad=1, flip=False),  # a mirrored 2 or 5 is no digit
    expected="scikit-learn, which carries them",
    find=find,
    read=read,
)
