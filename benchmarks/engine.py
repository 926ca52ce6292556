"""A point of a surface against a bare forward loop over the same batches, side by side, as a ratio.

    python benchmarks/engine.py [--device cpu|cuda] [--threads N]

The bare loop only runs the model, its weights fixed: no weights are formed, no loss or accuracy is computed, nothing is
read back. The engine does all of that. Both take the same model copy, batch size and memory layout; the pairs are
interleaved, so that the machine's drift meets both. Figure to reach: at least 0.8 of the bare loop's speed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from compute import landscape, models
from compute.landscape import Session
from compute.samples import Samples
from protocol.messages import Execution
from protocol.shares import Share

CASES = (
    # model, side, samples a point on the CPU, on a GPU, batch
    ("resnet20", 8, 1437, 1437, 256),
    ("resnet20", 32, 512, 20_000, 128),
    ("resnet50", 32, 192, 10_000, 64),
    ("resnet50", 224, 16, 1024, 16),
)
PAIRS = 7


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default=None)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    device = landscape.run.choose_device(args.device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else f"cpu, {args.threads} threads"
    print(f"{name}, torch {torch.__version__}, fp32, {PAIRS} interleaved pairs, medians")
    print(f"{'model':10} {'side':>4} {'batch':>5} {'samples':>7} {'bare ms':>9} {'point ms':>9} {'of bare speed':>13}")
    for model_name, side, few, many, batch in CASES:
        samples = many if device.type == "cuda" else few
        bare, point = case(model_name, side, samples, batch, device, args.threads)
        ratio = statistics.median(b / p for b, p in zip(bare, point))
        print(
            f"{model_name:10} {side:4} {batch:5} {samples:7} {1e3 * statistics.median(bare):9.1f} "
            f"{1e3 * statistics.median(point):9.1f} {ratio:13.2f}",
            flush=True,
        )


def case(
    model_name: str, side: int, samples: int, batch: int, device: torch.device, threads: int
) -> tuple[list[float], list[float]]:
    """Seconds of each bare sweep and of each measured point."""
    model = models.build(model_name, num_classes=10, in_channels=3, image_size=side, seed=0).eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, 3, side, side, generator=generator)
    y = torch.randint(0, 10, (samples,), generator=generator)
    execution = Execution(device=device.type, threads=threads, batch_size=batch, channels_last=True)  # type: ignore[arg-type]
    session = Session(model, Samples(x, y, "noise"), landscape.random_plane(model), execution=execution)
    engine = session.engine
    share = Share(0, samples)
    alpha = np.array([0.1])

    def bare() -> None:
        with torch.inference_mode():
            for a in range(0, samples, batch):
                engine.model(engine._x[a : a + batch])

    def point() -> None:
        for _ in engine.rows([(0, 0.1)], alpha, share):
            pass

    with session:
        timed: tuple[list[float], list[float]] = ([], [])
        for k in range(PAIRS + 1):
            for run, into in ((bare, timed[0]), (point, timed[1])):
                seconds = clocked(run, device)
                if k:
                    into.append(seconds)
    return timed


def clocked(work: Callable[[], None], device: torch.device) -> float:
    """Seconds of one call, the device's queue emptied before and after."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    wait()
    begun = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
