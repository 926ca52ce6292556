"""The losses that a surface job can name; a notebook may pass any function to `landscape.measure`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F

from protocol.errors import unknown_name

LOSSES: dict[str, Callable[..., Any]] = {"cross_entropy": F.cross_entropy}


def named(name: str) -> Callable[..., Any]:
    """The loss of this name; InputError lists the known ones."""
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    return LOSSES[name]
