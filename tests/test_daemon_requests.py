"""What the daemon answers and does over the wire, with workers that need no torch: queue, ids, pieces, deletions."""

from __future__ import annotations

import hashlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import zmq
from daemons import Daemon, Witness, done, info, submit, submitted, told, until, wait, workspace

from compute import jobs
from protocol import codec
from protocol import requests as r
from protocol.client import Client
from protocol.errors import InputError
from protocol.exchange import ClientError, new_id
from protocol.files import Surface
from protocol.grid import AxisSpec, GridSpec
from protocol.messages import (
    ExportSpec,
    ImportSpec,
    JobProgress,
    JobStateEvent,
    PlaneSpec,
    Recipe,
    SurfaceRow,
    SurfaceSpec,
    TrainSpec,
    WorkerCheckpoint,
    WorkerRow,
)
from protocol.requests import Submitted

GRID = GridSpec(alpha=AxisSpec(count=5), beta=AxisSpec(count=8))
PIECE = 20_000
ODD: dict[str, Any] = {"fake": True, "patience_s": 0.3, "set": {"compute.answers.PIECE": PIECE}}


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with workspace() as folder, Daemon(folder, odd=ODD) as running:
        yield running


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    how(daemon.folder)
    with Client.connect(daemon.folder) as connected:
        yield connected
    how(daemon.folder)


@pytest.fixture(scope="module")
def plane(daemon: Daemon) -> str:
    with Client.connect(daemon.folder) as client:
        return made_plane(client)


def how(folder: Path, **knobs: Any) -> None:
    """Tell the workers how to behave from their next job on."""
    (folder / "fake.json").write_text(json.dumps(knobs))


def made_plane(client: Client, seed: int = 0) -> str:
    train = new_id()
    train, plane = submit(
        client,
        submitted(TrainSpec(recipe=Recipe(model="mlp", epochs=2, seed=seed)), job=train),
        submitted(PlaneSpec(origin=f"job:{train}", recipe=Recipe(model="mlp"))),
    )
    result = done(client, plane).result
    assert result is not None
    return result.plane or ""


def measure(plane: str, seed: int, **more: Any) -> SurfaceSpec:
    return SurfaceSpec(**{"plane": plane, "grid": GRID, "seed": seed, "limit": 256, **more})


def refused(client: Client, request: r.Request) -> InputError:
    with pytest.raises(InputError) as e:
        client.request(request)
    return e.value


# ---------------------------------------------------------------- the queue


def test_priorities_then_first_come(client: Client, daemon: Daemon, plane: str) -> None:
    how(daemon.folder, row_s=0.05)
    (first,) = submit(client, measure(plane, 1))
    wait(client, first, "running")
    how(daemon.folder)
    low, high, mid, moved = submit(
        client,
        submitted(measure(plane, 2), priority=-5),
        submitted(measure(plane, 3), priority=9),
        submitted(measure(plane, 4)),
        submitted(measure(plane, 5)),
    )
    client.request(r.JobMove(id=new_id(), job=moved, priority=10))
    order = sorted((first, low, high, mid, moved), key=lambda j: done(client, j).started)
    assert order == [first, moved, high, mid, low]


def test_dependants_wait_and_fail_with_what_they_wait_for(client: Client, daemon: Daemon, plane: str) -> None:
    how(daemon.folder, row_s=0.05)
    a = submitted(measure(plane, 11), name="first")
    b = submitted(measure(plane, 12), after=(a.job,))
    c = submitted(ExportSpec(target=f"job:{b.job}"))
    submit(client, a, b, c)
    assert info(client, b.job).state == "waiting"
    client.request(r.JobCancel(id=new_id(), job=a.job))
    assert wait(client, a.job).state == "cancelled"
    assert "'first'" in (wait(client, b.job).error or "")
    assert wait(client, c.job).state == "failed"
    how(daemon.folder)
    for job in (a, b, c):
        client.request(r.JobRetry(id=new_id(), job=job.job))
    assert done(client, c.job).result.files  # type: ignore[union-attr]


def test_submission_is_all_or_nothing(client: Client, plane: str) -> None:
    good, bad = submitted(measure(plane, 21)), submitted(measure(plane, 22), after=(new_id(),))
    assert refused(client, r.JobSubmit(id=new_id(), jobs=(good, bad))).path == "$.jobs[1].after"
    assert refused(client, r.JobGet(id=new_id(), job=good.job)).code == "not_found"


