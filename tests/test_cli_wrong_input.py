"""Wrong input to the real executable: exit code 2, one sentence on stderr, and nothing changed anywhere."""

import hashlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import cli
import numpy as np
import pytest

from protocol.files import Surface
from protocol.messages import Execution, Recipe, SurfaceSpec

THALWEG = Path(sys.executable).with_name("thalweg")


def thalweg(*arguments, cwd, workspace, env=None):
    """The real executable, without network, CUDA or a caller's folders."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("THALWEG_")}
    clean |= {"THALWEG_WORKSPACE": str(workspace), "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "80"}
    clean |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    return subprocess.run(
        [THALWEG, *map(str, arguments)],
        cwd=cwd,
        env=clean | (env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module", params=["daemon", pytest.param("alone", marks=pytest.mark.slow)])
def place(request):
    """A workspace with two runs, a plane and a surface, and beside it files that are wrong in many ways: once with the
    daemon, once with --no-daemon."""
    with cli.place() as p:
        yield filled(p.base, p.workspace, request.param == "alone")


def filled(base, workspace, alone):
    files = base / "files"
    files.mkdir()

    def do(*arguments):
        done = thalweg(*arguments, *(["--no-daemon"] * alone), cwd=base, workspace=workspace)
        assert done.returncode == 0, done.stderr
        return done

    do("train", "--model", "mlp", "--dataset", "digits", "--epochs", "3")
    do("train", "--model", "mlp", "--dataset", "digits", "--epochs", "2", "--seed", "1")
    first, second = sorted(p.name for p in (workspace / "runs").iterdir())
    do("plane", "--run", first, "--direction", "pca")
    (plane,) = (workspace / "planes").glob("*.safetensors")
    do("surface", "last", "--grid", "3", "--limit", "64", "--out", files / "good.npz")

    good = (files / "good.npz").read_bytes()
    (files / "truncated.npz").write_bytes(good[: len(good) // 2])
    (files / "flipped.npz").write_bytes(good[:200] + bytes([good[200] ^ 255]) + good[201:])
    (files / "text.npz").write_text("alpha,beta\n0,0\n")
    last = sorted((workspace / "runs" / first).glob("step-*"))[-1]
    weights = last.read_bytes()
    (files / "truncated.safetensors").write_bytes(weights[: len(weights) // 2])
    (files / "garbage.safetensors").write_bytes(b"\xff" * 4096)
    (files / "nan.safetensors").write_bytes(with_nan(weights))
    (files / "good.safetensors").write_bytes(weights)
    (files / "other.csv").write_text("a,b,c\n1,2,3\n")
    damaged = plane.read_bytes()
    (files / "flipped-plane.safetensors").write_bytes(damaged[:-5] + bytes([damaged[-5] ^ 64]) + damaged[-4:])
    blocked = base / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    if alone:  # commands that only look ask the daemon all the same, and it makes its folders when it first starts
        assert thalweg("jobs", "list", cwd=base, workspace=workspace).returncode == 0
    here = {"workspace": workspace, "files": files, "first": first, "second": second, "blocked": blocked}
    return here | {"alone": alone, "shared": first[: next(k for k in range(26) if first[k] != second[k])]}


def with_nan(weights: bytes) -> bytes:
    """The same checkpoint with one NaN among its first float tensor's values."""
    (length,) = struct.unpack("<Q", weights[:8])
    header = json.loads(weights[8 : 8 + length])
    start = next(v["data_offsets"][0] for k, v in header.items() if k != "__metadata__" and v["dtype"] == "F32")
    at = 8 + length + start
    return weights[:at] + struct.pack("<f", float("nan")) + weights[at + 4 :]


KEPT = ("runs", "planes", "surfaces", "exports", "uploads", "quarantine")
"""What the daemon's folders hold of a person's; that a job was asked and failed stands in its database and logs."""


