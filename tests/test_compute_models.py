"""Models: every entry is built and run at its declared smallest size; a new entry needs no edit here."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from compute import models
from compute.models import MODELS, pretrained_weights
from protocol.errors import InputError

CLASSES = 7
GIANT = 200e6  # parameters: a gigabyte with its initialisation; built for real in `make test-all` only
GIANTS = ("vit_l_16", "vit_l_32", "vit_h_14", "regnet_y_128gf")

# Models that are not built, or not measured on a 3 x 3 grid, each with its reason.
CANNOT_BUILD: dict[str, str] = {}
MEASURE_BUDGET = 12 * 2**30  # bytes: what is asked of a machine that runs the whole suite
MEASURE_COPIES = 6  # of theta: the model's, the engine's, theta*, delta, eta, and the point's
CANNOT_MEASURE = {
    "vit_h_14": "631 million parameters: six vectors of that length are 14 GiB",
    "regnet_y_128gf": "637 million parameters: six vectors of that length are 14 GiB",
}


def build(name: str, **changes: object) -> nn.Module:
    """The model at its smallest size."""
    declared = MODELS[name]
    arguments: dict[str, object] = {
        "num_classes": CLASSES,
        "in_channels": declared.in_channels or 3,
        "image_size": declared.min_image_size,
        "seed": 1,
    }
    return models.build(name, **(arguments | changes))  # type: ignore[arg-type]


def build_on_meta(name: str, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """The model's shapes alone: no weight is drawn, none takes memory."""
    for fill in ("normal_", "uniform_"):
        monkeypatch.setattr(Tensor, fill, lambda self, *_, **__: self)
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, *_, **__: tensor)
    return build(name).to("meta")


def run_both_modes(name: str, model: nn.Module, device: str = "cpu") -> None:
    """One batch in each mode at the smallest size: evaluation gives a tensor, a head has one output a class."""
    declared = MODELS[name]
    side = declared.min_image_size
    heads = [m for n, m in model.named_modules() if n in declared.heads]  # an auxiliary one may be absent
    assert declared.heads[0] in dict(model.named_modules())
    assert all(m.weight.shape[0] == CLASSES for m in heads)  # type: ignore[union-attr, index]
    x = torch.zeros(2, declared.in_channels or 3, side, side, device=device)
    with torch.no_grad():
        model.train()
        output = model(x)
        main = output if isinstance(output, Tensor) else output[0]
        assert main.shape == (2, CLASSES)
        model.eval()
        output = model(x)
    assert isinstance(output, Tensor)
    assert output.shape == (2, CLASSES)


def test_every_torchvision_classifier_is_there() -> None:
    from torchvision import models as theirs

    listed = set(theirs.list_models(module=theirs))
    ours = {name for name, declared in MODELS.items() if declared.family == "torchvision"}
    assert ours == listed - CANNOT_BUILD.keys()
    assert listed >= CANNOT_BUILD.keys(), "stale: torchvision has no such model"


@pytest.mark.parametrize("name", [n for n in MODELS if n not in GIANTS])
def test_model_runs_at_its_smallest_size(name: str) -> None:
    before = torch.get_rng_state()
    model = build(name)
    assert torch.equal(torch.get_rng_state(), before), "the caller's random state moved"
    assert sum(p.numel() for p in model.parameters()) < GIANT, "a giant: list it in GIANTS"
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    run_both_modes(name, model)


@pytest.mark.parametrize("name", GIANTS)
def test_giant_runs_at_its_smallest_size_as_shapes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_on_meta(name, monkeypatch)
    assert sum(p.numel() for p in model.parameters()) >= GIANT, "stale: it is no giant"
    run_both_modes(name, model, "meta")


@pytest.mark.slow
@pytest.mark.parametrize("name", GIANTS)
def test_giant_runs_at_its_smallest_size(name: str) -> None:
    run_both_modes(name, build(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in MODELS if n not in CANNOT_MEASURE])
def test_model_is_measured_on_a_grid(name: str) -> None:
    from compute import landscape

    model, side = build(name).eval(), MODELS[name].min_image_size
    channels = MODELS[name].in_channels or 3
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(4, channels, side, side, generator=draw)
    y = torch.randint(0, CLASSES, (4,), generator=draw)
    with torch.inference_mode():
        centre = nn.functional.cross_entropy(model(x), y)
    surface = landscape.measure(model, (x, y), landscape.random_plane(model, seed=0), grid=3)
    assert surface.loss.shape == (3, 3)
    assert surface.loss[1, 1] == pytest.approx(float(centre), rel=1e-4)


