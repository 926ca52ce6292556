"""Checkpoints of a model: written whole or not at all, read in pieces of theta.

The files themselves (their names, SHA256SUMS beside them, reading by `pread`) are those of tensorfile.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from compute.parameters import Layout, buffers_of, mismatch, missing_buffer, widened
from compute.tensorfile import SUMS as SUMS
from compute.tensorfile import Entry as Entry
from compute.tensorfile import TensorFile as TensorFile
from compute.tensorfile import hash_file as hash_file
from compute.tensorfile import known_hash as known_hash
from compute.tensorfile import newest_resumable as newest_resumable
from compute.tensorfile import prune_sums as prune_sums
from compute.tensorfile import resume_file as resume_file
from compute.tensorfile import step_file as step_file
from compute.tensorfile import steps_of as steps_of
from protocol.errors import InputError
from protocol.files import no_room, sync_folder
from protocol.messages import Recipe

KEEP_RESUME = 2


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
    old = sorted(folder.glob("resume-*.safetensors"))[:-KEEP_RESUME]
    for file in old:
        file.unlink()
    if old:
        prune_sums(folder)


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
        full = no_room(e) or "No space left" in str(e)  # safetensors has the system's words alone
        raise InputError(
            f"{file}: cannot write it ({why}): free some space or choose another folder",
            code="no_space" if full else "unavailable",
        ) from e
    finally:
        with suppress(OSError):  # it is gone, renamed, or its folder never was
            tmp.unlink()
    return digest


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
        wrong = mismatch(layout, shapes, self.what) or missing_buffer(layout, shapes, self.what)
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
        keys = {name: self.layout.find(name, self.file.entries) for name in self.layout.buffers}
        return {name: widened(self.file.tensor(key)) for name, key in keys.items() if key is not None}


def read_resume(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the JSON of a resume file."""
    opened = TensorFile(file)
    try:
        return {name: opened.tensor(name) for name in opened.entries}, opened.about
    finally:
        opened.close()
