"""Weight files as the daemon sees them, without torch: names, hashes, and reading by `pread`.

`step-NNNNNNNN.safetensors` holds the deduplicated parameters and the buffers after that many optimiser steps;
`resume-NNNNNNNN.safetensors` what training needs to go on from there. Their sha256 stand in `SHA256SUMS` beside them
(as `sha256sum -c` reads it), written before the rename, so that every file under its final name has its line.

Reading uses `pread` into one buffer, never a memory map: a mapped sweep over 610 MB of checkpoints grew resident
memory by 758 MB, `pread` by 148 (math.md, "PCA plane").
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

SUMS = "SHA256SUMS"
MAX_HEADER = 100 * 1024 * 1024  # the safetensors format's own bound
CHUNK = 1 << 20
_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "U8": "|u1",
    "BOOL": "|b1",
}


def step_file(folder: Path, step: int) -> Path:
    """The checkpoint of a run's folder after `step` optimiser steps."""
    return folder / f"step-{step:08d}.safetensors"


def resume_file(folder: Path, step: int) -> Path:
    """The state from which training goes on after `step`."""
    return folder / f"resume-{step:08d}.safetensors"


def hash_file(fd: int) -> str:
    """sha256 of an open file, by pread."""
    digest, at = hashlib.sha256(), 0
    while piece := os.pread(fd, CHUNK, at):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()


def known_hash(file: Path) -> str | None:
    """The newest sha256 that SHA256SUMS beside the file gives for it, if any."""
    try:
        lines = (file.parent / SUMS).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    return next((line[:64] for line in reversed(lines) if line[66:] == file.name), None)


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: dtype as numpy writes it, shape, and the bytes [start, stop) of the file it fills."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int
    bf16: bool


class TensorFile:
    """A safetensors file, opened for reading by `pread`. Checks its header, its length and, where known, its hash.

    Raises InputError, naming the file, for one that is absent, truncated, corrupted or of another kind.
    """

    def __init__(self, file: str | os.PathLike[str], *, check_hash: bool = True) -> None:
        self.file = Path(file)
        try:
            self._fd = os.open(self.file, os.O_RDONLY)
        except OSError as e:
            raise InputError(
                f"{file}: expected a checkpoint file (.safetensors), cannot open it ({e.strerror})", code="not_found"
            ) from e
        try:
            self.entries, self.about, self._size = self._read_header()
            expected = known_hash(self.file) if check_hash else None
            if expected and hash_file(self._fd) != expected:
                raise self._damaged(f"its bytes do not match the sha256 in {SUMS}")
        except BaseException:
            os.close(self._fd)
            self._fd = -1
            raise

    def _damaged(self, why: str) -> InputError:
        return InputError(
            f"{self.file}: corrupted or truncated ({why}): train again or restore the file", code="integrity"
        )

    def _read_header(self) -> tuple[dict[str, Entry], dict[str, Any], int]:
        size = os.fstat(self._fd).st_size
        head = os.pread(self._fd, 8, 0)
        if len(head) < 8:
            raise self._damaged("it has no header")
        (length,) = struct.unpack("<Q", head)
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise self._damaged("its header is not that of a safetensors file")
        try:
            header = json.loads(os.pread(self._fd, length, 8))
            metadata = header.pop("__metadata__", {})
            about = json.loads(metadata.get("thalweg", "{}"))
            base, entries = 8 + length, {}
            for name, entry in header.items():
                a, b = entry["data_offsets"]
                dtype = _DTYPES[entry["dtype"]]
                shape = tuple(int(s) for s in entry["shape"])
                if b - a != int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize or base + b > size or a < 0:
                    raise self._damaged(f"the tensor '{name}' is not all there")
                entries[name] = Entry(dtype, shape, base + a, base + b, entry["dtype"] == "BF16")
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise self._damaged(f"its header cannot be read, {type(e).__name__}") from e
        return entries, about, size

    def close(self) -> None:
        """Close the file; harmless when it is closed already."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()

    def read_into(self, out: NDArray[Any], name: str, first: int = 0) -> None:
        """Fill `out` (1-D) with the elements of a tensor from its element `first` on, converted to out's dtype."""
        entry = self.entries[name]
        item = np.dtype(entry.dtype).itemsize
        direct = out.dtype == np.dtype(entry.dtype) and out.flags.c_contiguous and not entry.bf16
        raw: NDArray[Any] = out if direct else np.empty(len(out), dtype=entry.dtype)
        view, at = raw.view(np.uint8).data, entry.start + first * item
        while len(view):
            got = os.preadv(self._fd, [view], at)
            if got == 0:
                raise self._damaged(f"the tensor '{name}' is not all there")
            view, at = view[got:], at + got
        if entry.bf16:
            out[:] = (raw.astype(np.uint32) << 16).view(np.float32)
        elif not direct:
            out[:] = raw

    def array(self, name: str) -> NDArray[Any]:
        """One tensor, whole, as a new array (bfloat16 becomes float32)."""
        entry = self.entries[name]
        flat = np.empty(int(np.prod(entry.shape, dtype=np.int64)), dtype="<f4" if entry.bf16 else entry.dtype)
        if len(flat):
            self.read_into(flat, name)
        return flat.reshape(entry.shape)

    def tensor(self, name: str) -> Tensor:
        """One tensor, whole, as a new torch tensor (bfloat16 becomes float32)."""
        import torch

        return torch.from_numpy(self.array(name))


_STEP = re.compile(r"step-(\d{8})\.safetensors$")


def steps_of(folder: Path) -> list[int]:
    """The steps of a run's checkpoints, in order."""
    return sorted(int(m[1]) for f in folder.iterdir() if (m := _STEP.search(f.name)) and not f.name.startswith("."))


def newest_resumable(folder: Path) -> int | None:
    """The newest step with both files intact, or None."""
    for step in reversed(steps_of(folder)):
        try:
            for file in (resume_file(folder, step), step_file(folder, step)):
                TensorFile(file).close()
            return step
        except InputError:
            continue
    return None
