"""Checkpoint files: whole, hashed, read by pieces; damage of any kind is refused by name."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small import conv_net, save, snapshot, tied_net, trained

from compute import checkpoints, tensorfile
from compute.checkpoints import Checkpoint, TensorFile
from compute.parameters import Layout, flatten_state
from compute.workspace import Workspace
from protocol.errors import InputError


def one(folder: Path) -> Path:
    return save([snapshot(conv_net())], folder, conv_net())[0]


def test_a_checkpoint_round_trips_with_what_it_says_of_itself(tmp_path: Path) -> None:
    model, states = trained(tied_net, epochs=1)
    file = save(states, tmp_path, model)[1]
    layout = Layout.of(model)
    opened = Checkpoint(file, layout)
    assert (opened.step, opened.epoch) == (7, 1.0)
    assert opened.about["recipe"]["model"] == "resnet20"
    assert torch.equal(opened.theta(), flatten_state(states[1], layout))
    assert torch.equal(opened.buffers()["norm.running_var"], states[1]["norm.running_var"])


def test_a_tied_tensor_is_stored_once(tmp_path: Path) -> None:
    file = save([snapshot(tied_net())], tmp_path, tied_net())[0]
    names = TensorFile(file).entries
    assert ("encode.weight" in names) != ("again.weight" in names)


def test_the_same_tensors_give_the_same_bytes(tmp_path: Path) -> None:
    a, b = one(tmp_path / "a"), one(tmp_path / "b")
    assert a.read_bytes() == b.read_bytes()


def test_pieces_are_the_slices_of_the_whole(tmp_path: Path) -> None:
    model = conv_net()
    layout = Layout.of(model)
    opened = Checkpoint(one(tmp_path), layout)
    whole = opened.theta().numpy()
    rng = np.random.default_rng(0)
    for _ in range(40):
        a, b = sorted(rng.integers(0, layout.size + 1, 2))
        out = np.full(b - a, np.nan, dtype=np.float32)
        opened.read(int(a), int(b), out)
        np.testing.assert_array_equal(out, whole[a:b])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types_are_read_as_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    model = conv_net()
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in snapshot(model).items()}
    save_file(state, tmp_path / "x.safetensors")
    layout = Layout.of(model)
    got = Checkpoint(tmp_path / "x.safetensors", layout).theta()
    assert torch.equal(got, flatten_state({k: v.float() for k, v in state.items()}, layout))


def test_sums_are_what_sha256sum_reads(tmp_path: Path) -> None:
    one(tmp_path)
    subprocess.run(["sha256sum", "-c", "--quiet", checkpoints.SUMS], cwd=tmp_path, check=True)


def test_sums_name_what_is_there_after_files_were_dropped(tmp_path: Path) -> None:
    """Regression: `sha256sum -c` failed at the first resume file that was dropped."""
    for name in ("a", "b", "c"):
        checkpoints.write_tensors(tmp_path / f"{name}.safetensors", {"w": torch.ones(2)}, {"of": name})
    tensorfile.prune_sums(tmp_path)
    before = (tmp_path / checkpoints.SUMS).read_bytes()
    assert before.count(b"\n") == 3
    (tmp_path / "b.safetensors").unlink()
    tensorfile.prune_sums(tmp_path)
    subprocess.run(["sha256sum", "-c", "--quiet", checkpoints.SUMS], cwd=tmp_path, check=True)
    assert (tmp_path / checkpoints.SUMS).read_bytes() == b"".join(before.splitlines(keepends=True)[::2])
    assert sorted(f.name for f in tmp_path.iterdir()) == [checkpoints.SUMS, "a.safetensors", "c.safetensors"]
    tensorfile.prune_sums(tmp_path / "none")  # a folder without the file is left so


def test_a_line_that_was_written_before_a_crash_does_not_condemn_the_file(tmp_path: Path) -> None:
    """Regression: a process that died between the line and the rename left an intact file "corrupted"."""
    file = one(tmp_path)
    digest = tensorfile.known_hash(file)
    with open(tmp_path / checkpoints.SUMS, "a") as sums:
        sums.write(f"{'0' * 64}  {file.name}\n")
    assert tensorfile.known_hashes(file) == ["0" * 64, digest]
    assert TensorFile(file).sha256 == digest
    with open(file, "r+b") as f:
        f.seek(-1, os.SEEK_END)
        f.write(b"\xff")
    with pytest.raises(InputError, match="sha256"):
        TensorFile(file)


def test_many_more_files_are_read_than_may_be_open(tmp_path: Path) -> None:
    """Regression: 40 checkpoints failed under a limit of 30 descriptors, 300 under the usual one of macOS."""
    for k in range(40):
        save_file({"w": torch.full((3,), float(k))}, tmp_path / f"{k}.safetensors")
    used = len(os.listdir("/dev/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + tensorfile.POOL + 8, hard))
        opened = [TensorFile(tmp_path / f"{k}.safetensors") for k in range(40)]
        for _ in range(2):
            assert [int(f.array("w")[2]) for f in opened] == list(range(40))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(os.listdir("/dev/fd")) <= used + tensorfile.POOL
    del opened
    assert len(os.listdir("/dev/fd")) <= used


def test_a_file_that_changes_under_its_reader_is_refused_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "w.safetensors"
    save_file({"w": torch.ones(3)}, file)
    opened = TensorFile(file)
    opened.close()
    assert opened.array("w").tolist() == [1.0, 1.0, 1.0]  # a closed one is opened again
    opened.close()
    file.rename(tmp_path / "old.safetensors")
    with pytest.raises(InputError, match=r"w\.safetensors: .* deleted while it was in use"):
        opened.array("w")
    save_file({"w": torch.zeros(3)}, file)
    with pytest.raises(InputError, match=r"w\.safetensors: it was replaced or changed"):
        opened.array("w")


def test_what_is_no_file_is_refused_without_a_traceback(tmp_path: Path) -> None:
    """Regression: ValueError, IsADirectoryError, and AttributeError from __del__ after a failed open."""
    os.mkfifo(tmp_path / "pipe")
    for wrong in (tmp_path, tmp_path / "none", tmp_path / "pipe", tmp_path / ("n" * 5000), "a\0b", "\udcff\ud800"):
        with pytest.raises(InputError, match="expected a checkpoint file"):
            TensorFile(wrong)
    code = "from compute.tensorfile import TensorFile\ntry: TensorFile('/none')\nexcept ValueError: pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.uint16, torch.uint32, torch.uint64])
def test_whole_numbers_of_every_width_are_read(tmp_path: Path, dtype: torch.dtype) -> None:
    """Regression: a checkpoint with an int8 buffer was called corrupted."""
    values = torch.tensor([0, 1, 100]).to(dtype)
    save_file({"n": values}, tmp_path / "n.safetensors")
    got = TensorFile(tmp_path / "n.safetensors").tensor("n")
    assert got.dtype == dtype
    assert got.tolist() == values.tolist()


@pytest.mark.parametrize(("dtype", "named"), [(torch.complex64, "C64"), (torch.float8_e5m2, "F8_E5M2")])
def test_a_type_that_is_not_read_is_named(tmp_path: Path, dtype: torch.dtype, named: str) -> None:
    save_file({"z": torch.zeros(2, dtype=dtype)}, tmp_path / "z.safetensors")
    with pytest.raises(InputError, match=f"'z' is of type {named}, expected one of F64") as e:
        TensorFile(tmp_path / "z.safetensors")
    assert "corrupted" not in e.value.msg


def test_every_truncation_is_refused_by_name(tmp_path: Path) -> None:
    whole = one(tmp_path / "run").read_bytes()
    broken = tmp_path / "broken.safetensors"  # in a folder without SHA256SUMS: the header alone has to tell
    for size in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        broken.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"broken\.safetensors"):
            TensorFile(broken)
    broken.write_bytes(b"PK\x03\x04" * 100)
    with pytest.raises(InputError, match=r"broken\.safetensors"):
        TensorFile(broken)


def test_a_flipped_bit_is_refused_by_its_hash(tmp_path: Path) -> None:
    file = one(tmp_path)
    damaged = bytearray(file.read_bytes())
    damaged[-20] ^= 1
    file.write_bytes(bytes(damaged))
    with pytest.raises(InputError, match="sha256"):
        TensorFile(file)
    TensorFile(file, check_hash=False).close()  # without the hash nothing would have told


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot write"):
        one(tmp_path / "file" / "run")
    assert [f.name for f in tmp_path.iterdir()] == ["file"]


def test_two_resume_files_are_kept_and_the_newest_whole_step_is_found(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoints.write_resume(tmp_path, step=step, tensors={"a": torch.ones(3)}, meta={"step": step})
        checkpoints.write_tensors(checkpoints.step_file(tmp_path, step), {"w": torch.ones(2)}, {})
        checkpoints.drop_old_resumes(tmp_path)
    assert [f.name for f in sorted(tmp_path.glob("resume-*"))] == [
        "resume-00000002.safetensors",
        "resume-00000003.safetensors",
    ]
    assert checkpoints.newest_resumable(tmp_path) == 3
    found = tensorfile.open_resumable(tmp_path)
    assert found is not None
    assert (found[0], list(found[1].entries), list(found[2].entries)) == (3, ["w"], ["a"])
    (tmp_path / "copy-of-step-00000009.safetensors").touch()
    (tmp_path / "step-0000000².safetensors").touch()
    assert checkpoints.steps_of(tmp_path) == [1, 2, 3]
    with open(checkpoints.step_file(tmp_path, 3), "r+b") as f:
        f.truncate(40)
    assert checkpoints.newest_resumable(tmp_path) == 2
    tensors, meta = checkpoints.read_resume(checkpoints.resume_file(tmp_path, 2))
    assert meta == {"step": 2}
    assert torch.equal(tensors["a"], torch.ones(3))


def workspace_of(folder: Path, *epochs: object) -> Workspace:
    """A workspace with one run, whose checkpoints say these epochs (`...`: nothing) of themselves."""
    for k, epoch in enumerate(epochs):
        about = {} if epoch is ... else {"epoch": epoch}
        checkpoints.write_tensors(checkpoints.step_file(folder / "runs" / "RUN1", k), {"w": torch.ones(2)}, about)
    return Workspace(folder)


def test_an_address_finds_its_checkpoint(tmp_path: Path) -> None:
    place = workspace_of(tmp_path, 0.0, ..., 1, 1.5, 2.0)
    run = tmp_path / "runs" / "RUN1"
    for address, step in (("first", 0), ("last", 4), ("3", 3), ("00003", 3), ("epoch:1", 2), ("epoch:2.0", 4)):
        assert place.checkpoint(f"RUN1@{address}") == checkpoints.step_file(run, step)
    assert place.checkpoint(str(run)) == checkpoints.step_file(run, 4)
    assert place.trajectory("RUN1") == [checkpoints.step_file(run, k) for k in (0, 1, 2, 4)]


@pytest.mark.parametrize(
    "address",
    ["RUN1@²", "RUN1@" + "9" * 5000, "RUN1@epoch:abc", "RUN1@epoch:nan", "RUN1@epoch:", "RUN1@epoch:" + "9" * 5000,
     "RUN1@epoch:7", "RUN1@", "@last", "", "@", "n" * 5000 + "@last", "n\0@last", "RUN1@\0"],
)  # fmt: skip
def test_an_address_that_names_nothing_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """Regression: ValueError and OSError; a checkpoint without an epoch for `epoch:abc`; this very folder for
    `@last`."""
    place = workspace_of(tmp_path, 0.0, ...)
    monkeypatch.chdir(tmp_path / "runs" / "RUN1")
    with pytest.raises(InputError):
        place.checkpoint(address)


@pytest.mark.parametrize("name", ["n" * 5000, "n\0", "", "none/at/all"])
def test_a_name_that_no_file_can_have_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    place = workspace_of(tmp_path, 0.0)
    for look in (place.run, place.plane, place.trajectory):
        with pytest.raises(InputError):
            look(name)


@pytest.mark.parametrize("epoch", [None, "1", True, [], 10**400])
def test_an_epoch_that_is_no_number_is_refused_by_the_files_name(tmp_path: Path, epoch: object) -> None:
    place = workspace_of(tmp_path, 0.0, epoch)
    with pytest.raises(InputError, match=r"step-00000001\.safetensors: expected its epoch to be a number"):
        place.trajectory("RUN1")
