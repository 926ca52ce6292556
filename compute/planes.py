"""A plane, and its file `planes/<sha256>.safetensors`: with the model's code, enough to measure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from compute.checkpoints import TensorFile, write_tensors
from compute.parameters import Layout
from protocol.errors import InputError
from protocol.files import PATH_DTYPE, PlaneMeta
from protocol.messages import Recipe


def _no_path() -> NDArray[np.void]:
    return np.zeros(0, PATH_DTYPE)


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    """theta* (`origin`) with its `buffers`, and two directions: flat vectors of length P, on the CPU, in theta order.

    `path` holds the trajectory's coordinates (the columns of path.csv, losses NaN) where the plane has one.
    """

    delta: Tensor
    eta: Tensor
    origin: Tensor
    buffers: Mapping[str, Tensor]
    layout: Layout
    meta: PlaneMeta
    path: NDArray[np.void] = field(default_factory=_no_path)


@dataclass(frozen=True)
class PlaneAbout:
    """What a plane's file says beside the vectors: its record, the recipe of its model, its trajectory's addresses."""

    meta: PlaneMeta
    recipe: Recipe | None
    trajectory: tuple[str, ...]


def content_hash(
    layout: Layout, vectors: Sequence[Tensor], buffers: Mapping[str, Tensor], path: NDArray[np.void]
) -> str:
    """The identity of a plane: sha256 over its tensors' names and shapes, theta*, delta, eta, the buffers and the
    trajectory's coordinates."""
    digest = hashlib.sha256()
    digest.update(json.dumps([layout.names, layout.shapes, str(layout.dtype)]).encode())
    for vector in vectors:
        digest.update(vector.contiguous().numpy().view(np.uint8).data)
    for name in sorted(buffers):
        digest.update(name.encode())
        digest.update(buffers[name].contiguous().numpy().tobytes())
    digest.update(path.tobytes())
    return digest.hexdigest()


def save_plane(folder: Path, plane: Plane, recipe: Recipe | None, trajectory: Sequence[str]) -> Path:
    """Write a plane into `folder` under its hash. A plane that is there already is left as it is."""
    file = folder / f"{plane.meta.hash}.safetensors"
    if file.exists():
        return file
    tensors = {"origin": plane.origin, "delta": plane.delta, "eta": plane.eta}
    tensors |= {f"buffer.{name}": value for name, value in plane.buffers.items()}
    tensors |= {f"path.{name}": torch.from_numpy(plane.path[name].copy()) for name in plane.path.dtype.names or ()}
    about = {
        "plane": msgspec.to_builtins(plane.meta),
        "recipe": msgspec.to_builtins(recipe) if recipe else None,
        "trajectory": list(trajectory),
        "parameters": len(plane.origin),
    }
    write_tensors(file, tensors, about)
    return file


def read_about(file: Path) -> PlaneAbout:
    """What a plane's file says of itself. Raises InputError, naming the file, where it is none."""
    opened = TensorFile(file, check_hash=False)
    try:
        meta = msgspec.convert(opened.about["plane"], PlaneMeta)
        recipe = opened.about.get("recipe")
        return PlaneAbout(
            meta, msgspec.convert(recipe, Recipe) if recipe else None, tuple(opened.about.get("trajectory", ()))
        )
    except (KeyError, TypeError, msgspec.ValidationError) as e:
        raise InputError(f"{file}: expected a plane, this is another kind of file: make one with `thalweg plane`",
                         code="integrity") from e  # fmt: skip
    finally:
        opened.close()


def load_plane(file: Path, layout: Layout) -> Plane:
    """Read a plane and check it: it must be of this layout, and its contents must have its hash."""
    about = read_about(file)
    opened = TensorFile(file, check_hash=False)
    try:
        if opened.about.get("parameters") != layout.size:
            raise InputError(
                f"{file}: expected a plane of this model ({layout.size} parameters), got one of "
                f"{opened.about.get('parameters')}: name the model that it was made with",
                code="integrity",
            )
        vectors = [opened.tensor(name) for name in ("origin", "delta", "eta")]
        buffers = {
            name.removeprefix("buffer."): opened.tensor(name) for name in opened.entries if name.startswith("buffer.")
        }
        columns = {name: opened.tensor(f"path.{name}").numpy() for name in PATH_DTYPE.names or ()}
    except KeyError as e:
        raise InputError(f"{file}: expected a plane, the tensor {e} is not in it", code="integrity") from e
    finally:
        opened.close()
    path = np.zeros(len(columns["step"]), PATH_DTYPE)
    for name, column in columns.items():
        path[name] = column
    if content_hash(layout, vectors, buffers, path) != about.meta.hash:
        raise InputError(
            f"{file}: corrupted, or a plane of another model: its contents do not have the hash it was saved under: "
            "make it again with `thalweg plane`",
            code="integrity",
        )
    return Plane(
        origin=vectors[0], delta=vectors[1], eta=vectors[2], buffers=buffers, layout=layout, meta=about.meta, path=path
    )
