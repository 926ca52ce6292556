"""The roll of the windows of this machine: who is on it, who is struck off, and whose eyes it is for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import scenes
from windows import Window

from protocol import roll
from protocol.roll import Entry


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "thalweg"


@pytest.fixture
def end(tmp_path: Path) -> Iterator[str]:
    """An endpoint where somebody listens."""
    folder = tmp_path / f"{roll.SOCKETS}x"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "cmd"))
        made.listen()
        yield f"ipc://{folder / 'cmd'}"


def dead() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def entry(window: str, endpoint: str, of: str = "/w", pid: int | None = None) -> Entry:
    return Entry(window=window, endpoint=endpoint, pid=os.getpid() if pid is None else pid, of=of)


def test_windows_are_found_oldest_first_by_whose_they_are(where: Path, end: str) -> None:
    for window, of in (("B", "/w"), ("A", "/w"), ("C", "/v")):
        roll.enter(entry(window, end, of))
    assert [e.window for e in roll.found("/w")] == ["A", "B"]
    assert [e.window for e in roll.found()] == ["A", "B", "C"]
    roll.leave("A")
    assert [e.window for e in roll.found("/w")] == ["B"]


def test_a_window_whose_process_is_gone_is_cleared_away_with_its_socket(where: Path, end: str) -> None:
    roll.enter(entry("A", end, pid=dead()))
    (where / "A.log").touch()
    assert roll.found() == []
    assert list(where.iterdir()) == []
    assert not Path(end.removeprefix("ipc://")).parent.exists()


def test_a_window_at_whose_socket_nobody_listens_is_struck_off(where: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "left"))
    roll.enter(entry("A", f"ipc://{tmp_path / 'left'}"))
    roll.enter(entry("B", f"ipc://{tmp_path / 'never'}"))
    assert roll.found() == []
    assert (tmp_path / "left").exists()  # in a folder that is not a window's own


def test_a_window_that_is_gone_is_told_once_to_those_whose_it_was(where: Path, end: str) -> None:
    roll.enter(entry("A", end, "/w", dead()))
    told: list[Entry] = []
    assert roll.found("/v", told) == []
    assert told == []
    assert roll.found("/w", told) == []
    assert [e.window for e in told] == ["A"]
    assert roll.found("/w", told) == []
    assert len(told) == 1


def test_a_window_of_others_that_is_long_gone_is_struck_off(where: Path, end: str) -> None:
    roll.enter(entry("A", end, "/w", dead()))
    os.utime(where / "A.json", (0, 0))
    roll.found("/v")
    assert list(where.iterdir()) == []


def test_what_a_window_that_broke_has_said_is_kept_for_a_week(where: Path, end: str) -> None:
    roll.enter(entry("A", end, pid=dead()))
    (where / "A.log").write_text("Fatal Python error")
    roll.found()
    assert roll.logs() == [where / "A.log"]
    os.utime(where / "A.log", (0, 0))
    roll.found()
    assert roll.logs() == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"window": 3}', '{"window": "A", "endpoint": "x", "pid": "no"}'])
def test_what_is_no_entry_is_passed_over(where: Path, end: str, text: str) -> None:
    roll.enter(entry("B", end))
    (where / "A.json").write_text(text)
    assert [e.window for e in roll.found()] == ["B"]


def test_the_roll_is_for_its_user_alone(where: Path, end: str) -> None:
    roll.enter(entry("A", end))
    assert where.stat().st_mode & 0o077 == 0
    where.chmod(0o755)  # somebody may have written into it
    assert roll.folder() is None
    assert roll.found() == []
    roll.enter(entry("B", end))
    assert not (where / "B.json").exists()


def test_a_link_is_no_roll(where: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    where.symlink_to(tmp_path / "elsewhere")
    assert roll.folder() is None


def test_the_picture_in_a_terminal_is_on_no_roll(where: Path, tmp_path: Path) -> None:
    scenes.renderer()  # skips where there is no OpenGL
    with Window(tmp_path, "--headless", "--announce", "no", "--workspace", tmp_path / "w"):
        assert roll.found() == []
    with Window(tmp_path, "--headless", "--workspace", tmp_path / "w") as window:
        assert [e.window for e in roll.found(str((tmp_path / "w").resolve()))] == [window.id]
    assert roll.found() == []


def test_an_id_is_never_a_path(where: Path, end: str, tmp_path: Path) -> None:
    roll.enter(entry("../A", end))
    assert not (tmp_path / "A.json").exists()