def test_the_same_question_gets_the_same_result(client: Client, plane: str) -> None:
    (first,) = submit(client, measure(plane, 31))
    result = done(client, first).result
    (again,) = submit(client, measure(plane, 31))
    assert done(client, again).result == result
    assert info(client, again).started == ""  # no worker had it
    (new,) = submit(client, measure(plane, 31), on_conflict="new")
    assert done(client, new).result != result
    (error,) = submit(client, measure(plane, 31), on_conflict="error")
    found = wait(client, error)
    assert (found.state, found.code) == ("failed", "exists")
    assert new[-6:] in (found.error or "")


def test_what_is_left_is_told_of_running_and_queued_jobs(client: Client, daemon: Daemon, plane: str) -> None:
    how(daemon.folder, row_s=0.05, epoch_s=0.05)
    first = submit(client, measure(plane, 600), TrainSpec(recipe=Recipe(model="mlp", epochs=4, seed=4)))
    for job in first:  # 8 rows, 4 epochs: what queued ones are compared with
        done(client, job)
    how(daemon.folder, row_s=0.2)
    recipes = Recipe(model="mlp", epochs=10, seed=5), Recipe(batch_size=7)
    trainings = [TrainSpec(recipe=recipe) for recipe in recipes]
    running, queued, training, unknown = submit(client, *(measure(plane, 601 + k) for k in range(2)), *trainings)
    with client.subscribe(f"job/{running}/") as events:
        found = lambda: [e for e, _ in events.poll(0.1) if isinstance(e, JobProgress) and e.done > 2 and e.eta_s]  # noqa: E731
        event = until(found, "progress", 20)[-1]
    assert event.eta_s is not None
    left = info(client, running).eta_s
    assert left is not None
    assert event.eta_s - 0.3 <= left <= event.eta_s <= 4 * 0.2 * 2  # the same number, a moment later
    assert 0.3 < (info(client, queued).eta_s or 0) < 2  # of its own rows, at the speed of the first
    listed = {j.job: j.eta_s for j in client.request(r.JobList(id=new_id(), states=("queued", "running"))).jobs}
    assert listed[running]
    assert listed[queued] == info(client, queued).eta_s
    assert 0.4 < (listed[training] or 0) < 5  # ten epochs, at the speed of the first
    assert listed[unknown] is None
    for job in (running, queued, training, unknown):
        client.request(r.JobCancel(id=new_id(), job=job))
    assert wait(client, running).eta_s is None


def test_pause_keeps_what_is_stored_and_resume_goes_on(client: Client, daemon: Daemon, plane: str) -> None:
    how(daemon.folder, row_s=0.03)
    (job,) = submit(client, measure(plane, 41))
    wait(client, job, "running")
    until(lambda: info(client, job).done >= 2, "two rows")
    client.request(r.JobPause(id=new_id(), job=job))
    paused = wait(client, job, "paused")
    surface = paused.surface
    before = client.snapshot(f"surface/{surface}/").arrays["n"]
    assert 0 < (before > 0).all(axis=1).sum() < 8
    assert refused(client, r.JobPause(id=new_id(), job=job)).code == "wrong_state"
    (other,) = submit(client, measure(plane, 42))
    done(client, other)  # the worker is free for it meanwhile
    client.request(r.JobResume(id=new_id(), job=job))
    done(client, job)
    rows = [e for e in told(client, f"surface/{surface}/") if isinstance(e, SurfaceRow)]
    assert rows == []  # sealed: its file has them
    assert (client.snapshot(f"surface/{surface}/").arrays["n"] == 256).all()


@pytest.mark.parametrize("when", ["now", "boundary"])
def test_cancel_and_retry_keep_what_was_stored(client: Client, daemon: Daemon, plane: str, when: Any) -> None:
    how(daemon.folder, row_s=0.03)
    (job,) = submit(client, measure(plane, 51 if when == "now" else 52))
    wait(client, job, "running")
    until(lambda: info(client, job).done >= 2, "two rows")
    client.request(r.JobCancel(id=new_id(), job=job, when=when))
    cancelled = wait(client, job)
    assert cancelled.state == "cancelled"
    topic = f"surface/{cancelled.surface}/"
    kept = sum(isinstance(e, SurfaceRow) for e in told(client, topic))
    assert 2 <= kept < 8
    with Client.connect(daemon.folder) as other, other.subscribe(topic) as following:
        following.poll(2.0)
        client.request(r.JobRetry(id=new_id(), job=job))
        done(client, job)
        new = [e for e, _ in until(lambda: [i for i in following.poll(0.2) if isinstance(i[0], SurfaceRow)], "rows")]
    assert len(new) <= 8 - kept
    assert refused(client, r.JobCancel(id=new_id(), job=job)).code == "wrong_state"