@pytest.mark.parametrize("name", CANNOT_MEASURE)
def test_reason_not_to_measure_is_not_stale(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = sum(p.numel() for p in build_on_meta(name, monkeypatch).parameters())
    assert MEASURE_COPIES * 4 * parameters > MEASURE_BUDGET, "it fits: measure it"


@pytest.mark.parametrize("name", [n for n, e in MODELS.items() if e.min_image_size > 1])
def test_smaller_image_is_refused_with_the_size_that_works(name: str) -> None:
    declared = MODELS[name]
    with pytest.raises(InputError, match=rf"--image-size {declared.min_image_size}\b") as caught:
        models.check(name, in_channels=3, image_size=declared.min_image_size - 1)
    assert caught.value.path == "$.recipe.image_size"


@pytest.mark.parametrize("name", [n for n, e in MODELS.items() if e.image_multiple > 1])
def test_side_between_multiples_is_refused(name: str) -> None:
    declared = MODELS[name]
    with pytest.raises(InputError, match=f"--image-size {2 * declared.min_image_size}"):
        models.check(name, in_channels=3, image_size=declared.min_image_size + 1)


@pytest.mark.parametrize("name", ["inception_v3", "googlenet", "vit_b_16", "alexnet", "vgg9", "swin_t"])
def test_size_below_the_declared_one_really_fails(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = MODELS[name]
    model = build_on_meta(name, monkeypatch)
    side = declared.min_image_size - 1
    with pytest.raises((RuntimeError, AssertionError)):
        model(torch.zeros(2, 3, side, side, device="meta"))


@pytest.mark.parametrize("name", [n for n, e in MODELS.items() if e.family != "torchvision"] + ["squeezenet1_1"])
def test_weights_are_a_function_of_the_seed(name: str) -> None:
    one, same, other = build(name).state_dict(), build(name).state_dict(), build(name, seed=2).state_dict()
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


def test_resnet20_has_the_papers_size_and_takes_grey_digits() -> None:
    model = models.build("resnet20", num_classes=10, in_channels=1, image_size=8)
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    colour = models.build("resnet20", num_classes=10, in_channels=3, image_size=32)
    assert sum(p.numel() for p in colour.parameters()) == pytest.approx(0.27e6, rel=0.02)  # He et al. 2016, table 6


def test_noshort_has_no_way_around_its_convolutions() -> None:
    model = models.build("resnet20-noshort", num_classes=10, in_channels=1, image_size=8)
    assert not any("shortcut" in key for key in model.state_dict())
    block = model.stages[0][0]  # type: ignore[index, union-attr]
    nn.init.zeros_(block.bn2.weight)
    assert not block.eval()(torch.ones(1, 16, 8, 8)).any(), "input came through"


@pytest.mark.parametrize(("name", "count"), [("wrn-28-10", 36.5e6), ("densenet121-cifar", 7.0e6)])
def test_known_parameter_counts(name: str, count: float, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_on_meta(name, monkeypatch)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(count, rel=0.02)


def test_grey_images_are_repeated_as_a_view() -> None:
    grey = torch.randn(5, 1, 8, 8)
    three = models.fit_channels("resnet18", grey)
    assert three.shape == (5, 3, 8, 8)
    assert three.data_ptr() == grey.data_ptr()
    assert models.fit_channels("resnet20", grey) is grey
    with pytest.raises(InputError, match="3 channels, got 2"):
        models.fit_channels("resnet18", torch.zeros(1, 2, 8, 8))


def test_inception_has_its_auxiliary_output_where_the_image_is_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    small = build_on_meta("inception_v3", monkeypatch)
    assert isinstance(small(torch.zeros(2, 3, 75, 75, device="meta")), Tensor)
    large = build("inception_v3", image_size=299).to("meta")
    logits, aux = large(torch.zeros(2, 3, 299, 299, device="meta"))
    assert logits.shape == aux.shape == (2, CLASSES)
    with pytest.raises(InputError, match="--image-size 299"):
        models.check("inception_v3", in_channels=3, image_size=75, options={"aux": True})


def test_unknown_model_lists_the_known() -> None:
    with pytest.raises(InputError, match="resnet20") as caught:
        models.build("resnet21", num_classes=10, in_channels=3, image_size=32)
    assert caught.value.code == "not_found"


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("resnet20", {"widht": 8}, "widht.*its options: width"),
        ("resnet20", {"width": 0}, ">= 1"),
        ("vgg9", {"dropout": "much"}, "float"),
        ("resnet18", {"dropout": 0.1}, "its options: weights"),
    ],
)
def test_wrong_option_is_one_sentence_with_the_known_ones(name: str, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        models.check(name, in_channels=3, image_size=64, options=options)
    assert caught.value.path == "$.recipe.model_options"


def test_options_reach_the_model() -> None:
    narrow = models.build("resnet20", num_classes=10, in_channels=1, image_size=8, options={"width": 4})
    assert narrow.conv1.weight.shape == (4, 1, 3, 3)  # type: ignore[union-attr]
    dropped = models.build("squeezenet1_1", num_classes=10, in_channels=3, image_size=32, options={"dropout": 0.25})
    assert [m.p for m in dropped.modules() if isinstance(m, nn.Dropout)] == [0.25]


def test_catalogue_is_plain_data() -> None:
    rows = {row["name"]: row for row in json.loads(json.dumps(models.catalogue()))}
    assert rows.keys() == MODELS.keys()
    assert rows["resnet50"]["in_channels"] == 3
    assert "width" in json.dumps(rows["resnet20"]["options"])


def test_importing_the_registry_imports_no_torchvision() -> None:
    heavy = "[m for m in ('torchvision', 'sklearn') if m in sys.modules]"
    code = f"import sys, compute.models, compute.datasets; print({heavy})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# ---------------------------------------------------------------- published weights


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty torch hub: no test reads the machine's own."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def publish(folder: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weight file named as published ones are, and the name by which it is asked for."""
    torch.save(state, folder / "made.pth")
    digits = hashlib.sha256((folder / "made.pth").read_bytes()).hexdigest()[:8]
    file = (folder / "made.pth").rename(folder / f"made-{digits}.pth")
    monkeypatch.setattr(pretrained_weights, "file_name", lambda name, weights: file.name)
    return file


def test_absent_weights_are_named_with_their_place(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"resnet18-f37072fd\.pth") as caught:
        build("resnet18", pretrained=True, roots=(tmp_path / "data",))
    assert str(hub) in caught.value.msg
    assert str(tmp_path / "data") in caught.value.msg
    assert caught.value.path == "$.recipe.pretrained"


def test_unknown_weights_list_the_known(hub: Path) -> None:
    with pytest.raises(InputError, match="IMAGENET1K_V1"):
        build("resnet18", pretrained=True, options={"weights": "IMAGENET22K"})


def test_model_without_published_weights_says_so() -> None:
    with pytest.raises(InputError, match="no published weights for resnet20"):
        build("resnet20", pretrained=True)


def test_damaged_weights_are_named(hub: Path) -> None:
    (hub / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"not a weight file")
    with pytest.raises(InputError, match=r"squeezenet1_1-b8a52dc0\.pth is damaged") as caught:
        build("squeezenet1_1", pretrained=True)
    assert caught.value.code == "integrity"


def test_weights_load_and_only_the_head_of_other_classes_is_drawn(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = build("squeezenet1_1", num_classes=9, seed=5).state_dict()
    publish(hub, source, monkeypatch)
    other, drawn = build("squeezenet1_1", pretrained=True).state_dict(), build("squeezenet1_1").state_dict()
    for key in source:
        head = key.startswith("classifier.1.")
        assert torch.equal(other[key], drawn[key] if head else source[key]), key
    same = build("squeezenet1_1", pretrained=True, num_classes=9).state_dict()
    assert all(torch.equal(same[key], source[key]) for key in source)


def test_weights_in_a_data_folder_are_found(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    source = build("squeezenet1_1", seed=5).state_dict()
    publish(tmp_path / "data", source, monkeypatch)
    loaded = build("squeezenet1_1", pretrained=True, roots=(tmp_path / "data",)).state_dict()
    assert all(torch.equal(loaded[key], source[key]) for key in source)


def test_weights_of_another_model_are_refused(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(hub, build("shufflenet_v2_x0_5").state_dict(), monkeypatch)
    with pytest.raises(InputError, match="does not fit squeezenet1_1"):
        build("squeezenet1_1", pretrained=True)


def test_old_densenet_names_are_read() -> None:
    model = build("densenet121")
    state = {
        key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.") if "denselayer" in key else key: value + 1
        for key, value in model.state_dict().items()
    }
    pretrained_weights.put(MODELS["densenet121"], model, state)
    first = "features.denseblock1.denselayer1.norm.1.weight"
    assert torch.equal(model.state_dict()[first.replace("norm.1", "norm1")], state[first])


def test_weights_with_auxiliary_branches_fit_a_model_without(monkeypatch: pytest.MonkeyPatch) -> None:
    state = build("googlenet", seed=3).state_dict()
    model = build("googlenet", options={"aux": False})
    pretrained_weights.put(MODELS["googlenet"], model, state)
    assert torch.equal(model.state_dict()["fc.weight"], state["fc.weight"])


def test_position_embeddings_are_interpolated() -> None:
    from torchvision.models import VisionTransformer

    def tiny(side: int) -> nn.Module:
        return VisionTransformer(side, 16, num_layers=1, num_heads=1, hidden_dim=8, mlp_dim=8, num_classes=CLASSES)

    model = tiny(64)
    pretrained_weights.put(MODELS["vit_b_16"], model, tiny(32).state_dict())
    assert model(torch.zeros(1, 3, 64, 64)).shape == (1, CLASSES)
