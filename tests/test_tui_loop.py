"""The command line's loop against a small worker that speaks the protocol and does sums by heart."""

import os
import signal
import sys
import time

import numpy as np
import pytest

from protocol.errors import InputError
from protocol.files import Surface
from protocol.grid import AxisSpec, GridSpec
from protocol.messages import (
    CheckpointSaved,
    JobProgress,
    LogLine,
    PathDone,
    PlaneDone,
    PlaneSpec,
    Recipe,
    RunEpoch,
    SurfaceBegin,
    SurfaceDone,
    SurfaceRow,
    SurfaceSpec,
    TrainSpec,
)
from tui import loop
from tui.children import ChildError
from tui.interrupt import Interrupted, interrupts
from tui.link import Link

# Loss of sample k at (alpha, beta): alpha + 10 beta + k. The mean over n samples is alpha + 10 beta + (n - 1) / 2.
FAKE_WORKER = r"""
import os, select, sys, time
import numpy as np, zmq
from protocol import codec, grid, shares
from protocol.files import PlaneMeta, SurfaceMeta
from protocol.messages import *
args = dict(zip(sys.argv[1::2], sys.argv[2::2]))
print("hello from the log", file=sys.stderr, flush=True)
sock = zmq.Context().socket(zmq.DEALER)
sock.connect(args["--connect"])
watch = int(args["--watch"])
def send(m, arrays=None): sock.send_multipart(codec.encode(m, arrays))
def receive():
    while not sock.poll(20):
        if select.select([watch], [], [], 0)[0]:
            os._exit(3)
    return codec.decode(sock.recv_multipart(), ToWorker)[0]
send(WorkerReady(device="cpu", threads=1, versions={}))
N = 2000
METRICS = (MetricDecl(name="loss", sums={"loss_sum": "<f8", "loss_sq_sum": "<f8"},
                      values={"loss": shares.Value("mean", "loss_sum"),
                              "sem": shares.Value("sem", "loss_sum", "loss_sq_sum")}),)
while True:
    m = receive()
    if isinstance(m, WorkerStop):
        break
    spec, job = m.spec, m.job
    if isinstance(spec, TrainSpec):
        model = spec.recipe.model
        if model == "unknown":
            send(WorkerFail(job=job, code="not_found", path="$.recipe.model",
                            msg="model: expected one of a, b; got 'unknown'"))
            continue
        if model == "bug":
            send(WorkerFail(job=job, code="internal", msg="the worker met an error it did not expect."))
            continue
        send(WorkerBegin(job=job, execution=Execution(device="cpu", threads=1), total=spec.recipe.epochs * 4))
        if m.dry: continue
        if model == "crash":
            os.kill(os.getpid(), 9)
        send(WorkerLog(job=job, text="a line"))
        stopped = False
        for e in range(1, spec.recipe.epochs + 1):
            send(WorkerProgress(job=job, done=4 * e, total=spec.recipe.epochs * 4))
            send(WorkerEpoch(job=job, run="R" * 26, epoch=e, step=4 * e, metrics={"loss": float("nan")}))
            send(WorkerCheckpoint(job=job, run="R" * 26, step=4 * e, epoch=e, file="x", sha256="0" * 64))
            if model == "slow":
                time.sleep(0.05)
            if sock.poll(0) and isinstance(receive(), WorkerCancel):
                stopped = True
                break
        send(WorkerDone(job=job, result=Done(run="R" * 26, cancelled=stopped)))
    elif isinstance(spec, PlaneSpec):
        send(WorkerBegin(job=job, execution=Execution(), total=2))
        send(WorkerDone(job=job, result=Done(plane="ab" * 32, plane_meta=PlaneMeta(kind="pca"))))
    else:
        a, b = grid.resolve(spec.grid, None)
        parts = tuple(shares.shares(N, spec.passes))
        send(WorkerBegin(job=job, execution=Execution(), total=len(b) * len(parts), meta=SurfaceMeta(samples=N),
                         shares=parts, metrics=METRICS), {"alpha": a, "beta": b})
        send(WorkerPath(job=job, losses=False), {"step": np.arange(2), "alpha": np.zeros(2), "beta": np.ones(2)})
        cancelled, short_of_memory = False, spec.loss == "memory"
        while True:
            l = receive()
            if short_of_memory and l.pass_ == 1:
                short_of_memory = False
                while sock.poll(20): receive()
                send(WorkerRestart(job=job, pass_=1, execution=Execution(batch_size=64)))
                continue
            if isinstance(l, WorkerCancel):
                cancelled = True
                break
            if not l.rows: break
            part = parts[l.pass_]
            k = np.arange(part.start, part.stop)
            for i in l.rows:
                base = a + 10 * b[i]
                send(WorkerRow(job=job, i=i, pass_=l.pass_, n=len(k)),
                     {"loss_sum": base * len(k) + k.sum(), "loss_sq_sum": ((base[:, None] + k) ** 2).sum(1)})
                if spec.loss == "slow": time.sleep(0.05)
        if not cancelled:
            send(WorkerPath(job=job, losses=True), {"step": np.arange(2), "loss_plane": np.ones(2)})
        send(WorkerDone(job=job, result=Done(cancelled=cancelled)))
"""


