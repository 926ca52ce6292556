"""Operations without a deterministic kernel are recorded. `put_` has none on any device, so that a CPU will do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from compute import execution, landscape
from protocol.messages import Execution

INDEX, VALUE = torch.tensor([1]), torch.tensor([2.0])


class Scattering(nn.Linear):
    """A layer whose output passes through `put_`."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1)).clone().put_(INDEX, VALUE)


def settings() -> tuple[Any, ...]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
        warnings.showwarning,
        list(warnings.filters),
    )


def test_what_lacks_a_kernel_is_recorded_and_told_once() -> None:
    lacking: set[str] = set()
    told: list[str] = []
    with execution.deterministic(True):
        pass  # torch imports what it needs, and that adds filters
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: told.append(str(message))
        before = settings()
        with execution.deterministic(True, lacking):
            torch.zeros(5).add_(1)
            assert lacking == set()
            for _ in range(3):
                torch.zeros(5).put_(INDEX, VALUE)
            warnings.warn("something else", stacklevel=1)
        assert settings() == before
        torch.zeros(5).put_(INDEX, VALUE)
    assert lacking == {"put_"}
    assert [t.split()[0] for t in told] == ["put_", "something"]


def test_settings_are_put_back_after_an_error() -> None:
    before = settings()
    with pytest.raises(KeyError), execution.deterministic(True, set()):
        raise KeyError
    assert settings() == before


def test_cublas_without_its_workspace_counts() -> None:
    said = "Deterministic behavior was enabled with ..., but this operation is not deterministic because it uses CuBLAS"
    found = execution.NO_KERNEL.search(said)
    assert found is not None
    assert found[2] == "CuBLAS"


def test_cuda_alone_is_switched() -> None:
    for device, on in (("cpu", False), ("cuda", True)):
        with execution.applied(Execution(device=device), "fp32"):  # type: ignore[arg-type]
            assert torch.are_deterministic_algorithms_enabled() == on


@pytest.mark.parametrize("on", [True, False])
def test_a_surface_says_that_it_is_not_deterministic(monkeypatch: pytest.MonkeyPatch, on: bool) -> None:
    real = execution.deterministic

    @contextmanager
    def everywhere(_: bool, lacking: set[str] | None = None) -> Iterator[None]:
        with real(on, lacking):
            yield

    monkeypatch.setattr(execution, "deterministic", everywhere)
    model = Scattering(4, 3)
    data = (torch.randn(8, 4), torch.randint(0, 3, (8,)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        surface = landscape.measure(model, data, landscape.random_plane(model), grid=3)
    assert surface.meta.execution.get("deterministic", True) is not on
