"""The worker over its socket: jobs, leases, cancel, pause, a parent that dies, a resume that changes nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from compute.checkpoints import TensorFile, resume_file, step_file, steps_of
from protocol import codec, shares
from protocol.messages import (
    Execution,
    FromWorker,
    Message,
    PlaneSpec,
    Recipe,
    Spec,
    SurfaceSpec,
    TrainSpec,
    WorkerBegin,
    WorkerCancel,
    WorkerCheckpoint,
    WorkerDone,
    WorkerEpoch,
    WorkerFail,
    WorkerJob,
    WorkerLease,
    WorkerPath,
    WorkerPause,
    WorkerReady,
    WorkerResume,
    WorkerRow,
    WorkerStop,
)

RECIPE = Recipe(epochs=3, batch_size=400, lr=0.05, checkpoint_every=2)
ONE = Execution(device="cpu", threads=1, batch_size=256, channels_last=False)
PATIENCE_MS = 120_000


class Parent:
    """The other side of the worker's socket."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.bind(f"ipc://{folder}/wrk")
        watch, self.pipe = os.pipe()
        self.child = subprocess.Popen(
            [sys.executable, "-m", "compute.worker", "--connect", f"ipc://{folder}/wrk", "--watch", str(watch)],
            pass_fds=(watch,),
            start_new_session=True,
        )
        os.close(watch)
        self.peer = b""
        assert isinstance(self.receive()[0], WorkerReady)

    def send(self, message: Message) -> None:
        self.socket.send_multipart([self.peer, *codec.encode(message)])

    def receive(self) -> tuple[Any, dict[str, np.ndarray]]:
        assert self.socket.poll(PATIENCE_MS), "the worker is silent"
        self.peer, *frames = self.socket.recv_multipart()
        return codec.decode(frames, FromWorker)

    def submit(self, spec: Spec, **more: Any) -> None:
        self.send(WorkerJob(job="J", spec=spec, workspace=str(self.folder), **{"execution": ONE, **more}))

    def until(self, *kinds: type) -> tuple[Any, dict[str, np.ndarray]]:
        while True:
            message, arrays = self.receive()
            if isinstance(message, WorkerFail) and WorkerFail not in kinds:
                raise AssertionError(message.msg)
            if isinstance(message, kinds):
                return message, arrays

    def result(self, spec: Spec, **more: Any) -> Any:
        self.submit(spec, **more)
        return self.until(WorkerDone)[0].result

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        os.close(self.pipe)
        self.socket.close(0)
        self.context.term()


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Parent]:
    p = Parent(tmp_path)
    yield p
    p.close()


def weights(file: Path) -> dict[str, bytes]:
    opened = TensorFile(file)
    return {name: opened.tensor(name).numpy().tobytes() for name in opened.entries}


def test_train_plane_surface_and_path_through_one_worker(parent: Parent) -> None:
    run = parent.result(TrainSpec(recipe=RECIPE)).run
    folder = parent.folder / "runs" / run
    assert steps_of(folder) == [0, 2, 4, 6, 8, 10, 12]  # 1,437 samples: 4 steps an epoch
    done = parent.result(PlaneSpec(direction="pca", trajectory=run[-8:]))
    assert done.plane_meta.checkpoints == 4  # theta_0 and the epochs' ends; the extra steps are asked for by address
    parent.submit(SurfaceSpec(plane=done.plane[:12], limit=300, passes=1))
    begin, axes = parent.until(WorkerBegin)
    assert 0.0 in axes["alpha"]
    assert begin.meta.plane.hash == done.plane
    assert begin.meta.model == "resnet20"
    path, columns = parent.until(WorkerPath)
    assert not path.losses
    assert len(columns["alpha"]) == 4
    parent.send(WorkerLease(job="J", rows=(3, 7), pass_=0))
    rows = {m.i: sums for m, sums in (parent.until(WorkerRow), parent.until(WorkerRow))}
    assert set(rows) == {3, 7}
    loss = shares.values({**rows[3], "n": np.array(300)}, begin.metrics)["loss"]
    assert loss.shape == axes["alpha"].shape
    parent.send(WorkerLease(job="J", rows=(), pass_=0))
    path, columns = parent.until(WorkerPath)
    assert path.losses
    assert np.isfinite(columns["loss_true"]).all()
    parent.until(WorkerDone)


def test_a_random_plane_of_a_run_carries_its_path(parent: Parent) -> None:
    run = parent.result(TrainSpec(recipe=RECIPE)).run
    plane = parent.result(PlaneSpec(direction="random", trajectory=run, options={"seed": 2})).plane
    parent.submit(SurfaceSpec(plane=plane, limit=100))
    _, axes = parent.until(WorkerBegin)
    assert (axes["alpha"][0], axes["alpha"][-1]) == (-1.0, 1.0)
    _, columns = parent.until(WorkerPath)
    assert columns["off_plane"][-1] == 0.0


