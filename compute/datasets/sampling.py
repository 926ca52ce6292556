"""Seeded orders and samples: the same for a seed on every device."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from protocol.errors import InputError

from .data import TensorData


def generator(*key: int | str) -> torch.Generator:
    """A CPU generator whose seed is the sha256 of `key`, so that any part of a job has its own, without state."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def permutation(n: int, seed: int) -> Tensor:
    """THE data order of a surface: a seeded permutation of range(n), int64 (n,)."""
    return torch.randperm(n, generator=generator("permutation", seed))


def stratified(targets: Tensor, limit: int, seed: int) -> Tensor:
    """Positions of a seeded sample of `limit`, ascending, int64 (limit,).

    Class c of n_c samples gets floor or ceil of limit * n_c / n (largest remainders; ties fall to the seed), so every
    class is within one of its proportional share.
    """
    n = int(targets.shape[0])
    draw = generator("sample", seed)
    order = torch.randperm(n, generator=draw)
    counts = torch.bincount(targets.cpu())
    exact = counts * limit  # n times the share: whole numbers, so remainders compare exactly
    take = exact // n
    tie_break = torch.randperm(len(counts), generator=draw)
    by_remainder = sorted(range(len(counts)), key=lambda c: (-int(exact[c] % n), int(tie_break[c])))
    for c in by_remainder[: limit - int(take.sum())]:
        take[c] += 1
    shuffled = targets.cpu()[order]
    picked = [order[shuffled == c][: int(take[c])] for c in range(len(counts))]
    return torch.cat(picked).sort().values


def sample(data: TensorData, limit: int | None, seed: int) -> TensorData:
    """`limit` samples of `data`, drawn by `seed`, stratified by class; all of it where limit is None or not smaller."""
    if limit is not None and limit < 1:
        raise InputError(f"limit: expected at least 1 sample, got {limit}", path="$.limit")
    if limit is None or limit >= len(data):
        return data
    return data.take(stratified(data.targets, limit, seed))
