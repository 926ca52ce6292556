"""Flat theta <-> model.

theta is the vector of a model's trainable parameters in `named_parameters()` order, a tied tensor once, length P.
Everything else in its state dict (batch-norm running statistics, frozen parameters) is *not* part of theta and is
carried beside it as `buffers`. Names alone cannot tell the two apart, so a `Layout` is always made from a model.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from protocol.errors import InputError

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """Where each trainable tensor lies in theta."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    offsets: tuple[int, ...]
    size: int
    dtype: torch.dtype  # float64 where a parameter is, else float32
    aliases: Mapping[str, tuple[str, ...]]  # other names of a tied tensor, by its first name
    buffers: Mapping[str, tuple[int, ...]]  # what is in the state dict beside theta, with shapes

    @classmethod
    def of(cls, model: nn.Module) -> Layout:
        """The layout of a model. Raises InputError when nothing in it is trainable."""
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        if not named:
            raise InputError("model: expected trainable parameters, found none with requires_grad=True")
        for name, p in named:
            if isinstance(p, UninitializedParameter):
                raise InputError(f"model: its parameter '{name}' has no shape yet: run one batch through it first")
            if not p.is_floating_point():
                raise InputError(f"model: parameter '{name}' is {p.dtype}, expected a real floating-point type")
        first = {id(p): name for name, p in named}
        trainable = set(first.values())
        aliases: dict[str, list[str]] = {}
        rest: dict[str, tuple[int, ...]] = {}
        for name, value in model.state_dict(keep_vars=True).items():
            if not isinstance(value, Tensor):
                continue
            owner = first.setdefault(id(value), name)
            if owner != name:
                aliases.setdefault(owner, []).append(name)
            elif name not in trainable:
                rest[name] = tuple(value.shape)
        sizes = [p.numel() for _, p in named]
        return cls(
            names=tuple(name for name, _ in named),
            shapes=tuple(tuple(p.shape) for _, p in named),
            offsets=tuple(itertools.accumulate(sizes[:-1], initial=0)),
            size=sum(sizes),
            dtype=torch.float64 if any(p.dtype == torch.float64 for _, p in named) else torch.float32,
            aliases={k: tuple(v) for k, v in aliases.items()},
            buffers=rest,
        )

    def __iter__(self) -> Iterator[tuple[str, tuple[int, ...], int, int]]:
        """(name, shape, start, stop) of each tensor, in theta order."""
        for name, shape, start in zip(self.names, self.shapes, self.offsets):
            yield name, shape, start, start + math.prod(shape)

    def find(self, name: str, state: Mapping[str, object]) -> str | None:
        """The key under which `state` holds the tensor `name`: its own, or that of a tensor tied to it."""
        return next((key for key in (name, *self.aliases.get(name, ())) if key in state), None)


def mismatch(layout: Layout, shapes: Mapping[str, tuple[int, ...]], what: str) -> InputError | None:
    """Why a state with these shapes cannot belong to the model of this layout, or None when it can."""
    for name, shape, _, _ in layout:
        key = layout.find(name, shapes)
        if key is None:
            return InputError(
                f"{what}: does not belong to this model: expected the tensor '{name}', found none of that name: "
                "name the model that it was trained with",
                code="integrity",
            )
        if tuple(shapes[key]) != shape:
            return InputError(
                f"{what}: does not belong to this model: expected '{key}' of shape {list(shape)}, got "
                f"{list(shapes[key])}: name the model and the number of classes that it was trained with",
                code="integrity",
            )
    return None


def flatten(model: nn.Module, layout: Layout) -> Tensor:
    """A new vector theta (P,) of the model's trainable parameters, on the CPU."""
    named = dict(model.named_parameters())
    return _gather({name: named[name] for name in layout.names}, layout)


def flatten_state(state: State, layout: Layout, what: str = "state dict") -> Tensor:
    """A new vector theta (P,) from a state dict, on the CPU. Raises InputError where it is not this model's."""
    wrong = mismatch(layout, {k: tuple(v.shape) for k, v in state.items() if isinstance(v, Tensor)}, what)
    if wrong:
        raise wrong
    return _gather({name: state[layout.find(name, state)] for name in layout.names}, layout)  # type: ignore[index]


def _gather(tensors: State, layout: Layout) -> Tensor:
    theta = torch.empty(layout.size, dtype=layout.dtype)
    for name, _, start, stop in layout:
        theta[start:stop].copy_(tensors[name].detach().reshape(-1))
    return theta


