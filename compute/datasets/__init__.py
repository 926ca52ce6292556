"""Data sets by name: what they declare, where they are looked for, and how one becomes tensors.

A new data set is one file with an `ENTRY` and one line in DATASETS. Nothing is read or imported before `load`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from protocol.errors import InputError, unknown_name

from . import cifar10, cifar100, digits, fashion_mnist, mnist
from .data import Augmentation, DatasetEntry, Split, TensorData, to_device
from .folders import search_roots
from .resize import resize
from .sampling import generator, permutation, sample, stratified

__all__ = [
    "DATASETS",
    "Augmentation",
    "DatasetEntry",
    "Split",
    "TensorData",
    "available",
    "entry",
    "fetch",
    "generator",
    "listing",
    "load",
    "permutation",
    "sample",
    "search_roots",
    "stratified",
    "to_device",
]

DATASETS: dict[str, DatasetEntry] = {
    e.name: e for e in (digits.ENTRY, fashion_mnist.ENTRY, mnist.ENTRY, cifar10.ENTRY, cifar100.ENTRY)
}


def entry(name: str) -> DatasetEntry:
    """What the data set of this name declares; InputError lists the known ones."""
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS, "thalweg data list")
    return DATASETS[name]


def available(name: str, roots: Sequence[Path]) -> Path | None:
    """Where the data set lies, or None."""
    return entry(name).find(roots)


def load(
    name: str,
    split: Split,
    roots: Sequence[Path] = (),
    image_size: int | None = None,
    *,
    limit: int | None = None,
    seed: int = 0,
) -> TensorData:
    """A split as tensors: images float32 (N, C, H, W), (pixel - mean) / std as declared; targets int64 (N,).

    `image_size` resizes to that many pixels a side (bilinear, antialiased). `limit` draws a stratified sample by `seed`
    before resizing, so that only what is asked for takes memory: the same samples as `sample(load(...), limit, seed)`.
    Raises InputError: unknown name or split, data absent or damaged, too large for this machine's memory.
    """
    declared = entry(name)
    if split not in ("train", "test"):
        raise InputError(f"split: expected train or test, got '{split}'", path="$.split")
    if limit is not None and limit < 1:
        raise InputError(f"limit: expected at least 1 sample, got {limit}", path="$.limit")
    where = declared.find(roots)
    if where is None:
        raise absent(declared, roots)
    stored, targets = declared.read(split, where)
    if limit is not None and limit < len(targets):
        index = stratified(targets, limit, seed)
        stored, targets = stored[index], targets[index]
    side = image_size or declared.image_size
    check_memory(declared, len(targets), side)
    images = stored.to(torch.float32).div_(declared.scale)
    del stored
    images = resize(images, side)
    shape = (1, declared.channels, 1, 1)
    images = images.sub_(torch.tensor(declared.mean).view(shape)).div_(torch.tensor(declared.std).view(shape))
    return TensorData(
        name=name,
        split=split,
        images=images,
        targets=targets,
        classes=declared.classes,
        mean=declared.mean,
        std=declared.std,
        augmentation=declared.augmentation,
        native_size=declared.image_size,
        where=str(where),
    )


def fetch(name: str, root: Path) -> Path:
    """Download the data set into `root` and say where it lies now. Only `thalweg data fetch` calls this."""
    declared = entry(name)
    if declared.fetch is None:
        raise InputError(f"{name}: nothing to download, it comes with {declared.expected}")
    return declared.fetch(root)


def listing(roots: Sequence[Path]) -> list[dict[str, Any]]:
    """One row a data set, as plain data: what it declares and `where` it lies (None: not here)."""
    rows = []
    for name, declared in DATASETS.items():
        where = declared.find(roots)
        rows.append(
            {
                "name": name,
                "summary": declared.summary,
                "channels": declared.channels,
                "image_size": declared.image_size,
                "classes": len(declared.classes),
                "train": declared.counts[0],
                "test": declared.counts[1],
                "where": None if where is None else str(where),
                "fetchable": declared.fetch is not None,
            }
        )
    return rows


def absent(declared: DatasetEntry, roots: Sequence[Path]) -> InputError:
    """The sentence for a data set that is in none of the folders."""
    if declared.fetch is None:
        text = f"{declared.name}: expected {declared.expected}, which is not installed: pip install 'thalweg[compute]'"
    else:
        folders = ", ".join(str(r) for r in roots) or "a data folder (none was given)"
        text = (
            f"{declared.name}: expected {declared.expected} in one of {folders}, found none: "
            f"run `thalweg data fetch {declared.name}`"
        )
    return InputError(text, code="not_found", path="$.recipe.dataset")


def check_memory(declared: DatasetEntry, n: int, side: int) -> None:
    """Refuse what cannot be resident: float32 images, and as much again while they are made."""
    need = 2 * 4 * n * declared.channels * side * side
    have = memory_free()
    if have is not None and need > have:
        raise InputError(
            f"{declared.name}: {n:,} images of {side} x {side} need {need / 2**30:.1f} GiB of memory and "
            f"{have / 2**30:.1f} are free: choose a smaller --image-size or a --limit",
            code="too_large",
            path="$.recipe.image_size",
        )


def memory_free() -> int | None:
    """Bytes that can be taken now without swapping, or None where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
