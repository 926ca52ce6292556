"""Arithmetic and randomness of one step: set inside, the caller's settings and random state again after."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch

from compute import execution
from compute.datasets import generator
from protocol.messages import Precision


def sums_device(device: torch.device) -> torch.device:
    """Where float64 sums are kept: the device, or the CPU for one that has no float64."""
    return torch.device("cpu") if device.type == "mps" else device


def autocast(precision: Precision, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 where the precision says so; else none, also where the caller is inside one."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


@contextlib.contextmanager
def numerics(precision: Precision, device: torch.device) -> Iterator[None]:
    """The precision's arithmetic and deterministic kernels inside, the caller's settings again after.

    The arithmetic is that of `execution.arithmetic`. CUDA kernels without a deterministic version go on with torch's
    warning; those of other devices are deterministic.
    """
    with execution.arithmetic(precision), execution.deterministic(device.type == "cuda"):
        yield


@contextlib.contextmanager
def seeded(device: torch.device, *key: int | str) -> Iterator[None]:
    """torch's global generators seeded by `key` inside (dropout draws from them), the caller's state again after."""
    seed = generator(*key).initial_seed()
    used = [torch.default_generator]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        used.append(torch.cuda.default_generators[index])
    elif device.type == "mps":
        used.append(torch.mps._get_default_mps_generator())
    states = [g.get_state() for g in used]
    for g in used:
        g.manual_seed(seed)
    try:
        yield
    finally:
        for g, state in zip(used, states):
            g.set_state(state)
