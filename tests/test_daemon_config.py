"""A daemon's config.toml: its data folder, plug-ins in workers and the catalogue; what ends with the daemon."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemons import ONE, Daemon, processes, submit, until, wait, workspace
from test_compute_config import PLUGIN

from compute import config
from protocol import requests as r
from protocol.client import Client
from protocol.errors import InputError
from protocol.exchange import ClientError, new_id
from protocol.messages import Recipe, TrainSpec

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