@pytest.fixture
def link(tmp_path):
    (tmp_path / "worker.log").touch()
    with interrupts() as stop, Link(tmp_path / "worker.log", stop, [sys.executable, "-c", FAKE_WORKER]) as link:
        loop.ready(link)
        yield link


def collect(link, spec, tmp_path, **fields):
    events = []
    job = loop.Job(spec=spec, workspace=tmp_path, file=tmp_path / "out.npz", **fields)
    result = loop.drive(loop.run(link, job), lambda e, a: events.append((e, a)))
    return result, events


def test_training_comes_out_as_run_events(link, tmp_path):
    result, events = collect(link, TrainSpec(recipe=Recipe(epochs=3)), tmp_path)
    kinds = [type(e) for e, _ in events]
    assert kinds.count(RunEpoch) == 3
    assert kinds.count(CheckpointSaved) == 3
    assert kinds.count(LogLine) == 1
    assert result.run == "R" * 26
    epoch = next(e for e, _ in events if isinstance(e, RunEpoch))
    assert np.isnan(epoch.metrics["loss"])  # told, not hidden


def test_plane_gives_its_hash(link, tmp_path):
    result, events = collect(link, PlaneSpec(), tmp_path)
    assert result.plane == "ab" * 32
    assert isinstance(events[-1][0], PlaneDone)


@pytest.mark.parametrize("passes", [1, 2, "grow"])
def test_surface_is_sealed_with_the_exact_mean_on_a_rectangular_grid(link, tmp_path, passes):
    spec = SurfaceSpec(plane="p", passes=passes, grid=GridSpec(alpha=AxisSpec(count=4), beta=AxisSpec(count=7)))
    result, events = collect(link, spec, tmp_path)
    surface = Surface.load(result.file)
    want = surface.alpha[None, :] + 10 * surface.beta[:, None] + 1999 / 2
    assert surface.shape == (7, 4)
    np.testing.assert_allclose(surface.loss, want, rtol=1e-12)
    assert np.all(surface.n == 2000)
    assert np.all(np.isnan(surface.accuracy))  # this worker measures none
    assert surface.meta.passes_done == {1: 1, 2: 2, "grow": 3}[passes]
    assert list(surface.path["loss_plane"]) == [1.0, 1.0]
    kinds = [type(e) for e, _ in events]
    assert kinds.index(SurfaceBegin) < kinds.index(PathDone) < kinds.index(SurfaceRow)
    assert kinds[-1] is SurfaceDone
    assert kinds.count(SurfaceRow) == 7 * surface.meta.passes_done
    _row, arrays = next((e, a) for e, a in events if isinstance(e, SurfaceRow))
    assert arrays["loss"].dtype == np.dtype("<f4")
    assert arrays["loss"].shape == (4,)
    progress = [e for e, _ in events if isinstance(e, JobProgress)]
    assert all(e.eta_s is None or (e.eta_s == 0) == (e.done == e.total) for e in progress)
    last = progress[-1]
    assert last.done == last.total == kinds.count(SurfaceRow)


def test_until_stops_after_the_first_whole_pass_that_is_good_enough(link, tmp_path):
    # The first share's losses are base + 0..511: s = 148, so sem * sqrt(1 - 512 / 2000) = 5.6.
    spec = SurfaceSpec(plane="p", passes="grow", until=7.0, grid=GridSpec(beta=AxisSpec(count=6)))
    surface = Surface.load(collect(link, spec, tmp_path)[0].file)
    assert surface.meta.passes_done == 1
    assert np.all(surface.n == 512)
    spec = SurfaceSpec(plane="p", passes="grow", until=1e-9, grid=GridSpec(beta=AxisSpec(count=6)))
    assert Surface.load(collect(link, spec, tmp_path)[0].file).meta.passes_done == 3