def test_a_worker_that_does_not_obey_is_ended(client: Client, daemon: Daemon, plane: str) -> None:
    """SIGTERM after 0.3 s here, SIGKILL after as much again; it ignores the first two ways of asking."""
    how(daemon.folder, row_s=0.2, deaf=True)
    with Witness(daemon.folder) as witness, Client.connect(daemon.folder) as other:
        following = other.subscribe("worker/")
        (job,) = submit(client, measure(plane, 61))
        until(lambda: witness.rows_of_unfinished(), "a row")
        began = time.monotonic()
        client.request(r.JobCancel(id=new_id(), job=job))
        assert wait(client, job).state == "cancelled"
        assert 0.5 < time.monotonic() - began < 3
        ended = until(lambda: [e for e, _ in following.poll(0.1) if getattr(e, "state", "") == "ended"], "its end")
        assert "SIGKILL" in ended[0].why
    how(daemon.folder)
    (after,) = submit(client, measure(plane, 62))
    done(client, after)


def test_a_row_that_kills_three_workers_is_left_out(client: Client, daemon: Daemon, plane: str) -> None:
    how(daemon.folder, die=[3, 0])
    with Witness(daemon.folder) as witness:
        (job,) = submit(client, measure(plane, 71))
        found = done(client, job)
        assert found.result is not None
        topic = f"surface/{found.result.surface}/"
        until(lambda: topic in witness.ended, "the end")
        assert sorted(witness.told[topic]) == list(range(1, len(witness.told[topic]) + 1))  # no seq is missing
    sealed = Surface.load(daemon.folder / "surfaces" / f"{found.result.surface}.npz")
    assert (sealed.n[3] == 0).all()
    assert np.isnan(sealed.loss[3]).all()
    assert (np.delete(sealed.n, 3, axis=0) == 256).all()
    log = client.call(r.LogTail(id=new_id(), job=job))[1]["text"].tobytes().decode()
    assert "row 3 of pass 0 killed 3 workers" in log


def test_workers_may_die_over_different_rows(client: Client, daemon: Daemon, plane: str) -> None:
    """Five of them: each time something was stored since the last one."""
    how(daemon.folder, once=[1, 2, 3, 5, 6])
    (job,) = submit(client, measure(plane, 76))
    found = done(client, job)
    assert found.result is not None
    assert (Surface.load(daemon.folder / "surfaces" / f"{found.result.surface}.npz").n == 256).all()


def test_workers_that_die_with_nothing_stored_give_the_job_up(client: Client, daemon: Daemon) -> None:
    how(daemon.folder, say=[], epoch_s=9)
    (job,) = submit(client, TrainSpec(recipe=Recipe(epochs=2, seed=82)))
    for _ in range(3):
        wait(client, job, "running")
        daemon_worker(daemon)
    failed = wait(client, job)
    assert failed.state == "failed"
    assert "3 workers died on it, the last one by SIGKILL" in (failed.error or "")


def daemon_worker(daemon: Daemon) -> None:
    """Kill the worker that has a job."""
    import os

    with Client.connect(daemon.folder) as client:

        def busy() -> list[int]:
            workers = client.request(r.Status(id=new_id())).workers
            return [w["pid"] for w in workers if w["state"] == "busy"]

        pid = until(busy, "a busy worker")[0]
        os.kill(pid, signal.SIGKILL)
        until(lambda: pid not in busy(), "its end")


