"""Imports: right files give what is in them, wrong ones one sentence that names them; nothing is left half-written."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from compute import recipes
from compute.checkpoints import Checkpoint, TensorFile, step_file, steps_of, write_checkpoint
from compute.exports import EXPORTS
from compute.imports import IMPORTS
from compute.imports.checkpoints import natural
from compute.parameters import Layout, flatten
from compute.workspace import Workspace
from protocol.errors import InputError
from protocol.files import Surface
from protocol.messages import Recipe

DATA = Path(__file__).parent / "data"
RECIPE = Recipe(model="mlp", dataset="digits")
GIVEN: dict[str, Any] = {"recipe": {"model": "mlp", "dataset": "digits"}}


def take(kind: str, source: Path, folder: Path | None = None, **options: Any) -> Any:
    """What an import returns, its steps run to the end."""
    entry = IMPORTS[kind]
    steps = entry.make(source, folder or source.parent / "never", msgspec.convert(options, entry.options))
    last = (0, 1)
    while True:
        try:
            now = next(steps)
        except StopIteration as end:
            assert last[0] == last[1]
            return end.value
        assert now[0] >= last[0]
        last = now


def nets(count: int) -> list[torch.nn.Module]:
    """Models of RECIPE, each with other weights."""
    return [recipes.build_model(msgspec.structs.replace(RECIPE, seed=k)) for k in range(count)]


def checkpoints(folder: Path, names: list[str], prefix: str = "", dtype: torch.dtype = torch.float32) -> Path:
    """A folder of another program's safetensors files, one a name."""
    for name, net in zip(names, nets(len(names))):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save_file({prefix + k: v.to(dtype) for k, v in net.state_dict().items()}, folder / name)
    return folder


def theta_of(file: Path) -> torch.Tensor:
    return Checkpoint(file, Layout.of(nets(1)[0])).theta()


def theta(k: int) -> torch.Tensor:
    net = nets(k + 1)[k]
    return flatten(net, Layout.of(net))


def packed(folder: Path, kind: str) -> Path:
    """The folder as an archive beside it."""
    archive = folder.with_suffix({"zip": ".zip", "tar": ".tar", "tgz": ".tar.gz"}[kind])
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as z:
            for f in folder.rglob("*"):
                z.write(f, f.relative_to(folder.parent))
    else:
        with tarfile.open(archive, "w" if kind == "tar" else "w:gz") as t:
            t.add(folder, folder.name)
    return archive


# ---------------------------------------------------------------- every import


@pytest.mark.parametrize("name", IMPORTS)
def test_options_travel_as_data(name: str) -> None:
    assert msgspec.json.schema(IMPORTS[name].options)
    assert IMPORTS[name].summary
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"nmae": "x"}, IMPORTS[name].options)


@pytest.mark.parametrize("name", IMPORTS)
@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"PK\x03\x04" + b"\x00" * 40, b"\x00\xff" * 300, b"ply\nend_header\n"]
)
def test_a_wrong_file_is_named_and_nothing_is_written(name: str, content: bytes, tmp_path: Path) -> None:
    source = tmp_path / "wrong.safetensors"
    source.write_bytes(content)
    options = GIVEN if name == "checkpoints" else {}
    with pytest.raises(InputError, match=r"wrong\.safetensors") as caught:
        take(name, source, tmp_path / "runs" / "r", **options)
    assert "\n" not in caught.value.msg
    with pytest.raises(InputError, match="absent"):
        take(name, tmp_path / "absent", tmp_path / "runs" / "r", **options)
    assert [f for f in tmp_path.rglob("*") if f.is_file()] == [source]
    assert not (tmp_path / "runs" / "r").exists()


# ---------------------------------------------------------------- surfaces


def test_the_seeds_meshes_are_read_as_they_stand(tmp_path: Path) -> None:
    s = take("ply", DATA / "ResNet_PCA.ply")
    assert s.shape == (26, 26)
    assert (s.alpha[0], s.alpha[-1], s.beta[0], s.beta[-1]) == (-9, 9.75, -9, 9.75)
    assert (s.loss[0, 0], s.loss[0, 1]) == (847.207704223632845, 832.42602404785157)
    assert (s.meta.name, s.meta.note, s.meta.samples) == ("ResNet_PCA", "imported from ResNet_PCA.ply", 0)
    folder = tmp_path / "both"
    folder.mkdir()
    for f in DATA.glob("ResNet_PCA*"):
        (folder / f.name).write_bytes(f.read_bytes())
    for source in (folder, packed(folder, "zip"), packed(folder, "tgz")):
        t = take("ply", source, name="mine")
        assert len(t.path) == 11
        assert t.meta.name == "mine"
        assert t.loss.tobytes() == s.loss.tobytes()


