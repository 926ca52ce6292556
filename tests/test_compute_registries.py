"""Every entry of the tables of planes, metrics and losses keeps the contract of its table."""

from __future__ import annotations

import itertools

import msgspec
import pytest
import torch
from small import conv_net, digits, trained

from compute import landscape
from compute.directions import DIRECTIONS
from compute.engine import per_sample
from compute.landscape import finish, make_plane
from compute.losses import LOSSES
from compute.metrics import METRICS
from compute.planes import load_plane, save_plane


@pytest.mark.parametrize("kind", sorted(DIRECTIONS))
def test_a_kind_of_plane_is_made_saved_and_measured(kind: str, tmp_path: object) -> None:
    model, states = trained()
    entry = DIRECTIONS[kind]
    assert msgspec.json.schema(entry.options)["$ref"]
    plane = finish(make_plane(kind, model, states if entry.trajectory else states[-1:], {}, trajectory=states))
    assert plane.delta.shape == plane.eta.shape == plane.origin.shape
    assert abs(plane.meta.cosine) < 0.5
    assert len(plane.path) == len(states)
    from pathlib import Path

    again = load_plane(save_plane(Path(str(tmp_path)), plane, None, []), plane.layout)
    assert torch.equal(again.eta, plane.eta)
    surface = landscape.measure(model, digits(), again, 3, alpha=(-1, 1), beta=(-1, 1), limit=100)
    assert surface.meta.plane.kind == kind


@pytest.mark.parametrize("kind", sorted(DIRECTIONS))
def test_a_kind_of_plane_reports_its_progress_to_the_end(kind: str) -> None:
    model, states = trained()
    told = list(make_plane(kind, model, states if DIRECTIONS[kind].trajectory else states[-1:], {}))
    assert told
    assert told[-1][0] == told[-1][1]
    assert len({total for _, total in told}) == 1, "the total changed"
    assert all(a <= b for (a, _), (b, _) in itertools.pairwise(told)), "progress went back"


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_metric_gives_the_sums_that_it_declares(name: str) -> None:
    metric = METRICS[name]
    (x, y), model = digits(), conv_net().eval()
    with torch.no_grad():
        output = model(x[:50])
        losses = torch.nn.functional.cross_entropy(output, y[:50], reduction="none")
    assert metric.applies(output, y[:50])
    sums = metric.sums(output, losses, y[:50])
    assert list(sums) == list(metric.decl.sums)
    assert all(v.ndim == 0 for v in sums.values())
    used = {v.sum for v in metric.decl.values.values()} | {v.square for v in metric.decl.values.values() if v.square}
    assert used <= set(metric.decl.sums)
    halves = [metric.sums(output[a:b], losses[a:b], y[a:b]) for a, b in ((0, 20), (20, 50))]
    for key, value in sums.items():
        torch.testing.assert_close(halves[0][key] + halves[1][key], value)


def test_accuracy_does_not_apply_to_one_column() -> None:
    """Regression: the argmax of one column is 0, so that a regression on whole numbers got an "accuracy"."""
    applies = METRICS["accuracy"].applies
    assert applies(torch.zeros(5, 2), torch.zeros(5, dtype=torch.int64))
    assert not applies(torch.zeros(5, 1), torch.zeros(5, dtype=torch.int64))
    assert not applies(torch.zeros(5, 2), torch.zeros(5))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_named_loss_gives_one_value_a_sample(name: str) -> None:
    x, y = digits()
    with torch.no_grad():
        assert per_sample(LOSSES[name])(conv_net().eval()(x[:7]), y[:7]).shape == (7,)
