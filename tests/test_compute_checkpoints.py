"""Checkpoint files: whole, hashed, read by pieces; damage of any kind is refused by name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small import conv_net, save, snapshot, tied_net, trained

from compute import checkpoints
from compute.checkpoints import Checkpoint, TensorFile
from compute.parameters import Layout, flatten_state
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
    with open(checkpoints.step_file(tmp_path, 3), "r+b") as f:
        f.truncate(40)
    assert checkpoints.newest_resumable(tmp_path) == 2
    tensors, meta = checkpoints.read_resume(checkpoints.resume_file(tmp_path, 2))
    assert meta == {"step": 2}
    assert torch.equal(tensors["a"], torch.ones(3))
