"""A window on a display of its own (Xvfb), turned, zoomed and switched by mouse and keys (xdotool) as by a person, and
asked over its socket what came of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
from PIL import Image, ImageGrab, features

from protocol.exchange import new_id
from protocol.steering import WindowClient
from protocol.view import PRESETS, View
from protocol.windows import Pick, ViewGet, ViewSet

SIZE = (800, 500)
PATIENCE_S = 20.0  # the machine may be busy
MIDDLE = (260, 250)  # of the plot, about

TOOLS = shutil.which("Xvfb") and shutil.which("xdotool") and features.check("xcb")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TOOLS, reason="needs Xvfb, xdotool (apt install xvfb xdotool) and Pillow with xcb"),
]


@dataclass
class Hand:
    """The window, who asks it, and a hand on its mouse and keys."""

    display: str
    client: WindowClient
    process: subprocess.Popen[bytes]

    def does(self, *words: object) -> None:
        command = ["xdotool", *(str(word) for word in words)]
        subprocess.run(command, env=os.environ | {"DISPLAY": self.display}, check=True, capture_output=True)

    def drag(self, button: int, by: tuple[int, int], start: tuple[int, int] = MIDDLE) -> None:
        x, y = start
        self.does("mousemove", x, y, "mousedown", button)
        for k in range(1, 5):
            self.does("mousemove", x + by[0] * k // 4, y + by[1] * k // 4)
        self.does("mouseup", button)

    def ask(self, request: Any) -> Any:
        return self.client.request(request)

    @property
    def view(self) -> View:
        view: View = self.ask(ViewGet(id=new_id())).view
        return view

    def pick(self, at: tuple[int, int]) -> tuple[float, float]:
        hit = self.ask(Pick(id=new_id(), x=at[0] / SIZE[0], y=at[1] / SIZE[1]))
        assert hit.hit
        return hit.alpha, hit.beta

    def until(self, true: Callable[[View], bool]) -> View:
        """The view as soon as this is true of it."""
        end = time.monotonic() + PATIENCE_S
        while not true(view := self.view):
            assert time.monotonic() < end, view
            time.sleep(0.02)
        return view

    def picture(self) -> np.ndarray:
        """What the display shows of the window, (h, w, 3)."""
        image: Image.Image = ImageGrab.grab(xdisplay=self.display)
        return np.asarray(image.convert("RGB"))[: SIZE[1], : SIZE[0]]

    def seen(self, other: Callable[[np.ndarray], bool]) -> np.ndarray:
        """The picture as soon as this is true of it."""
        end = time.monotonic() + PATIENCE_S
        while not other(picture := self.picture()):
            assert time.monotonic() < end
            time.sleep(0.05)
        return picture


@pytest.fixture(scope="module")
def display() -> Iterator[str]:
    reader, writer = os.pipe()
    command = ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1000x700x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=(writer,), stderr=subprocess.DEVNULL) as server:
        os.close(writer)
        with os.fdopen(reader) as told:
            number = told.readline().strip()
        if not number:
            pytest.skip("Xvfb did not start")
        yield f":{number}"
        server.terminate()


@pytest.fixture(scope="module")
def hand(display: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hand]:
    scenes.renderer()  # skips where there is no OpenGL
    folder: Path = tmp_path_factory.mktemp("window")
    file = scenes.resnet().save(folder / "surface.npz")
    size = f"{SIZE[0]}x{SIZE[1]}"
    command = [sys.executable, "-m", "renderer.window", str(file), "--size", size, "--scale", "1"]
    env = os.environ | {"DISPLAY": display, "WAYLAND_DISPLAY": ""}
    with subprocess.Popen(
        [*command, "--pictures", str(folder)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            assert process.stderr is not None
            pytest.fail(process.stderr.read().decode())
        ready = json.loads(line)
        assert ready["screen"]
        with WindowClient.open(ready["endpoint"]) as client:
            yield Hand(display, client, process)
        process.terminate()
        process.wait(PATIENCE_S)


@pytest.fixture(autouse=True)
def fresh(hand: Hand) -> None:
    """Each test begins with the same view, the pointer outside of the window."""
    hand.does("mousemove", 950, 650)
    if hand.process.poll() is None:
        hand.ask(ViewSet(id=new_id(), view={"preset": "solid", "camera.azimuth": -35, "camera.elevation": 40}))


def test_a_drag_turns_and_keeps_turning_while_it_lasts(hand: Hand):
    hand.drag(1, (80, -30))
    lens = hand.until(lambda v: v.camera.azimuth != -35 and v.camera.elevation < 35).camera
    assert lens.azimuth < -35
    assert lens.target != "auto"
    hand.drag(1, (-80, 30))
    lens = hand.until(lambda v: abs(v.camera.azimuth + 35) < 1e-6).camera
    assert lens.elevation == pytest.approx(40)


def test_the_wheel_zooms_to_what_is_under_the_pointer(hand: Hand):
    before = hand.pick(MIDDLE)
    hand.does("mousemove", *MIDDLE, "click", 4, "click", 4, "click", 4)
    lens = hand.until(lambda v: v.camera.zoom > 1.5).camera
    assert lens.zoom == pytest.approx(1.15**3)
    assert hand.pick(MIDDLE) == pytest.approx(before, abs=0.02)
    hand.does("click", 5, "click", 5, "click", 5)
    hand.until(lambda v: abs(v.camera.zoom - 1) < 1e-9)


@pytest.mark.parametrize("button", [2, 3])
def test_other_buttons_move_what_is_seen_with_the_pointer(hand: Hand, button):
    before = hand.pick(MIDDLE)
    hand.drag(button, (40, 25))
    hand.until(lambda v: v.camera.shift_x > 0 and v.camera.shift_y < 0)
    assert hand.pick((MIDDLE[0] + 40, MIDDLE[1] + 25)) == pytest.approx(before, abs=0.02)


def test_a_double_click_makes_its_place_the_pivot(hand: Hand):
    place = (MIDDLE[0] + 40, MIDDLE[1] + 10)
    before = hand.pick(place)
    hand.does("mousemove", *place, "click", "--repeat", 2, "--delay", 40, 1)
    hand.until(lambda v: v.camera.pivot != "auto")
    assert hand.pick(place) == pytest.approx(before, abs=0.02)
    hand.drag(1, (50, 0), start=MIDDLE)
    hand.until(lambda v: v.camera.azimuth != -35)
    assert hand.pick(place) == pytest.approx(before, abs=0.05)


def test_keys_switch(hand: Hand):
    hand.does("mousemove", *MIDDLE)
    assert not hand.view.layers.contours
    hand.does("key", "c")
    hand.until(lambda v: v.layers.contours)
    hand.does("key", "2", "d")
    hand.until(lambda v: (v.mode, v.theme) == ("2d", "dark"))
    hand.does("key", "3", "bracketright", "plus")
    hand.until(lambda v: v.mode == "3d" and v.height == 1.25 and v.camera.zoom > 1)
    hand.does("key", "r", "t")
    hand.until(lambda v: (v.camera.elevation, v.camera.zoom) == (90, 1))
    hand.does("key", "Tab")
    names = list(PRESETS)
    hand.until(lambda v: v.preset == names[names.index("solid") + 1])
    hand.does("key", "shift+Tab")
    hand.until(lambda v: v.preset == "solid")


def test_space_turns_the_picture_until_it_is_pressed_again(hand: Hand):
    hand.does("mousemove", *MIDDLE, "key", "space")
    first = hand.until(lambda v: v.camera.azimuth not in (-35, "auto")).camera.azimuth
    hand.until(lambda v: abs(v.camera.azimuth - first) > 5)
    hand.does("key", "space")
    end = time.monotonic() + PATIENCE_S
    before = hand.view.camera
    while before != (now := (time.sleep(0.3), hand.view.camera)[1]):
        before = now
        assert time.monotonic() < end
    assert now.elevation == 40


def test_the_probe_follows_the_pointer_and_leaves_the_picture_clean(hand: Hand):
    clean = hand.seen(lambda p: p.std() > 10)
    end = time.monotonic() + PATIENCE_S
    while not np.array_equal(clean, other := hand.picture()) or time.monotonic() < end - PATIENCE_S + 2:
        clean = other  # until it is still
        time.sleep(0.3)
        assert time.monotonic() < end
    hand.does("mousemove", *MIDDLE)
    shown = hand.seen(lambda p: not np.array_equal(p, clean))
    changed = np.argwhere((shown != clean).any(-1))
    assert np.abs(changed.mean(0)[::-1] - MIDDLE).max() < 150
    hand.does("mousemove", 950, 650)
    hand.seen(lambda p: np.array_equal(p, clean))


def test_h_shows_the_keys_and_escape_hides_them(hand: Hand):
    hand.does("mousemove", *MIDDLE)
    before = hand.seen(lambda p: p.std() > 10)
    hand.does("key", "h")
    helped = hand.seen(lambda p: (p != before).any(-1).mean() > 0.1)
    hand.does("key", "Escape")
    hand.seen(lambda p: (p != helped).any(-1).mean() > 0.1)
    assert hand.process.poll() is None


def test_q_closes_the_window(hand: Hand):
    hand.does("mousemove", *MIDDLE)
    hand.does("key", "q")
    assert hand.process.wait(PATIENCE_S) == 0