def test_a_damaged_mesh_is_refused(tmp_path: Path) -> None:
    whole = (DATA / "VGG_Random.ply").read_text()
    lines = whole.splitlines(keepends=True)
    vertices = lines.index("end_header\n") + 1
    wrong = {
        "truncated": "".join(lines[:400]),
        "format ascii": whole.replace("ascii", "binary_little_endian"),
        "the scalar s": whole.replace("double s", "double loss"),
        "full grid": whole.replace("-0.46000000000000002 -0.5 0", "-0.47 -0.5 0"),
        "numbers for each vertex": whole.replace(lines[vertices], lines[vertices].replace(" 0 ", " ", 1)),
        "expected numbers": whole.replace(lines[vertices], lines[vertices].replace(" 0.", " o.")),
        "vertex and face alone": whole.replace("element face", "element edge"),
        "finite coordinates": whole.replace("-0.5 -0.5 0", "nan -0.5 0"),
    }
    file = tmp_path / "bad.ply"
    for words, text in wrong.items():
        file.write_text(text)
        with pytest.raises(InputError, match=rf"bad\.ply: .*{words}"):
            take("ply", file)


def test_a_table_may_be_in_any_order_with_columns_left_out(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("loss,more,beta,alpha\n4,x,1,2\n1,x,0,0\nnan,x,1,0\n,x,0,2\n3,x,1,1\n2,x,0,1\n\n")
    s = take("csv", file)
    assert (s.alpha.tolist(), s.beta.tolist()) == ([0, 1, 2], [0, 1])
    assert np.array_equal(s.loss, [[1, 2, np.nan], [np.nan, 3, 4]], equal_nan=True)
    assert s.n.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert np.isnan(s.accuracy).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("alpha,beta\n1,2\n", "'loss' is not there"),
        ("alpha,beta,loss\n0,0,1\n0,1,x\n", "line 3: expected a number as loss, 'x' is no number"),
        ("alpha,beta,loss\n0,0\n", "line 2: .* it has 2 columns"),
        ("alpha,beta,loss\n0,0,1\n0,1,1\n1,0,1\n", "full grid, .* got 3 points"),
        ("alpha,beta,loss\n0,0,1\n0,1,1\n1,0,1\n1,0,1\n", "repetitions or gaps"),
        ("alpha,beta,loss\n0,0,1\n1,0,1\n", "2 to 4096 different values"),
        ("alpha,beta,loss\ninf,0,1\n1,0,1\n", "finite coordinates"),
        ("alpha,beta,loss,n\n0,0,1,1\n0,1,1,1\n1,0,1,-1\n1,1,1,1\n", "whole numbers of samples"),
    ],
)
def test_a_wrong_table_is_refused(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"t\.csv.*{words}"):
        take("csv", file)


def test_an_npz_of_another_program_is_a_surface(tmp_path: Path) -> None:
    file = tmp_path / "theirs.npz"
    loss = np.arange(6.0).reshape(2, 3)
    np.savez(file, alpha=np.arange(3), beta=np.arange(2), loss=loss)
    s = take("npz", file)
    assert s.loss.tolist() == loss.tolist()
    assert (s.meta.name, s.n.tolist()) == ("theirs", [[1, 1, 1]] * 2)
    own = Surface.load(s.save(tmp_path / "own.npz"))
    assert take("npz", tmp_path / "own.npz", name="other").meta == msgspec.structs.replace(own.meta, name="other")
    for wrong in (
        {"alpha": np.arange(2)},
        {"alpha": np.array([0, 1, np.inf])},
        {"loss": loss.T},
        {"loss": np.array("a")},
    ):
        np.savez(file, **{"alpha": np.arange(3), "beta": np.arange(2), "loss": loss, **wrong})
        with pytest.raises(InputError, match=r"theirs\.npz"):
            take("npz", file)


def test_an_npz_that_unpacks_to_more_than_any_surface_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "bomb.npz"
    np.savez_compressed(file, alpha=np.arange(2), beta=np.arange(2), loss=np.zeros((2, 2)), more=np.zeros(10**5))
    monkeypatch.setattr("compute.imports.npz.MAX_BYTES", 10**5)
    with pytest.raises(InputError, match=r"bomb\.npz: expected at most"):
        take("npz", file)


