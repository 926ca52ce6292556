"""Training as a generator: steps, epochs and due checkpoints come out; nothing is written or printed.

Everything that varies is a function of the recipe and the step: the learning rate, the order of an epoch (seed, epoch),
a batch's augmentation (seed, epoch, batch) and the random state that dropout draws from (seed, step). So a training
that goes on from a checkpoint needs the weights, the optimiser's state and the running sums of the epoch, nothing else,
and gives the same bits as one that was never interrupted (same device type, threads, torch version).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compute import models, recipes
from compute.arithmetic import autocast, numerics, seeded, sums_device
from compute.datasets import TensorData, generator, to_device
from compute.datasets.augment import shift_and_flip
from compute.resume import Resume, load_weights, restore, resume_state
from protocol.errors import InputError
from protocol.messages import Precision, Recipe

EVAL_BATCH = 512


@dataclass(frozen=True)
class StepDone:
    """An optimiser step is done. `loss` is the batch's mean loss, a 0-d tensor on the device: float() waits for it.

    `due()` gives a checkpoint of just here, for one who stops between the recipe's own; it must be called before the
    next event is asked for. None at an epoch's last step, whose own checkpoint comes next, after its metrics.
    """

    step: int  # steps done so far, from 1
    total: int  # steps of the whole training
    epoch: float  # epochs done so far
    loss: Tensor
    due: Callable[[], CheckpointDue] | None


@dataclass(frozen=True)
class EpochDone:
    """An epoch ended. Metrics: train_loss and train_accuracy (running, as the epoch's batches saw them, augmented),
    test_loss and test_accuracy (at its end, evaluation mode), lr (of the last step), seconds. NaN stays NaN."""

    epoch: int  # epochs done so far, from 1
    step: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class CheckpointDue:
    """Weights to keep. `model` is the one in training: copy or write it before asking for the next event.

    `resume()` gives what `Resume` wants back beside the weights: (tensors, JSON-able meta).
    """

    step: int
    epoch: float
    model: nn.Module
    metrics: dict[str, float] | None  # the epoch's, where one just ended
    resume: Callable[[], tuple[dict[str, Tensor], dict[str, Any]]]


TrainEvent = StepDone | EpochDone | CheckpointDue


# ---------------------------------------------------------------- what follows from the recipe alone


def learning_rate(recipe: Recipe, step: int, total: int) -> float:
    """The rate of step `step` (from 0) of `total`.

    constant: lr. cosine: lr / 2 * (1 + cos(pi * step / total)) (Loshchilov & Hutter 2017, arXiv:1608.03983, without
    restarts). step: lr, a tenth from 1/2 of the steps on, a hundredth from 3/4 on (He et al. 2016, section 4.2).
    """
    if recipe.schedule == "constant":
        return recipe.lr
    if recipe.schedule == "cosine":
        return 0.5 * recipe.lr * (1 + math.cos(math.pi * step / total))
    return recipe.lr * (1.0 if 2 * step < total else 0.1 if 4 * step < 3 * total else 0.01)


def batch_bounds(n: int, batch_size: int) -> list[tuple[int, int]]:
    """The epoch's batches as (start, stop); a last one of one sample joins the one before."""
    starts = list(range(0, n, batch_size))
    if len(starts) > 1 and batch_size > 1 and n - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n]))


def total_steps(recipe: Recipe, n: int) -> int:
    """Optimiser steps of the whole training on n samples."""
    return recipe.epochs * len(batch_bounds(n, recipe.batch_size))


def training_loss(output: Tensor | Sequence[Tensor], targets: Tensor, aux_weights: Sequence[float] = ()) -> Tensor:
    """Mean cross-entropy (0-d, float32), plus that of each auxiliary output times its weight.

    0.3 for GoogLeNet's two (Szegedy et al. 2015, arXiv:1409.4842, section 5), 0.4 for Inception v3's.
    """
    if isinstance(output, Tensor):
        return F.cross_entropy(output.float(), targets)
    loss = F.cross_entropy(output[0].float(), targets)
    for aux, weight in zip(output[1:], aux_weights):
        if aux is not None:
            loss = loss + weight * F.cross_entropy(aux.float(), targets)
    return loss


# ---------------------------------------------------------------- the loop


