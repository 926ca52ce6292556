"""`thalweg window record` and `turntable` as they are typed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import scenes
from cli import Place, gone_within, place
from test_renderer_record import decoded

pytest.importorskip("imageio_ffmpeg")
SIZE = (160, 100)


@pytest.fixture
def here() -> Iterator[tuple[Place, str]]:
    """A place, and the endpoint of a window there."""
    scenes.renderer()  # skips where there is no OpenGL
    with place() as p:
        file = scenes.function(scenes.himmelblau, 9, 9).save(p.base / "small.npz")
        words = ("window", "open", file, "--headless", "--size", "160x100", "--pictures", p.base / "pictures")
        opened = p.json(*words)[0]
        yield p, opened["endpoint"]
        p.run("window", "close", "--window", opened["endpoint"])
        assert gone_within([opened["pid"]], 10)


def test_videos_of_a_window_are_fetched(here: tuple[Place, str]) -> None:
    p, end = here
    p.run("window", "turntable", "--seconds", 0.5, "--fps", 8, "--out", "turn.mp4", "--window", end)
    assert decoded(p.base / "turn.mp4", SIZE).shape[0] == 4
    child = p.start("window", "record", "--out", "film.mp4", "--save", "kept", "--window", end)
    _until_recording(p.base / "pictures")
    os.kill(child.pid, signal.SIGINT)
    assert child.wait(30) == 0
    assert (p.base / "film.mp4").read_bytes() == (p.base / "pictures" / "kept.mp4").read_bytes()
    assert len(decoded(p.base / "film.mp4", SIZE)) >= 1
    child = p.start("window", "turntable", "--seconds", 600, "--save", "long", "--window", end)
    _until_recording(p.base / "pictures")
    os.kill(child.pid, signal.SIGINT)
    assert child.wait(30) == 130
    assert sorted(f.name for f in (p.base / "pictures").iterdir()) == ["kept.mp4", "turn.mp4"]
    for words, said in (
        (("record", "--seconds", 0), "--seconds"),
        (("record", "--fps", 99), "--fps"),
        (("turntable", "--save", "../x"), "--save"),
        (("turntable", "--out", "x.png"), "--out"),
    ):
        assert p.run("window", *words, "--window", end, code=2).stderr.startswith(f"thalweg: {said}: expected")


def _until_recording(folder: Path) -> None:
    end = time.monotonic() + 60
    while not any(f.name.endswith(".tmp") for f in folder.iterdir()):
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.3)
