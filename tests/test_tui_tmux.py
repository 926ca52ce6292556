"""A person's first quarter of an hour, with keys alone, in tmux at 80 x 24, against a real daemon."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocol.connection import read_connection

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")
THALWEG = [sys.executable, "-m", "tui.cli"]
ROOT = Path(__file__).parent.parent


class Tmux:
    """A tmux server of its own with one window."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            **{k: v for k, v in os.environ.items() if k not in ("TMUX", "NO_COLOR", "DISPLAY", "WAYLAND_DISPLAY")},
            "THALWEG_WORKSPACE": str(folder / "w"), "THALWEG_CONFIG": str(folder / "c.toml"), "TERM": "xterm-256color",
            "XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def __call__(self, *words: str) -> str:
        """A command of tmux; what it prints."""
        line = ["tmux", "-S", str(self.folder / "tmux"), "-f", "/dev/null", *words]
        return subprocess.run(line, capture_output=True, text=True, check=True, env=self.env).stdout

    def screen(self) -> str:
        """What stands there."""
        return self("capture-pane", "-p")

    def until(self, *what: str, patience_s: float = 60.0) -> str:
        """Look until one of these is on the screen; the screen then."""
        deadline = time.monotonic() + patience_s
        while not any(w in (text := self.screen()) for w in what):
            assert time.monotonic() < deadline, f"{what} did not come:\n{text}"
            time.sleep(0.1)
        return text

    def until_gone(self, what: str, patience_s: float = 30.0) -> None:
        """Look until this is on the screen no longer."""
        deadline = time.monotonic() + patience_s
        while what in (text := self.screen()):
            assert time.monotonic() < deadline, f"{what} stays:\n{text}"
            time.sleep(0.1)

    def keys(self, *names: str) -> None:
        """Press."""
        self("send-keys", *names)

    def jobs(self) -> str:
        """What `thalweg jobs list` prints."""
        line = [*THALWEG, "jobs", "list"]
        return subprocess.run(line, env=self.env, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def children(pid: int) -> list[int]:
    """The processes that this one began and that still run."""
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def tmux() -> Iterator[Tmux]:
    """One with `thalweg` on an empty workspace."""
    with tempfile.TemporaryDirectory(prefix="thw-", ignore_cleanup_errors=True) as name:
        tmux = Tmux(Path(name))
        line = f"cd {shlex.quote(name)} && {shlex.join(THALWEG)}; echo left with $?; exec sleep 600"
        tmux("new-session", "-d", "-x", "80", "-y", "24", line)
        try:
            yield tmux
        finally:
            subprocess.run([*THALWEG, "daemon", "stop"], env=tmux.env, check=False, capture_output=True, cwd=ROOT)
            tmux("kill-server")


@pytest.mark.slow
def test_what_a_hand_does_wrong_is_said_and_nothing_is_lost(tmux):
    """Wrong input, a paste of a million characters, a terminal of 20 x 5, and SIGTERM."""
    tmux.until("thalweg shows the terrain")
    tmux.keys("Escape")
    tmux.until_gone("look around first")  # or the escape and the letter after it would be alt and that letter
    tmux.until("● live")
    tmux.keys("n")
    tmux.until("epochs            10")
    tmux.keys("Down", "Down", "Down", "C-u")
    tmux.until("whole number from 1 to 100000, got nothing")
    tmux.keys("-l", "1x")
    tmux.until("got '1x'")
    tmux.keys("F5")
    big = tmux.folder / "big"
    big.write_text("x" * 1_000_000)
    tmux("load-buffer", str(big))
    tmux("paste-buffer", "-p")
    tmux.until("got 1,000,000:")
    assert "epochs            1x " in tmux.screen()
    tmux("resize-window", "-x", "20", "-y", "5")
    tmux.until_gone("epochs  ")
    tmux("resize-window", "-x", "80", "-y", "24")
    tmux.until("epochs            1x ")
    tmux.keys("BSpace")
    tmux.until_gone("✗")
    tmux.keys("Escape")
    tmux.until_gone("submit")  # the list is seen beside the form too
    tmux.until("Jobs")
    tmux("resize-window", "-x", "20", "-y", "5")
    tmux.until("live")  # one line
    assert "Jobs" not in tmux.screen()
    tmux("resize-window", "-x", "80", "-y", "24")
    tmux.until("Jobs")
    assert tmux("display-message", "-p", "#{alternate_on}#{mouse_any_flag}#{cursor_flag}").strip() == "110"
    (app,) = children(int(tmux("display-message", "-p", "#{pane_pid}")))
    os.kill(app, signal.SIGTERM)
    tmux.until("left with 143")
    assert tmux("display-message", "-p", "#{alternate_on}#{mouse_any_flag}#{cursor_flag}").strip() == "001"
    assert "no job yet" in tmux.jobs()  # F5 sent nothing


@pytest.mark.slow
def test_from_nothing_to_a_picture_with_keys_alone(tmux):
    tmux.until("thalweg shows the terrain")
    tmux.keys("k")  # the quick demo
    tmux.until("epoch 1", "e1/4", patience_s=120)
    tmux.until("✓ done demo-pca pca plane", patience_s=120)
    tmux("resize-window", "-x", "120", "-y", "36")
    tmux.until("✓ done demo-random surfa", patience_s=180)
    tmux("resize-window", "-x", "80", "-y", "24")
    tmux.until("▾ Runs 1                         ▕")  # laid out anew
    tmux.keys("/")
    tmux.keys("-l", "random")
    tmux.until("\nrandom ")
    tmux.keys("Escape")
    tmux.until("▾ Runs 1")
    tmux.keys("3")
    tmux.until("lowest")
    tmux.until("▀", "·", patience_s=60)  # the picture, or its rows where there is no OpenGL
    tmux.keys("o")
    deadline = time.monotonic() + 90
    while not (pictures := list(tmux.folder.glob("*.png"))):
        assert time.monotonic() < deadline, tmux.screen()
        time.sleep(0.2)
    assert pictures[0].read_bytes()[:4] == b"\x89PNG"
    tmux.keys("4")
    tmux.until("inside:", "No critical point", patience_s=60)
    tmux.keys("q")
    tmux.until("left with 0")
    assert tmux.jobs().count("demo") >= 5


def test_a_daemon_that_is_killed_is_told_and_started_with_a_key(tmux):
    tmux.until("thalweg shows the terrain")
    tmux.keys("Escape")
    tmux.until("● live")
    os.kill(read_connection(tmux.folder / "w").pid, 9)
    tmux.until("no word from the daemon", "the daemon is gone", patience_s=30)
    tmux.keys("n")
    tmux.until("not connected")
    tmux.keys("C-r")
    tmux.until("● live", patience_s=60)
