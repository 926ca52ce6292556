"""`thalweg window` as it is typed: here, and on a laptop whose daemon is on a server (a real sshd on loopback)."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import scenes
from cli import Place, children, gone_within, line_with, place, until
from PIL import Image
from test_cli_daemon import free_port
from test_cli_ssh import REMOTE, SSHD, Server, leftovers, serve

needs_ssh = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None, reason="no sshd here"
)


@pytest.fixture
def here() -> Iterator[Place]:
    scenes.renderer()  # skips where there is no OpenGL
    with place() as p:
        p.env |= {"XDG_RUNTIME_DIR": str(p.base)}  # where the windows of this test are found
        yield p
        for window in windows(p):
            p.run("window", "close", "--window", window["window"], code=None)


def windows(p: Place) -> list[dict[str, object]]:
    """The windows that answer."""
    done = p.run("window", "list", "--json", code=None)
    return [w for line in done.stdout.splitlines() if (w := json.loads(line)).get("answers")]


def surface(p: Place) -> str:
    """A small surface of the workspace; its id."""
    file = scenes.function(scenes.himmelblau, 9, 9).save(p.base / "small.npz")
    p.run("import", file)
    return str(p.json("surfaces", "list")[0]["id"])


def test_a_window_is_opened_steered_and_closed(here: Place) -> None:
    id = surface(here)
    opened = here.json("window", "open", "last", "--headless", "--size", "320x200")[0]
    assert not opened["screen"]
    found = until(lambda: windows(here), "the window")
    assert [(w["window"], w["surfaces"]) for w in found] == [(opened["window"], [id])]
    assert "preset=mesh" in here.run("window", "set", "preset=mesh", "height=0.5").stdout
    assert "height=0.5" in here.run("window", "set").stdout
    refused = here.run("window", "set", "height=99", code=2)
    assert "height" in refused.stderr
    assert "height=0.5" in here.run("window", "set").stdout
    here.run("window", "shot", "--out", "a.png", "--view", "theme=dark")
    with Image.open(here.base / "a.png") as image:
        assert image.size == (320, 200)
    other = scenes.resnet().save(here.base / "other.npz")
    assert "ResNet-50" in here.run("window", "show", other).stdout
    here.run("window", "show", "last", other)
    here.run("window", "close", "--window", str(opened["window"])[-6:])
    assert gone_within([int(str(opened["pid"]))], 5)
    assert "no window is open" in here.run("window", "list").stdout
    assert "there is none" in here.run("window", "set", "height=1", code=2).stderr


def test_a_window_of_a_file_is_found_without_a_daemon(here: Place) -> None:
    file = scenes.resnet().save(here.base / "pca.npz")
    opened = here.json("window", "open", file, "--headless", "--size", "320x200")[0]
    assert [w["window"] for w in windows(here)] == [opened["window"]]
    assert "preset=mesh" in here.run("window", "set", "preset=mesh").stdout
    assert "no window is open" in here.run("window", "list", THALWEG_WORKSPACE=str(here.base / "another")).stdout
    here.run("window", "close")
    assert gone_within([opened["pid"]], 5)
    assert "no window is open" in here.run("window", "list").stdout
    assert list((here.base / "thalweg").iterdir()) == []
    assert not here.workspace.exists()


def test_a_window_that_broke_has_left_a_log(here: Place) -> None:
    file = scenes.resnet().save(here.base / "pca.npz")
    opened = here.json("window", "open", file, "--headless", "--size", "320x200")[0]
    os.kill(opened["pid"], signal.SIGSEGV)
    assert gone_within([opened["pid"]], 5)
    assert "broke, what it said is in" in here.run("window", "list").stderr
    said = here.run("window", "set", "--window", str(opened["window"])[-6:], code=2).stderr
    log = Path(said.strip().rpartition(" ")[2])
    assert "Segmentation fault" in log.read_text()


def test_the_last_that_was_opened_is_meant_after_a_daemon_came_back(here: Place) -> None:
    surface(here)
    opened = [here.json("window", "open", "--headless", "--size", "320x200")[0]["window"] for _ in range(2)]
    until(lambda: len(windows(here)) == 2, "the windows")
    here.run("daemon", "stop")
    assert here.json("window", "set")[0]["window"] == opened[1]
    here.run("daemon", "start")
    until(lambda: len(here.json("window", "list")) == 2, "the windows")
    assert [w["window"] for w in windows(here)] == opened
    assert here.json("window", "set")[0]["window"] == opened[1]


@pytest.mark.slow
def test_a_file_needs_no_daemon(here: Place) -> None:
    file = scenes.resnet().save(here.base / "pca.npz")
    opened = here.json("window", "open", file, "--headless", "--preset", "heat")[0]
    end = opened["endpoint"]
    assert "preset=heat" in here.run("window", "set", "--window", end).stdout
    assert not here.workspace.exists()
    shot = here.run("window", "shot", "--window", end, "--out", "one.png").stdout
    assert "one.png" in shot
    again = here.json("window", "open", "--from", "one.png", "--headless")[0]
    assert "preset=heat" in here.run("window", "set", "--window", again["endpoint"]).stdout
    for one in (opened, again):
        here.run("window", "close", "--window", one["endpoint"])
    assert gone_within([opened["pid"], again["pid"]], 5)
    assert "nobody answers" in here.run("window", "set", "--window", end, code=2).stderr


def test_a_killed_window_is_struck_off_the_list(here: Place) -> None:
    surface(here)
    opened = here.json("window", "open", "--headless")[0]
    until(lambda: windows(here), "the window")
    os.kill(opened["pid"], signal.SIGKILL)
    assert gone_within([opened["pid"]], 5)
    listed = here.run("window", "list")
    assert "no window is open" in listed.stdout
    assert "ended without a word" in listed.stderr
    assert here.run("window", "list").stderr == ""


def test_a_window_that_hangs_is_said_to_be_open(here: Place) -> None:
    file = scenes.resnet().save(here.base / "pca.npz")
    opened = here.json("window", "open", file, "--headless", "--size", "320x200")[0]
    os.kill(opened["pid"], signal.SIGSTOP)
    try:
        assert "is open and does not answer" in here.run("window", "set", "mode=2d", code=2).stderr
        assert "does not answer" in here.run("window", "list").stdout
    finally:
        os.kill(opened["pid"], signal.SIGCONT)
    assert "mode=2d" in here.run("window", "set", "mode=2d").stdout


def test_wrong_words_are_one_sentence(here: Place) -> None:
    file = scenes.resnet().save(here.base / "pca.npz")
    for typed, said in (
        (["window", "open", "nowhere.npz"], "nowhere.npz"),
        (["window", "open", file, "--view", "height=99"], "height"),
        (["window", "open", file, "--size", "big", "--headless"], "--size"),
        (["window", "open", "--from", file, "--headless"], "expected a PNG"),
        (["window", "set", "height=1"], "there is none"),
        (["window", "set", "height"], "expected NAME=VALUE"),
        (["window", "open", file, "--size", "3x3", "--headless"], "sides from 16"),
        (["window", "show", *[file] * 5], "at most 4, got 5"),
        (["window", "shot", "--out", "x.jpg"], "--out"),
        (["window", "shot", "--save", "../x"], "--save: expected a file's name"),
        (["window", "shot", "--scale", "0"], "--scale: expected a number of at least 0.5"),
        (["window", "shot", "--size", "5x5"], "--size: expected sides of at least 16"),
        (["window", "shot", "--size", "99999x800"], "--size: expected a whole number of at most 8192"),
        (["window", "turntable", "--turns", "nan"], "--turns: expected a finite number"),
        (["window", "record", "--fps", "1000"], "--fps: expected a whole number of at most 60"),
        (["window", "set", "height=1", "--window", "ipc:///nowhere/cmd"], "nobody answers"),
    ):
        refused = here.run(*typed, code=2)
        assert said in refused.stderr
        assert refused.stderr.splitlines()[-1].startswith("thalweg: ")
        assert "`" not in refused.stderr


# ---------------------------------------------------------------- a laptop and a server


@pytest.mark.slow
def test_a_window_of_a_daemon_on_tcp_is_steered_from_its_own_machine(here: Place, tmp_path: Path) -> None:
    id = surface(here)
    here.run("keys", "create", "laptop", "--out", tmp_path)
    here.run("daemon", "stop")
    port = free_port()
    here.run("daemon", "start", "--tcp", port)
    laptop = Place(tmp_path)
    laptop.env |= {"XDG_RUNTIME_DIR": str(tmp_path)}
    ends = f"tcp://127.0.0.1:{port},tcp://127.0.0.1:{port + 1}"
    words = ("--connect", ends, "--key", tmp_path / "laptop.key_secret")
    told = laptop.run("window", "open", "--headless", "--size", "320x200", *words)
    assert "commands of this machine alone steer it" in told.stderr
    until(lambda: laptop.json("window", "set", *words)[0]["live"], "the daemon")
    assert [w["surfaces"] for w in laptop.json("window", "list", *words)] == [[id]]
    assert "preset=mesh" in laptop.run("window", "set", "preset=mesh", *words).stdout
    assert windows(here) == []  # the daemon knows of none that its clients could not reach
    laptop.run("window", "close", *words)
    assert not laptop.workspace.exists()


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = serve(tmp_path_factory.mktemp("sshd"))
    yield server
    server.child.terminate()
    server.child.wait(5)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that lets sockets of its own out, and none of others in."""
    server = serve(tmp_path_factory.mktemp("strict"), "AllowStreamLocalForwarding local")
    yield server
    server.child.terminate()
    server.child.wait(5)


