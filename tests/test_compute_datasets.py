"""Data sets: what is declared is what is loaded; an absent or damaged file is one sentence that names it."""

from __future__ import annotations

import gzip
import hashlib
import json
import pickle
import struct
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from compute import datasets
from compute.datasets import DATASETS, TensorData
from compute.datasets.augment import shift_and_flip
from compute.datasets.resize import resize
from protocol.errors import InputError

SYSTEM = datasets.search_roots()
HERE = [name for name in DATASETS if datasets.available(name, SYSTEM)]


def idx(array: np.ndarray) -> bytes:
    """An idx file's bytes."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


@pytest.fixture
def mnist_root(tmp_path: Path) -> Path:
    """A data folder with a tiny gzipped MNIST."""
    draw = np.random.default_rng(0)
    folder = tmp_path / "mnist"
    folder.mkdir()
    for stem, n in (("train", 30), ("t10k", 20)):
        images, labels = draw.integers(0, 256, (n, 28, 28)), np.arange(n) % 10
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path


@pytest.fixture
def cifar_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with a tiny CIFAR-10 that torchvision's own loader takes for the real one."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    draw = np.random.default_rng(0)

    def put(file: str, content: object) -> str:
        (folder / file).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / file).read_bytes()).hexdigest()

    def batch(file: str) -> list[str]:
        rows = draw.integers(0, 256, (6, 3072)).astype(np.uint8)
        return [file, put(file, {"data": rows, "labels": list(range(6))})]

    monkeypatch.setattr(CIFAR10, "train_list", [batch("data_batch_1"), batch("data_batch_2")])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch")])
    names = list(DATASETS["cifar10"].classes)
    meta = {"filename": "batches.meta", "key": "label_names", "md5": put("batches.meta", {"label_names": names})}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return tmp_path


# ---------------------------------------------------------------- what is declared


@pytest.mark.parametrize("name", DATASETS)
def test_declaration_is_consistent(name: str) -> None:
    declared = DATASETS[name]
    assert declared.name == name
    assert len(declared.mean) == len(declared.std) == declared.channels
    assert len(set(declared.classes)) == len(declared.classes)
    assert declared.augmentation.pad < declared.image_size
    assert declared.statistics
    assert not (declared.augmentation.flip and "".join(declared.classes) == "0123456789"), "a mirrored digit is none"


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("split", ["train", "test"])
def test_loaded_data_are_as_declared(name: str, split: str) -> None:
    declared = DATASETS[name]
    data = datasets.load(name, split, SYSTEM)  # type: ignore[arg-type]
    assert len(data) == declared.counts[split == "test"]
    assert data.images.shape == (len(data), declared.channels, declared.image_size, declared.image_size)
    assert (data.images.dtype, data.targets.dtype) == (torch.float32, torch.int64)
    assert sorted(set(data.targets.tolist())) == list(range(data.num_classes))
    if split == "train":  # normalised by its own statistics
        assert data.images.double().mean((0, 2, 3)).abs().max() < 2e-3
        assert (data.images.double().std((0, 2, 3)) - 1).abs().max() < 2e-3


def test_fashion_mnist_is_the_real_one() -> None:
    where = datasets.available("fashion-mnist", SYSTEM)
    if where is None:
        pytest.skip("Fashion-MNIST is not on this machine")
    data = datasets.load("fashion-mnist", "test", SYSTEM)
    assert torch.equal(data.targets.bincount(), torch.full((10,), 1000))
    assert data.classes[int(data.targets[0])] == "Ankle boot"  # the first test image


def test_digits_split_is_stratified_disjoint_and_covers_all() -> None:
    from sklearn.datasets import load_digits

    train, test = datasets.load("digits", "train"), datasets.load("digits", "test")
    assert (len(train), len(test)) == (1437, 360)
    share = train.targets.bincount() / (train.targets.bincount() + test.targets.bincount())
    assert (share - 1437 / 1797).abs().max() < 1 / 170
    pixels = torch.cat((train.images, test.images)) * train.std[0] + train.mean[0]
    mine = sorted(map(tuple, (pixels.flatten(1) * 16).round().int().tolist()))
    assert mine == sorted(map(tuple, load_digits().data.astype(int).tolist()))


def test_listing_is_plain_data_and_says_where(mnist_root: Path) -> None:
    rows = {row["name"]: row for row in json.loads(json.dumps(datasets.listing([mnist_root])))}
    assert rows.keys() == DATASETS.keys()
    assert rows["mnist"]["where"] == str(mnist_root / "mnist")
    assert rows["cifar10"]["where"] is None


# ---------------------------------------------------------------- where it is looked for


def test_search_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THALWEG_DATA", "/from/environment")
    monkeypatch.setenv("XDG_DATA_DIRS", "/one:/two")
    roots = datasets.search_roots("/given", config="/from/config", workspace="/work/space")
    assert [str(r) for r in roots] == [
        "/given",
        "/from/environment",
        "/from/config",
        "/work/space/data",
        "/one/datasets",
        "/two/datasets",
    ]


def test_first_folder_that_has_it_wins(mnist_root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    assert datasets.available("mnist", [empty, mnist_root]) == mnist_root / "mnist"
    assert datasets.available("mnist", [mnist_root / "mnist"]) == mnist_root / "mnist"
    assert datasets.available("fashion-mnist", [mnist_root]) is None, "same file names, another data set"


def test_gzipped_and_plain_idx_files_are_the_same(mnist_root: Path) -> None:
    zipped = datasets.load("mnist", "train", [mnist_root])
    raw = mnist_root / "MNIST" / "raw"  # the layout of torchvision's loader
    raw.mkdir(parents=True)
    for file in (mnist_root / "mnist").iterdir():
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    plain = datasets.load("mnist", "train", [mnist_root])
    assert plain.where == str(raw)
    assert torch.equal(zipped.images, plain.images)


@pytest.mark.parametrize("name", [n for n, e in DATASETS.items() if e.fetch])
def test_absent_data_say_where_and_how(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"run `thalweg data fetch {name}`") as caught:
        datasets.load(name, "train", [tmp_path])
    assert str(tmp_path) in caught.value.msg
    assert caught.value.code == "not_found"


def test_unknown_data_set_lists_the_known() -> None:
    with pytest.raises(InputError, match="cifar10, cifar100, digits"):
        datasets.load("imagenet", "train")


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda b: b[: len(b) // 2], "ended before the end-of-stream"),
        (lambda b: b"PK" + b[2:], "not a gzipped file"),
        (lambda b: b[:-8] + b"\0" * 8, "crc"),
        (lambda b: b"", "no idx header"),
        (lambda b: gzip.compress(gzip.decompress(b)[:-1]), "got 23,519"),
        (lambda b: gzip.compress(b"\0\0\x08\x01" + gzip.decompress(b)[4:]), "no idx header of 3 dimensions"),
        (lambda b: gzip.compress(idx(np.zeros((30, 27, 28)))), "27 x 28"),
    ],
)
def test_damaged_idx_file_is_named(mnist_root: Path, damage: object, reason: str) -> None:
    file = mnist_root / "mnist" / "train-images-idx3-ubyte.gz"
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    with pytest.raises(InputError) as caught:
        datasets.load("mnist", "train", [mnist_root])
    assert str(file) in caught.value.msg
    assert reason in caught.value.msg.lower()
    assert caught.value.code == "integrity"
    assert len(datasets.load("mnist", "test", [mnist_root])) == 20, "the other split is whole"


def test_labels_that_do_not_match_are_named(mnist_root: Path) -> None:
    file = mnist_root / "mnist" / "train-labels-idx1-ubyte.gz"
    file.write_bytes(gzip.compress(idx(np.arange(29) % 10)))
    with pytest.raises(InputError, match="a label for each of 30 images, got 29"):
        datasets.load("mnist", "train", [mnist_root])
    file.write_bytes(gzip.compress(idx(np.arange(30))))
    with pytest.raises(InputError, match="classes 0 to 9, got 29"):
        datasets.load("mnist", "train", [mnist_root])


def test_cifar10_is_read_by_torchvisions_loader(cifar_root: Path) -> None:
    train, test = datasets.load("cifar10", "train", [cifar_root]), datasets.load("cifar10", "test", [cifar_root])
    assert train.images.shape == (12, 3, 32, 32)
    assert test.targets.tolist() == list(range(6))
    stored = pickle.loads((cifar_root / "cifar-10-batches-py" / "test_batch").read_bytes())["data"]
    shape = (1, 3, 1, 1)
    pixels = (test.images * torch.tensor(test.std).view(shape) + torch.tensor(test.mean).view(shape)) * 255
    assert np.array_equal(pixels.round().to(torch.uint8).numpy().reshape(6, -1), stored)


def test_damaged_or_missing_cifar_file_is_named_and_not_unpickled(cifar_root: Path) -> None:
    file = cifar_root / "cifar-10-batches-py" / "data_batch_2"
    file.write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(InputError, match="data_batch_2: the file is damaged"):
        datasets.load("cifar10", "train", [cifar_root])
    file.unlink()
    with pytest.raises(InputError, match="data_batch_2: the file is missing"):
        datasets.load("cifar10", "test", [cifar_root])


# ---------------------------------------------------------------- fetch


@pytest.mark.parametrize("name", [n for n, e in DATASETS.items() if e.fetch])
def test_fetch_without_network_is_one_sentence_and_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(InputError, match=f"{name}: the download failed") as caught:
        datasets.fetch(name, tmp_path / "data")
    assert caught.value.code == "unavailable"
    assert "\n" not in caught.value.msg
    assert list((tmp_path / "data").iterdir()) == []


def test_fetch_of_embedded_data_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing to download"):
        datasets.fetch("digits", tmp_path)


# ---------------------------------------------------------------- samples, orders, memory


@pytest.fixture(scope="module")
def digits() -> TensorData:
    return datasets.load("digits", "train")


@pytest.mark.parametrize("limit", [1, 9, 10, 137, 700, 1436])
@pytest.mark.parametrize("seed", [0, 1])
def test_sample_is_stratified(digits: TensorData, limit: int, seed: int) -> None:
    drawn = datasets.sample(digits, limit, seed)
    assert len(drawn) == limit
    exact = digits.targets.bincount().double() * limit / len(digits)
    assert (drawn.targets.bincount(minlength=10) - exact).abs().max() < 1


def test_stratified_sample_of_very_uneven_classes() -> None:
    targets = torch.tensor([0] * 97 + [2] * 2 + [3])
    chosen = datasets.stratified(targets, 50, 0)
    assert len(set(chosen.tolist())) == 50
    assert ((targets[chosen].bincount(minlength=4) - targets.bincount() * 0.5).abs() <= 1).all()


def test_sample_is_a_function_of_the_seed_and_leaves_the_data(digits: TensorData) -> None:
    before = digits.images.clone()
    one, same, other = (datasets.sample(digits, 100, seed) for seed in (3, 3, 4))
    assert torch.equal(one.images, same.images)
    assert not torch.equal(one.images, other.images)
    assert torch.equal(digits.images, before)
    assert datasets.sample(digits, None, 0) is digits
    assert datasets.sample(digits, 1437, 0) is digits
    with pytest.raises(InputError, match="at least 1 sample, got 0"):
        datasets.sample(digits, 0, 0)


def test_limit_at_loading_draws_the_same_samples(digits: TensorData) -> None:
    early, late = datasets.load("digits", "train", limit=50, seed=2), datasets.sample(digits, 50, 2)
    assert torch.equal(early.images, late.images)
    assert torch.equal(early.targets, late.targets)


def test_permutation_is_seeded_and_complete() -> None:
    state = torch.get_rng_state()
    order = datasets.permutation(1000, 5)
    assert torch.equal(order.sort().values, torch.arange(1000))
    assert torch.equal(order, datasets.permutation(1000, 5))
    assert not torch.equal(order, datasets.permutation(1000, 6))
    assert torch.equal(torch.get_rng_state(), state)


def test_too_large_for_memory_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "memory_free", lambda: 2**20)
    with pytest.raises(InputError, match=r"smaller --image-size or a --limit") as caught:
        datasets.load("digits", "train", image_size=64)
    assert caught.value.code == "too_large"
    assert len(datasets.load("digits", "train", image_size=64, limit=10)) == 10


# ---------------------------------------------------------------- resize, augmentation


def test_resize_is_torchvisions() -> None:
    from torchvision.transforms.v2.functional import resize as theirs

    images = torch.rand(5, 3, 32, 32)
    for side in (8, 32, 75):
        assert torch.allclose(resize(images, side), theirs(images, [side, side], antialias=True), atol=1e-6)
    constant = torch.full((2, 1, 28, 28), 0.25)
    assert torch.allclose(resize(constant, 9), torch.tensor(0.25))


def test_image_size_resizes_and_keeps_the_native_one() -> None:
    data = datasets.load("digits", "test", image_size=16)
    assert data.images.shape == (360, 1, 16, 16)
    assert (data.image_size, data.native_size) == (16, 8)


def test_augmented_images_are_shifts_of_their_own_over_black(digits: TensorData) -> None:
    black = -digits.mean[0] / digits.std[0]
    x = digits.images[:64]
    y = shift_and_flip(x, pad=1, flip=False, black=[black], generator=datasets.generator("t"))
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), value=black)
    shifts = torch.stack([padded[:, :, i : i + 8, j : j + 8] for i in range(3) for j in range(3)])
    distance = (shifts - y).abs().amax((2, 3, 4))
    assert (distance.min(0).values == 0).all(), "an image that is no shift of its own"
    assert len(set(distance.argmin(0).tolist())) == 9, "a shift that never comes"


def test_flip_mirrors_half() -> None:
    x = torch.arange(8.0).expand(400, 3, 8, 8).clone()
    y = shift_and_flip(x, pad=0, flip=True, black=[0, 0, 0], generator=datasets.generator("t"))
    mirrored = (y == x.flip(3)).all(dim=(1, 2, 3))
    assert ((y == x).all(dim=(1, 2, 3)) ^ mirrored).all()
    assert 0.4 < mirrored.double().mean() < 0.6


def test_repeated_grey_image_stays_a_view_on_another_device() -> None:
    three = torch.ones(4, 1, 8, 8).expand(-1, 3, -1, -1)
    there = datasets.to_device(three, torch.device("meta"))
    assert there.shape == (4, 3, 8, 8)
    assert there.stride(1) == 0
    assert datasets.to_device(three, torch.device("cpu")).stride(1) == 0


def test_augmentation_takes_a_repeated_grey_image(digits: TensorData) -> None:
    grey = replace(digits, images=digits.images[:8])
    three = grey.images.expand(-1, 3, -1, -1)
    one = shift_and_flip(grey.images, pad=1, flip=False, black=[0.0], generator=datasets.generator("t"))
    all_three = shift_and_flip(three, pad=1, flip=False, black=[0.0], generator=datasets.generator("t"))
    assert torch.equal(all_three, one.expand(-1, 3, -1, -1))
