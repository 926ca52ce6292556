"""Weight files as the daemon sees them, without torch: names, hashes, and reading by `pread`.

`step-NNNNNNNN.safetensors` holds the deduplicated parameters and the buffers after that many optimiser steps;
`resume-NNNNNNNN.safetensors` what training needs to go on from there. Their sha256 stand in `SHA256SUMS` beside them
(as `sha256sum -c` reads it), written before the rename, so that every file under its final name has its line.

Reading uses `pread` into one buffer, never a memory map: a mapped sweep over 610 MB of checkpoints grew resident
memory by 758 MB, `pread` by 148 (math.md, "PCA plane"). Of all the files of a process, `POOL` stay open between reads.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import struct
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.files import replacing

if TYPE_CHECKING:
    from torch import Tensor

SUMS = "SHA256SUMS"
MAX_HEADER = 100 * 1024 * 1024  # the safetensors format's own bound
CHUNK = 1 << 20
POOL = 8  # descriptors kept between reads: a trajectory of hundreds of files is read by a process that may open 256
_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
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


def known_hashes(file: Path) -> list[str]:
    """What SHA256SUMS beside the file gives for it, newest first.

    A line is written before the rename: where a process died between the two, the file is still that of an older line.
    """
    try:
        lines = (file.parent / SUMS).read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return []
    return [line[:64] for line in reversed(lines) if line[66:] == file.name]


def known_hash(file: Path) -> str | None:
    """The newest sha256 that SHA256SUMS beside the file gives for it, if any."""
    return next(iter(known_hashes(file)), None)


def prune_sums(folder: Path) -> None:
    """Drop the lines of files that are gone from the folder's SHA256SUMS, so that `sha256sum -c` finds all it names.

    Written whole or not at all. For the folder's one writer: a line that another adds meanwhile would be lost.
    """
    try:
        lines = (folder / SUMS).read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return
    except OSError as e:
        raise InputError(f"{folder / SUMS}: cannot read it ({e.strerror})", code="unavailable") from e
    kept = [line for line in lines if not (m := _SUM.fullmatch(line)) or (folder / os.fsdecode(m[1])).exists()]
    if kept != lines:
        with replacing(folder / SUMS) as out:
            out.writelines(kept)


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: dtype as numpy writes it, shape, and the bytes [start, stop) of the file it fills."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int
    bf16: bool


# Descriptors that no read uses at the moment, by the id of their TensorFile, the longest unused first. A read takes its
# own out and puts it back, so that none is closed or used twice under a read of another thread.
_idle: OrderedDict[int, int] = OrderedDict()


class TensorFile:
    """A safetensors file, read by `pread`. Checks its header, its length and, where known, its hash (`sha256`).

    It is open while it is read, and as one of the `POOL` last read. One that has to be opened again, and was replaced,
    changed or deleted meanwhile, is refused. Raises InputError, naming the file, for one that is absent, truncated,
    corrupted or of another kind.
    """

    def __init__(self, file: str | os.PathLike[str], *, check_hash: bool = True) -> None:
        self.file = Path(file)
        self._path = os.path.abspath(self.file)  # a read opens it again, wherever the process has gone since
        self._identity: tuple[int, ...] | None = None
        self.sha256: str | None = None
        with self._opened() as fd:
            self.entries, self.about, self._size = self._read_header(fd)
            expected = known_hashes(self.file) if check_hash else []
            self.sha256 = hash_file(fd) if expected else None
            if expected and self.sha256 not in expected:
                raise self._damaged(f"its bytes do not match the sha256 in {SUMS}")

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """A descriptor of the file as it was when its header was read."""
        fd = _idle.pop(id(self), -1)
        if fd < 0:
            fd = self._open()
        try:
            found = os.fstat(fd)
            identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            if self._identity not in (None, identity):
                raise InputError(
                    f"{self.file}: it was replaced or changed while it was in use: begin again with the file as it is",
                    code="integrity",
                )
            self._identity = identity
            yield fd
        except BaseException:
            os.close(fd)
            raise
        _keep(id(self), fd)

    def _open(self) -> int:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)  # of a pipe, open would wait for its writer
        except (OSError, ValueError) as e:  # ValueError: a NUL, or what no name can hold
            gone = isinstance(e, FileNotFoundError) and self._identity is not None
            why = "it was deleted while it was in use" if gone else f"cannot open it ({getattr(e, 'strerror', e)})"
            shown = str(self.file) if str(self.file).isprintable() else ascii(str(self.file))
            raise InputError(f"{shown}: expected a checkpoint file (.safetensors), {why}", code="not_found") from e
        kind = os.fstat(fd).st_mode
        if stat.S_ISREG(kind):
            return fd
        os.close(fd)
        what = "a folder" if stat.S_ISDIR(kind) else "something else"
        raise InputError(
            f"{self.file}: expected a checkpoint file (.safetensors), found {what}: name a file", code="not_found"
        )

    def _damaged(self, why: str) -> InputError:
        return InputError(
            f"{self.file}: corrupted or truncated ({why}): train again or restore the file", code="integrity"
        )

    def _strange(self, name: str, dtype: object) -> InputError:
        return InputError(
            f"{self.file}: the tensor '{name}' is of type {dtype}, expected one of {', '.join(_DTYPES)}: "
            "convert it first"
        )

    def _read_header(self, fd: int) -> tuple[dict[str, Entry], dict[str, Any], int]:
        size = os.fstat(fd).st_size
        head = os.pread(fd, 8, 0)
        if len(head) < 8:
            raise self._damaged("it has no header")
        (length,) = struct.unpack("<Q", head)
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise self._damaged("its header is not that of a safetensors file")
        try:
            header = json.loads(os.pread(fd, length, 8))
            metadata = header.pop("__metadata__", {})
            about = json.loads(metadata.get("thalweg", "{}"))
            base, entries = 8 + length, {}
            for name, entry in header.items():
                a, b = entry["data_offsets"]
                if entry["dtype"] not in _DTYPES:
                    raise self._strange(name, entry["dtype"])
                dtype = _DTYPES[entry["dtype"]]
                shape = tuple(int(s) for s in entry["shape"])
                if b - a != math.prod(shape) * np.dtype(dtype).itemsize or base + b > size or a < 0:
                    raise self._damaged(f"the tensor '{name}' is not all there")
                entries[name] = Entry(dtype, shape, base + a, base + b, entry["dtype"] == "BF16")
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise self._damaged(f"its header cannot be read, {type(e).__name__}") from e
        return entries, about if isinstance(about, dict) else {}, size

    def close(self) -> None:
        """Give the descriptor back, if one is kept; a later read opens the file again."""
        fd = _idle.pop(id(self), -1)
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()

    def read_into(self, out: NDArray[Any], name: str, first: int = 0) -> None:
        """Fill `out` (1-D) with the elements of a tensor from its element `first` on, converted to out's dtype."""
        entry = self.entries[name]
        item = np.dtype(entry.dtype).itemsize
        direct = out.dtype == np.dtype(entry.dtype) and out.flags.c_contiguous and not entry.bf16
        raw: NDArray[Any] = out if direct else np.empty(len(out), dtype=entry.dtype)
        view, at = raw.view(np.uint8).data, entry.start + first * item
        with self._opened() as fd:
            while len(view):
                got = os.preadv(fd, [view], at)
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


