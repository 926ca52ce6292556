"""Training: a function of recipe and seed, resumable bit for bit, refused in one sentence, honest about NaN."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import Tensor, nn

from compute import datasets, models, recipes, train
from compute.datasets import TensorData
from protocol.errors import InputError
from protocol.messages import PRESETS, Recipe

SMALL = Recipe(
    model="mlp",
    model_options={"width": 16, "depth": 1, "batch_norm": True, "dropout": 0.2},
    dataset="digits",
    augmentation="standard",
    lr=0.05,
    batch_size=32,
    epochs=2,
    checkpoint_every=2,
    seed=3,
)


def change(recipe: Recipe, **changes: Any) -> Recipe:
    return msgspec.structs.replace(recipe, **changes)


@pytest.fixture(scope="module")
def data() -> tuple[TensorData, TensorData]:
    """160 training and 60 test digits."""
    return datasets.load("digits", "train", limit=160), datasets.load("digits", "test", limit=60)


@dataclass
class Kept:
    """A checkpoint as a file would keep it."""

    step: int
    epoch: float
    weights: dict[str, Tensor]
    tensors: dict[str, Tensor]
    meta: dict[str, Any]


def run(
    recipe: Recipe, data: tuple[TensorData, TensorData], resume: train.Resume | None = None, channels_last: bool = False
) -> tuple[list[Kept], list[train.EpochDone], list[float]]:
    """Train to the end: the checkpoints, the epochs, every step's loss."""
    kept, epochs, losses = [], [], []
    layout = {"channels_last": channels_last}
    for event in train.train(recipe, train_data=data[0], test_data=data[1], device="cpu", resume=resume, **layout):
        if isinstance(event, train.StepDone):
            losses.append(float(event.loss))
        elif isinstance(event, train.EpochDone):
            epochs.append(event)
        else:
            weights = {k: v.clone() for k, v in event.model.state_dict().items()}
            tensors, meta = event.resume()
            kept.append(Kept(event.step, event.epoch, weights, tensors, json.loads(json.dumps(meta))))
    return kept, epochs, losses


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def figures(epochs: list[train.EpochDone]) -> list[dict[str, float]]:
    """The metrics but for the clock's."""
    return [{k: v for k, v in e.metrics.items() if k != "seconds"} for e in epochs]


# ---------------------------------------------------------------- determinism and resume


def test_training_is_a_function_of_the_seed(data: tuple[TensorData, TensorData]) -> None:
    one, again, other = run(SMALL, data), run(SMALL, data), run(change(SMALL, seed=4), data)
    assert one[2] == again[2]
    assert same(one[0][-1].weights, again[0][-1].weights)
    assert figures(one[1]) == figures(again[1])
    assert one[2] != other[2]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "adamw", "lr": 0.003},
        {"nesterov": True, "schedule": "step"},
        {"momentum": 0.0, "schedule": "constant", "augmentation": "none"},
        {"model": "vgg9", "image_size": 16, "model_options": {"width": 2, "dropout": 0.3}},
        {"precision": "bf16"},
    ],
    ids=lambda c: "-".join(map(str, c.values()))[:40] or "sgd",
)
def test_resumed_training_equals_uninterrupted(changes: dict[str, Any], data: tuple[TensorData, TensorData]) -> None:
    recipe = change(SMALL, **changes)
    if recipe.image_size:
        limits = {"train": 160, "test": 60}
        data = tuple(recipes.load_data(recipe, split, limit=n) for split, n in limits.items())  # type: ignore[assignment, arg-type]
    whole, epochs, losses = run(recipe, data)
    assert [k.step for k in whole] == [0, 2, 4, 5, 6, 8, 10], "theta_0, every second step, mid-epoch ones, epoch ends"
    for kept in whole:
        resume = train.Resume(kept.weights, kept.tensors, kept.meta)
        again, epochs_again, losses_again = run(recipe, data, resume)
        assert losses_again == losses[kept.step :]
        assert [k.step for k in again] == [k.step for k in whole if k.step > kept.step]
        assert same((again or [kept])[-1].weights, whole[-1].weights)
        assert same((again or [kept])[-1].tensors, whole[-1].tensors)
        assert figures(epochs_again) == figures([e for e in epochs if e.step > kept.step])


