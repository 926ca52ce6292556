"""How a job runs: device, threads, batch size, memory layout, arithmetic. Fixed when it starts, stored with it."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import numpy as np
import torch

from compute import NUMERICS
from protocol.errors import InputError
from protocol.messages import Execution, Precision


def versions() -> dict[str, str]:
    """What the numbers depend on besides the inputs."""
    return {
        "thalweg.numerics": str(NUMERICS),
        "torch": str(torch.__version__),  # a subclass of str that no codec knows
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def choose_device(name: str | None) -> torch.device:
    """cuda, else mps, else cpu; a named one that is absent is an error, never a silent fallback."""
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name is None:
        return torch.device(next(d for d in ("cuda", "mps", "cpu") if present[d]))
    if name not in present:
        raise InputError(f"device: expected one of cpu, cuda, mps; got '{name}'", path="$.execution.device")
    if not present[name]:
        have = ", ".join(d for d, there in present.items() if there)
        raise InputError(
            f"device: {name} was asked for, but torch {torch.__version__} finds none here: use one of: {have}",
            code="unavailable",
            path="$.execution.device",
        )
    return torch.device(name)


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse an arithmetic that the device does not have."""
    if precision == "tf32" and device.type != "cuda":
        raise InputError(
            f"precision: tf32 exists on CUDA devices only, this job runs on {device.type}: use fp32 or bf16",
            code="unavailable",
            path="$.precision",
        )


def fix(execution: Execution) -> Execution:
    """The execution with device and threads chosen where it left them open."""
    device = choose_device(execution.device)
    return msgspec.structs.replace(
        execution,
        device=device.type,
        threads=execution.threads or torch.get_num_threads(),
    )


@contextmanager
def applied(execution: Execution, precision: Precision) -> Iterator[None]:
    """Threads and arithmetic as the execution says, the caller's settings put back afterwards.

    fp32 switches TF32 off everywhere, cuDNN and matrix products alike: it is on by default for convolutions and
    changes the third digit of a loss.
    """
    threads = torch.get_num_threads()
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    benchmark = torch.backends.cudnn.benchmark
    try:
        if execution.threads:
            torch.set_num_threads(execution.threads)
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.benchmark = False  # its timed choice of kernels would differ from run to run
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
        torch.backends.cudnn.benchmark = benchmark
