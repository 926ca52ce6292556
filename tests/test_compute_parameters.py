"""theta and back: order, ties, buffers, and a copy that moves while the caller's model stays where it is."""

from __future__ import annotations

import pytest
import torch
from small import conv_net, digits, snapshot, tied_net
from torch import nn

from compute.parameters import Layout, MovableModel, buffers_of, flatten, flatten_state, require_finite
from protocol.errors import InputError


def test_theta_is_in_named_parameters_order() -> None:
    model = conv_net()
    want = torch.cat([p.detach().flatten() for _, p in model.named_parameters()])
    assert torch.equal(flatten(model, Layout.of(model)), want)


def test_a_tied_tensor_counts_once_and_any_of_its_names_will_do() -> None:
    model = tied_net()
    layout = Layout.of(model)
    assert layout.size == sum(p.numel() for p in model.parameters())
    state = snapshot(model)
    whole = flatten_state(state, layout)
    del state["encode.weight"]
    assert torch.equal(flatten_state(state, layout), whole)


def test_running_statistics_are_not_part_of_theta() -> None:
    layout = Layout.of(conv_net())
    assert not any("running" in name for name in layout.names)
    assert {n for n in layout.buffers if "running_var" in n} == {"1.running_var", "4.running_var"}


def test_frozen_parameters_stay_beside_theta() -> None:
    model = conv_net()
    model[0].weight.requires_grad_(False)
    layout = Layout.of(model)
    assert "0.weight" not in layout.names
    assert "0.weight" in layout.buffers


def test_a_state_of_another_model_is_refused_with_the_tensor_that_differs() -> None:
    layout = Layout.of(conv_net())
    with pytest.raises(InputError, match=r"expected the tensor '0\.weight'"):
        flatten_state(snapshot(tied_net()), layout)
    state = snapshot(conv_net())
    state["8.weight"] = torch.zeros(3, 12)
    with pytest.raises(InputError, match=r"'8.weight' of shape \[10, 12\], got \[3, 12\]"):
        flatten_state(state, layout)


def test_nothing_trainable_is_a_sentence() -> None:
    with pytest.raises(InputError, match="trainable"):
        Layout.of(nn.Sequential(nn.ReLU()))


def test_nan_weights_are_refused() -> None:
    with pytest.raises(InputError, match="2 of 3"):
        require_finite(torch.tensor([1.0, float("nan"), float("inf")]), "w")


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_moving_copy_computes_what_the_moved_model_would(channels_last: bool) -> None:
    model, (x, _) = conv_net().eval(), digits()
    layout = Layout.of(model)
    moving = MovableModel(model, layout, torch.device("cpu"), channels_last=channels_last)
    theta = flatten(model, layout)
    d = torch.randn(layout.size, generator=torch.Generator().manual_seed(1))
    moving.place(moving.arrange(theta), moving.arrange(d), moving.arrange(torch.zeros_like(d)), 0.01, 0.0)
    other = conv_net(seed=5).eval()
    for (_, shape, a, b), p in zip(layout, other.parameters()):
        p.data.copy_((theta + 0.01 * d)[a:b].view(shape))
    torch.testing.assert_close(moving.model(x[:50]), other(x[:50]), rtol=1e-5, atol=1e-5)


def test_the_callers_model_is_not_touched_when_the_copy_moves() -> None:
    model = conv_net().train()
    before, layout = snapshot(model), Layout.of(model)
    moving = MovableModel(model, layout, torch.device("cpu"))
    moving.flat.fill_(7.0)
    moving.set_buffers({n: torch.ones(s) for n, s in layout.buffers.items() if "running" in n})
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


def test_half_precision_weights_are_kept_in_float32() -> None:
    model = conv_net().half()
    layout = Layout.of(model)
    assert layout.dtype == torch.float32
    assert MovableModel(model, layout, torch.device("cpu")).model[0].weight.dtype == torch.float32


def test_buffers_are_copies_not_live_views() -> None:
    model = conv_net()
    kept = buffers_of(model.state_dict(), Layout.of(model))
    model[1].running_mean.fill_(9.0)
    assert not bool((kept["1.running_mean"] == 9.0).any())
