"""A window on a display (Xvfb): it sleeps while nothing happens, and shows a row as soon as it comes."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import windows
from fake_daemon import FakeDaemon
from windows import Window, until

from protocol.exchange import new_id
from protocol.windows import FramesStart, Screenshot, WindowClose

pytestmark = pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb: apt install xvfb")
ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
SIDE = 25


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    scenes.renderer()  # skips where there is no OpenGL
    with windows.display() as name:
        yield name


def drawn(trace: Path) -> list[dict[str, Any]]:
    """The pictures that were shown."""
    return [json.loads(line) for line in trace.read_text().splitlines()] if trace.exists() else []


@pytest.fixture
def live(tmp_path: Path, display: str) -> Iterator[tuple[Window, FakeDaemon, Path]]:
    trace = tmp_path / "trace"
    with FakeDaemon(tmp_path, beat_s=1.0) as fake:
        windows.begin(windows.with_surfaces(fake), ID, SIDE, SIDE)
        words = ("--workspace", tmp_path, "--surface", ID, "--size", "640x400", "--trace", trace)
        with Window(tmp_path, *words, display=display) as window:
            assert window.ready["screen"]
            yield window, fake, trace


def loss(i: int) -> np.ndarray:
    return (np.linspace(-1, 1, SIDE) ** 2 + 0.01 * i).astype("<f4")


def test_a_row_is_on_the_screen_one_frame_after_it_came(live: tuple[Window, FakeDaemon, Path]) -> None:
    _, daemon, trace = live
    late = []
    for i in range(12):
        until(lambda: drawn(trace) and drawn(trace)[-1]["still"], "a still picture")
        sent = time.monotonic()
        windows.row(daemon, ID, i, loss(i))
        shown = until(lambda i=i: [d for d in drawn(trace) if d["rows"] == i + 1], f"row {i}")[0]  # type: ignore[misc]
        late.append(1000 * (shown["at"] - sent) - shown["ms"])
    assert sorted(late)[len(late) // 3] < 12  # ms; 2 alone on the machine, this one may be busy


def test_it_sleeps_while_nothing_happens(live: tuple[Window, FakeDaemon, Path]) -> None:
    window, daemon, trace = live
    for i in range(SIDE):
        windows.row(daemon, ID, i, loss(i))
    until(lambda: drawn(trace) and drawn(trace)[-1]["still"] and drawn(trace)[-1]["rows"] == SIDE, "all of it")
    time.sleep(0.3)
    before, pictures, began = window.cpu_s(), len(drawn(trace)), time.monotonic()
    time.sleep(2.5)
    assert window.cpu_s() - before <= 0.02 * (time.monotonic() - began) + 0.01  # its clock ticks in 0.01 s
    assert len(drawn(trace)) == pictures


def test_streams_and_pictures_leave_the_screen_alone(live: tuple[Window, FakeDaemon, Path]) -> None:
    window, daemon, trace = live
    windows.row(daemon, ID, 3, loss(3))
    until(lambda: drawn(trace) and drawn(trace)[-1]["still"] and drawn(trace)[-1]["rows"] == 1, "a still picture")
    client, pictures = window.clients[0], len(drawn(trace))
    client.request(FramesStart(id=new_id(), width=160, height=100))
    until(lambda: client.poll(0.2), "a frame")
    assert client.request(Screenshot(id=new_id(), width=300, height=200), timeout_s=30).width > 0
    time.sleep(0.3)
    assert len(drawn(trace)) == pictures
    client.request(WindowClose(id=new_id()))
    assert window.child.wait(10) == 0