def test_a_worker_that_talks_nonsense_is_ended_and_its_job_fails(client: Client, daemon: Daemon, plane: str) -> None:
    job = new_id()
    wrong = WorkerCheckpoint(job=job, run="x", step=1, epoch=1.0, file="/etc/passwd", sha256="0" * 64)
    frames = [codec.encode(WorkerRow(job=job, i=0, pass_=0, n=1))[0].hex(), codec.encode(wrong)[0].hex(), "ff00"]
    how(daemon.folder, say=frames)
    submit(client, submitted(TrainSpec(recipe=Recipe(epochs=2, seed=91)), job=job))
    failed = wait(client, job)
    assert (failed.state, failed.code) == ("failed", "internal")
    assert "sent what cannot be used" in (failed.error or "")
    how(daemon.folder)
    (after,) = submit(client, measure(plane, 92))
    done(client, after)


# ---------------------------------------------------------------- ids


def test_the_same_id_gets_the_same_reply_also_after_a_restart() -> None:
    with workspace() as folder, Daemon(folder, odd=ODD) as daemon:
        with Client.connect(folder) as client:
            request = r.JobSubmit(id=new_id(), jobs=(submitted(TrainSpec(recipe=Recipe(epochs=1))),))
            first = client.request(request)
            assert client.request(request) == first
            job = request.jobs[0].job
            done(client, job)
            assert client.request(request) == first  # the reply of then, not the state of now
            other = msgspec.structs.replace(request, jobs=(submitted(TrainSpec(recipe=Recipe(epochs=2))),))
            assert refused(client, other).code == "id_reused"
        daemon.kill()
        daemon.start()
        with Client.connect(folder) as client:
            assert client.request(request) == first
            assert refused(client, other).code == "id_reused"
            assert len(client.request(r.JobList(id=new_id())).jobs) == 1


def test_an_id_is_reused_while_the_first_is_being_done(client: Client, daemon: Daemon) -> None:
    """Both are in the daemon's hands before the first is committed."""
    id = new_id()
    several = [r.JobSubmit(id=id, jobs=(submitted(TrainSpec(recipe=Recipe(epochs=1, seed=s))),)) for s in (101, 102)]
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.connect(f"ipc://{daemon.folder}/cmd")
    for request in (*several, several[0]):
        socket.send_multipart(codec.encode(request))
    replies = []
    for _ in range(3):
        assert socket.poll(5000)
        replies.append(codec.decode(socket.recv_multipart(), r.Reply)[0])
    socket.close(0)
    context.term()
    assert sorted(type(x).__name__ for x in replies) == ["Err", "Ok", "Ok"]
    assert next(x for x in replies if isinstance(x, r.Err)).code == "id_reused"
    assert refused(client, r.JobGet(id=new_id(), job=several[1].jobs[0].job)).code == "not_found"
    done(client, several[0].jobs[0].job)


def test_an_expired_request_is_not_done(client: Client) -> None:
    job = submitted(TrainSpec(recipe=Recipe(epochs=1, seed=103)))
    with pytest.raises(ClientError, match="expired"):
        client.request(r.JobSubmit(id=new_id(), jobs=(job,), expires_at=time.time() - 1))
    assert refused(client, r.JobGet(id=new_id(), job=job.job)).code == "not_found"


# ---------------------------------------------------------------- what does not fit


@pytest.mark.parametrize("deterministic", [True, False, None])
def test_a_surface_of_kernels_that_differ_from_run_to_run_says_so(
    client: Client, daemon: Daemon, plane: str, tmp_path: Path, deterministic: bool | None
) -> None:
    how(daemon.folder, deterministic=deterministic)
    (job,) = submit(client, measure(plane, 710), on_conflict="new")
    result = done(client, job).result
    assert result is not None
    assert result.deterministic is deterministic
    meta = Surface.load(client.fetch(tmp_path / "s.npz", surface=result.surface)).meta
    assert meta.execution.get("deterministic", True) is (deterministic is not False)


def test_heads_of_a_kind_are_those_of_its_topics(client: Client, plane: str) -> None:
    (job,) = submit(client, measure(plane, 700))
    surface = done(client, job).surface
    heads = client.request(r.Heads(id=new_id(), topics=("job/", f"surface/{surface}/", "run/none/"))).heads
    assert heads[f"job/{job}/"] == 4  # waiting, queued, running, done
    assert heads[f"surface/{surface}/"] > 8
    assert heads["run/none/"] == 0
    assert "job/" not in heads
    assert {topic.split("/")[0] for topic in heads} == {"job", "surface", "run"}
    assert len([topic for topic in heads if topic.startswith("surface/")]) == 1


