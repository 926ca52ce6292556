"""The metrics of a surface. A new one is a file here and a line in METRICS.

A metric declares the sums that are stored for a (row, pass) and the values that derive from them (protocol/shares.py);
its function adds up one batch. Everything it returns stays on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from protocol.errors import unknown_name
from protocol.shares import MetricDecl

from . import accuracy, loss


@dataclass(frozen=True)
class Metric:
    """`sums(output, losses, target)` gives 0-d tensors by the names declared; `losses` is (B,), one value a sample."""

    decl: MetricDecl
    sums: Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]]
    applies: Callable[[Tensor, Tensor], bool]  # to this output and target


METRICS = {m.DECL.name: Metric(m.DECL, m.sums, m.applies) for m in (loss, accuracy)}


def check(names: Iterable[str]) -> None:
    """Raise InputError for a name that is not known, listing the known ones."""
    for name in names:
        if name not in METRICS:
            raise unknown_name("metrics", name, METRICS)


def choose(names: Iterable[str], output: Tensor, target: Tensor) -> list[Metric]:
    """The named metrics that apply to this kind of output. `loss` is always among them."""
    wanted = list(dict.fromkeys(("loss", *names)))
    check(wanted)
    return [METRICS[name] for name in wanted if METRICS[name].applies(output, target)]