def test_checkpoint_asked_for_at_any_step_resumes_to_the_same_bits(data: tuple[TensorData, TensorData]) -> None:
    recipe = change(SMALL, checkpoint_every=None)
    whole, _, losses = run(recipe, data)
    for event in train.train(recipe, train_data=data[0], test_data=data[1], device="cpu"):
        if not isinstance(event, train.StepDone):
            continue
        assert (event.due is None) == (event.step % 5 == 0)
        if event.due is not None:
            due = event.due()
            assert (due.step, due.metrics) == (event.step, None)
            weights = {k: v.clone() for k, v in due.model.state_dict().items()}
            again, _, rest = run(recipe, data, train.Resume(weights, *due.resume()))
            assert rest == losses[event.step :]
            assert same(again[-1].weights, whole[-1].weights)


def test_resume_holds_in_channels_last(data: tuple[TensorData, TensorData]) -> None:
    recipe = change(SMALL, model="resnet20", model_options={"width": 4}, epochs=1)
    whole, _, losses = run(recipe, data, channels_last=True)
    resume = train.Resume(whole[1].weights, whole[1].tensors, whole[1].meta)
    again, _, losses_again = run(recipe, data, resume, channels_last=True)
    assert losses_again == losses[2:]
    assert same(again[-1].weights, whole[-1].weights)


def test_dropout_is_drawn_anew_at_each_step(data: tuple[TensorData, TensorData]) -> None:
    masks = []
    recipe = change(SMALL, augmentation="none")
    hooked: set[int] = set()
    for event in train.train(recipe, train_data=data[0], test_data=data[1], device="cpu"):
        if isinstance(event, train.CheckpointDue) and not hooked:
            layer = next(m for m in event.model.modules() if isinstance(m, nn.Dropout))
            layer.register_forward_hook(lambda m, i, o: masks.append(o == 0) if m.training else None)
            hooked.add(id(layer))
    assert len(masks) == 10
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(masks, 2))


def test_callers_random_state_and_data_are_untouched(data: tuple[TensorData, TensorData]) -> None:
    torch.manual_seed(11)
    state = torch.get_rng_state()
    before = [d.images.clone() for d in data]
    for _ in train.train(SMALL, train_data=data[0], test_data=data[1], device="cpu"):
        assert torch.equal(torch.get_rng_state(), state), "moved at an event"
    assert all(torch.equal(d.images, b) for d, b in zip(data, before))


def test_callers_random_draws_do_not_change_the_training(data: tuple[TensorData, TensorData]) -> None:
    quiet = run(SMALL, data)[2]
    losses = []
    for event in train.train(SMALL, train_data=data[0], test_data=data[1], device="cpu"):
        torch.rand(7)
        if isinstance(event, train.StepDone):
            losses.append(float(event.loss))
    assert losses == quiet


def test_resume_state_is_a_copy(data: tuple[TensorData, TensorData]) -> None:
    first = None
    for event in train.train(SMALL, train_data=data[0], test_data=data[1], device="cpu"):
        if isinstance(event, train.CheckpointDue) and event.step == 2:
            first = event.resume()[0]
            copies = {k: v.clone() for k, v in first.items()}
    assert first is not None
    assert same(first, copies)


def test_resume_of_another_recipe_or_model_is_refused(data: tuple[TensorData, TensorData]) -> None:
    kept = run(SMALL, data)[0][1]
    resume = train.Resume(kept.weights, kept.tensors, kept.meta)
    with pytest.raises(InputError, match="another recipe"):
        run(change(SMALL, lr=0.06), data, resume)
    with pytest.raises(InputError, match="not this model's"):
        run(SMALL, data, train.Resume({"hidden.0.weight": torch.zeros(3)}, kept.tensors, kept.meta))
    with pytest.raises(InputError, match="another recipe"):
        run(SMALL, data, train.Resume(kept.weights, kept.tensors, {"format": 1}))
    with pytest.raises(InputError, match="incomplete"):
        run(SMALL, data, train.Resume(kept.weights, {}, kept.meta))
    with pytest.raises(InputError, match="another version"):
        run(SMALL, data, train.Resume(kept.weights, kept.tensors, {}))


