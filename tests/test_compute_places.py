"""Which worker a job is for, and what its process sees of the machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from stored import job

from compute import crew, places
from compute.places import LIGHT, UNKNOWN, Place, of_devices
from protocol.messages import ExportSpec


def test_the_best_kind_comes_first_and_twice_is_two_places() -> None:
    found = of_devices(["cpu", "cuda:1", "mps", "cpu", "cuda:0"])
    assert [p.device for p in found] == ["cuda:1", "cuda:0", "mps", "cpu", "cpu", ""]
    assert len(set(found)) == 6
    assert found[-1] == LIGHT


@pytest.mark.parametrize(
    ("devices", "kind", "fit"),
    [
        (["cuda:0", "cuda:1", "cpu"], None, {"cuda:0", "cuda:1"}),
        (["cuda:0", "cuda:1", "cpu"], "cpu", {"cpu"}),
        (["cpu", "mps"], None, {"mps"}),
        (["cpu"], "cuda", set()),
    ],
)
def test_work_belongs_to_the_kind_it_asks_for_else_to_the_best(devices: list[str], kind: str, fit: set[str]) -> None:
    all_of_them = of_devices(devices)
    assert {p.device for p in all_of_them if places.belongs(p, job(device=kind), all_of_them)} == fit
    error = places.absent(kind, all_of_them)
    assert (error is None) == bool(fit)
    assert error is None or "cuda was asked for, this daemon works on cpu" in error.msg


class Launched:
    """A launcher and handle of nothing, that keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def launch(self, **asked: Any) -> Any:
        self.asked.append(asked)
        return self

    def describe(self) -> dict[str, Any]:
        return {}


def test_the_first_worker_tells_which_devices_there_are(tmp_path: Path) -> None:
    launcher = Launched()
    made = crew.Crew(launcher, "ipc://x", tmp_path)  # type: ignore[arg-type]
    first = made.launch(made.places[0], 0.0)
    made.ready(first, b"a", "cuda", ("cuda:0", "cuda:1", "cpu"), 1.0)
    assert [p.device for p in made.places] == ["cuda:0", "cuda:1", "cpu", ""]
    assert (first.place, first.device) == (made.places[0], "cuda:0")
    second = made.launch(made.places[2], 2.0)
    made.ready(second, b"b", "cpu", ("cpu",), 3.0)  # what a later one sees is its own
    assert len(made.places) == 4
    assert made.at(made.places[2]) is second
    assert made.at(made.places[1]) is None
    assert [asked["arguments"] for asked in launcher.asked] == [(), ("--device", "cpu")]


def test_anything_belongs_to_the_first_worker_before_devices_are_known() -> None:
    assert places.belongs(UNKNOWN[0], job(device="cuda"), UNKNOWN)
    assert places.absent("cuda", UNKNOWN) is None
    assert places.best(UNKNOWN) is None


def test_light_work_has_one_place_whatever_the_devices() -> None:
    light = replace(job(), kind="export", spec=ExportSpec(target="S"))
    for several in (UNKNOWN, of_devices(["cpu", "cuda"])):
        assert [places.belongs(p, light, several) for p in several] == [p == LIGHT for p in several]


def test_a_worker_sees_its_gpu_or_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    two = of_devices(["cpu", "cpu", "cuda:1", "cuda"])
    told = {p: crew.environment(p, two) for p in two}
    assert told[Place("device", "cuda:1")] == {"CUDA_VISIBLE_DEVICES": "1"}
    assert told[Place("device", "cuda")] == {}
    assert told[Place("device", "cpu", 1)] == {"OMP_NUM_THREADS": "4"}
    assert told[LIGHT] == {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")  # the user has fewer than the machine
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    told = {p: crew.environment(p, two) for p in two}
    assert told[Place("device", "cuda:1")] == {"CUDA_VISIBLE_DEVICES": "7"}
    assert told[Place("device", "cpu", 1)] == {}
    assert crew.environment(Place("device", "cuda:2"), two) == {"CUDA_VISIBLE_DEVICES": "-1"}  # none: jobs are told
