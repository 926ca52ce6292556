"""The IDX format of MNIST and its kin: big-endian header, then bytes; plain or gzipped.

LeCun, Cortes & Burges, "The MNIST database", file formats: two zero bytes, type (8: unsigned byte), number of
dimensions, each dimension as uint32.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from protocol.errors import InputError

UNSIGNED_BYTE = 8


def read_idx(file: Path, dimensions: int) -> Tensor:
    """The array of a file as uint8, of that many dimensions; InputError names a file that is not that."""
    try:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{file}: expected a data file, found none", code="not_found") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise damaged(file, str(error).rstrip(".").lower()) from None
    head = 4 + 4 * dimensions
    if len(raw) < head or raw[:2] != b"\0\0" or raw[2] != UNSIGNED_BYTE or raw[3] != dimensions:
        raise damaged(file, f"it has no idx header of {dimensions} dimensions of bytes")
    shape = tuple(int(n) for n in np.frombuffer(raw, ">u4", dimensions, offset=4))
    expected = int(np.prod(shape, dtype=np.int64))
    if len(raw) - head != expected:
        raise damaged(file, f"expected {expected:,} bytes after the header, got {len(raw) - head:,}")
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=head).reshape(shape).copy())


def damaged(file: Path, why: str) -> InputError:
    """The sentence for a file that cannot be read."""
    return InputError(f"{file}: the file is damaged ({why}): replace it", code="integrity")