def test_whole_lr_resumes_after_a_round_trip_through_json(data: tuple[TensorData, TensorData]) -> None:
    recipe = change(SMALL, lr=1, epochs=1)  # an int here, a float once it was read back
    kept = run(recipe, data)[0][1]
    read_back = msgspec.json.decode(msgspec.json.encode(recipe), type=Recipe)
    assert run(read_back, data, train.Resume(kept.weights, kept.tensors, kept.meta))[0][-1].step == 5


def test_shared_tensor_may_be_named_once() -> None:
    tied = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    tied[1].weight = tied[0].weight
    new = {k: torch.full_like(v, 2.0) for k, v in tied.state_dict().items() if k != "1.weight"}
    train.load_weights(tied, new)
    assert (tied[1].weight == 2).all()
    with pytest.raises(InputError, match=r"1\.bias"):
        train.load_weights(tied, {k: v for k, v in new.items() if k != "1.bias"})


# ---------------------------------------------------------------- events


def test_events_come_in_order(data: tuple[TensorData, TensorData]) -> None:
    order = []
    for event in train.train(SMALL, train_data=data[0], test_data=data[1], device="cpu"):
        order.append((type(event).__name__[0], event.step))
        if isinstance(event, train.CheckpointDue):
            assert event.epoch == event.step / 5
            assert (event.metrics is not None) == (event.step in (5, 10))
    steps = [("S", n) for n in range(1, 11)]
    expected: list[tuple[str, int]] = [("C", 0)]
    for name, n in steps:
        expected.append((name, n))
        if n % 5 == 0:
            expected.append(("E", n))
        if n % 5 == 0 or n % 2 == 0:
            expected.append(("C", n))
    assert order == expected


def test_theta_0_is_the_recipes_model(data: tuple[TensorData, TensorData]) -> None:
    kept = run(change(SMALL, epochs=1), data)[0]
    assert same(kept[0].weights, recipes.build_model(SMALL).state_dict())


def test_metrics_are_those_of_a_plain_loop(data: tuple[TensorData, TensorData]) -> None:
    recipe = change(SMALL, augmentation="none", model_options={"width": 16, "depth": 1}, schedule="constant", epochs=2)
    kept, epochs, losses = run(recipe, data)
    model = recipes.build_model(recipe)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    mine = []
    for epoch in range(2):
        order = torch.randperm(160, generator=datasets.generator("order", recipe.seed, epoch))
        for index in order.split(32):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(data[0].images[index]), data[0].targets[index])
            loss.backward()
            optimizer.step()
            mine.append(float(loss.detach()))
    assert losses == mine
    assert same(kept[-1].weights, model.state_dict())
    assert epochs[1].metrics["train_loss"] == pytest.approx(sum(mine[5:]) / 5)
    with torch.no_grad():
        output = model(data[1].images)
    assert epochs[1].metrics["test_loss"] == pytest.approx(
        float(nn.functional.cross_entropy(output, data[1].targets)), rel=1e-6
    )
    assert epochs[1].metrics["test_accuracy"] == (output.argmax(1) == data[1].targets).double().mean()


def test_diverged_training_goes_on_and_says_nan(data: tuple[TensorData, TensorData]) -> None:
    kept, epochs, losses = run(change(SMALL, lr=1e30, model_options={"width": 16}), data)
    assert len(losses) == 10
    assert kept[-1].step == 10
    assert not math.isfinite(losses[-1])
    assert not math.isfinite(epochs[-1].metrics["train_loss"])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_training_descends(optimizer: str, schedule: str, data: tuple[TensorData, TensorData]) -> None:
    recipe = change(SMALL, optimizer=optimizer, schedule=schedule, lr=0.02, epochs=8, augmentation="none")
    epochs = run(recipe, data)[1]
    assert epochs[-1].metrics["train_loss"] < 0.7 * epochs[0].metrics["train_loss"]
    assert epochs[-1].metrics["test_accuracy"] > 0.7