def near(server: Server, folder: Path) -> Place:
    """The laptop."""
    p = Place(folder)
    p.env |= {"THALWEG_SSH": server.ssh, "TMPDIR": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    return p


@needs_ssh
def test_a_script_on_the_server_steers_the_window_on_the_laptop(sshd: Server, here: Place, tmp_path: Path) -> None:
    id = surface(here)
    laptop = near(sshd, tmp_path)
    ssh = ("--ssh", "loop", "--remote-workspace", str(here.workspace), *REMOTE)
    command = laptop.start("window", "open", id, "--headless", "--size", "320x200", "--json", *ssh)
    opened = json.loads(line_with(command.stdout, "endpoint"))
    assert str(tmp_path) in opened["endpoint"]
    # on the server, without a word about the laptop:
    found = until(lambda: windows(here), "the window")
    assert (found[0]["window"], found[0]["surfaces"]) == (opened["window"], [id])
    assert "preset=mesh" in here.run("window", "set", "preset=mesh").stdout
    here.run("window", "shot", "--out", "there.png")
    with Image.open(here.base / "there.png") as image:
        assert image.size == (320, 200)
    # and from the laptop, through the server, as from any other machine:
    assert "height=0.5" in laptop.run("window", "set", "height=0.5", *ssh).stdout
    tunnels = [pid for pid in children(command.pid) if pid != opened["pid"]]
    assert len(tunnels) == 1  # one ssh carries the daemon's sockets and the window's
    here.run("window", "close")
    assert command.wait(20) == 0
    assert gone_within([opened["pid"], *tunnels], 5)
    assert leftovers(tmp_path) + leftovers(here.workspace) == []


@needs_ssh
@pytest.mark.slow
def test_a_connection_that_ends_is_made_again(sshd: Server, here: Place, tmp_path: Path) -> None:
    id = surface(here)
    laptop = near(sshd, tmp_path)
    ssh = ("--ssh", "loop", "--remote-workspace", str(here.workspace), *REMOTE)
    command = laptop.start("window", "open", id, "--headless", "--size", "320x200", "--json", *ssh)
    opened = json.loads(line_with(command.stdout, "endpoint"))
    until(lambda: windows(here), "the window")
    for tunnel in [pid for pid in children(command.pid) if pid != opened["pid"]]:
        os.kill(tunnel, signal.SIGKILL)
    line_with(command.stderr, "the window stays")
    here.run("window", "list")  # meanwhile, on the server: it does not answer, and may be struck off
    line_with(command.stderr, "connected to loop again")
    until(lambda: windows(here), "the window")
    assert "preset=mesh" in here.run("window", "set", "preset=mesh").stdout
    until(lambda: laptop.json("window", "set", *ssh)[0]["live"], "the daemon")
    laptop.run("window", "close", *ssh)
    assert command.wait(20) == 0
    assert leftovers(tmp_path) + leftovers(here.workspace) == []


@needs_ssh
@pytest.mark.slow
def test_where_the_server_forbids_it_the_window_still_follows(strict: Server, here: Place, tmp_path: Path) -> None:
    id = surface(here)
    laptop = near(strict, tmp_path)
    ssh = ("--ssh", "loop", "--remote-workspace", str(here.workspace), *REMOTE)
    command = laptop.start("window", "open", id, "--headless", "--json", *ssh)
    assert "forbids" in line_with(command.stderr, "window")
    opened = json.loads(line_with(command.stdout, "endpoint"))
    assert "preset=" in laptop.run("window", "set", *ssh).stdout  # the way there is the way to it
    state = laptop.json("window", "set", "--window", opened["endpoint"])[0]
    assert state["surfaces"] == [id]
    until(lambda: laptop.json("window", "set", "--window", opened["endpoint"])[0]["live"], "the daemon", 20)
    assert windows(here) == []
    laptop.run("window", "close", "--window", opened["endpoint"])
    assert command.wait(20) == 0
    assert leftovers(tmp_path) + leftovers(here.workspace) == []