def test_lists_are_cut_where_a_header_ends(client: Client, daemon: Daemon, plane: str) -> None:
    how(daemon.folder, row_s=1.0)  # none of them ends meanwhile
    names = ["n" * 200] * 100
    specs = [submitted(measure(plane, 200 + k), name=n, priority=-50) for k, n in enumerate(names)]
    reply = client.request(r.JobSubmit(id=new_id(), jobs=tuple(specs[:100])))
    assert [j.job for j in reply.jobs] == [s.job for s in specs]
    found, cursor = [], None
    while True:
        page = client.request(r.JobList(id=new_id(), limit=200, cursor=cursor))
        found += [j.job for j in page.jobs]
        cursor = page.next
        if cursor is None:
            break
    assert {s.job for s in specs} <= set(found)
    assert len(found) == len(set(found))
    for s in specs:
        client.request(r.JobCancel(id=new_id(), job=s.job))


def test_an_error_does_not_repeat_all_that_was_sent(client: Client) -> None:
    long = "x" * 60_000
    assert len(refused(client, r.JobGet(id=new_id(), job=long)).msg) < 2100
    (job,) = submit(client, SurfaceSpec(plane="y" * 40_000))
    found = wait(client, job)
    assert found.state == "failed"
    assert len(found.error or "") <= jobs.MAX_ERROR


# ---------------------------------------------------------------- files and logs


