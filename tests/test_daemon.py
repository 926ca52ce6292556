"""The daemon over its sockets, on real jobs: one submission from training to export, followed live."""

from __future__ import annotations

import io
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from protocol import requests as r
from protocol.client import Client
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.files import Surface
from protocol.messages import (
    AnalysisSpec,
    Execution,
    ExportSpec,
    JobStateEvent,
    PlaneSpec,
    Recipe,
    RunEpoch,
    Spec,
    SurfaceRow,
    SurfaceSpec,
    TrainSpec,
)
from protocol.requests import Submitted
from protocol.snapshots import Restored

RECIPE = Recipe(model="mlp", epochs=4, batch_size=256, lr=0.05)
ONE = Execution(device="cpu", threads=1, batch_size=256, channels_last=False)
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("daemon")
    child = start(folder)
    yield folder
    child.send_signal(signal.SIGTERM)
    assert child.wait(15) == 0


@pytest.fixture(scope="module")
def client(workspace: Path) -> Iterator[Client]:
    with Client.connect(workspace) as c:
        yield c


def start(folder: Path) -> subprocess.Popen[bytes]:
    """A daemon in the foreground, once it answers."""
    child = subprocess.Popen([sys.executable, "-m", "compute.daemon", "--workspace", str(folder)])
    deadline = time.monotonic() + 30
    while not (folder / "daemon.json").exists():
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return child


def submit(client: Client, *specs: Spec | Submitted) -> list[str]:
    several = [s if isinstance(s, Submitted) else Submitted(job=new_id(), spec=s, execution=ONE) for s in specs]
    client.request(r.JobSubmit(id=new_id(), jobs=tuple(several)))
    return [s.job for s in several]


def wait(client: Client, job: str, *states: str) -> r.JobInfo:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found: r.JobInfo = client.request(r.JobGet(id=new_id(), job=job)).job
        if found.state in (states or ("done", "failed", "cancelled")):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.fixture(scope="module")
def chain(client: Client) -> dict[str, r.JobInfo]:
    """Train, PCA plane, surface with its path, critical points, export: one submission."""
    train, plane, surface, analysis, export = (new_id() for _ in range(5))
    submit(
        client,
        Submitted(job=train, spec=TrainSpec(recipe=RECIPE), name="training", execution=ONE),
        Submitted(job=plane, spec=PlaneSpec(direction="pca", trajectory=f"job:{train}")),
        Submitted(job=surface, spec=SurfaceSpec(plane=f"job:{plane}", passes="grow"), execution=ONE),
        Submitted(job=analysis, spec=AnalysisSpec(target=f"job:{surface}")),
        Submitted(job=export, spec=ExportSpec(target=f"job:{surface}", format="csv"), after=(analysis,)),
    )
    return {k: wait(client, job) for k, job in (("train", train), ("plane", plane), ("surface", surface),
                                                ("analysis", analysis), ("export", export))}  # fmt: skip


def test_one_submission_from_training_to_export(chain: dict[str, r.JobInfo], client: Client, tmp_path: Path) -> None:
    assert {k: (j.state, j.error) for k, j in chain.items()} == dict.fromkeys(chain, ("done", None))
    result = chain["surface"].result
    assert result is not None
    file = client.fetch(tmp_path / "s.npz", surface=result.surface)
    surface = Surface.load(file)
    assert (surface.n == 1437).all()
    assert np.isfinite(surface.path["loss_true"]).all()
    assert len(surface.path) == 5
    assert surface.meta.passes_done == 3
    assert surface.meta.execution["batch_size"] == 256
    assert len(surface.critical) >= 1
    csv = client.fetch(tmp_path / "s.csv", job=chain["export"].job)
    assert io.StringIO(csv.read_text()).readline().startswith("alpha,beta,loss")


