"""Gives memory back to the system that a picture is done with."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

LARGE = 1 << 20  # bytes
MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of glibc's malloc.h


@cache
def _libc() -> Any:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


def return_large() -> None:
    """From now on, let glibc give every block over LARGE back as soon as it is freed: it would learn from the first
    texture that is freed to keep all of its size, and where small blocks lie between them it keeps what it has."""
    if hasattr(_libc(), "mallopt"):
        _libc().mallopt(MMAP_THRESHOLD, LARGE)


def return_free() -> None:
    """Give what is free now back, some milliseconds' work."""
    if hasattr(_libc(), "malloc_trim"):
        _libc().malloc_trim(0)
