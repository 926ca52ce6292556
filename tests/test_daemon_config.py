"""A daemon's config.toml: its data folder, plug-ins in workers and the catalogue; what ends with the daemon."""

from __future__ import annotations

import dataclasses
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from daemons import ONE, Daemon, info, made_of, processes, submit, until, wait, workspace
from msgspec.structs import replace
from test_compute_config import PLUGIN

from compute import config
from protocol import requests as r
from protocol.client import Client
from protocol.errors import InputError
from protocol.exchange import ClientError, new_id
from protocol.messages import Recipe, TrainSpec
from tui.reach import Reach
from tui.session import Common
from tui.verbs.surface import Wanted

ODD: dict[str, Any] = {"fake": True}


@pytest.fixture
def folder() -> Iterator[Path]:
    with workspace() as made:
        yield made


def catalogue(client: Client) -> dict[str, Any]:
    found = client.call(r.Catalogue(id=new_id()), timeout_s=60)[1]["catalogue"].tobytes()
    return json.loads(found)


def cataloguers(folder: Path) -> list[int]:
    return [pid for pid, line in processes() if "compute.catalogue" in line and str(folder) in line]


@pytest.mark.parametrize(
    ("text", "words"), [("dvices = 1", "'dvices' is not a setting"), ("passes = 0", "passes: expected a number")]
)
def test_wrong_settings_are_refused_in_a_sentence(folder: Path, text: str, words: str) -> None:
    (folder / config.FILE).write_text(text)
    said = Daemon(folder, odd=ODD).run()
    assert said.returncode == 2
    assert said.stderr.startswith(f"thalweg: {folder / config.FILE}: {words}")
    assert "Traceback" not in said.stderr


def test_the_first_data_folder_is_kept_and_told(folder: Path) -> None:
    for arguments, data in ((("--data", "/first"), "/first"), ((), "/first"), (("--data", "/other"), "/other")):
        with Daemon(folder, *arguments, odd=ODD) as daemon:
            status = daemon.client().request(r.Status(id=new_id()))
            assert status.data == data
            assert status.config["data"] == "/first"
            daemon.stop()
    assert config.read(folder).data == Path("/first")


def test_a_model_of_ones_own_is_offered_and_trained(folder: Path) -> None:
    (folder / "mine.py").write_text(PLUGIN.format(name="mine"))
    (folder / config.FILE).write_text('plugins = ["mine.py"]')
    with Daemon(folder) as daemon:
        client = daemon.client()
        (job,) = submit(client, TrainSpec(recipe=Recipe(model="mine", epochs=1)), execution=ONE)
        assert "mine" in [m["name"] for m in catalogue(client)["models"]]
        assert wait(client, job).error is None
        daemon.stop()
    (folder / config.FILE).write_text("")
    with Daemon(folder) as daemon:  # the catalogue is another one then
        assert "mine" not in [m["name"] for m in catalogue(daemon.client())["models"]]


def test_a_plug_in_that_fails_is_named_by_jobs_and_catalogue(folder: Path) -> None:
    (folder / config.FILE).write_text('plugins = ["gone.py"]')
    with Daemon(folder) as daemon:
        client = daemon.client()
        (job,) = submit(client, TrainSpec(recipe=Recipe(model="mlp", epochs=1)), execution=ONE)
        with pytest.raises(ClientError, match=r"cannot be made: plug-in gone\.py: expected a Python file"):
            catalogue(client)
        assert "plug-in gone.py: expected a Python file" in (wait(client, job).error or "")
        (folder / "gone.py").write_text(PLUGIN.format(name="back"))  # what was wrong is mended: the next one has it
        assert "back" in [m["name"] for m in catalogue(client)["models"]]


def test_passes_of_the_settings_hold_where_none_are_typed(folder: Path) -> None:
    (folder / config.FILE).write_text('passes = "grow"')
    with Daemon(folder, odd=ODD) as daemon:
        there = Reach(daemon.client(), Common())
        _, plane = made_of(there.client, Recipe(model="mlp", epochs=1))
        wanted = Wanted(plane=plane, path=None, grid=None, alpha=None, beta=None, preset=None, typed={})
        assert wanted.spec(there).passes == "grow"
        assert dataclasses.replace(wanted, typed={"passes": 3}).spec(there).passes == 3