def test_the_surface_is_the_librarys(
    chain: dict[str, r.JobInfo], workspace: Path, client: Client, tmp_path: Path
) -> None:
    """Rows that went through leases, sums, the database and a file equal `measure` on the same model and data."""
    from compute import landscape, recipes
    from compute.parameters import Layout
    from compute.planes import load_plane

    result = chain["surface"].result
    assert result is not None
    got = Surface.load(client.fetch(tmp_path / "s.npz", surface=result.surface))
    model = recipes.build_model(RECIPE)
    plane = load_plane(workspace / "planes" / f"{chain['plane'].result.plane}.safetensors", Layout.of(model))  # type: ignore[union-attr]
    data = recipes.load_data(RECIPE, "train")
    want = landscape.measure(model, (data.images, data.targets), plane, 25, batch_size=256)
    np.testing.assert_array_equal(got.alpha, want.alpha)
    np.testing.assert_allclose(got.loss, want.loss, rtol=1e-6)
    np.testing.assert_allclose(got.accuracy, want.accuracy, atol=1e-12)


def test_a_subscriber_sees_every_row_of_every_pass(
    client: Client, workspace: Path, chain: dict[str, r.JobInfo]
) -> None:
    plane = chain["plane"].result
    assert plane is not None
    (job,) = submit(client, SurfaceSpec(plane=plane.plane or "", limit=600, passes="grow", seed=5))
    rows, seqs, state = set(), [], ""
    with Client.connect(workspace) as other:
        for event, arrays in other.subscribe([f"job/{job}/", "surface/"]):
            if isinstance(event, SurfaceRow):
                rows.add((event.i, event.pass_))
                seqs.append(event.seq)
                assert arrays["loss"].dtype == np.dtype("<f4")
            if isinstance(event, JobStateEvent) and event.job == job:
                state = event.state
                if state == "done":
                    break
    assert state == "done"


def test_a_run_can_be_followed(client: Client, chain: dict[str, r.JobInfo]) -> None:
    run = chain["train"].result.run  # type: ignore[union-attr]
    reply, arrays = client.call(r.EventsSince(id=new_id(), topic=f"run/{run}/", seq=0))
    from protocol.events import unpack

    told = unpack(arrays["events"])
    assert [e.seq for e, _ in told] == list(range(1, reply.head + 1))
    assert [e.epoch for e, _ in told if isinstance(e, RunEpoch)] == [1, 2, 3, 4]


def test_a_snapshot_of_a_sealed_surface_is_its_file(
    client: Client, chain: dict[str, r.JobInfo], tmp_path: Path
) -> None:
    surface = chain["surface"].result.surface  # type: ignore[union-attr]
    restored = client.snapshot(f"surface/{surface}/")
    file = Surface.load(client.fetch(tmp_path / "s.npz", surface=surface))
    assert restored.state["id"] == surface
    np.testing.assert_array_equal(restored.arrays["loss"], file.loss.astype("<f4"))


def test_the_same_question_gets_the_same_result_at_once(client: Client, chain: dict[str, r.JobInfo]) -> None:
    (job,) = submit(client, TrainSpec(recipe=RECIPE))
    again = wait(client, job)
    assert again.result == chain["train"].result
    assert again.started == ""


def test_pause_resume_and_cancel_of_a_training(client: Client) -> None:
    (job,) = submit(client, TrainSpec(recipe=Recipe(model="mlp", epochs=4000, batch_size=100, seed=3)))
    wait(client, job, "running")
    while client.request(r.JobGet(id=new_id(), job=job)).job.done < 5:
        time.sleep(0.05)
    client.request(r.JobPause(id=new_id(), job=job))
    paused = wait(client, job, "paused")
    client.request(r.JobResume(id=new_id(), job=job))
    wait(client, job, "running")
    while (now := client.request(r.JobGet(id=new_id(), job=job)).job).done <= paused.done:
        time.sleep(0.05)
    assert now.state == "running"
    client.request(r.JobCancel(id=new_id(), job=job))
    assert wait(client, job).state == "cancelled"


def test_ids_may_be_typed_by_their_end_or_name(client: Client, chain: dict[str, r.JobInfo]) -> None:
    run = chain["train"].result.run  # type: ignore[union-attr]
    assert run is not None
    for given in (run, run[-6:], run[-6:].lower(), "training"):
        assert client.request(r.RunGet(id=new_id(), run=given)).item["id"] == run
    with pytest.raises(InputError, match="run 'nobody'"):
        client.request(r.RunGet(id=new_id(), run="nobody"))