def _keep(key: int, fd: int) -> None:
    """Put a descriptor among the idle ones, and close those that are too many."""
    other = _idle.pop(key, -1)
    _idle[key] = fd
    if other >= 0:
        os.close(other)
    while len(_idle) > POOL:
        try:
            _, oldest = _idle.popitem(last=False)
        except KeyError:  # another thread has just closed the rest
            return
        os.close(oldest)


_STEP = re.compile(r"step-([0-9]{8})\.safetensors")
_SUM = re.compile(rb"[0-9a-f]{64} [ *]([^\r\n]+)\r?\n?")


def steps_of(folder: Path) -> list[int]:
    """The steps of a run's checkpoints, in order."""
    return sorted(int(m[1]) for f in folder.iterdir() if (m := _STEP.fullmatch(f.name)))


def open_resumable(folder: Path) -> tuple[int, TensorFile, TensorFile] | None:
    """The newest step with both files intact, its checkpoint and its state to go on from; each is hashed once."""
    for step in reversed(steps_of(folder)):
        try:
            state = TensorFile(resume_file(folder, step))
            return step, TensorFile(step_file(folder, step)), state
        except InputError:
            continue
    return None


def newest_resumable(folder: Path) -> int | None:
    """The newest step with both files intact, or None."""
    found = open_resumable(folder)
    return found[0] if found else None