# ---------------------------------------------------------------- devices


def workers(client: Client) -> dict[str, str]:
    """Of each worker that has a job: its device."""
    found = client.request(r.Status(id=new_id())).workers
    return {w["job"]: w["device"] for w in found if w["job"]}


@contextmanager
def devices(folder: Path, *names: str) -> Iterator[tuple[Daemon, Client]]:
    """A daemon for these devices, with workers that need none of them."""
    (folder / config.FILE).write_text(f"devices = {json.dumps(names)}")
    (folder / "fake.json").write_text('{"epoch_s": 0.5}')
    with Daemon(folder, odd=ODD) as daemon:
        yield daemon, daemon.client()


def trainings(n: int, **more: Any) -> list[r.Submitted]:
    recipes = [Recipe(model="mlp", epochs=2, seed=seed) for seed in range(n)]
    return [r.Submitted(job=new_id(), spec=TrainSpec(recipe=recipe), **more) for recipe in recipes]


def test_each_device_has_a_worker_of_its_own(folder: Path) -> None:
    with devices(folder, "cpu", "cpu") as (daemon, client):
        jobs = submit(client, *trainings(3))
        until(lambda: len(workers(client)) == 2, "two at once", 20)
        assert [info(client, job).state for job in jobs] == ["running", "running", "queued"]
        for job in jobs:
            assert wait(client, job).error is None
        assert len(daemon.workers()) == 2


def test_one_job_starts_one_worker(folder: Path) -> None:
    with devices(folder, "cpu", "cpu") as (daemon, client):
        (job,) = submit(client, *trainings(1))
        wait(client, job)
        assert len(daemon.workers()) == 1


def test_a_job_goes_to_the_device_that_it_asks_for_else_to_the_best(folder: Path) -> None:
    with devices(folder, "cpu", "cuda:1", "cuda:0") as (daemon, client):
        (asked,) = trainings(1, device="cpu")
        asked = replace(asked, spec=TrainSpec(recipe=Recipe(seed=9)))
        jobs = submit(client, *trainings(3), asked)
        until(lambda: len(workers(client)) == 3, "three at once", 20)
        at = workers(client)
        assert {at[jobs[0]], at[jobs[1]]} == {"cuda:0", "cuda:1"}
        assert at[jobs[3]] == "cpu"
        assert info(client, jobs[2]).state == "queued"  # although there is a core: it is for the best kind
        seen = {w["device"]: environment(w["pid"]) for w in client.request(r.Status(id=new_id())).workers}
        assert [seen[device].get("CUDA_VISIBLE_DEVICES") for device in ("cuda:0", "cuda:1")] == ["0", "1"]
        ended = [wait(client, job) for job in jobs]
        assert [j.execution.device for j in ended if j.execution] == ["cuda", "cuda", "cuda", "cpu"]
        assert len(daemon.workers()) == 3


def test_a_device_that_is_not_there_is_told(folder: Path) -> None:
    with devices(folder, "cpu") as (_, client):
        (job,) = submit(client, *trainings(1, device="cuda"))
        failed = wait(client, job)
        assert failed.code == "unavailable"
        assert "cuda was asked for, this daemon works on cpu" in (failed.error or "")
        with pytest.raises(InputError, match="cuda was asked for"):
            client.request(r.JobEstimate(id=new_id(), spec=TrainSpec(), device="cuda"))


def environment(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.partition("=")[::2] for pair in pairs)


# ---------------------------------------------------------------- the end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_process_that_makes_the_catalogue_ends_with_the_daemon(folder: Path, number: int) -> None:
    slow = folder / "slow.py"
    slow.write_text("import time\ntime.sleep(60)\n")
    (folder / config.FILE).write_text('plugins = ["slow.py"]')
    with Daemon(folder, odd=ODD) as daemon:
        with pytest.raises(InputError, match="being made"):
            daemon.client().request(r.Catalogue(id=new_id()), timeout_s=0.2)
        until(lambda: cataloguers(folder), "the process", 20)
        assert daemon.child is not None
        daemon.child.send_signal(number)
        daemon.child.wait(15)
        until(lambda: not cataloguers(folder), "its end", 2)