def buffers_of(state: State, layout: Layout) -> dict[str, Tensor]:
    """Copies, on the CPU, of what a state dict holds beside theta (a live view would walk away with the model).

    Half-precision ones are widened, as theta is. Raises InputError where one is missing: without its running
    statistics a checkpoint would be measured with those of another.
    """
    wrong = missing_buffer(layout, {k: tuple(v.shape) for k, v in state.items() if isinstance(v, Tensor)}, "state dict")
    if wrong:
        raise wrong
    out = {}
    for name in layout.buffers:
        key = layout.find(name, state)
        if key is not None:
            out[name] = widened(state[key].detach().to("cpu", copy=True).contiguous())
    return out


def widened(value: Tensor) -> Tensor:
    """Half-precision numbers as float32; anything else as it is."""
    return value.float() if value.is_floating_point() and value.itemsize < 4 else value


def missing_buffer(layout: Layout, shapes: Mapping[str, tuple[int, ...]], what: str) -> InputError | None:
    """Why a state with these shapes lacks a buffer of the model, or None. Counters of batches may be absent: no number
    depends on them, and older files have none."""
    for name, shape in layout.buffers.items():
        key = layout.find(name, shapes)
        if key is None and name.endswith("num_batches_tracked"):
            continue
        if key is None or tuple(shapes[key]) != shape:
            found = "none of that name" if key is None else f"shape {list(shapes[key])}"
            return InputError(
                f"{what}: expected the buffer '{name}' of shape {list(shape)}, found {found}: save the model's whole "
                "state_dict(), with its running statistics",
                code="integrity",
            )
    return None


def require_finite(theta: Tensor, what: str) -> None:
    """Refuse weights that hold NaN or infinity: every point of a plane through them would be undefined."""
    if not bool(torch.isfinite(theta).all()):
        bad = int((~torch.isfinite(theta)).sum())
        raise InputError(
            f"{what}: expected finite weights, got {bad} of {theta.numel()} that are NaN or infinite: "
            "choose a checkpoint from before the training diverged"
        )


class MovableModel:
    """An own copy of a model whose parameters are views into one flat vector, so that a step anywhere in weight
    space is two fused vector operations. The caller's model is only read.

    With `channels_last` the flat vector holds each 4-D weight in (O, kh, kw, I) order, so its views are channels-last
    without a copy; `arrange` brings a vector from theta order into this one.
    """

    def __init__(self, model: nn.Module, layout: Layout, device: torch.device, *, channels_last: bool = False) -> None:
        try:
            own = copy.deepcopy(model)
        except Exception as e:
            raise InputError(f"model: expected one that copy.deepcopy can copy, got {type(e).__name__}: {e}") from e
        self.layout = layout
        self.device = device
        self.model = own.to(device).eval().requires_grad_(False)
        if any(p.dtype != layout.dtype for p in self.model.parameters() if p.is_floating_point()):
            self.model.to(layout.dtype)  # half-precision weights are measured in the type that theta is kept in
        self.flat = torch.empty(layout.size, dtype=layout.dtype, device=device)
        self._permuted: list[tuple[int, int, tuple[int, ...]]] = []
        named = dict(self.model.named_parameters())
        for name, shape, start, stop in layout:
            piece = self.flat[start:stop]
            if channels_last and len(shape) == 4 and shape[1] > 1 and shape[2] * shape[3] > 1:
                o, i, kh, kw = shape
                view = piece.view(o, kh, kw, i).permute(0, 3, 1, 2)
                self._permuted.append((start, stop, shape))
            else:
                view = piece.view(shape)
            named[name].data = view
        self._state = dict(self.model.state_dict(keep_vars=True).items())

    def arrange(self, theta: Tensor) -> Tensor:
        """A vector (P,) in theta order, as a new one on the device in this copy's own order."""
        out = theta.to(self.device, self.layout.dtype, copy=True)
        for start, stop, (o, i, kh, kw) in self._permuted:
            out[start:stop].view(o, kh, kw, i).copy_(theta[start:stop].view(o, i, kh, kw).permute(0, 2, 3, 1))
        return out

    def buffers(self) -> dict[str, Tensor]:
        """Copies of this copy's own running statistics (and whatever else is not theta)."""
        return {name: self._state[name].detach().clone() for name in self.layout.buffers}

    def set_buffers(self, buffers: State) -> None:
        """Give the copy these running statistics (and whatever else is not theta)."""
        for name, value in buffers.items():
            if name in self.layout.buffers:
                self._state[name].data.copy_(value)

    def place(self, origin: Tensor, delta: Tensor, eta: Tensor, alpha: float, beta: float) -> None:
        """theta = origin + alpha * delta + beta * eta, formed freshly (no drift), from arranged vectors."""
        torch.add(origin, delta, alpha=alpha, out=self.flat)
        self.flat.add_(eta, alpha=beta)