def train(
    recipe: Recipe,
    *,
    train_data: TensorData,
    test_data: TensorData,
    device: torch.device | str,
    resume: Resume | None = None,
    roots: Sequence[Path] = (),
    channels_last: bool = False,
) -> Iterator[TrainEvent]:
    """Train `recipe`; yields StepDone after every step, EpochDone, and CheckpointDue (theta_0, every
    `checkpoint_every` steps, each epoch's end, after its EpochDone).

    The data are as `recipes.load_data` gives them. `roots` are where pretrained weights are looked for. Raises
    InputError before the first step for whatever `recipes.check` refuses. A loss that is not finite is told and
    training goes on. The caller's random state and torch settings are as they were at every event.
    """
    device = torch.device(device)
    recipes.check(recipe, device=device, train_samples=len(train_data), roots=roots if resume is None else None)
    check_data(recipe, train_data)
    check_data(recipe, test_data)
    if resume is None:
        model = recipes.build_model(recipe, roots=roots)
    else:  # every weight comes from the checkpoint: the published ones may be gone by now
        model = recipes.build_model(msgspec.structs.replace(recipe, pretrained=False))
        load_weights(model, resume.weights)
    model.to(device)
    if channels_last:
        model.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(recipe, model)
    aux_weights = models.entry(recipe.model).aux_weights
    images = to_device(models.fit_channels(recipe.model, train_data.images), device)
    targets = train_data.targets.to(device)
    test_images = to_device(models.fit_channels(recipe.model, test_data.images), device)
    test_targets = test_data.targets.to(device)

    bounds = batch_bounds(len(train_data), recipe.batch_size)
    total = recipe.epochs * len(bounds)
    sums = sums_device(device)
    loss_sum = torch.zeros((), dtype=torch.float64, device=sums)
    correct = torch.zeros((), dtype=torch.int64, device=sums)
    step = 0
    if resume is not None:
        step = restore(recipe, resume, optimizer, loss_sum, correct)

    def due(metrics: dict[str, float] | None = None) -> CheckpointDue:
        at = step
        return CheckpointDue(
            step=at,
            epoch=at / len(bounds),
            model=model,
            metrics=metrics,
            resume=lambda: resume_state(recipe, at, optimizer, loss_sum, correct),
        )

    if resume is None:
        yield due()
    order_epoch, order = -1, torch.empty(0)
    started = time.perf_counter()
    while step < total:
        epoch, position = divmod(step, len(bounds))
        if epoch != order_epoch:
            order_epoch = epoch
            order = torch.randperm(len(train_data), generator=generator("order", recipe.seed, epoch)).to(device)
        start, stop = bounds[position]
        index = order[start:stop]
        x, y = images[index], targets[index]
        if recipe.augmentation == "standard":
            x = augment(x, train_data, generator("augment", recipe.seed, epoch, position))
        if channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        rate = learning_rate(recipe, step, total)
        with numerics(recipe.precision, device), seeded(device, "step", recipe.seed, step):
            for group in optimizer.param_groups:
                group["lr"] = rate
            model.train()
            optimizer.zero_grad(set_to_none=True)
            with autocast(recipe.precision, device):
                output = model(x)
            loss = training_loss(output, y, aux_weights)
            loss.backward()
            optimizer.step()
            logits = output if isinstance(output, Tensor) else output[0]
            loss = loss.detach()
            loss_sum += loss.to(sums).double() * len(y)
            correct += (logits.argmax(1) == y).sum().to(sums)
        step += 1
        last = position + 1 == len(bounds)
        yield StepDone(step=step, total=total, epoch=step / len(bounds), loss=loss, due=None if last else due)

        if last:
            with numerics(recipe.precision, device):
                test_loss, test_accuracy = evaluate(
                    model, test_images, test_targets, precision=recipe.precision, channels_last=channels_last
                )
            metrics = {
                "train_loss": float(loss_sum) / len(train_data),
                "train_accuracy": int(correct) / len(train_data),
                "test_loss": test_loss,
                "test_accuracy": test_accuracy,
                "lr": rate,
                "seconds": time.perf_counter() - started,
            }
            loss_sum.zero_()
            correct.zero_()
            started = time.perf_counter()
            yield EpochDone(epoch=epoch + 1, step=step, metrics=metrics)
            yield due(metrics)
        elif recipe.checkpoint_every and step % recipe.checkpoint_every == 0:
            yield due()


def evaluate(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    precision: Precision = "fp32",
    batch_size: int = EVAL_BATCH,
    channels_last: bool = False,
) -> tuple[float, float]:
    """(mean cross-entropy, accuracy) in evaluation mode, sums in float64; the model's mode is put back."""
    was_training = model.training
    model.eval()
    sums = sums_device(images.device)
    loss_sum = torch.zeros((), dtype=torch.float64, device=sums)
    correct = torch.zeros((), dtype=torch.int64, device=sums)
    with torch.inference_mode():
        for start in range(0, len(targets), batch_size):
            x, y = images[start : start + batch_size], targets[start : start + batch_size]
            if channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            with autocast(precision, images.device):
                output = model(x)
            loss_sum += F.cross_entropy(output.float(), y, reduction="none").to(sums).double().sum()
            correct += (output.argmax(1) == y).sum().to(sums)
    model.train(was_training)
    return float(loss_sum) / len(targets), int(correct) / len(targets)


def augment(x: Tensor, data: TensorData, draws: torch.Generator) -> Tensor:
    """The data set's standard augmentation of a batch; the shift grows with the images where they were resized."""
    return shift_and_flip(
        x,
        pad=round(data.augmentation.pad * data.image_size / data.native_size),
        flip=data.augmentation.flip,
        black=[-m / s for m, s in zip(data.mean, data.std)],
        generator=draws,
    )


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """SGD, or AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101; the recipe's momentum is its first beta)."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
    return torch.optim.AdamW(parameters, lr=recipe.lr, betas=(recipe.momentum, 0.999), weight_decay=recipe.weight_decay)


def check_data(recipe: Recipe, data: TensorData) -> None:
    """Refuse data that are not the recipe's, or not of its image size."""
    side = recipe.image_size or data.native_size
    if data.name != recipe.dataset or data.image_size != side:
        raise InputError(
            f"data: expected {recipe.dataset} at {side} pixels a side as the recipe says, got {data.name} at "
            f"{data.image_size}: load it with the recipe's image_size",
            path="$.recipe.image_size",
        )