def test_what_is_in_use_cannot_be_deleted(client: Client, chain: dict[str, r.JobInfo]) -> None:
    run = chain["train"].result.run  # type: ignore[union-attr]
    (job,) = submit(client, PlaneSpec(direction="random", trajectory=run, options={"seed": 99}))
    plane = wait(client, job).result
    assert plane is not None
    (surface,) = submit(client, SurfaceSpec(plane=plane.plane or "", batch_norm="frozen", seed=77))
    with pytest.raises(InputError, match="has not ended"):
        client.request(r.PlaneDelete(id=new_id(), plane=plane.plane or ""))
    client.request(r.JobCancel(id=new_id(), job=surface))
    wait(client, surface)
    client.request(r.PlaneDelete(id=new_id(), plane=plane.plane or ""))
    with pytest.raises(InputError, match="plane"):
        client.request(r.PlaneGet(id=new_id(), plane=plane.plane or ""))


def test_a_wrong_job_fails_in_a_sentence(client: Client) -> None:
    (job,) = submit(client, TrainSpec(recipe=Recipe(model="resnet21")))
    failed = wait(client, job)
    assert failed.state == "failed"
    assert "resnet20" in (failed.error or "")
    assert failed.code == "not_found"
    (job,) = submit(client, SurfaceSpec(plane="/etc/passwd"))
    assert "path" in (wait(client, job).error or "")


def test_an_estimate_knows_points_samples_and_seconds(client: Client, chain: dict[str, r.JobInfo]) -> None:
    plane = chain["plane"].result.plane  # type: ignore[union-attr]
    asked = {
        "surface": SurfaceSpec(plane=plane, batch_norm="recalibrate", limit=400),
        "train": TrainSpec(recipe=Recipe(model="mlp", epochs=40, batch_size=256, seed=8)),
    }
    for kind, spec in asked.items():
        reply = client.request(r.JobEstimate(id=new_id(), spec=spec), timeout_s=PATIENCE_S)
        assert reply.how == "measured", kind
        assert reply.seconds > 0
        assert reply.points == (625 if kind == "surface" else 240)
    similar = client.request(r.JobEstimate(id=new_id(), spec=SurfaceSpec(plane=plane, limit=100)))
    assert (similar.how, similar.samples) == ("similar", 100)


def test_status_hello_and_catalogue(client: Client) -> None:
    hello = client.request(r.Hello(id=new_id(), client=r.ClientInfo("test")))
    assert hello.limits.piece == r.PIECE
    status = client.request(r.Status(id=new_id()))
    assert status.jobs["done"] >= 1
    deadline = time.monotonic() + 60
    while True:
        try:
            _, arrays = client.call(r.Catalogue(id=new_id()))
            break
        except InputError as e:
            assert e.code == "busy"  # noqa: PT017 - the loop is the point
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert b"resnet20" in arrays["catalogue"].tobytes()
    _, arrays = client.call(r.Schema(id=new_id()))
    assert b"job.submit" in arrays["schema"].tobytes()


def test_a_second_daemon_names_the_first(workspace: Path) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "compute.daemon", "--workspace", str(workspace)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert second.returncode == 2
    assert socket.gethostname() in second.stderr
    assert second.stderr.count("\n") == 1


def test_the_daemon_holds_no_torch(workspace: Path) -> None:
    import json

    pid = json.loads((workspace / "daemon.json").read_text())["pid"]
    maps = Path(f"/proc/{pid}/maps").read_text()
    assert "libtorch" not in maps


def test_a_late_subscriber_of_a_sealed_surface_gets_its_state(client: Client, chain: dict[str, r.JobInfo]) -> None:
    surface = chain["surface"].result.surface  # type: ignore[union-attr]
    reply = client.request(r.EventsSince(id=new_id(), topic=f"surface/{surface}/", seq=0))
    assert reply.gone  # its rows are in the file
    with client.subscribe(f"surface/{surface}/") as subscription:
        for thing, _ in subscription:
            if isinstance(thing, Restored):
                break
    assert thing.seq == reply.head
    assert np.isfinite(thing.arrays["path.loss_true"]).all()
