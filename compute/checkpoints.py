"""Checkpoint files: written whole or not at all, read by `pread`, their hash checked.

`step-NNNNNNNN.safetensors` holds the deduplicated parameters and the buffers after that many optimiser steps;
`resume-NNNNNNNN.safetensors` what training needs to go on from there. Their sha256 stand in `SHA256SUMS` beside them
(as `sha256sum -c` reads it), written before the rename, so that every file under its final name has its line.

Reading uses `pread` into one buffer, never a memory map: a mapped sweep over 610 MB of checkpoints grew resident
memory by 758 MB, `pread` by 148 (math.md).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from compute.parameters import Layout, buffers_of, mismatch
from protocol.errors import InputError
from protocol.files import sync_folder
from protocol.messages import Recipe

SUMS = "SHA256SUMS"
KEEP_RESUME = 2
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


def deduplicated(model: nn.Module) -> dict[str, Tensor]:
    """The state dict with each tensor once, under its first name, on the CPU; views of one storage made separate."""
    out: dict[str, Tensor] = {}
    seen: set[int] = set()
    storages: set[int] = set()
    for name, value in model.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor) or id(value) in seen:
            continue
        seen.add(id(value))
        own = value.detach().cpu().contiguous()
        if own.numel() and own.untyped_storage().data_ptr() in storages:
            own = own.clone()
        storages.add(own.untyped_storage().data_ptr())
        out[name] = own
    return out


def write_checkpoint(
    folder: Path, model: nn.Module, *, step: int, epoch: float, recipe: Recipe, metrics: Mapping[str, float]
) -> tuple[Path, str]:
    """Write `step-NNNNNNNN.safetensors` into a run's folder; gives the file and its sha256.

    `epoch` counts epochs done, a fraction within one. `metrics` are what is known at this step.
    """
    about = {
        "step": step,
        "epoch": epoch,
        "recipe": msgspec.to_builtins(recipe),
        "metrics": {k: str(v) if v != v or abs(v) == float("inf") else v for k, v in metrics.items()},
    }
    file = step_file(folder, step)
    return file, write_tensors(file, deduplicated(model), about)


def write_resume(folder: Path, *, step: int, tensors: Mapping[str, Tensor], meta: Mapping[str, Any]) -> Path:
    """Write `resume-NNNNNNNN.safetensors`. Call it before `write_checkpoint` of the same step: a step is good to go on
    from when it has both."""
    file = resume_file(folder, step)
    write_tensors(file, {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}, dict(meta))
    return file


def drop_old_resumes(folder: Path) -> None:
    """Keep the newest two resume files. Call it when the newest checkpoint is durable."""
    for old in sorted(folder.glob("resume-*.safetensors"))[:-KEEP_RESUME]:
        old.unlink()


def write_tensors(file: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    """Write a safetensors file with `about` as JSON in its header, whole or not at all; gives its sha256.

    Temporary file, fsync, line in SHA256SUMS, rename, fsync of the folder. The same tensors give the same bytes
    (one metadata key: the library writes several in no fixed order).
    """
    tmp = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(tensors), tmp, metadata={"thalweg": json.dumps(about, sort_keys=True)})
        with open(tmp, "rb+") as written:
            digest = hash_file(written.fileno())
            os.fsync(written.fileno())
        with open(file.parent / SUMS, "a", encoding="ascii") as sums:
            sums.write(f"{digest}  {file.name}\n")
            sums.flush()
            os.fsync(sums.fileno())
        os.replace(tmp, file)
        sync_folder(file.parent)
    except (OSError, SafetensorError) as e:
        why = getattr(e, "strerror", None) or e
        raise InputError(
            f"{file}: cannot write it ({why}): free some space or choose another folder", code="unavailable"
        ) from e
    finally:
        with suppress(OSError):  # it is gone, renamed, or its folder never was
            tmp.unlink()
    return digest


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

    def tensor(self, name: str) -> Tensor:
        """One tensor, whole, as a new torch tensor (bfloat16 becomes float32)."""
        entry = self.entries[name]
        flat = np.empty(int(np.prod(entry.shape, dtype=np.int64)), dtype="<f4" if entry.bf16 else entry.dtype)
        if len(flat):
            self.read_into(flat, name)
        return torch.from_numpy(flat.reshape(entry.shape))


class Checkpoint:
    """One point of a trajectory: weights read in pieces of theta, from a file or from a state dict.

    `step` is the number of optimiser steps and `epoch` of epochs where the file says so, else None.
    """

    def __init__(self, source: str | os.PathLike[str] | Mapping[str, Tensor], layout: Layout, what: str = "") -> None:
        self.layout = layout
        self.file: TensorFile | None = None
        self.state: Mapping[str, Tensor] | None = None
        self.step: int | None = None
        self.epoch: float | None = None
        self.about: dict[str, Any] = {}
        if isinstance(source, Mapping):
            self.what = what or "state dict"
            self.state = source
            shapes = {k: tuple(v.shape) for k, v in source.items() if isinstance(v, Tensor)}
        elif isinstance(source, str | os.PathLike):
            self.what = what or str(source)
            self.file = TensorFile(source)
            shapes = {k: e.shape for k, e in self.file.entries.items()}
            self.about = self.file.about
            self.step, self.epoch = self.about.get("step"), self.about.get("epoch")
        else:
            raise InputError(
                f"checkpoints: expected state dicts or paths of safetensors files, got {type(source).__name__}"
            )
        wrong = mismatch(layout, shapes, self.what)
        if wrong:
            raise wrong
        self._keys = [layout.find(name, shapes) for name in layout.names]

    def read(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Fill `out` (stop - start,) with theta[start:stop]."""
        first = int(np.searchsorted(self.layout.offsets, start, side="right")) - 1
        for k in range(first, len(self.layout.names)):
            at = self.layout.offsets[k]
            end = self.layout.offsets[k + 1] if k + 1 < len(self.layout.offsets) else self.layout.size
            if at >= stop:
                break
            a, b = max(start, at), min(stop, end)
            if a == b:
                continue
            key, piece = self._keys[k], out[a - start : b - start]
            assert key is not None
            if self.file is not None:
                self.file.read_into(piece, key, a - at)
            else:
                assert self.state is not None
                piece[:] = self.state[key].detach().reshape(-1)[a - at : b - at].to("cpu", self.layout.dtype).numpy()

    def theta(self) -> Tensor:
        """The whole vector theta (P,), a new one."""
        out = torch.empty(self.layout.size, dtype=self.layout.dtype)
        self.read(0, self.layout.size, out.numpy())
        return out

    def buffers(self) -> dict[str, Tensor]:
        """Copies of what the checkpoint holds beside theta."""
        if self.state is not None:
            return buffers_of(self.state, self.layout)
        assert self.file is not None
        return {
            name: self.file.tensor(name)
            for name, shape in self.layout.buffers.items()
            if name in self.file.entries and self.file.entries[name].shape == shape
        }


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


def read_resume(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON of a resume file."""
    opened = TensorFile(file)
    try:
        return {name: opened.tensor(name) for name in opened.entries}, opened.about
    finally:
        opened.close()
