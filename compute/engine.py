"""Rows of a surface, fast. The one place where losses are measured.

    for each row i, for each j:   theta = theta* + alpha[j] * delta + beta[i] * eta
                                  sums[j] += metrics of the model at theta over one share of the data

A point costs two fused vector operations and the bare forward passes: the model's parameters are views into the one
vector that is formed, the data are resident on the device in the order in which every point sees them, sums stay on the
device, and the host waits once a row. `benchmarks/engine.py` compares it with a bare loop.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from compute import metrics as registry
from compute.arithmetic import autocast, sums_device
from compute.parameters import Layout, MovableModel, State
from protocol.errors import InputError
from protocol.messages import BatchNorm, Execution, Precision
from protocol.shares import Share, partitions

Loss = Callable[[Tensor, Tensor], Tensor]
DEFAULT_BATCH = 256
CANDIDATES = (64, 128, 256, 512)  # batch sizes that calibration tries


def per_sample(loss: Callable[..., Any]) -> Loss:
    """`loss` as a function (output, target) -> (B,): asked for `reduction="none"` where it takes that."""
    if isinstance(loss, nn.Module):
        if hasattr(loss, "reduction"):
            loss = copy.copy(loss)
            setattr(loss, "reduction", "none")  # noqa: B010 - a Module's attribute, which no type checker knows
        return loss
    try:
        takes = "reduction" in inspect.signature(loss).parameters
    except (TypeError, ValueError):
        takes = False
    if takes:
        return lambda output, target: loss(output, target, reduction="none")
    return loss


def loss_name(loss: object) -> str:
    """The name under which a loss is recorded."""
    return getattr(loss, "__name__", None) or type(loss).__name__


class Engine:
    """A model that moves over a plane, its data resident; gives the sums of any row over any share.

    `x`, `y` are in measuring order (see samples.order); `origin`, `delta`, `eta` are vectors (P,) in theta order.
    What `execution` leaves open is chosen by a fixed rule, or, with `calibrate`, by timing a few forward passes.
    Use it inside `execution.applied`. The caller's model is only read.
    """

    def __init__(
        self,
        model: nn.Module,
        layout: Layout,
        *,
        origin: Tensor,
        delta: Tensor,
        eta: Tensor,
        buffers: State,
        x: Tensor,
        y: Tensor,
        loss: Callable[..., Any],
        metrics: Iterable[str],
        batch_norm: BatchNorm,
        calibration: Tensor | None,
        precision: Precision,
        execution: Execution,
        calibrate: bool = False,
    ) -> None:
        assert execution.device is not None
        self.device = torch.device(execution.device)
        self._home = sums_device(self.device)
        self.layout = layout
        self.batch_norm = batch_norm
        self.precision = precision
        self.loss = per_sample(loss)
        self._loss_name = loss_name(loss)
        dtype = layout.dtype
        self._x = x.to(self.device, dtype if x.is_floating_point() else None)
        self._y = y.to(self.device)
        self._edges = partitions(len(x))
        if batch_norm == "batch" and len(x) < 2:
            raise InputError("data: batch statistics need at least 2 samples, got 1: use batch_norm=frozen")
        self.calibration_samples = 0  # that recalibrate runs at each point
        if batch_norm == "recalibrate":
            if calibration is None or len(calibration) < 2:
                raise InputError("calibration: expected at least 2 samples to estimate the running statistics from")
            calibration = calibration.to(self.device, dtype if calibration.is_floating_point() else None)
            self.calibration_samples = len(calibration)
            edges = partitions(len(calibration))
            self._calibration_batches = [calibration[a:b] for a, b in itertools.pairwise(edges)]
        self._source = (model, buffers, (origin, delta, eta))
        self._twin: Engine | None = None
        self.seconds_per_sample: float | None = None  # of a forward pass at theta*, where calibration measured it
        free = execution.channels_last is None
        self.execution = execution if calibrate else self._by_rule(execution)
        self._build(bool(self.execution.channels_last))
        registry.check(metrics)
        try:
            self.metrics = self._probe(metrics)
        except InputError:
            if not (free and self._channels_last):
                raise
            # Nobody asked for channels-last; a model that flattens with .view() cannot take it.
            self.execution = msgspec.structs.replace(self.execution, channels_last=False)
            self._build(False)
            self.metrics = self._probe(metrics)
        if calibrate:
            self.execution = self._calibrated(execution)

    # ------------------------------------------------------------ set-up

    def _build(self, channels_last: bool) -> None:
        """The moving copy and the arranged vectors for one memory layout."""
        self._channels_last = channels_last
        model, buffers, vectors = self._source
        self.moving = MovableModel(model, self.layout, self.device, channels_last=channels_last)
        self.moving.set_buffers(buffers)
        self.model = self.moving.model
        self._origin, self._delta, self._eta = (self.moving.arrange(v) for v in vectors)
        self.moving.place(self._origin, self._delta, self._eta, 0.0, 0.0)
        self._norms = [m for m in self.model.modules() if isinstance(m, _BatchNorm)]
        self._images = self._x.ndim == 4 and self._x.is_floating_point()
        if self._images:
            form = torch.channels_last if channels_last else torch.contiguous_format
            self._x = self._x.contiguous(memory_format=form)
            if self.batch_norm == "recalibrate":
                self._calibration_batches = [b.contiguous(memory_format=form) for b in self._calibration_batches]
        if self.batch_norm == "batch":
            for norm in self._norms:  # without running statistics, eval mode takes those of the batch
                norm.running_mean = norm.running_var = None

    @contextmanager
    def _arithmetic(self) -> Iterator[None]:
        """No gradients; the precision's own autocast and not the caller's."""
        with torch.inference_mode(), autocast(self.precision, self.device):
            yield

    def _probe(self, names: Iterable[str]) -> list[registry.Metric]:
        """Run two samples, refuse a loss that does not give one value a sample, choose the metrics that apply."""
        with self._arithmetic():
            return self._probed(names, self._x[:2], self._y[:2])

    def _probed(self, names: Iterable[str], x: Tensor, y: Tensor) -> list[registry.Metric]:
        try:
            output = self.model(x)
        except torch.OutOfMemoryError:
            raise
        except Exception as e:  # a stranger's forward may raise anything
            raise InputError(
                f"model: expected to take inputs of shape {list(x.shape[1:])}, but its forward raises "
                f"{type(e).__name__}: {_first_line(e)}"
            ) from e
        try:
            losses = self.loss(output, y)
        except Exception as e:  # so may a stranger's loss
            raise InputError(
                f"loss: '{self._loss_name}' does not take this model's output and these targets, it raises "
                f"{type(e).__name__}: {_first_line(e)}"
            ) from e
        if not isinstance(losses, Tensor) or losses.shape != (len(x),):
            got = f"shape {list(losses.shape)}" if isinstance(losses, Tensor) else type(losses).__name__
            raise InputError(
                f"loss: expected one value a sample, shape [{len(x)}] for {len(x)} samples, got {got} from "
                f"'{self._loss_name}': return per-sample values (reduction='none') and let thalweg average them"
            )
        chosen = registry.choose(names, output, y) if isinstance(output, Tensor) else registry.choose((), x, y)
        return chosen

    def _by_rule(self, execution: Execution) -> Execution:
        """Batch size and memory layout without a measurement, so that two calls of the library give the same bits."""
        return msgspec.structs.replace(
            execution,
            batch_size=execution.batch_size or DEFAULT_BATCH,
            channels_last=self._x.ndim == 4 if execution.channels_last is None else execution.channels_last,
        )

    def _calibrated(self, execution: Execution) -> Execution:
        """Choose batch size and memory layout, where they are open, by timing a few forward passes at theta*.

        The choice goes into the record, because the last bits depend on it.
        """
        sizes = [execution.batch_size] if execution.batch_size else sorted({min(c, len(self._x)) for c in CANDIDATES})
        if self.batch_norm == "batch":
            sizes = [int(np.diff(self._edges).max())]
        layouts = (
            [execution.channels_last] if execution.channels_last is not None else [False, True][: 1 + self._images]
        )
        timed: dict[tuple[int, bool], float] = {}
        for layout in layouts:
            self._lay_out(layout)
            for size in sizes:
                try:
                    timed[size, layout] = self._seconds(size) / size
                except torch.OutOfMemoryError:
                    break  # a larger one will not fit either
                except RuntimeError:
                    if not layout or execution.channels_last:
                        raise
                    break  # a model that flattens with .view() cannot take channels-last
        if not timed:
            raise InputError(f"memory: {self.device} holds not even a batch of {sizes[0]}: use a smaller batch size")
        batch, layout = min(timed, key=lambda k: timed[k])
        self.seconds_per_sample = timed[batch, layout]
        self._lay_out(layout)
        return msgspec.structs.replace(execution, batch_size=batch, channels_last=layout)

    def _lay_out(self, channels_last: bool) -> None:
        """Bring the copy and the data into a memory layout, at theta*."""
        if channels_last != self._channels_last:
            self._build(channels_last)

    def _seconds(self, size: int) -> float:
        """The best of three forward passes over one batch, after one that warms up."""
        best = float("inf")
        with self._arithmetic():
            for k in range(4):
                self._wait()
                begun = time.perf_counter()
                self.model(self._x[:size])
                self._wait()
                took = time.perf_counter() - begun
                best = min(best, took) if k else best
                if took > 1.0 and k:
                    break
        return best

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @property
    def data(self) -> tuple[Tensor, Tensor]:
        """The resident inputs and targets, in measuring order."""
        return self._x, self._y

    # ------------------------------------------------------------ measuring

    def rows(
        self, rows: Iterable[tuple[int, float]], alpha: NDArray[np.float64], share: Share
    ) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
        """For each (i, beta): i and the sums of that row over a share, arrays (W,) by name, and `n` (0-d int64)."""
        spans = list(self._spans(share))
        for i, beta in rows:
            yield i, self._row(alpha, beta, spans)

    def _row(self, alpha: NDArray[np.float64], beta: float, spans: list[tuple[int, int]]) -> dict[str, NDArray[Any]]:
        names = [(name, dtype) for m in self.metrics for name, dtype in m.decl.sums.items()]
        total = torch.zeros(len(names), len(alpha), dtype=torch.float64, device=self._home)
        with self._arithmetic(), refusing():
            for j, a in enumerate(alpha):
                self._move(float(a), beta)
                self._add(total[:, j], spans)
        table = total.cpu().numpy()
        out: dict[str, NDArray[Any]] = {name: table[k].astype(dtype) for k, (name, dtype) in enumerate(names)}
        out["n"] = np.array(sum(b - a for a, b in spans), dtype=np.int64)
        return out

    def at(self, theta: Tensor, buffers: State | None = None, *, own_statistics: bool = False) -> dict[str, float]:
        """The sums over all samples at a weight vector theta (P,), with `n`.

        Under the engine's batch-norm policy; with `own_statistics`, with `buffers` frozen whatever the policy is.
        """
        frozen = own_statistics and self.batch_norm != "frozen"
        engine = self._frozen_twin() if frozen else self
        return engine._at(theta, buffers)

    def _at(self, theta: Tensor, buffers: State | None) -> dict[str, float]:
        spans = list(self._spans(Share(0, len(self._x))))
        names = [name for m in self.metrics for name in m.decl.sums]
        total = torch.zeros(len(names), dtype=torch.float64, device=self._home)
        before = self.moving.buffers() if buffers is not None else {}
        try:
            if buffers is not None:
                self.moving.set_buffers(buffers)
            with self._arithmetic(), refusing():
                self.moving.flat.copy_(self.moving.arrange(theta))
                if self.batch_norm == "recalibrate":
                    self._recalibrate()
                self._add(total, spans)
        finally:
            self.moving.set_buffers(before)
        return dict(zip(names, total.tolist())) | {"n": float(len(self._x))}

    def _frozen_twin(self) -> Engine:
        """The same engine under the policy `frozen`, sharing the data; made when it is first asked for."""
        if self._twin is None:
            self._twin = copy.copy(self)
            self._twin.batch_norm = "frozen"
            self._twin._build(self._channels_last)
        return self._twin

    def _move(self, alpha: float, beta: float) -> None:
        self.moving.place(self._origin, self._delta, self._eta, alpha, beta)
        if self.batch_norm == "recalibrate":
            self._recalibrate()

    def _spans(self, share: Share) -> Iterator[tuple[int, int]]:
        """Batches [a, b) of a share: partitions under `batch`, else batches of the execution's size."""
        if self.batch_norm == "batch":
            inside = self._edges[(self._edges >= share.start) & (self._edges <= share.stop)]
            yield from ((int(a), int(b)) for a, b in itertools.pairwise(inside))
            return
        size = self.execution.batch_size or DEFAULT_BATCH
        for a in range(share.start, share.stop, size):
            yield a, min(a + size, share.stop)

    def _add(self, total: Tensor, spans: list[tuple[int, int]]) -> None:
        """Add the metrics' sums over these batches at the model's present weights to `total` (S,)."""
        for a, b in spans:
            y = self._y[a:b]
            output = self.model(self._x[a:b])
            if self.precision == "bf16" and isinstance(output, Tensor):
                output = output.float()
            losses = self.loss(output, y)
            if self._home.type != self.device.type:
                output, losses, y = output.cpu(), losses.cpu(), y.cpu()
            parts = [v for m in self.metrics for v in m.sums(output, losses, y).values()]
            total += torch.stack([p.to(torch.float64) for p in parts])

    def _recalibrate(self) -> None:
        """Running statistics of these very weights: cumulative averages over the calibration batches, as SWA does
        (Izmailov et al. 2018, section 3.2). The momentum is set from the host, because `momentum=None` reads a
        counter back from the device at every layer."""
        for norm in self._norms:
            norm.reset_running_stats()
            norm.train()
        try:
            for k, x in enumerate(self._calibration_batches):
                for norm in self._norms:
                    norm.momentum = 1.0 / (k + 1)
                self.model(x)
        except torch.OutOfMemoryError as e:
            raise InputError(
                f"memory: a batch of {len(x)} calibration samples does not fit, and recalibrate cannot split it: "
                "use batch_norm=frozen, or a device with more memory",
                code="unavailable",
            ) from e
        finally:
            for norm in self._norms:
                norm.eval()


@contextmanager
def refusing() -> Iterator[None]:
    """What a model or a loss raises at a later sample (a target that is no class, say), as one sentence."""
    try:
        yield
    except (InputError, torch.OutOfMemoryError):
        raise
    except Exception as e:  # a stranger's code may raise anything
        raise InputError(
            f"model or loss: it raises {type(e).__name__} while it is measured: {_first_line(e)}: "
            "check that every target is one that the loss takes"
        ) from e


def _first_line(e: BaseException) -> str:
    return (str(e).strip().splitlines() or [""])[0]
