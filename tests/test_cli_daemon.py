"""The command line with the daemon, through the real executable: jobs outlive the command, and come back to it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli import Place, alive, children, gone_within, line_with, place, until

from protocol import keys
from protocol.client import new_id
from protocol.files import Surface, read_path_csv
from protocol.messages import ExportSpec
from protocol.requests import Submitted

MLP = ("train", "--model", "mlp", "--dataset", "digits")
LONG = (*MLP, "--epochs", "3000", "--batch-size", "100")


@pytest.fixture(scope="module")
def ready() -> Iterator[Place]:
    """A workspace with a run, a plane and a surface, all named; its daemon was started by the first command."""
    with place() as p:
        done = p.run(*MLP, "--epochs", "4", "--name", "training")
        assert done.stderr.count("\n") == 1
        assert "started the daemon" in done.stderr
        p.run("plane", "--run", "training", "--direction", "pca", "--name", "cut")
        p.run("surface", "cut", "--grid", "9", "--limit", "300", "--name", "hill")
        yield p


@pytest.fixture
def fresh() -> Iterator[Place]:
    with place() as p:
        yield p


def results(lines: list[dict[str, Any]], kind: str = "result") -> list[dict[str, Any]]:
    return [line for line in lines if line["t"] == kind]


# ---------------------------------------------------------------- start, status, stop


def test_daemon_starts_once_survives_its_caller_and_stops(fresh: Place) -> None:
    first = fresh.json("daemon", "start")
    again = fresh.json("daemon", "start")
    assert (first[0]["started"], again[0]["started"]) == (True, False)
    pid = fresh.daemon_pid()
    assert first[0]["pid"] == pid
    assert os.getsid(pid) == pid  # a session of its own: no hang-up of the terminal reaches it
    (status,) = fresh.json("daemon", "status")
    assert {"cmd", "evt", "proto", "pid", "boot", "store"} <= status.keys()
    assert "key" not in " ".join(status)
    assert "process" in fresh.run("daemon", "status").stdout
    assert "is stopped" in fresh.run("daemon", "stop").stdout
    assert not alive(pid)
    assert "no daemon runs" in fresh.run("daemon", "stop").stdout
    refused = fresh.run("daemon", "status", code=2)
    assert "thalweg daemon start" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert fresh.run("daemon", "logs").returncode == 0


def test_two_commands_at_once_start_one_daemon(fresh: Place) -> None:
    both = [fresh.start("jobs", "list"), fresh.start("jobs", "list"), fresh.start("daemon", "start")]
    fresh.workspace.mkdir(exist_ok=True)
    said = [c.communicate(timeout=60) for c in both]
    assert [c.returncode for c in both] == [0, 0, 0], said
    assert sum("started the daemon" in err for _, err in said) <= 1


def test_foreground_daemon_ends_in_good_order_at_ctrl_c(fresh: Place) -> None:
    daemon = fresh.start("daemon", "run")
    until(lambda: (fresh.workspace / "daemon.json").exists(), "the daemon")
    assert fresh.run("jobs", "list").stdout.startswith("no job yet")
    daemon.send_signal(signal.SIGINT)
    assert daemon.wait(15) == 0
    assert not (fresh.workspace / "daemon.json").exists()


def test_looking_makes_no_workspace(fresh: Place) -> None:
    for words in (["runs", "list"], ["planes", "list"], ["surfaces", "list"], ["jobs", "list"]):
        assert "yet" in fresh.run(*words).stdout
    assert not fresh.workspace.exists()


def test_broken_store_is_one_sentence_and_restore_works_without_a_daemon(fresh: Place) -> None:
    fresh.run(*MLP, "--epochs", "1")
    fresh.run("store", "backup")
    fresh.run("daemon", "stop")
    database = fresh.workspace / "state.db"
    database.write_bytes(b"\0" * 4096 + database.read_bytes()[4096:])
    refused = fresh.run("runs", "list", code=2)
    assert refused.stderr.count("\n") == 1
    assert "thalweg store restore" in refused.stderr
    assert "--yes" in fresh.run("store", "restore", code=2).stderr
    assert "is the database again" in fresh.run("store", "restore", "--yes").stdout
    assert len(fresh.json("runs", "list")) == 1
    held = fresh.run("store", "restore", "--yes", code=2)
    assert "a daemon runs" in held.stderr


# ---------------------------------------------------------------- following


def test_ctrl_c_leaves_the_job_running_and_says_how_to_cancel_it(fresh: Place) -> None:
    command = fresh.start(*LONG)
    line_with(command.stdout, "epoch 2 ")
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=10)
    assert command.returncode == 130
    sentence = said.splitlines()[-1]
    job = fresh.job()
    assert f"thalweg jobs cancel {job['job'][-6:]}" in sentence
    assert job["state"] == "running"
    before = job["done"]
    until(lambda: fresh.job()["done"] > before, "progress")

    watching = fresh.start("jobs", "watch", job["job"][-6:])
    line_with(watching.stdout, "epoch ")
    watching.kill()  # kill -9 of the command changes nothing
    assert fresh.job()["state"] == "running"

    fresh.run("jobs", "pause", "last")
    paused = until(lambda: (j := fresh.job())["state"] == "paused" and j, "the pause")
    fresh.run("jobs", "resume", "last")
    until(lambda: fresh.job()["done"] > paused["done"], "progress after the pause")

    watching = fresh.start("jobs", "watch", "last", "--json")
    line_with(watching.stdout, '"run.epoch"')
    assert "cancelling" in fresh.run("jobs", "cancel", "last").stdout
    _, said = watching.communicate(timeout=30)
    assert watching.returncode == 1
    assert "cancelled" in said
    assert fresh.job()["state"] == "cancelled"
    refused = fresh.run("jobs", "cancel", "last", code=2)
    assert "it has ended" in refused.stderr
    assert fresh.run("jobs", "list", "--state", "cancelled").stdout.count("train mlp") == 1

    again = fresh.start("train", "--resume", "last")  # the job of the run goes on where it was
    line_with(again.stdout, "epoch ")
    again.send_signal(signal.SIGINT)
    assert again.wait(10) == 130
    assert len(list((fresh.workspace / "runs").iterdir())) == 1
    assert "unfinished job goes on" in fresh.run("daemon", "stop").stdout


def test_following_goes_on_when_the_daemon_is_killed_and_started_again(fresh: Place) -> None:
    command = fresh.start(*LONG[:-4], "--epochs", "150", "--batch-size", "100")
    line_with(command.stdout, "epoch 3 ")
    pid = fresh.daemon_pid()
    workers = children(pid)
    os.kill(pid, signal.SIGKILL)
    assert gone_within([pid, *workers], 5)
    assert command.poll() is None
    fresh.run("daemon", "start")
    epochs = [int(line.partition("epoch ")[2].split()[0]) for line in command.stdout or () if "epoch " in line]
    assert command.wait(60) == 0
    assert epochs == list(range(4, 151))  # each one once, in order


def test_detached_job_is_queued_and_its_dependants_wait(ready: Place) -> None:
    (line,) = results(ready.json(*MLP, "--epochs", "6", "--seed", "8", "--detach"), "submitted")
    (job,) = line["jobs"]
    follower = ready.run(*MLP, "--epochs", "2", "--seed", "9", "--after", job[-6:], "--priority", "5", "--name", "next")
    assert "epoch 2" in follower.stdout
    assert ready.job(job)["state"] == "done"
    assert (ready.job("next")["after"], ready.job("next")["priority"]) == ([job], 5)


# ---------------------------------------------------------------- results


def test_the_same_question_is_answered_at_once_and_says_so(ready: Place) -> None:
    started = time.monotonic()
    said = ready.run("surface", "cut", "--grid", "9", "--limit", "300").stdout
    assert "already measured: surface" in said
    assert "lowest loss" in said
    assert time.monotonic() - started < 10
    refused = ready.run("surface", "cut", "--grid", "9", "--limit", "300", "--on-conflict", "error", code=2)
    assert "asked before" in refused.stderr
    (result,) = results(ready.json("surface", "cut", "--grid", "9", "--limit", "300", "--on-conflict", "new"))
    assert result["existing"] is False


def test_surface_goes_to_a_file_and_stops_when_it_is_good_enough(ready: Place) -> None:
    ready.run("surface", "cut", "--grid", "4x6", "--passes", "grow", "--until", "sem=1e9", "--out", "early.npz")
    surface = Surface.load(ready.base / "early.npz")
    assert surface.shape == (6, 4)
    assert surface.meta.passes_done == 1
    assert (surface.n == 512).all()


def test_lists_and_shows_know_names_ends_and_last(ready: Place) -> None:
    for what, name in (("runs", "training"), ("planes", "cut"), ("surfaces", "hill")):
        table = ready.run(what, "list").stdout
        assert name in table
        record = next(r for r in ready.json(what, "list") if r["name"] == name)
        short = record.get("hash", record["id"])[-6:]
        assert short in table
        for typed in (name, record["id"], short):
            assert record.get("hash", record["id"]) in ready.run(what, "show", typed).stdout
        assert ready.run(what, "show", "last").returncode == 0
    assert "training" in ready.run("jobs", "list").stdout
    assert "train mlp" in ready.run("jobs", "show", "training").stdout
    assert "running" in ready.run("jobs", "logs", "training").stdout


def test_export_import_and_analysis_go_round(ready: Place) -> None:
    ready.run("export", "hill", "--out", "hill.npz")
    ready.run("export", "hill", "--format", "csv", "--out", "tables")
    ready.run("export", "hill", "--format", "ply", "--out", "hill.ply")
    assert sorted(f.name for f in (ready.base / "tables").iterdir()) == ["hill-path.csv", "hill.csv"]
    original = Surface.load(ready.base / "hill.npz")
    assert len(read_path_csv(ready.base / "tables" / "hill-path.csv")) == len(original.path) == 5
    for file in ("hill.npz", "tables/hill.csv", "hill.ply"):
        (result,) = results(ready.json("import", file, "--name", f"from-{file[-3:]}"))
        ready.run("export", result["surface"], "--out", "back.npz")
        back = Surface.load(ready.base / "back.npz")
        np.testing.assert_array_equal(back.loss, original.loss)
        np.testing.assert_array_equal(back.alpha, original.alpha)
    (found,) = results(ready.json("analyze", "from-npz"))
    assert found["points"][0]["kind"] == "minimum"
    assert found["points"][0]["loss"] == original.loss.min()
    table = ready.run("analyze", "back.npz", "--threshold", "0.5").stdout
    ready.run("render", "from-npz", "--preset", "heat", "--size", "320x200", "--out", "analysed.png")
    assert (ready.base / "analysed.png").is_file()
    assert "persistence" in table
    assert "minimum" in table


def test_checkpoints_of_files_become_a_run_and_a_plane(ready: Place) -> None:
    run = ready.json("runs", "show", "training")[0]
    files = [ready.workspace / c["file"] for c in run["checkpoint_files"]]
    (plane,) = results(ready.json("plane", "--direction", "pca", "--checkpoints", *files))
    assert plane["meta"]["checkpoints"] == len(files)
    folder = ready.base / "weights"
    folder.mkdir()
    for file in files:
        (folder / file.name).write_bytes(file.read_bytes())
    assert f"{len(files)} checkpoints" in ready.run("import", folder, "--name", "old").stdout
    assert ready.run("plane", "--run", "old", "--seed", "3").returncode == 0


def test_what_is_deleted_is_gone_and_nobody_is_asked_without_a_terminal(ready: Place) -> None:
    (made,) = results(ready.json("surface", "cut", "--grid", "3", "--limit", "64"))
    short = made["surface"][-6:]
    assert "--yes" in ready.run("surfaces", "delete", short, code=2).stderr
    ready.run("surfaces", "delete", short, "--yes")
    assert not Path(made["file"]).exists()
    assert "the last are" in ready.run("surfaces", "show", short, code=2).stderr


def test_estimate_says_points_and_seconds(ready: Place) -> None:
    (known,) = ready.json("estimate", "surface", "cut", "--grid", "40", "--limit", "300")
    assert known["points"] == 1600
    assert known["seconds"] > 0
    assert "about" in ready.run("estimate", "surface", "cut", "--grid", "40", "--limit", "300").stdout


def test_store_is_verified_and_backed_up(ready: Place) -> None:
    assert "all as they were stored" in ready.run("store", "verify").stdout
    (backup,) = ready.json("store", "backup")
    assert Path(backup["file"]).is_file()


def test_work_without_the_daemon_is_known_to_it_at_its_next_start(fresh: Place) -> None:
    fresh.run(*MLP, "--epochs", "2", "--no-daemon")
    assert not (fresh.workspace / "daemon.json").exists()
    (run,) = fresh.json("runs", "list")
    assert run["checkpoints"] == 3
    fresh.run("plane", "--run", "last")


# ---------------------------------------------------------------- keys and TCP


def test_a_key_opens_a_tcp_daemon_and_another_one_does_not(fresh: Place, tmp_path: Path) -> None:
    fresh.run("keys", "create", "laptop", "--out", tmp_path)
    file = tmp_path / "laptop.key_secret"
    assert file.stat().st_mode & 0o777 == 0o600
    assert fresh.json("keys", "list")[0]["name"] == "laptop"
    port = free_port()
    fresh.run("daemon", "start", "--tcp", port)
    ends = f"tcp://127.0.0.1:{port},tcp://127.0.0.1:{port + 1}"
    far = Place(tmp_path)
    words = ("--connect", ends, "--key", file)
    assert "epoch 2" in far.run(*MLP, "--epochs", "2", *words).stdout
    assert len(far.json("runs", "list", *words)) == 1
    assert not far.workspace.exists()  # everything happened there
    wrong = keys.create(tmp_path / "elsewhere", "laptop")
    text = wrong.read_text().replace(keys.read(wrong).server.decode(), keys.read(file).server.decode())  # type: ignore[union-attr]
    wrong.write_text(text)
    refused = far.run("jobs", "list", "--connect", ends, "--key", wrong, code=2)
    assert "does not let this key in" in refused.stderr
    wrong.write_text("nothing")
    assert "key file" in far.run("jobs", "list", "--connect", ends, "--key", wrong, code=2).stderr
    fresh.run("keys", "revoke", "laptop")
    assert "does not let this key in" in far.run("jobs", "list", *words, code=2).stderr
    nobody = far.run("jobs", "list", "--connect", "tcp://127.0.0.1:1,tcp://127.0.0.1:2", "--key", file, code=2)
    assert "nobody answers" in nobody.stderr
    for done in (refused, nobody):
        assert done.stderr.count("\n") == 1


def free_port() -> int:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


# ---------------------------------------------------------------- wrong input

WRONG = [
    ("jobs show zzzzzz", ["job", "zzzzzz", "the last are"]),
    ("jobs cancel training", ["it has ended"]),
    ("jobs resume training", ["ended"]),
    ("jobs watch nothing", ["job", "nothing"]),
    ("jobs move training --priority 1000", ["--priority", "-100 to 100"]),
    ("jobs list --limit 0", ["--limit", "at least 1"]),
    ("runs show zzzzzz", ["run", "zzzzzz", "the last are"]),
    ("planes show zzzzzz", ["plane", "zzzzzz", "the last are"]),
    ("surfaces show zzzzzz", ["surface", "zzzzzz", "the last are"]),
    ("surfaces delete zzzzzz --yes", ["surface", "zzzzzz"]),
    ("export zzzzzz", ["surface", "zzzzzz"]),
    ("export hill --out x.png", ["--out", ".npz"]),
    ("export hill --option size=3", ["options of the npz export"]),
    ("analyze hill --threshold low", ["--threshold", "rounding"]),
    ("analyze nothing.npz", ["nothing.npz"]),
    ("import nothing.npz", ["nothing.npz"]),
    ("import {text}", ["--format", "npz"]),
    ("import {text} --format npz", ["text.txt"]),
    ("estimate surface zzzzzz", ["plane", "zzzzzz"]),
    ("surface cut --until sd=3", ["--until", "sem=0.01"]),
    ("surface cut --after zzzzzz", ["job", "zzzzzz"]),
    ("train --model mlp --dataset digits --priority 500", ["--priority", "-100 to 100"]),
    ("train --model mlp --dataset digits --no-daemon --detach", ["--detach", "--no-daemon"]),
    ("train --resume training", ["--resume", "is finished"]),
    ("keys create UPPER", ["key 'UPPER'"]),
    ("keys revoke nobody", ["key 'nobody'"]),
    ("jobs list --connect localhost", ["--connect", "tcp://HOST:PORT"]),
    ("jobs list --ssh -oProxyCommand=x", ["--ssh"]),
    ("jobs list --ssh a --connect tcp://a:1,tcp://a:2", ["expected one way"]),
    ("jobs list --key x", ["--key", "--connect"]),
    ("daemon start --listen 0.0.0.0", ["--listen", "--tcp"]),
    ("daemon start --tcp 99999", ["--tcp", "65534"]),
    ("train --model mlp --dataset digits --data elsewhere", ["--data", "stop it first"]),
]


@pytest.mark.parametrize(("typed", "wanted"), WRONG, ids=[w[0].replace(" ", "-")[:40] for w in WRONG])
def test_wrong_input_is_one_sentence(ready: Place, typed: str, wanted: list[str]) -> None:
    text = ready.base / "text.txt"
    text.write_text("hello")
    done = ready.run(*(w.format(text=text) for w in typed.split()), code=2)
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("thalweg: ")
    for word in wanted:
        assert word in done.stderr


def test_workspace_whose_daemon_is_on_another_host_names_it(fresh: Place) -> None:
    fresh.run("daemon", "start")
    fresh.run("daemon", "stop")
    about = {"proto": 1, "cmd": "ipc:///x/cmd", "evt": "ipc:///x/evt", "pid": 4194304, "boot": "b", "store": "s"}
    (fresh.workspace / "daemon.json").write_text(json.dumps({**about, "host": "big-machine"}))
    for words in (["jobs", "list"], ["daemon", "status"], ["daemon", "start"], ["daemon", "stop"]):
        refused = fresh.run(*words, code=2)
        assert "--ssh big-machine" in refused.stderr
        assert refused.stderr.count("\n") == 1


def test_ambiguous_end_lists_the_candidates(ready: Place) -> None:
    end = "SAME00"  # a client chooses the ids of its jobs
    ids = [f"{new_id()[:-7]}{k}{end}" for k in range(2)]
    with ready.client() as client:
        client.submit(*(Submitted(job=i, spec=ExportSpec(target="none"), on_conflict="new") for i in ids))
    refused = ready.run("jobs", "show", end.lower(), code=2)
    assert "ambiguous" in refused.stderr
    assert all(i in refused.stderr for i in ids)
    assert ready.job(ids[0][-7:])["job"] == ids[0]


def test_failed_job_is_told_by_watch_with_its_sentence(ready: Place) -> None:
    (line,) = results(ready.json("train", "--model", "nope", "--dataset", "digits", "--detach"), "submitted")
    watched = ready.run("jobs", "watch", line["jobs"][0], code=2)
    assert "resnet20" in watched.stderr
    assert ready.job(line["jobs"][0])["state"] == "failed"