def test_pass_begins_again_when_memory_ran_out_and_the_record_says_so(link, tmp_path):
    spec = SurfaceSpec(plane="p", loss="memory", passes=3, grid=GridSpec(beta=AxisSpec(count=6)))
    result, events = collect(link, spec, tmp_path)
    surface = Surface.load(result.file)
    np.testing.assert_allclose(surface.loss, surface.alpha[None, :] + 10 * surface.beta[:, None] + 1999 / 2)
    assert np.all(surface.n == 2000)
    assert surface.meta.execution["batch_size"] == 64
    assert any(isinstance(e, LogLine) and "memory" in e.text for e, _ in events)


def test_refused_job_leaves_the_worker_usable(link, tmp_path):
    with pytest.raises(InputError, match="expected one of a, b") as refused:
        collect(link, TrainSpec(recipe=Recipe(model="unknown")), tmp_path)
    assert refused.value.path == "$.recipe.model"
    assert collect(link, PlaneSpec(), tmp_path)[0].plane


def test_unforeseen_error_names_the_log(link, tmp_path):
    with pytest.raises(ChildError, match=r"worker\.log"):
        collect(link, TrainSpec(recipe=Recipe(model="bug")), tmp_path)


def test_dry_job_ends_after_its_checks(link, tmp_path):
    assert collect(link, TrainSpec(), tmp_path, dry=True)[0].execution.device == "cpu"


def test_dead_worker_is_told_at_once_with_the_logs_path(link, tmp_path):
    started = time.monotonic()
    with pytest.raises(ChildError, match=r"SIGKILL.*worker\.log"):
        collect(link, TrainSpec(recipe=Recipe(model="crash")), tmp_path)
    assert time.monotonic() - started < 2
    assert "hello from the log" in (tmp_path / "worker.log").read_text()


def test_first_interrupt_stops_a_training_and_keeps_its_checkpoints(link, tmp_path):
    def stop_early(event, _arrays):
        if isinstance(event, RunEpoch) and event.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    job = loop.Job(spec=TrainSpec(recipe=Recipe(model="slow", epochs=1000)), workspace=tmp_path)
    with pytest.raises(Interrupted) as stopped:
        loop.drive(loop.run(link, job), stop_early)
    assert "checkpoints" in stopped.value.kept


def test_first_interrupt_keeps_the_finished_rows_as_a_partial_file(link, tmp_path):
    def stop_early(event, _arrays):
        if isinstance(event, SurfaceRow) and link.interrupt.count == 0:
            os.kill(os.getpid(), signal.SIGINT)

    spec = SurfaceSpec(plane="p", loss="slow", grid=GridSpec(beta=AxisSpec(count=400)))
    job = loop.Job(spec=spec, workspace=tmp_path, file=tmp_path / "x.npz")
    with pytest.raises(Interrupted) as stopped:
        loop.drive(loop.run(link, job), stop_early)
    partial = Surface.load(tmp_path / "x.partial.npz")
    assert not (tmp_path / "x.npz").exists()
    assert str(tmp_path / "x.partial.npz") in stopped.value.kept
    measured = np.all(partial.n > 0, axis=1)
    assert 0 < measured.sum() < 400
    assert np.all(np.isnan(partial.loss[~measured]))
    assert partial.meta.passes_done == 0


def test_second_interrupt_stops_at_once(link, tmp_path):
    def insist(event, _arrays):
        os.kill(os.getpid(), signal.SIGINT)

    job = loop.Job(spec=TrainSpec(recipe=Recipe(model="slow", epochs=1000)), workspace=tmp_path)
    with pytest.raises(Interrupted):
        loop.drive(loop.run(link, job), insist)


def test_worker_ends_when_its_parent_is_killed(tmp_path):
    """kill -9 of the command leaves no orphan: the worker sees its pipe close."""
    import subprocess

    script = f"""
import sys, time
sys.path.insert(0, {os.path.dirname(__file__)!r})
from test_tui_loop import FAKE_WORKER
from pathlib import Path
from tui import loop
from tui.interrupt import interrupts
from tui.link import Link
with interrupts() as stop, Link(Path({str(tmp_path / "log")!r}), stop, [sys.executable, "-c", FAKE_WORKER]) as link:
    loop.ready(link)
    print(link.pid, flush=True)
    time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and _alive(worker):
        time.sleep(0.02)
    assert not _alive(worker)


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
