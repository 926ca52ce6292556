"""`thalweg render` as it is typed: one picture of several surfaces, another picture's view, videos and Ctrl-C."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import scenes
from cli import Place
from PIL import Image

from protocol import pictures


@pytest.fixture
def place(tmp_path):
    scenes.renderer()  # skips where there is none
    scenes.resnet().save(tmp_path / "resnet.npz")
    scenes.vgg().save(tmp_path / "vgg.npz")
    place = Place(tmp_path)
    yield place
    place.close()


def pixels(file: Path) -> np.ndarray:
    return np.asarray(Image.open(file).convert("RGB"))


@pytest.mark.slow
def test_a_picture_is_drawn_again_from_itself_and_as_another_surfaces(place):
    small = ("--size", "320x200", "--scale", 1)
    place.run("render", "resnet.npz", "vgg.npz", "--together", "--preset", "heat", *small, "--out", "pair.png")
    place.run("render", "--from", "pair.png", "--out", "again.png")
    assert np.array_equal(pixels(place.base / "pair.png"), pixels(place.base / "again.png"))
    place.run("render", "vgg.npz", "--from", "pair.png", "--view", "theme=dark", "--out", "vgg.png")
    other = pictures.read(place.base / "vgg.png")
    assert (other.view.preset, other.view.theme, other.width) == ("heat", "dark", 320)
    assert [meta.model for meta in other.metas] == ["VGG-11"]
    (place.base / "vgg.npz").unlink()
    done = place.run("render", "--from", "pair.png", "--out", "x.png", code=2)
    assert "vgg.npz" in done.stderr
    assert "not there any more" in done.stderr
    assert not (place.base / "x.png").exists()


def test_a_video_is_told_in_lines_for_machines(place):
    pytest.importorskip("imageio_ffmpeg")
    words = ("render", "resnet.npz", "--out", "x.mp4", "--size", "200x120", "--seconds", 0.5, "--fps", 10)
    *progress, last = place.json(*words)
    assert {line["t"] for line in progress} == {"progress"}
    assert (last["t"], last["frames"], last["width"]) == ("ok", 5, 200)
    assert (place.base / "x.mp4").stat().st_size > 1000


def test_ctrl_c_leaves_no_half_video(place):
    pytest.importorskip("imageio_ffmpeg")
    before = sorted(p.name for p in place.base.iterdir())
    child = place.start("render", "resnet.npz", "--out", "x.mp4", "--size", "200x120", "--seconds", 600)
    end = time.monotonic() + 60
    while not any(p.name.startswith(".x.mp4") and p.stat().st_size for p in place.base.iterdir()):
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGINT)
    assert child.wait(30) == 130
    assert sorted(p.name for p in place.base.iterdir()) == before
