"""Fashion-MNIST: 70,000 pictures of clothes, 28 x 28, grey (Xiao et al. 2017, arXiv:1708.07747).

The Debian package dataset-fashion-mnist puts it where it is found: share/datasets/fashion-mnist.
"""

from __future__ import annotations

from pathlib import Path

from .data import Augmentation, DatasetEntry
from .download import fetch_into
from .mnist import finder, read


def fetch(root: Path) -> Path:
    def download(tmp: Path) -> None:
        from torchvision.datasets import FashionMNIST

        FashionMNIST(str(tmp), download=True)

    return fetch_into(root, "fashion-mnist", "FashionMNIST", download) / "raw"


ENTRY = DatasetEntry(
    name="fashion-mnist",
    summary="70,000 pictures of clothes, 28 x 28, grey",
    channels=1,
    image_size=28,
    classes=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    counts=(60_000, 10_000),
    mean=(0.2860,),
    std=(0.3530,),
    statistics="computed here over the 60,000 training images",
    augmentation=Augmentation(
        pad=2, flip=True
    ),  # clothes have no handedness; shoes here all point left, a mirror helps
    expected="its idx files (train-images-idx3-ubyte.gz, ...) in a folder fashion-mnist or FashionMNIST/raw",
    find=finder("fashion-mnist", "FashionMNIST"),
    read=read,
    fetch=fetch,
)
