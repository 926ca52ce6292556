"""The samples that a surface is measured on: from whatever the caller has to two resident tensors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from compute.datasets import permutation, stratified
from protocol.errors import InputError

Data = tuple[Tensor, Tensor] | Dataset[Any] | DataLoader[Any] | Iterable[Any]
READ_BATCH = 256


@dataclass(frozen=True)
class Samples:
    """Inputs x (N, ...) and targets y (N, ...), and what they are."""

    x: Tensor
    y: Tensor
    what: str

    def __len__(self) -> int:
        return len(self.x)


def read(data: Data, what: str = "") -> Samples:
    """Read data once into tensors.

    A pair of tensors is taken as it is (not copied). A Dataset is read in order. A DataLoader is read for one epoch:
    what a shuffling or augmenting one gives in that epoch is the data, and `what` says so.
    Raises InputError for anything else, for data without targets and for an empty set.
    """
    if isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(t, Tensor) for t in data):
        x, y = data
        return _checked(Samples(x, y, what or "tensors"))
    if isinstance(data, DataLoader):
        if data.batch_sampler is None:
            raise InputError("data: expected a DataLoader that gives batches, got one with batch_size=None")
        what = what or f"one epoch of a DataLoader over {type(data.dataset).__name__}"
        return _gather(data, what)
    quiet = torch.Generator()  # a DataLoader draws a seed even when it does not shuffle: not from the caller's state
    if isinstance(data, IterableDataset):
        return _gather(DataLoader(data, batch_size=READ_BATCH, generator=quiet), what or type(data).__name__)
    if isinstance(data, Dataset):
        return _gather(DataLoader(data, batch_size=READ_BATCH, generator=quiet), what or type(data).__name__)
    raise InputError(
        f"data: expected a pair of tensors (x, y), a Dataset or a DataLoader, got {type(data).__name__}", path="$.data"
    )


def _gather(batches: Iterable[Any], what: str) -> Samples:
    xs, ys = [], []
    iterator = iter(batches)
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            break
        except (TypeError, RuntimeError, AttributeError) as e:  # torch's collate function, on what is no tensor
            raise InputError(
                f"data: {what} does not give tensors of one shape, as a model takes them ({type(e).__name__}): give it "
                "a transform that does"
            ) from e
        if not (isinstance(batch, tuple | list) and len(batch) == 2 and all(isinstance(t, Tensor) for t in batch)):
            raise InputError(f"data: expected each batch of {what} to be a pair (inputs, targets) of tensors")
        xs.append(batch[0])
        ys.append(batch[1])
    if not xs:
        raise InputError(f"data: expected at least one sample in {what}, got none")
    shapes = {tuple(x.shape[1:]) for x in xs}
    if len(shapes) > 1:
        several = " and ".join(map(str, sorted(shapes)[:2]))
        raise InputError(f"data: expected inputs of one shape in {what}, got {several}")
    return _checked(Samples(torch.cat(xs), torch.cat(ys), what))


def _checked(samples: Samples) -> Samples:
    if len(samples.x) != len(samples.y) or len(samples.x) == 0:
        raise InputError(
            f"data: expected as many targets as inputs and at least one, got {len(samples.x)} inputs and "
            f"{len(samples.y)} targets"
        )
    return samples


def order(y: Tensor, limit: int | None, seed: int) -> Tensor:
    """Indices (n,) of the samples to use, in the seeded order that every grid point sees (common random numbers).

    With `limit`, a seeded sample without replacement: stratified where targets are classes (datasets/sampling.py),
    else uniform.
    """
    chosen = torch.arange(len(y))
    if limit is not None and limit < len(y):
        y = y.long() if y.dtype == torch.bool else y
        classes = y.ndim == 1 and not y.is_floating_point() and int(y.min()) >= 0
        chosen = stratified(y, limit, seed) if classes else permutation(len(y), seed)[:limit]
    return chosen[permutation(len(chosen), seed)]
