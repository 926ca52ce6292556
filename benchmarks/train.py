"""Steps a second of `compute.train` against a bare PyTorch loop: same model, batch, optimiser, threads, in one run.

    python benchmarks/train.py [cpu|cuda]

The bare loop is what a person writes in a notebook: index, forward, loss, backward, step. Ours adds the schedule, a
seeded random state a step, the running sums and an event a step. Prints a table and the ratio (1 is the bare loop's
speed). The two take turns and the best round of each counts: what else runs on the machine can only slow one down.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace

import msgspec
import torch
import torch.nn.functional as F

from compute import datasets, recipes, train
from compute.datasets import TensorData
from protocol.messages import PRESETS, Recipe

ROUNDS = 9
CASES = (  # name, recipe, steps a round on a CPU, on CUDA
    ("resnet20, digits 8 x 8, batch 128", PRESETS["demo"], 12, 100),
    ("resnet20, 32 x 32, batch 128", msgspec.structs.replace(PRESETS["demo"], image_size=32), 2, 100),
    ("mlp, digits 8 x 8, batch 128", msgspec.structs.replace(PRESETS["demo"], model="mlp"), 200, 300),
)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def bare(recipe: Recipe, data: TensorData, device: torch.device, steps: int) -> Callable[[], float]:
    """A round of the bare loop: seconds for `steps` steps."""
    model = recipes.build_model(recipe).to(device).train()
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    images, targets = data.images.to(device), data.targets.to(device)
    order = datasets.permutation(len(data), 0).to(device)
    batches = [order[a:b] for a, b in train.batch_bounds(len(data), recipe.batch_size)]

    def one_round() -> float:
        began = time.perf_counter()
        for step in range(steps):
            index = batches[step % len(batches)]
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(images[index]), targets[index])
            loss.backward()
            optimizer.step()
        synchronise(device)
        return time.perf_counter() - began

    return one_round


def ours(recipe: Recipe, data: TensorData, device: torch.device, steps: int) -> Callable[[], float]:
    """A round of the product's loop; the evaluation at an epoch's end is not counted."""
    few = replace(data, images=data.images[:1], targets=data.targets[:1])
    endless = msgspec.structs.replace(recipe, epochs=100_000)
    events = train.train(endless, train_data=data, test_data=few, device=device)

    def one_round() -> float:
        seconds, done = 0.0, 0
        while done < steps:
            began = time.perf_counter()
            event = next(events)
            if isinstance(event, train.StepDone):
                seconds += time.perf_counter() - began
                done += 1
        began = time.perf_counter()
        synchronise(device)
        return seconds + time.perf_counter() - began

    return one_round


def main() -> None:
    """Print the table."""
    device = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cpu")
    what = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"torch {torch.__version__}, {what}; best of {ROUNDS} rounds")
    print(f"{'case':36} {'bare':>10} {'thalweg':>10} {'ratio':>7}   steps/s")
    for name, recipe, cpu_steps, cuda_steps in CASES:
        data = recipes.load_data(recipe, "train")
        steps = cuda_steps if device.type == "cuda" else cpu_steps
        rounds = [bare(recipe, data, device, steps), ours(recipe, data, device, steps)]
        for one_round in rounds:
            one_round()  # not counted: kernels are chosen, memory is taken
        times = [[one_round() for one_round in rounds] for _ in range(ROUNDS)]
        rate = [steps / min(t[i] for t in times) for i in (0, 1)]
        print(f"{name:36} {rate[0]:10.1f} {rate[1]:10.1f} {rate[1] / rate[0]:7.2f}")


if __name__ == "__main__":
    main()