def test_files_come_and_go_in_pieces(
    client: Client, daemon: Daemon, plane: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Export, fetch, upload, import, and fetch again, each in several pieces (of 20 kB here)."""
    monkeypatch.setattr("protocol.conversations.PIECE", PIECE)
    grid = GridSpec(alpha=AxisSpec(count=90), beta=AxisSpec(count=90))
    (job,) = submit(client, measure(plane, 301, grid=grid))
    surface = done(client, job).result.surface  # type: ignore[union-attr]
    (export,) = submit(client, ExportSpec(target=surface or ""))
    done(client, export)
    first = client.fetch(tmp_path / "first.npz", job=export)
    assert first.stat().st_size > 3 * PIECE
    (made,) = (daemon.folder / "exports" / export).iterdir()
    assert first.read_bytes() == made.read_bytes()
    upload = client.upload(first)
    (imported,) = submit(client, ImportSpec(upload=upload))
    again = done(client, imported).result.surface  # type: ignore[union-attr]
    second = client.fetch(tmp_path / "second.npz", surface=again)
    for name in ("alpha", "beta", "loss", "accuracy", "sem", "n"):
        a, b = getattr(Surface.load(first), name), getattr(Surface.load(second), name)
        assert a.tobytes() == b.tobytes()
    wrong = r.FileGet(id=new_id(), job=export, name="../../state.db")
    assert "expected one of" in refused(client, wrong).msg
    assert refused(client, r.FileGet(id=new_id(), surface=surface, offset=10**9)).path == "$.offset"


def test_an_upload_is_checked(client: Client) -> None:
    data = np.arange(100, dtype=np.uint8)
    right = hashlib.sha256(data.tobytes()).hexdigest()
    upload = r.Upload(id=new_id(), upload=new_id(), sha256="0" * 64, total=100, offset=0)
    with pytest.raises(InputError, match="sha256"):
        client.request(upload, {"piece": data})
    ahead = r.Upload(id=new_id(), upload=new_id(), sha256=right, total=100, offset=50)
    with pytest.raises(InputError, match="expected the piece at 0"):
        client.request(ahead, {"piece": data[50:]})
    good = new_id()
    for offset in (0, 0, 60, 60):  # each piece twice: a reply was lost
        piece = data[:60] if offset == 0 else data[60:]
        reply = client.request(
            r.Upload(id=new_id(), upload=good, sha256=right, total=100, offset=offset), {"piece": piece}
        )
    assert reply == r.UploadReply(received=100, complete=True)


def test_the_log_of_a_job_is_read_from_either_end(client: Client) -> None:
    (job,) = submit(client, TrainSpec(recipe=Recipe(epochs=1, seed=401)))
    done(client, job)
    whole, arrays = client.call(r.LogTail(id=new_id(), job=job))
    text = arrays["text"].tobytes()
    assert b"running" in text
    assert b"done" in text
    end = client.call(r.LogTail(id=new_id(), job=job, offset=-5))[1]["text"].tobytes()
    assert end == text[-5:]
    later, rest = client.call(r.LogTail(id=new_id(), job=job, offset=whole.total + 50))
    assert (later.offset, rest["text"].size) == (whole.total, 0)


# ---------------------------------------------------------------- deletions


def test_what_is_in_use_cannot_be_deleted(client: Client, daemon: Daemon) -> None:
    mine = made_plane(client, seed=501)
    how(daemon.folder, row_s=0.05)
    hold, waiting = submitted(measure(mine, 502)), new_id()
    plane_job = submitted(PlaneSpec(origin=plane_run(client, mine)), on_conflict="existing")
    late = submitted(SurfaceSpec(plane=f"job:{plane_job.job}", grid=GRID, limit=256), job=waiting, after=(hold.job,))
    submit(client, plane_job, hold, late)
    running = wait(client, hold.job, "running")
    assert refused(client, r.PlaneDelete(id=new_id(), plane=mine)).code == "wrong_state"
    until(lambda: info(client, hold.job).surface, "its surface")
    until(lambda: info(client, hold.job).done, "a row")
    surface = info(client, hold.job).surface
    assert refused(client, r.SurfaceDelete(id=new_id(), surface=surface or "")).code == "wrong_state"
    client.request(r.JobCancel(id=new_id(), job=running.job))
    wait(client, waiting)
    client.request(r.SurfaceDelete(id=new_id(), surface=surface or ""))
    assert refused(client, r.SurfaceGet(id=new_id(), surface=surface or "")).code == "not_found"
    client.request(r.PlaneDelete(id=new_id(), plane=mine))
    until(lambda: not (daemon.folder / "planes" / f"{mine}.safetensors").exists(), "its end", 5)


def test_what_a_waiting_job_refers_to_through_a_job_is_in_use(client: Client, daemon: Daemon, plane: str) -> None:
    how(daemon.folder, row_s=0.1)
    hold = submitted(measure(plane, 511))
    of_plane = submitted(PlaneSpec(origin=plane_run(client, plane), options={"seed": 5}))
    submit(client, of_plane)
    mine = done(client, of_plane.job).result.plane or ""  # type: ignore[union-attr]
    late = submitted(SurfaceSpec(plane=f"job:{of_plane.job}", grid=GRID, limit=256), after=(hold.job,))
    submit(client, hold, late)
    assert info(client, late.job).state == "waiting"
    assert refused(client, r.PlaneDelete(id=new_id(), plane=mine)).code == "wrong_state"
    client.request(r.JobCancel(id=new_id(), job=hold.job))
    wait(client, late.job)


def plane_run(client: Client, plane: str) -> str:
    """The newest run."""
    return str(client.request(r.RunList(id=new_id(), limit=1)).items[0]["id"])


# ---------------------------------------------------------------- the end of the daemon


@pytest.mark.parametrize("mode", ["now", "finish", "SIGTERM"])
def test_an_orderly_end_keeps_everything_and_goes_on(mode: str) -> None:
    with workspace() as folder, Daemon(folder, odd=ODD) as daemon:
        with Client.connect(folder) as client:
            mine = made_plane(client)
            how(folder, row_s=0.03)
            (job,) = submit(client, measure(mine, 1))
            until(lambda: info(client, job).done >= 2, "two rows")
            if mode != "SIGTERM":
                client.request(r.DaemonShutdown(id=new_id(), mode=mode))
                assert daemon.child is not None
                assert daemon.child.wait(5) == 0
        if mode == "SIGTERM":
            assert daemon.stop() < 5
        assert not daemon.workers()
        assert [f.name for f in folder.iterdir() if f.name in ("cmd", "evt", "wrk", "daemon.json")] == []
        daemon.start()
        with Client.connect(folder) as client:
            done(client, job)
            states = [e.state for e in told(client, f"job/{job}/") if isinstance(e, JobStateEvent)]
            assert states == ["waiting", "queued", "running", "queued", "running", "done"]


def test_submitted_is_what_a_hundred_jobs_fit(client: Client) -> None:
    jobs = tuple(Submitted(job=new_id(), spec=PlaneSpec(origin="nowhere" * 5), name="n" * 150) for _ in range(100))
    reply = client.request(r.JobSubmit(id=new_id(), jobs=jobs))
    assert [j.job for j in reply.jobs] == [j.job for j in jobs]