def state(*folders):
    """Every file below some folders, by hash, and every folder."""
    out = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if (folder / "runs").is_dir() and path.relative_to(folder).parts[0] not in KEPT:
                continue
            out[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return out


# (name, what is typed, words that must be in the sentence, environment). {files}, {first}, ... are filled in.
CASES = [
    ("no such command", "trian", ["expected a command", "train"]),
    ("unknown flag", "train --preset demo --learning-rate 1", ["--learning-rate"]),
    ("nothing named to train", "train", ["--preset", "--model", "--dataset"]),
    ("unknown preset", "train --preset big", ["--preset", "demo", "seed"]),
    ("unknown model", "train --model nope --dataset digits", ["--model", "resnet20", "vgg11", "'nope'"]),
    ("unknown data set", "train --model resnet20 --dataset nope", ["--dataset", "cifar10", "digits", "'nope'"]),
    ("learning rate is no number", "train --preset demo --lr fast", ["--lr", "fast"]),
    ("learning rate is negative", "train --preset demo --lr -1", ["--lr", "over 0", "-1"]),
    ("learning rate is nan", "train --preset demo --lr nan", ["--lr", "finite", "nan"]),
    ("no epochs", "train --preset demo --epochs 0", ["--epochs", "at least 1", "0"]),
    ("unknown option of a model", "train --preset demo --model-option depth=3", ["depth", "width"]),
    ("image too small", "train --model vgg11 --dataset digits", ["vgg11", "32"]),
    ("data set absent", "train --model resnet20 --dataset cifar10", ["cifar10", "thalweg data fetch cifar10"]),
    ("data set absent and no network", "data fetch cifar10", ["cifar10"]),
    ("fetch of an unknown data set", "data fetch nope", ["cifar10", "'nope'"]),
    ("CUDA asked for and absent", "train --preset demo --device cuda", ["--device", "cuda", "cpu"]),
    (
        "torch not installed",
        "train --preset demo --workspace {blocked}/w",
        ["torch", "pip install 'thalweg[compute]'"],
        {"PYTHONPATH": "{blocked}"},
    ),
    ("unknown run", "plane --run zzzzzz", ["run", "zzzzzz"]),
    ("ambiguous run", "plane --run {shared}", ["{first}", "{second}"]),
    ("neither run nor checkpoints", "plane --direction pca", ["--run", "--checkpoints"]),
    ("too few checkpoints for PCA", "plane --run {second} --direction pca", ["4 checkpoints", "got 3"]),
    ("unknown kind of plane", "plane --run {first} --direction hessian", ["--direction", "random", "pca"]),
    ("option of another kind of plane", "plane --run {first} --direction random --centre", ["centre"]),
    ("checkpoint truncated", "plane --checkpoints {files}/truncated.safetensors", ["truncated.safetensors"]),
    ("checkpoint is garbage", "plane --checkpoints {files}/garbage.safetensors", ["garbage.safetensors"]),
    ("checkpoint is not there", "plane --checkpoints {files}/none.safetensors", ["none.safetensors"]),
    ("checkpoint has NaN weights", "plane --checkpoints {files}/nan.safetensors", ["nan.safetensors"]),
    (
        "checkpoint of another model",
        "plane --checkpoints {files}/good.safetensors --model resnet20 --dataset digits",
        ["good.safetensors", "conv1.weight", "model"],
    ),
    ("no such plane", "surface 123456", ["plane", "123456"]),
    ("plane damaged", "surface {files}/flipped-plane.safetensors", ["flipped-plane.safetensors"]),
    ("grid of one", "surface last --grid 1", ["--grid", "at least 2", "1"]),
    ("grid is no number", "surface last --grid many", ["--grid", "25", "many"]),
    ("range starts at its end", "surface last --alpha=1:1", ["--alpha", "start below its end", "1 to 1"]),
    ("range is backwards", "surface last --beta=0.5:-0.5", ["--beta", "0.5 to -0.5"]),
    ("range is infinite", "surface last --beta=0:inf", ["--beta", "finite"]),
    ("range without a colon", "surface last --alpha=1", ["--alpha", "START:END"]),
    ("limit of none", "surface last --limit 0", ["--limit", "at least 1"]),
    ("unknown metric", "surface last --metric speed", ["--metric", "loss", "accuracy", "speed"]),
    ("unknown loss", "surface last --loss hinge", ["--loss", "cross_entropy", "hinge"]),
    ("seed's ranges on a file that is no plane", "surface {files}/good.safetensors --preset seed", ["--preset"]),
    ("surface into no npz", "surface last --out {files}/x.png", ["--out", ".npz"]),
    ("surface below a file", "surface last --out {files}/good.npz/x.npz", ["good.npz"]),
    ("surface where nothing can be made", "surface last --out /proc/none/x.npz", ["/proc/none"]),
    ("workspace where nothing can be made", "train --preset demo --workspace /proc/none", ["/proc/none"]),
    ("demo below a file", "demo --quick --out {files}/good.npz/demo", ["good.npz"]),
    ("picture of nothing", "render {files}/none.npz", ["none.npz"]),
    ("picture of a truncated surface", "render {files}/truncated.npz", ["truncated.npz"]),
    ("picture of a damaged surface", "render {files}/flipped.npz", ["flipped.npz"]),
    ("picture of a text file", "render {files}/text.npz", ["text.npz"]),
    ("picture with a path that is none", "render {files}/good.npz --path {files}/other.csv", ["other.csv"]),
    ("picture below a file", "render {files}/good.npz --out {files}/good.npz/x.png", ["good.npz"]),
    ("picture into no png", "render {files}/good.npz --out {files}/x.jpg", ["--out", ".png"]),
    ("unknown preset of a picture", "render {files}/good.npz --preset pie", ["--preset", "contours-2d"]),
    ("unknown view field", "render {files}/good.npz --view colour=red", ["--view", "colour"]),
    ("view value out of bounds", "render {files}/good.npz --view height=-1", ["--view", "height", "0 to 10"]),
    ("view without a value", "render {files}/good.npz --view height", ["--view", "NAME=VALUE"]),
    ("size is none", "render {files}/good.npz --size big", ["--size", "1280x800"]),
    ("size too small", "render {files}/good.npz --size 3x3", ["--size", "160"]),
    ("no surface to draw", "render", ["a file (.npz)", "--from"]),
    ("picture of one surface together", "render {files}/good.npz --together", ["--together", "2 to 4"]),
    ("overlay of two pictures", "render {files}/good.npz {files}/good.npz --view arrange=overlay", ["--together"]),
    ("view of no picture", "render {files}/good.npz --from {files}/none.png", ["none.png", "found no file"]),
    ("view of a file that is no picture", "render --from {files}/text.npz", ["text.npz", "made by thalweg"]),
    ("rate of a picture", "render {files}/good.npz --fps 30", ["--fps", ".mp4"]),
    ("rate out of bounds", "render {files}/good.npz --out {files}/x.mp4 --fps 99", ["--fps", "60"]),
    (
        "videos of two presets",
        "render {files}/good.npz --preset mesh --preset solid --out x.mp4",
        ["--out", "one preset"],
    ),
    ("no such surface", "surfaces show 123456", ["surface"]),
    ("surface damaged", "surfaces show {files}/truncated.npz", ["truncated.npz"]),
]


@pytest.mark.parametrize("case", CASES, ids=[c[0].replace(" ", "-") for c in CASES])
def test_wrong_input_is_one_sentence_and_changes_nothing(case, place, tmp_path):
    _name, typed, wanted, *env = case
    before = state(place["workspace"], place["files"], place["blocked"], tmp_path)
    arguments = [word.format(**place) for word in typed.split()]
    if place["alone"] and arguments[0] in ("train", "plane", "surface", "demo"):
        arguments.append("--no-daemon")
    extra = {k: v.format(**place) for k, v in env[0].items()} if env else None
    done = thalweg(*arguments, cwd=tmp_path, workspace=place["workspace"], env=extra)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    lines = [line for line in done.stderr.splitlines() if "started the daemon" not in line]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("thalweg: ")
    assert not lines[0].endswith(".")
    for word in wanted:
        assert word.format(**place) in lines[0]
    assert state(place["workspace"], place["files"], place["blocked"], tmp_path) == before


@pytest.mark.parametrize("words", [["--model", "nope", "--no-daemon"], ["--model", "mlp", "--lr", "-1"]])
def test_refusal_leaves_no_workspace_behind_that_was_not_there(words, tmp_path):
    done = thalweg("train", *words, "--dataset", "digits", cwd=tmp_path, workspace=tmp_path / "a" / "b")
    assert done.returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_error_as_json_carries_code_and_path(tmp_path):
    done = thalweg("train", "--preset", "demo", "--lr", "-1", "--json", cwd=tmp_path, workspace=tmp_path / "w")
    answer = json.loads(done.stdout)
    assert (answer["t"], answer["code"], answer["path"]) == ("err", "bad_request", "$.lr")


def test_the_unchanged_state_is_really_looked_at(tmp_path):
    """The hash that the cases compare tells a changed byte and an empty new folder."""
    (tmp_path / "f").write_text("a")
    one = state(tmp_path)
    (tmp_path / "f").write_text("b")
    two = state(tmp_path)
    (tmp_path / "g").mkdir()
    assert one != two != state(tmp_path)


def test_every_spec_field_has_words_for_its_flag():
    import msgspec

    from tui.flags import HELP

    own = {SurfaceSpec: {"plane", "path", "grid"}, Recipe: set(), Execution: set()}
    for spec, elsewhere in own.items():
        names = {f.name for f in msgspec.structs.fields(spec)} - elsewhere
        assert names == HELP[spec].keys()


def test_good_files_of_the_fixture_are_good(place):
    surface = Surface.load(place["files"] / "good.npz")
    assert np.all(np.isfinite(surface.loss))
