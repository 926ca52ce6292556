"""The sums of a row as one blob: the arrays of its surface's metrics, one after the other, as declared."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.shares import MetricDecl

from . import columns

Bytes = bytes | memoryview  # one item a byte


@dataclass(frozen=True)
class SumLayout:
    """Where each named sum (W,) lies in the blob of a row."""

    width: int
    columns: tuple[tuple[str, str, int], ...]  # name, dtype, first byte
    sizes: tuple[tuple[str, int], ...]  # name, bytes
    size: int  # bytes of a row

    @classmethod
    def of(cls, metrics: Iterable[MetricDecl], width: int) -> SumLayout:
        """The layout of rows of `width` points that hold these metrics' sums (one that two declare once)."""
        columns: dict[str, tuple[str, str, int]] = {}
        at = 0
        for metric in metrics:
            for name, dtype in metric.sums.items():
                if name not in columns:
                    columns[name] = (name, dtype, at)
                    at += width * np.dtype(dtype).itemsize
        sizes = tuple((name, width * np.dtype(dtype).itemsize) for name, dtype, _ in columns.values())
        return cls(width, tuple(columns.values()), sizes, at)

    def pack(self, sums: Mapping[str, Bytes]) -> bytes:
        """The blob of named <f8 and <i4 arrays given by their bytes. Raises InputError where one is absent, of another
        length or not declared."""
        parts = []
        for name, expected in self.sizes:
            part = sums.get(name)
            if part is None or len(part) != expected:
                got = "none" if part is None else f"{len(part)} bytes"
                raise InputError(f"row: expected {expected} bytes of '{name}' ({self.width} points), got {got}")
            parts.append(part)
        if len(sums) != len(self.columns):
            known = ", ".join(name for name, _, _ in self.columns)
            raise InputError(f"row: expected the sums {known}; got {', '.join(sorted(sums))}")
        return b"".join(parts)

    def unpack(self, blob: bytes, crc: int) -> dict[str, NDArray[np.generic]]:
        """The named sums (W,) of a blob, as read-only views. Raises InputError where it is not the one that was stored
        (another length, another CRC-32)."""
        if len(blob) != self.size:
            raise InputError(f"row: expected {self.size} bytes of sums, found {len(blob)}", code="integrity")
        if zlib.crc32(blob) != crc:
            raise InputError("row: corrupted: its sums do not match their checksum", code="integrity")
        return {
            name: np.frombuffer(blob, dtype=dtype, count=self.width, offset=first)
            for name, dtype, first in self.columns
        }


@lru_cache(maxsize=64)
def layout_of(metrics: str, width: int) -> SumLayout:
    """The layout of rows of a surface whose metrics are stored as this text; kept, since every row asks for it."""
    return SumLayout.of(columns.unpack(metrics, tuple[MetricDecl, ...]), width)