# ---------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tgz"])
def test_foreign_checkpoints_become_a_run_in_natural_order(kind: str, tmp_path: Path) -> None:
    names = ["epoch_1.safetensors", "epoch_2.safetensors", "epoch_10.safetensors"]
    source = checkpoints(tmp_path / "theirs", names)
    (source / "notes.txt").write_text("other files are left alone")
    before = {f: f.read_bytes() for f in source.iterdir()}
    workspace = Workspace(tmp_path / "workspace")
    files = take(
        "checkpoints",
        source if kind == "folder" else packed(source, kind),
        workspace.runs / "RUN1",
        steps_between=98,
        **GIVEN,
    )
    assert files == [step_file(workspace.runs / "RUN1", s) for s in (0, 98, 196)]
    assert workspace.trajectory("RUN1") == files
    assert workspace.checkpoint("RUN1@epoch:2") == files[2]
    assert {f: f.read_bytes() for f in source.iterdir()} == before
    assert [f.name for f in workspace.runs.iterdir()] == ["RUN1"]
    assert sorted(f.name for f in (workspace.runs / "RUN1").iterdir()) == ["SHA256SUMS", *(f.name for f in files)]
    for k, file in enumerate(files):
        assert torch.equal(theta_of(file), theta(k))
        assert msgspec.convert(TensorFile(file).about["recipe"], Recipe) == RECIPE


def test_own_checkpoints_keep_their_steps_epochs_metrics_and_recipe(tmp_path: Path) -> None:
    source = tmp_path / "run"
    for k, net in enumerate(nets(3)):
        write_checkpoint(
            source, net, step=(30, 0, 15)[k], epoch=(1.0, 0.0, 0.5)[k], recipe=RECIPE, metrics={"loss": float("nan")}
        )
    files = take("checkpoints", source, tmp_path / "new")
    assert steps_of(tmp_path / "new") == [0, 15, 30]
    assert [TensorFile(f).about["epoch"] for f in files] == [0.0, 0.5, 1.0]
    assert [f.read_bytes() for f in files] == [step_file(source, s).read_bytes() for s in (0, 15, 30)]
    assert [torch.equal(theta_of(f), theta(k)) for f, k in zip(files, (1, 2, 0))] == [True] * 3


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_the_names_of_wrappers_are_taken_off(prefix: str, tmp_path: Path) -> None:
    (file,) = take("checkpoints", checkpoints(tmp_path / "a", ["x.safetensors"], prefix), tmp_path / "r", **GIVEN)
    assert torch.equal(theta_of(file), theta(0))


def test_half_precision_is_widened(tmp_path: Path) -> None:
    source = checkpoints(tmp_path / "a", ["x.safetensors"], dtype=torch.bfloat16)
    (file,) = take("checkpoints", source, tmp_path / "r", **GIVEN)
    assert torch.equal(theta_of(file), theta(0).bfloat16().float())


def test_what_does_not_belong_is_refused_whole(tmp_path: Path) -> None:
    source = checkpoints(tmp_path / "a", ["1.safetensors", "2.safetensors"])
    target = tmp_path / "runs" / "r"
    state = {k: v.clone() for k, v in nets(1)[0].state_dict().items()}
    name = next(iter(state))
    wrong = {
        "expected the tensor": {k: v for k, v in state.items() if k != name},
        "of shape": {**state, name: torch.zeros(3)},
        "which the model has not": {**state, "more": torch.zeros(3)},
    }
    for words, tensors in wrong.items():
        save_file(tensors, source / "2.safetensors")
        with pytest.raises(InputError, match=rf"2\.safetensors: .*{words}"):
            take("checkpoints", source, target, **GIVEN)
    with pytest.raises(InputError, match=r"a\.zip/a/2\.safetensors"):
        take("checkpoints", packed(source, "zip"), target, **GIVEN)
    (source / "2.safetensors").write_bytes((source / "1.safetensors").read_bytes()[:-5])
    with pytest.raises(InputError, match=r"2\.safetensors: corrupted or truncated"):
        take("checkpoints", source, target, **GIVEN)
    (source / "2.safetensors").unlink()
    with pytest.raises(InputError, match=r"expected options\.recipe"):
        take("checkpoints", source, target)
    with pytest.raises(InputError, match="expected the step in its metadata"):
        take("checkpoints", source, target, order="steps", **GIVEN)
    with pytest.raises(InputError, match="one of"):
        take("checkpoints", source, target, recipe={"model": "resnet21"})
    assert not target.exists()
    assert list(target.parent.iterdir()) == []
    take("checkpoints", source, target, **GIVEN)
    with pytest.raises(InputError, match="found one"):
        take("checkpoints", source, target, **GIVEN)


