"""How a job runs: device, threads, batch size, memory layout, arithmetic. Fixed when it starts, stored with it."""

from __future__ import annotations

import platform
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

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


def devices() -> tuple[str, ...]:
    """Every device of this machine, the best first: `cuda` (of several `cuda:0`, `cuda:1`, ...), `mps`, `cpu`."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    cuda = ("cuda",) if gpus == 1 else tuple(f"cuda:{k}" for k in range(gpus))
    return (*cuda, *(("mps",) if torch.backends.mps.is_available() else ()), "cpu")


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


WITH_TF32: dict[str, Any] = {"matmul": "high", "cudnn": True}
WITHOUT: dict[str, Any] = {"matmul": "highest", "cudnn": False}


@contextmanager
def applied(execution: Execution, precision: Precision, lacking: set[str] | None = None) -> Iterator[None]:
    """Threads, arithmetic and kernels as the execution says, the caller's settings put back afterwards.

    `lacking`: gets the operations that have no deterministic kernel on this device.
    """
    threads = torch.get_num_threads()
    try:
        if execution.threads:
            torch.set_num_threads(execution.threads)
        with arithmetic(precision), deterministic(execution.device == "cuda", lacking):
            yield
    finally:
        torch.set_num_threads(threads)


NO_KERNEL = re.compile(r"(\S+) does not have a deterministic implementation|not deterministic because it uses (CuBLAS)")


@contextmanager
def deterministic(on: bool, lacking: set[str] | None = None) -> Iterator[None]:
    """Deterministic kernels inside, on CUDA (those of other devices are), the caller's settings again after.

    An operation that has none goes on with torch's warning; with `lacking`, its name is put there instead, after the
    first warning of each.
    """
    if not on:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filling: Any = torch.utils.deterministic
    fill = filling.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        filling.fill_uninitialized_memory = False  # a kernel for each tensor; nothing reads it
        with warnings.catch_warnings():
            if lacking is not None:
                warnings.filterwarnings("always", message=f".*({NO_KERNEL.pattern})")
                _listen(lacking)
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        filling.fill_uninitialized_memory = fill


def _listen(lacking: set[str]) -> None:
    """Take the names of operations out of torch's warnings, until the `catch_warnings` around this ends."""
    show = warnings.showwarning

    def heard(message: Warning | str, *rest: Any, **more: Any) -> None:
        found = NO_KERNEL.search(str(message))
        name = None if found is None else found[1] or found[2]
        if name not in lacking:
            show(message, *rest, **more)
        if name is not None:
            lacking.add(name)

    warnings.showwarning = heard


@contextmanager
def arithmetic(precision: Precision) -> Iterator[None]:
    """The arithmetic of float32 products, the caller's settings put back afterwards, whichever way they were made.

    fp32 switches TF32 and bfloat16 off everywhere, in cuBLAS, cuDNN and oneDNN, in matrix products, convolutions and
    recurrent layers: cuDNN has TF32 on by default for convolutions, which changes the third digit of a loss.

    torch keeps two sets of settings (the older flags, and `fp32_precision` since 2.9) and refuses to read the older
    where the two disagree: the older are set first, which moves some of the newer, then the newer. A caller who uses
    the newer alone cannot read the older; those are left alone.
    """
    tf32 = precision == "tf32"
    older, benchmark = _older(), torch.backends.cudnn.benchmark
    newer = [(library, at, at.fp32_precision) for library, at in _newer()]
    try:
        _set_older({name: WITH_TF32[name] if tf32 else WITHOUT[name] for name in older})
        for library, at, _ in newer:
            at.fp32_precision = "tf32" if tf32 and library != "mkldnn" else "ieee"
        torch.backends.cudnn.benchmark = False  # its timed choice of kernels would differ from run to run
        yield
    finally:
        _set_older(older)
        for _, at, value in newer:
            at.fp32_precision = "none"  # as its parent says, which may be how it came by its value
            if at.fp32_precision != value:
                at.fp32_precision = value
        torch.backends.cudnn.benchmark = benchmark


def _older() -> dict[str, Any]:
    """The older settings that can be read."""
    found: dict[str, Any] = {}
    with suppress(RuntimeError):
        found["matmul"] = torch.get_float32_matmul_precision()
    with suppress(RuntimeError):
        found["cudnn"] = torch.backends.cudnn.allow_tf32
    return found


def _set_older(values: Mapping[str, Any]) -> None:
    if "matmul" in values:
        torch.set_float32_matmul_precision(values["matmul"])
    if "cudnn" in values:
        torch.backends.cudnn.allow_tf32 = values["cudnn"]


def _newer() -> list[tuple[str, Any]]:
    """(library, operation) of all that has an `fp32_precision` of its own; nothing before torch 2.9."""
    libraries = {"cuda": ("matmul",), "cudnn": ("conv", "rnn"), "mkldnn": ("matmul", "conv", "rnn")}
    places = [
        (library, getattr(getattr(torch.backends, library), operation, None))
        for library, operations in libraries.items()
        for operation in operations
    ]
    return [(library, at) for library, at in places if hasattr(at, "fp32_precision")]
