"""The terminal UI as a process on a pseudo-terminal: how it begins and how it ends."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from busy_daemon import BusyDaemon

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"  # the alternate screen
PATIENCE_S = 30.0


class Screen:
    """A pseudo-terminal with `thalweg` on it."""

    def __init__(self, folder: Path, *words: str, **env: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.before = termios.tcgetattr(slave)
        self.slave = slave
        given = {"THALWEG_WORKSPACE": str(folder), "THALWEG_CONFIG": str(folder / "c.toml"), "TERM": "xterm-256color"}
        self.child = subprocess.Popen(
            [sys.executable, "-m", "tui.cli", *words],
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            env={**os.environ, **given, "XDG_STATE_HOME": str(folder / "state"), "TMPDIR": str(folder), **env},
        )  # fmt: skip
        self.said = b""

    def until(self, what: bytes) -> None:
        """Read until this stands in what was written."""
        deadline = time.monotonic() + PATIENCE_S
        while what not in self.said:
            assert time.monotonic() < deadline, self.said[-2000:]
            if select.select([self.master], [], [], 0.1)[0]:
                self.said += os.read(self.master, 65536)

    def end(self) -> int:
        """Its exit code, once everything is read."""
        deadline = time.monotonic() + PATIENCE_S
        while self.child.poll() is None or select.select([self.master], [], [], 0.2)[0]:
            assert time.monotonic() < deadline
            if select.select([self.master], [], [], 0.1)[0]:
                self.said += os.read(self.master, 65536)
        return self.child.returncode

    def close(self) -> None:
        """Kill what is left."""
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of a busy daemon."""
    with tempfile.TemporaryDirectory(prefix="thw-") as name, BusyDaemon(Path(name), 3, 5):
        yield Path(name)


@pytest.fixture
def screen(folder: Path) -> Iterator[Screen]:
    """The app, live."""
    made = Screen(folder)
    try:
        made.until(b"live")
        yield made
    finally:
        made.close()


def test_leaving_says_that_jobs_go_on(screen):
    screen.until(b"1 running")
    os.write(screen.master, b"q")
    assert screen.end() == 0
    assert screen.said.rindex(LEAVE) > screen.said.index(ENTER)
    assert b"1 job goes on without this screen" in screen.said.split(LEAVE)[-1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_from_outside_restores_the_screen(screen, number):
    screen.child.send_signal(number)
    assert screen.end() == 128 + number
    assert LEAVE in screen.said
    assert termios.tcgetattr(screen.slave)[3] == screen.before[3]  # echo and line mode are back


def test_a_crash_is_one_sentence_and_a_file(folder):
    (folder / "c.toml").write_text("")
    made = Screen(folder, PYTHONPATH=os.pathsep.join([str(Path(__file__).parent / "data" / "broken"), os.getcwd()]))
    try:
        made.until(b"live")
        os.write(made.master, b"?")
        assert made.end() == 1
        tail = made.said.split(LEAVE)[-1].decode()
        words = " ".join(tail.split())
        assert "an error that it did not expect (ZeroDivisionError)" in words
        assert "Traceback" not in words
        (log,) = folder.glob("thalweg-crash-*.log")
        assert "ZeroDivisionError" in log.read_text()
    finally:
        made.close()


def test_a_wrong_profile_is_refused_before_anything_is_drawn(folder):
    made = Screen(folder, "--profile", "nowhere")
    try:
        assert made.end() == 2
        assert b"expected one of local, got 'nowhere'" in made.said
        assert ENTER not in made.said
    finally:
        made.close()
