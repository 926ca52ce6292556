"""A recipe made real: checked before any work, its data loaded, its model built."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import torch
from torch import nn

from compute import datasets, execution, models
from compute.datasets import Split, TensorData
from protocol.errors import InputError
from protocol.messages import Recipe


def check(
    recipe: Recipe,
    *,
    device: torch.device | str = "cpu",
    train_samples: int | None = None,
    roots: Sequence[Path] | None = None,
) -> None:
    """Refuse what cannot be trained as asked, in one sentence with the field's JSON path, before any work.

    `train_samples` (default: what the data set declares) is held against the batch size; pretrained
    weights are looked for where `roots` are given.
    """
    try:
        msgspec.convert(msgspec.to_builtins(recipe), Recipe)
    except msgspec.ValidationError as error:
        raise field_error(recipe, str(error)) from None
    for name in ("lr", "weight_decay", "momentum"):
        if not math.isfinite(getattr(recipe, name)):
            raise InputError(
                f"recipe.{name}: expected a finite number, got {getattr(recipe, name)}", path=f"$.recipe.{name}"
            )
    with at("$.recipe.dataset"):
        data = datasets.entry(recipe.dataset)
    with at("$.recipe.model"):
        models.entry(recipe.model)
    models.check(
        recipe.model,
        in_channels=data.channels,
        image_size=recipe.image_size or data.image_size,
        options=recipe.model_options,
        pretrained=recipe.pretrained,
    )
    if recipe.nesterov and recipe.optimizer != "sgd":
        raise InputError(
            "recipe.nesterov: expected optimizer sgd, got adamw: leave nesterov out", path="$.recipe.nesterov"
        )
    if recipe.nesterov and recipe.momentum == 0:
        raise InputError(
            "recipe.nesterov: expected a momentum above 0, got 0: set momentum, or leave nesterov out",
            path="$.recipe.nesterov",
        )
    n = data.counts[0] if train_samples is None else train_samples
    if recipe.batch_size > n:
        raise InputError(
            f"recipe.batch_size: expected at most the {n:,} training samples of {recipe.dataset}, "
            f"got {recipe.batch_size:,}: choose a smaller batch",
            path="$.recipe.batch_size",
        )
    with at("$.recipe.precision"):
        execution.check_precision(recipe.precision, torch.device(device))
    if recipe.pretrained and roots is not None:
        models.check_pretrained(recipe.model, recipe.model_options, roots)
    if recipe.batch_size == 1:
        check_batch_norm(recipe)


def field_error(recipe: Recipe, found: str) -> InputError:
    """msgspec's finding about one field as a sentence: what was expected, what came."""
    expected, _, where = found.partition(" - at `$")
    where = where.rstrip("`")
    name = where.lstrip(".")
    types = {field.name: field.type for field in msgspec.inspect.type_info(Recipe).fields}  # type: ignore[attr-defined]
    if isinstance(types.get(name), msgspec.inspect.LiteralType):
        expected = f"expected one of {', '.join(map(str, types[name].values))}"
    else:
        expected = (expected[0].lower() + expected[1:]).replace("`", "").partition(", got ")[0]
    return InputError(f"recipe{where}: {expected}; got {getattr(recipe, name, None)!r}", path=f"$.recipe{where}")


def check_batch_norm(recipe: Recipe) -> None:
    """Refuse batches of one sample for a model with batch norm, which has no statistics of one value."""
    model = build_model(msgspec.structs.replace(recipe, pretrained=False))
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules()):
        raise InputError(
            f"recipe.batch_size: expected at least 2, got 1: batch norm ({recipe.model} has it) cannot use one sample",
            path="$.recipe.batch_size",
        )


@contextlib.contextmanager
def at(path: str) -> Iterator[None]:
    """An InputError raised inside names this field."""
    try:
        yield
    except InputError as error:
        raise InputError(error.msg, code=error.code, path=path) from None


def build_model(recipe: Recipe, *, roots: Sequence[Path] = ()) -> nn.Module:
    """The recipe's model with its initial weights (theta_0), on the CPU; no data is read."""
    data = datasets.entry(recipe.dataset)
    return models.build(
        recipe.model,
        num_classes=len(data.classes),
        in_channels=data.channels,
        image_size=recipe.image_size or data.image_size,
        options=recipe.model_options,
        pretrained=recipe.pretrained,
        seed=recipe.seed,
        roots=roots,
    )


def load_data(
    recipe: Recipe,
    split: Split,
    roots: Sequence[Path] = (),
    *,
    limit: int | None = None,
    seed: int = 0,
) -> TensorData:
    """The recipe's data, resized and with the channels that its model wants (a view where a grey image is repeated)."""
    data = datasets.load(recipe.dataset, split, roots, recipe.image_size, limit=limit, seed=seed)
    return replace(data, images=models.fit_channels(recipe.model, data.images))