def test_model_for_three_channels_trains_on_grey_data(data: tuple[TensorData, TensorData]) -> None:
    recipe = change(SMALL, model="shufflenet_v2_x0_5", model_options={}, epochs=1, batch_size=80)
    kept, _, losses = run(recipe, data)
    assert len(losses) == 2
    assert kept[0].weights["conv1.0.weight"].shape[1] == 3


def test_auxiliary_outputs_are_in_the_training_loss(data: tuple[TensorData, TensorData]) -> None:
    assert models.entry("googlenet").aux_weights == (0.3, 0.3)
    assert models.entry("inception_v3").aux_weights == (0.4,)
    targets = torch.tensor([1, 2])
    outputs = [torch.randn(2, 5, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    part = [float(nn.functional.cross_entropy(o, targets)) for o in outputs]
    assert float(train.training_loss(outputs, targets, (0.3, 0.3))) == pytest.approx(
        part[0] + 0.3 * (part[1] + part[2])
    )
    assert float(train.training_loss(outputs[0], targets, ())) == pytest.approx(part[0])
    recipe = change(
        SMALL, model="googlenet", model_options={}, image_size=16, epochs=1, batch_size=16, augmentation="none"
    )
    few = tuple(datasets.load("digits", s, image_size=16, limit=32) for s in ("train", "test"))
    kept, _, losses = run(recipe, few)  # type: ignore[arg-type]
    assert losses[0] > 1.3 * math.log(10), "the loss of one output alone"
    assert not torch.equal(kept[0].weights["aux1.fc2.weight"], kept[-1].weights["aux1.fc2.weight"])


# ---------------------------------------------------------------- schedule and batches


def test_learning_rate_schedules() -> None:
    recipe = change(SMALL, lr=0.1)
    constant, cosine, step = (change(recipe, schedule=s) for s in ("constant", "cosine", "step"))
    assert [train.learning_rate(constant, s, 8) for s in (0, 7)] == [0.1, 0.1]
    assert train.learning_rate(cosine, 0, 8) == pytest.approx(0.1)
    assert train.learning_rate(cosine, 4, 8) == pytest.approx(0.05)
    assert 0 < train.learning_rate(cosine, 7, 8) < 0.005
    rates = [round(train.learning_rate(step, s, 8), 12) for s in range(8)]
    assert rates == [0.1] * 4 + [0.01] * 2 + [0.001] * 2


@pytest.mark.parametrize(("n", "size"), [(10, 3), (9, 4), (8, 4), (5, 5), (1, 1), (3, 1), (5, 4)])
def test_batches_cover_the_data_without_a_lone_last_one(n: int, size: int) -> None:
    bounds = train.batch_bounds(n, size)
    assert [i for start, stop in bounds for i in range(start, stop)] == list(range(n))
    lengths = [stop - start for start, stop in bounds]
    assert all(length == size for length in lengths[:-1])
    assert size == 1 or lengths[-1] > 1
    assert train.total_steps(change(SMALL, batch_size=size, epochs=3), n) == 3 * len(bounds)


def test_a_lone_last_sample_does_not_break_batch_norm() -> None:
    pair = (datasets.load("digits", "train", limit=65), datasets.load("digits", "test", limit=20))
    assert len(run(change(SMALL, epochs=1), pair)[2]) == 2


# ---------------------------------------------------------------- refused before any work


@pytest.mark.parametrize(
    ("changes", "path", "sentence"),
    [
        ({"lr": 0.0}, "$.recipe.lr", "> 0"),
        ({"lr": -1}, "$.recipe.lr", "> 0"),
        ({"lr": math.inf}, "$.recipe.lr", "finite"),
        ({"lr": math.nan}, "$.recipe.lr", "got nan"),
        ({"momentum": 1.0}, "$.recipe.momentum", "< 1"),
        ({"weight_decay": -1e-4}, "$.recipe.weight_decay", ">= 0"),
        ({"batch_size": 0}, "$.recipe.batch_size", ">= 1"),
        ({"batch_size": 161}, "$.recipe.batch_size", "at most the 160 training samples"),
        ({"batch_size": 1}, "$.recipe.batch_size", "batch norm"),
        ({"epochs": 0}, "$.recipe.epochs", ">= 1"),
        ({"seed": -1}, "$.recipe.seed", ">= 0"),
        ({"nesterov": True, "momentum": 0.0}, "$.recipe.nesterov", "momentum"),
        ({"nesterov": True, "optimizer": "adamw"}, "$.recipe.nesterov", "sgd"),
        ({"precision": "tf32"}, "$.recipe.precision", "tf32"),
        ({"precision": "fp8"}, "$.recipe.precision", "fp8"),
        ({"optimizer": "lion"}, "$.recipe.optimizer", "expected one of adamw, sgd; got 'lion'"),
        ({"schedule": "linear"}, "$.recipe.schedule", "linear"),
        ({"augmentation": "cutmix"}, "$.recipe.augmentation", "cutmix"),
        ({"checkpoint_every": 0}, "$.recipe.checkpoint_every", ">= 1"),
        ({"image_size": 0}, "$.recipe.image_size", ">= 1"),
        ({"model": "vgg11", "model_options": {}}, "$.recipe.image_size", "--image-size 32"),
        ({"model": "resnet21"}, "$.recipe.model", "resnet20"),
        ({"dataset": "imagenet"}, "$.recipe.dataset", "cifar10"),
        ({"model_options": {"height": 3}}, "$.recipe.model_options", "height"),
        ({"pretrained": True}, "$.recipe.pretrained", "mlp"),
    ],
)
def test_wrong_recipe_is_one_sentence_with_its_path(
    changes: dict[str, Any], path: str, sentence: str, data: tuple[TensorData, TensorData]
) -> None:
    with pytest.raises(InputError) as caught:
        next(train.train(change(SMALL, **changes), train_data=data[0], test_data=data[1], device="cpu"))
    assert caught.value.path == path
    assert sentence in caught.value.msg
    assert "\n" not in caught.value.msg


def test_absent_weights_are_told_before_any_work(
    data: tuple[TensorData, TensorData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    recipe = change(SMALL, model="resnet18", model_options={}, pretrained=True)
    with pytest.raises(InputError, match=r"resnet18-f37072fd\.pth") as caught:
        recipes.check(recipe, roots=(tmp_path,))
    assert caught.value.path == "$.recipe.pretrained"


def test_data_of_another_size_are_refused(data: tuple[TensorData, TensorData]) -> None:
    with pytest.raises(InputError, match="expected digits at 16 pixels a side as the recipe says, got digits at 8"):
        run(change(SMALL, image_size=16), data)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_pass_their_checks(name: str) -> None:
    recipes.check(PRESETS[name])


def test_demo_preset_learns_and_descends_at_every_epoch() -> None:
    recipe = PRESETS["demo"]
    pair = (recipes.load_data(recipe, "train"), recipes.load_data(recipe, "test"))
    losses, accuracy = [], 0.0
    for event in train.train(recipe, train_data=pair[0], test_data=pair[1], device="cpu"):
        if isinstance(event, train.CheckpointDue):
            losses.append(train.evaluate(event.model, pair[0].images, pair[0].targets)[0])
        elif isinstance(event, train.EpochDone):
            accuracy = event.metrics["test_accuracy"]
    assert accuracy > 0.95
    assert all(later < earlier for earlier, later in itertools.pairwise(losses)), losses


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_resumed_training_equals_uninterrupted_on_cuda(data: tuple[TensorData, TensorData]) -> None:
    recipe = change(SMALL, model="resnet20", model_options={"width": 4})
    ends = []
    resume = None
    for _ in range(2):
        for event in train.train(recipe, train_data=data[0], test_data=data[1], device="cuda", resume=resume):
            if isinstance(event, train.CheckpointDue):
                weights = {k: v.clone() for k, v in event.model.state_dict().items()}
                if event.step == 4:
                    kept = train.Resume(weights, *event.resume())
        ends.append(weights)
        resume = kept
    assert same(*ends)
