"""Ctrl-C, SIGTERM and kill -9 to the real executable that works without a daemon, with the real worker."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from protocol.files import Surface

THALWEG = Path(sys.executable).with_name("thalweg")


def start(workspace, *arguments):
    return subprocess.Popen(
        [THALWEG, *map(str, arguments), "--no-daemon"],
        env={**os.environ, "THALWEG_WORKSPACE": str(workspace)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_line(process, words, deadline_s=120):
    """Read lines until one has the words in it."""
    end = time.monotonic() + deadline_s
    for line in process.stdout:
        if words in line:
            return line
        if time.monotonic() > end:
            break
    raise AssertionError(f"'{words}' did not come: {process.communicate()}")


def children(pid):
    """Process ids whose parent is `pid`."""
    out = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat[1]) == pid:
            out.append(int(folder.name))
    return out


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone_within(pids, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end and any(map(alive, pids)):
        time.sleep(0.05)
    return not any(map(alive, pids))


LONG = ("train", "--model", "mlp", "--dataset", "digits", "--epochs", "2000")


def test_interrupted_training_keeps_its_checkpoints_and_goes_on(tmp_path):
    command = start(tmp_path, *LONG)
    wait_for_line(command, "epoch 3 ")  # its own checkpoint may be cut off by the signal, those before it not
    workers = children(command.pid)
    assert workers
    command.send_signal(signal.SIGINT)
    _out, said = command.communicate(timeout=60)
    assert command.returncode == 130
    assert "checkpoints" in said
    assert len(said.splitlines()) == 1
    assert gone_within(workers, 2)
    (run,) = (tmp_path / "runs").iterdir()
    kept = sorted(run.glob("step-*.safetensors"))
    assert len(kept) >= 3
    again = start(tmp_path, "train", "--resume", "last")
    for _ in range(2):
        wait_for_line(again, "epoch ")
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    assert again.returncode == 130
    assert len(sorted(run.glob("step-*.safetensors"))) > len(kept)
    assert [run] == list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_ended_command_leaves_no_worker(tmp_path, number):
    command = start(tmp_path, *LONG)
    wait_for_line(command, "epoch 1 ")
    workers = children(command.pid)
    assert workers
    command.send_signal(number)
    command.wait(timeout=30)
    assert command.returncode in (128 + number, -number)
    assert gone_within(workers, 2)


def test_killed_worker_is_told_in_one_sentence_with_its_log(tmp_path):
    command = start(tmp_path, *LONG)
    wait_for_line(command, "epoch 1 ")
    (worker,) = children(command.pid)
    os.kill(worker, signal.SIGKILL)
    _out, said = command.communicate(timeout=30)
    assert command.returncode == 1
    assert len(said.splitlines()) == 1
    assert "SIGKILL" in said
    assert str(tmp_path / "logs") in said


def test_interrupted_surface_keeps_its_rows_under_another_name(tmp_path):
    assert start(tmp_path, *LONG[:-1], "1").wait(timeout=120) == 0
    assert start(tmp_path, "plane", "--run", "last").wait(timeout=120) == 0
    command = start(tmp_path, "surface", "last", "--grid", "300", "--out", tmp_path / "x.npz", "--json")
    wait_for_line(command, '"surface.row"')
    command.send_signal(signal.SIGINT)
    _out, said = command.communicate(timeout=60)
    assert command.returncode == 130
    assert str(tmp_path / "x.partial.npz") in said
    assert not (tmp_path / "x.npz").exists()
    partial = Surface.load(tmp_path / "x.partial.npz")
    assert 0 < int(np.sum(partial.n[:, 0] > 0)) < 300
    assert "stopped after" in partial.meta.note