def test_an_interrupted_training_resumes_to_the_same_bits(parent: Parent, tmp_path: Path) -> None:
    whole = parent.result(TrainSpec(recipe=RECIPE)).run
    parent.submit(TrainSpec(recipe=RECIPE))
    while (checkpoint := parent.until(WorkerCheckpoint)[0]).step < 6:
        pass
    parent.child.kill()
    parent.child.wait()
    other = Parent(tmp_path)
    try:
        assert other.result(TrainSpec(), resume=checkpoint.run).run == checkpoint.run
    finally:
        other.close()
    runs = tmp_path / "runs"
    for step in (8, 12):
        assert weights(step_file(runs / whole, step)) == weights(step_file(runs / checkpoint.run, step))
    assert len(list((runs / whole).glob("resume-*"))) == 2
    assert resume_file(runs / whole, 12).exists()


def test_cancel_keeps_what_is_written_and_the_worker_goes_on(parent: Parent) -> None:
    parent.submit(TrainSpec(recipe=Recipe(epochs=500, batch_size=400)))
    first = parent.until(WorkerEpoch)[0]
    parent.send(WorkerCancel(job="J"))
    assert parent.until(WorkerDone)[0].result.cancelled
    assert steps_of(parent.folder / "runs" / first.run)[0] == 0
    assert parent.result(TrainSpec(recipe=RECIPE)).run


def test_pause_holds_the_job_until_resume(parent: Parent) -> None:
    parent.submit(TrainSpec(recipe=Recipe(epochs=500, batch_size=400)))
    parent.until(WorkerEpoch)
    parent.send(WorkerPause(job="J"))
    deadline = time.monotonic() + 30
    while parent.socket.poll(1500):  # what was under way when the pause arrived
        parent.receive()
        assert time.monotonic() < deadline, "the job goes on"
    parent.send(WorkerResume(job="J"))
    parent.until(WorkerEpoch)


def test_a_refused_job_is_one_sentence_and_the_worker_goes_on(parent: Parent) -> None:
    for spec, why in (
        (TrainSpec(recipe=Recipe(model="resnet21")), "resnet20"),
        (PlaneSpec(direction="pcs", trajectory="x"), "pca, random"),
        (PlaneSpec(direction="pca", trajectory="nowhere"), "there is no run yet"),
        (SurfaceSpec(plane="nowhere"), "there is no plane yet"),
    ):
        parent.submit(spec)
        fail = parent.until(WorkerFail)[0]
        assert why in fail.msg
        assert "\n" not in fail.msg
    assert list(parent.folder.glob("runs/*")) == []
    assert parent.child.poll() is None


def test_the_worker_ends_when_its_parent_does(parent: Parent) -> None:
    parent.submit(TrainSpec(recipe=Recipe(epochs=500, batch_size=400)))
    parent.until(WorkerEpoch)
    os.close(parent.pipe)
    parent.child.wait(timeout=2)
    parent.pipe = os.open(os.devnull, os.O_RDONLY)


def test_sigterm_ends_it_after_the_current_step(parent: Parent) -> None:
    parent.submit(TrainSpec(recipe=Recipe(epochs=500, batch_size=400)))
    parent.until(WorkerEpoch)
    parent.child.send_signal(signal.SIGTERM)
    assert parent.child.wait(timeout=10) == 0


def test_stop_ends_it(parent: Parent) -> None:
    parent.send(WorkerStop())
    assert parent.child.wait(timeout=10) == 0


def test_garbage_on_the_socket_is_dropped(parent: Parent) -> None:
    parent.socket.send_multipart([parent.peer, b"\xff\x00garbage"])
    parent.socket.send_multipart([parent.peer, b""])
    assert parent.result(TrainSpec(recipe=RECIPE), dry=True).run is None


def test_a_boundary_cancel_reaches_a_surface_that_waits_for_a_lease(parent: Parent) -> None:
    run = parent.result(TrainSpec(recipe=RECIPE)).run
    plane = parent.result(PlaneSpec(direction="random", trajectory=run)).plane
    parent.submit(SurfaceSpec(plane=plane, limit=100))
    parent.until(WorkerBegin)
    parent.send(WorkerCancel(job="J", when="boundary"))
    assert parent.until(WorkerDone)[0].result.cancelled


def test_a_plane_is_enough_to_measure_when_its_run_is_gone(parent: Parent) -> None:
    run = parent.result(TrainSpec(recipe=RECIPE)).run
    plane = parent.result(PlaneSpec(direction="pca", trajectory=run)).plane
    shutil.rmtree(parent.folder / "runs" / run)
    parent.submit(SurfaceSpec(plane=plane, limit=100))
    _, axes = parent.until(WorkerBegin)
    path, columns = parent.until(WorkerPath)
    assert not path.losses
    assert columns["alpha"].max() <= axes["alpha"][-1]
    parent.send(WorkerLease(job="J", rows=(2,), pass_=0))
    parent.until(WorkerRow)
    parent.send(WorkerLease(job="J", rows=(), pass_=0))
    parent.until(WorkerDone)
    parent.submit(SurfaceSpec(plane=plane, path=run, limit=100))
    assert "expected a run" in parent.until(WorkerFail)[0].msg