def test_missing_running_statistics_are_refused(tmp_path: Path) -> None:
    recipe = {"model": "resnet20", "dataset": "digits"}
    net = recipes.build_model(msgspec.convert(recipe, Recipe))
    folder = tmp_path / "a"
    folder.mkdir()
    kept = {k: v.clone() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked")}
    save_file(kept, folder / "x.safetensors")
    take("checkpoints", folder, tmp_path / "counted anew", recipe=recipe)
    save_file({k: v for k, v in kept.items() if "running_mean" not in k}, folder / "x.safetensors")
    with pytest.raises(InputError, match="expected the buffer"):
        take("checkpoints", folder, tmp_path / "r", recipe=recipe)


def test_a_stopped_import_leaves_nothing(tmp_path: Path) -> None:
    source = checkpoints(tmp_path / "a", ["1.safetensors", "2.safetensors", "3.safetensors"])
    entry = IMPORTS["checkpoints"]
    steps = entry.make(source, tmp_path / "runs" / "r", msgspec.convert(GIVEN, entry.options))
    assert [next(steps), next(steps)] == [(0, 3), (1, 3)]
    steps.close()
    assert list((tmp_path / "runs").iterdir()) == []


def test_two_files_of_one_step_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "a"
    for k, net in enumerate(nets(2)):
        write_checkpoint(source / str(k), net, step=7, epoch=1.0, recipe=RECIPE, metrics={})
    with pytest.raises(InputError, match="a step of its own"):
        take("checkpoints", source, tmp_path / "r")
    assert len(take("checkpoints", source, tmp_path / "r", order="names")) == 2


def test_numbers_sort_as_numbers() -> None:
    names = ["a10", "a9", "a9b", "b", "10", "9"]
    assert sorted(names, key=natural) == ["9", "10", "a9", "a9b", "a10", "b"]


# ---------------------------------------------------------------- archives


def hostile(kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as z:
            z.writestr("../../evil.safetensors", b"x")
    else:
        with tarfile.open(fileobj=out, mode="w") as t:
            info = tarfile.TarInfo({"absolute": "/tmp/evil.safetensors"}.get(kind, "evil.safetensors"))
            if kind == "link":
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            t.addfile(info)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["zip", "absolute", "link"])
def test_an_archive_that_reaches_outside_is_refused(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "deep" / "evil.archive"
    source.parent.mkdir()
    source.write_bytes(hostile(kind))
    with pytest.raises(InputError, match=r"evil\.archive: expected (paths below its top|plain files)"):
        take("checkpoints", source, tmp_path / "deep" / "runs" / "r", **GIVEN)
    assert [f for f in tmp_path.rglob("*") if f.is_file()] == [source]


@pytest.mark.parametrize("kind", ["zip", "tgz"])
def test_a_truncated_or_too_large_archive_is_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = packed(checkpoints(tmp_path / "a", ["1.safetensors"]), kind)
    whole = archive.read_bytes()
    for size in (len(whole) // 3, len(whole) - 9):
        archive.write_bytes(whole[:size])
        with pytest.raises(InputError, match=archive.name):
            take("checkpoints", archive, tmp_path / "runs" / "r", **GIVEN)
    archive.write_bytes(whole)
    monkeypatch.setattr("compute.imports.sources.SPARE", 1 << 60)
    with pytest.raises(InputError, match="make some room") as caught:
        take("checkpoints", archive, tmp_path / "runs" / "r", **GIVEN)
    assert caught.value.code == "no_space"
    assert list((tmp_path / "runs").iterdir()) == []


def refusal(kind: str, file: Path) -> str:
    """What an import says against a file; nothing where it takes it (a flipped digit of a text is still a number)."""
    try:
        take(kind, file)
    except InputError as e:
        return e.msg
    return ""


@pytest.mark.parametrize("ending", [".npz", ".csv", ".ply", ".zip", ".tgz", ".txz"])
def test_damage_of_any_kind_is_one_sentence_and_leaves_nothing(ending: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    surface = take("ply", DATA / "VGG_Random.ply")
    kind = ending[1:] if ending[1:] in EXPORTS else "ply"
    (whole,) = EXPORTS[kind].make(surface, tmp_path / "in", EXPORTS[kind].options())
    file = tmp_path / f"damaged{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as z:
            z.write(whole, whole.name)
    elif ending != f".{kind}":
        with tarfile.open(file, {".tgz": "w:gz", ".txz": "w:xz"}[ending]) as t:
            t.add(whole, whole.name)
    else:
        file.write_bytes(whole.read_bytes())
    good = file.read_bytes()
    for k in range(40):
        bad = bytearray(good)
        at = int(rng.integers(min(len(bad), 400) if k % 2 else len(bad)))
        bad[at] ^= 1 << int(rng.integers(8))
        file.write_bytes(bytes(bad[: at + 1] if k % 5 == 0 else bad))
        said = refusal(kind, file)
        assert said == "" or (file.name in said and "\n" not in said)
    assert sorted(f.name for f in tmp_path.iterdir()) == [file.name, "in"]
