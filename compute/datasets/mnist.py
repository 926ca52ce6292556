"""MNIST: 70,000 handwritten digits, 28 x 28, grey (LeCun et al. 1998). And the reader that Fashion-MNIST shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor

from protocol.errors import InputError

from .data import Augmentation, DatasetEntry, Split
from .download import fetch_into
from .idx import damaged, read_idx

STEMS = {"train": "train", "test": "t10k"}


def file_of(folder: Path, split: str, kind: str) -> Path | None:
    """The images or labels of a split in a folder, plain before gzipped."""
    stem = f"{STEMS[split]}-{'images-idx3' if kind == 'images' else 'labels-idx1'}-ubyte"
    return next((folder / n for n in (stem, f"{stem}.gz") if (folder / n).is_file()), None)


def finder(plain: str, torchvision_name: str) -> Callable[[Sequence[Path]], Path | None]:
    """Looks in root/<plain>, root/<torchvision_name>/raw and, when it is called one of these itself, in root.

    MNIST and Fashion-MNIST have the same file names, so the folder's name must tell them apart.
    """

    def find(roots: Sequence[Path]) -> Path | None:
        for root in roots:
            folders = [root / plain, root / torchvision_name / "raw", root / torchvision_name]
            if root.name in (plain, torchvision_name):
                folders += [root, root / "raw"]
            for folder in folders:
                if all(file_of(folder, split, kind) for split in STEMS for kind in ("images", "labels")):
                    return folder
        return None

    return find


def read(split: Split, where: Path) -> tuple[Tensor, Tensor]:
    """uint8 images (N, 1, 28, 28) and int64 targets (N,) of a folder of idx files."""
    images_file, labels_file = file_of(where, split, "images"), file_of(where, split, "labels")
    if images_file is None or labels_file is None:
        raise InputError(f"{where}: expected the idx files of the {split} split, found none", code="not_found")
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if images.shape[1:] != (28, 28):
        raise damaged(images_file, f"expected images of 28 x 28, got {images.shape[1]} x {images.shape[2]}")
    if len(images) != len(labels) or len(images) == 0:
        raise damaged(labels_file, f"expected a label for each of {len(images):,} images, got {len(labels):,}")
    if int(labels.max()) > 9:
        raise damaged(labels_file, f"expected classes 0 to 9, got {int(labels.max())}")
    return images[:, None], labels.long()


def fetch(root: Path) -> Path:
    def download(tmp: Path) -> None:
        from torchvision.datasets import MNIST

        MNIST(str(tmp), download=True)

    return fetch_into(root, "mnist", "MNIST", download) / "raw"


ENTRY = DatasetEntry(
    name="mnist",
    summary="70,000 handwritten digits, 28 x 28, grey",
    channels=1,
    image_size=28,
    classes=tuple("0123456789"),
    counts=(60_000, 10_000),
    mean=(0.1307,),
    std=(0.3081,),
    statistics="the training images; the figures of PyTorch's own MNIST example",
    augmentation=Augmentation(pad=2, flip=False),  # a mirrored 2 or 5 is no digit
    expected="its idx files (train-images-idx3-ubyte.gz, ...) in a folder mnist or MNIST/raw",
    find=finder("mnist", "MNIST"),
    read=read,
    fetch=fetch,
)
