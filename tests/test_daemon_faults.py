"""What must hold when something breaks: a test for each row of the table in docs/reliability.md."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chaos
import msgpack
import numpy as np
import pytest
import zmq
from daemons import (
    RECIPE,
    Daemon,
    Witness,
    done,
    frozen,
    info,
    made_of,
    memory,
    orphans,
    submit,
    until,
    wait,
    workspace,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from compute import lock
from compute.store.restore import restore
from protocol import codec, keys
from protocol import requests as r
from protocol.client import Client
from protocol.connection import FILE
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.grid import AxisSpec, GridSpec
from protocol.messages import ExportSpec, PlaneSpec, Recipe, SurfaceSpec, TrainSpec

FAKE: dict[str, Any] = {"fake": True}


def grid(width: int, height: int) -> GridSpec:
    return GridSpec(alpha=AxisSpec(count=width), beta=AxisSpec(count=height))


def how(folder: Path, **knobs: Any) -> None:
    """Tell the fake workers how to behave from their next job on."""
    (folder / "fake.json").write_text(json.dumps(knobs))


def rows_there(client: Client, surface: str | None) -> int:
    """Rows of a surface that are stored."""
    return int((client.snapshot(f"surface/{surface}/").arrays["n"] > 0).all(axis=1).sum())


@pytest.fixture
def fake() -> Iterator[Daemon]:
    """A daemon of its own with workers that need no torch."""
    with workspace() as folder, Daemon(folder, odd=FAKE) as running:
        yield running


# ---------------------------------------------------------------- kill -9


@pytest.fixture(scope="module")
def expected() -> chaos.Outcome:
    with workspace() as folder:
        return chaos.undisturbed(folder)


def test_kills_lose_nothing_and_change_nothing(expected: chaos.Outcome) -> None:
    """Twenty kills of daemon and workers, seeded; THALWEG_KILLS for another number."""
    count = int(os.environ.get("THALWEG_KILLS", "20"))
    with workspace() as folder:
        killed = chaos.Chaos(folder, seed=7, expected=expected)
        began = time.monotonic()
        log = killed.run(chaos.plan(count, seed=7))
        print(chaos.table(killed, time.monotonic() - began))
    assert [lost for k in log for lost in k.lost] == []  # what was told is there
    assert [k for k in log if k.orphans] == []  # no worker outlives its daemon by 2 s
    assert killed.wrong == []  # surfaces and weights are those of an undisturbed run
    assert killed.pipelines > 0
    assert all(killed.hits()[name] for name in chaos.AIMS), log  # something was interrupted
    assert {k.victim for k in log} == {"daemon", "worker"}
    serving = sorted(k.serving_s for k in log if k.serving_s is not None)
    assert serving[len(serving) // 2] < 1.0  # half of them, since a busy machine is not the daemon's


def test_what_is_told_is_committed(fake: Daemon) -> None:
    """Kill the daemon the moment an event arrives, and look for it before a worker could make it again."""
    client = fake.client()
    _, plane = made_of(client)
    how(fake.folder, row_s=0.02)
    submit(client, SurfaceSpec(plane=plane, grid=grid(5, 400), limit=256))
    context: zmq.Context[Any] = zmq.Context()
    for _ in range(4):
        sub = context.socket(zmq.SUB)
        sub.setsockopt(zmq.SUBSCRIBE, b"surface/")
        sub.connect(f"ipc://{fake.folder}/evt")
        header: dict[str, Any] = {}
        while header.get("t") != "surface.row":
            assert sub.poll(10_000)
            topic, first, *_ = sub.recv_multipart()
            header = msgpack.unpackb(first)
        fake.kill()
        sub.close(0)
        fake.start()
        reply = fake.client().request(r.EventsSince(id=new_id(), topic=topic.decode(), seq=header["seq"] - 1))
        assert reply.head >= header["seq"]
    context.term()


def test_a_killed_training_ends_with_the_same_weights(expected: chaos.Outcome) -> None:
    with workspace() as folder, Daemon(folder) as daemon:
        client = daemon.client()
        (job,) = submit(client, TrainSpec(recipe=RECIPE))
        for victim in ("worker", "daemon"):
            before = len(list(folder.glob("runs/*/step-*")))
            worker = daemon.worker()
            until(lambda: len(list(folder.glob("runs/*/step-*"))) > before, "a checkpoint", every_s=0.001)  # noqa: B023
            if victim == "worker":
                os.killpg(worker, signal.SIGKILL)
            else:
                daemon.kill()
                assert orphans(folder) == []
                daemon.start()
                client = daemon.client()
        run = done(client, job).result.run or ""  # type: ignore[union-attr]
        weights = chaos.weights(folder, run)
        assert weights == expected.weights


# ---------------------------------------------------------------- a full disk


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 64 MiB in memory, most of it taken by a file."""
    with workspace() as folder:
        disk = folder / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("needs root and mount, for a file system that really is full")
        yield disk
        subprocess.run(["umount", "-l", str(disk)], check=False)


def leave(disk: Path, free: int) -> Path:
    """Fill a disk up to so many bytes."""
    filler = disk / "filler"
    with open(filler, "wb") as out:
        stat = os.statvfs(disk)
        os.posix_fallocate(out.fileno(), 0, stat.f_bavail * stat.f_frsize - free)
    return filler


def test_a_full_disk_pauses_a_surface_until_there_is_room(small_disk: Path) -> None:
    odd = {**FAKE, "set": {"compute.service.ROOM_BYTES": 30 << 20}}
    with Daemon(small_disk, odd=odd) as daemon, Witness(small_disk) as witness:
        client = daemon.client()
        _, plane = made_of(client)
        filler = leave(small_disk, 8 << 20)
        (job,) = submit(client, SurfaceSpec(plane=plane, grid=grid(1001, 500), limit=256))
        paused = wait(client, job, "paused", "failed", "done")
        assert (paused.state, paused.code) == ("paused", "no_space"), paused.error
        assert "the disk is full" in (paused.error or "")
        there = rows_there(client, paused.surface)
        assert there > 0
        assert witness.lost(client) == []
        assert client.request(r.Status(id=new_id())).store["full"]
        (queued,) = submit(client, SurfaceSpec(plane=plane, grid=grid(5, 5), limit=256))  # small writes are taken
        wait(client, queued, "queued")
        filler.unlink()
        done(client, job)
        done(client, queued)
        assert rows_there(client, paused.surface) == 500


def test_a_full_disk_pauses_a_training_until_there_is_room(small_disk: Path) -> None:
    odd: dict[str, Any] = {"set": {"compute.service.ROOM_BYTES": 30 << 20}}
    with Daemon(small_disk, odd=odd) as daemon:
        client = daemon.client()
        recipe = Recipe(model="mlp", model_options={"width": 512}, epochs=4, batch_size=512)  # 1.2 MB a checkpoint
        filler = leave(small_disk, 5 << 20)
        (job,) = submit(client, TrainSpec(recipe=recipe))
        paused = wait(client, job, "paused", "failed", "done")
        assert (paused.state, paused.code) == ("paused", "no_space"), paused.error
        assert not list(small_disk.glob("runs/*/.*.tmp"))
        filler.unlink()
        assert done(client, job).result.run  # type: ignore[union-attr]


# ---------------------------------------------------------------- damaged files


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "emptied"])
def test_a_damaged_database_is_refused_and_restored(fake: Daemon, damage: str) -> None:
    with Client.connect(fake.folder) as client:
        _, plane = made_of(client)
        (job,) = submit(client, SurfaceSpec(plane=plane, grid=grid(5, 5), limit=256))
        surface = done(client, job).result.surface  # type: ignore[union-attr]
        backup = Path(client.request(r.StoreBackup(id=new_id())).file).name
    fake.kill()
    file = fake.folder / "state.db"
    (fake.folder / "state.db-wal").unlink(missing_ok=True)
    content = file.read_bytes() or bytes(100_000)
    file.write_bytes(
        {"truncated": content[: len(content) // 2 + 17], "overwritten": b"\x5a" * len(content), "emptied": b""}[damage]
    )
    ended = fake.run()
    assert ended.returncode == 2
    assert "state.db" in ended.stderr
    assert backup in ended.stderr
    assert "thalweg store restore" in ended.stderr
    assert "Traceback" not in ended.stderr
    restore(fake.folder)
    fake.start()
    with Client.connect(fake.folder) as client:
        assert info(client, job).state == "done"
        assert rows_there(client, surface) == 5


def test_damaged_weights_are_refused_by_name() -> None:
    """A flipped bit loads silently in safetensors: the hash tells. Real workers, they are who reads."""
    with workspace() as folder, Daemon(folder) as daemon:
        client = daemon.client()
        run, plane = made_of(client)
        last = sorted((folder / "runs" / run).glob("step-*"))[-1]
        for file, spec in (
            (last, PlaneSpec(origin=run, options={"seed": 2})),
            (folder / "planes" / f"{plane}.safetensors", SurfaceSpec(plane=plane, grid=grid(3, 3), limit=256)),
        ):
            whole = file.read_bytes()
            for damaged in (whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:], whole[: len(whole) // 2]):
                file.write_bytes(damaged)
                (job,) = submit(client, spec, on_conflict="new")
                failed = wait(client, job)
                assert (failed.state, failed.code) == ("failed", "integrity"), failed.error
                assert file.name in (failed.error or "")
            problems = client.request(r.StoreVerify(id=new_id())).problems
            assert [p for p in problems if file.name in p] == list(problems) != []
            file.write_bytes(whole)
            client.request(r.JobRetry(id=new_id(), job=job))
            done(client, job)


def test_a_cut_checkpoint_is_quarantined_at_the_start(fake: Daemon) -> None:
    with Client.connect(fake.folder) as client:
        run, _ = made_of(client)
    fake.kill()
    file = sorted((fake.folder / "runs" / run).glob("step-*"))[0]
    file.write_bytes(file.read_bytes()[:-5])
    fake.start()
    assert not file.exists()
    assert [f.name for f in (fake.folder / "quarantine").iterdir()] == [f"runs__{run}__{file.name}"]
    with Client.connect(fake.folder) as client:
        listed = client.request(r.CheckpointList(id=new_id(), run=run)).items
        assert [c["missing"] for c in listed] == [True] + [False] * (len(listed) - 1)


def test_a_damaged_surface_is_refused_by_name(fake: Daemon, tmp_path: Path) -> None:
    client = fake.client()
    _, plane = made_of(client)
    (job,) = submit(client, SurfaceSpec(plane=plane, grid=grid(5, 5), limit=256))
    surface = done(client, job).result.surface or ""  # type: ignore[union-attr]
    file = fake.folder / "surfaces" / f"{surface}.npz"
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:700] + bytes(64) + whole[764:], b""):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=file.name) as e:
            client.snapshot(f"surface/{surface}/")
        assert e.value.code == "integrity"
        with pytest.raises(InputError):
            client.fetch(tmp_path / "s.npz", surface=surface)
        assert not (tmp_path / "s.npz").exists()
        (export,) = submit(client, ExportSpec(target=surface))
        assert file.name in (wait(client, export).error or "")
    file.write_bytes(whole)
    client.fetch(tmp_path / "s.npz", surface=surface)


def test_a_damaged_server_key_is_refused_by_name(fake: Daemon) -> None:
    fake.kill()
    key = fake.folder / "keys" / "server.key_secret"
    keys.server(fake.folder)
    key.write_bytes(key.read_bytes()[:-60])
    tcp = Daemon(fake.folder, "--tcp", "0", odd=FAKE)
    ended = tcp.run()
    assert ended.returncode == 2
    assert str(key) in ended.stderr
    assert "Traceback" not in ended.stderr
    fake.start()  # without TCP no key is needed; and the refused one left nothing behind


def test_stale_files_of_a_killed_daemon_are_replaced(fake: Daemon) -> None:
    before = json.loads((fake.folder / FILE).read_bytes())
    fake.kill()
    with pytest.raises(InputError, match="has stopped"):
        Client.connect(fake.folder)
    assert (fake.folder / "cmd").is_socket()
    (fake.folder / "lock").write_bytes(b"\xff\x00 not a holder")
    (fake.folder / FILE).write_bytes(b'{"proto": 1, "cmd": ')
    with pytest.raises(InputError, match="corrupted connection file"):
        Client.connect(fake.folder)
    fake.start()
    after = json.loads((fake.folder / FILE).read_bytes())
    assert (after["store"], after["boot"] == before["boot"]) == (before["store"], False)


# ---------------------------------------------------------------- what is taken already


def test_a_second_daemon_names_the_first_and_changes_nothing(fake: Daemon) -> None:
    client = fake.client()
    connection = (fake.folder / FILE).read_bytes()
    ended = Daemon(fake.folder, odd=FAKE).run()
    assert ended.returncode == 2
    assert f"process {fake.pid} on {socket.gethostname()}" in ended.stderr
    assert (fake.folder / FILE).read_bytes() == connection
    client.request(r.Ping(id=new_id()))


def test_a_daemon_on_another_machine_is_named() -> None:
    with workspace() as folder:
        held = lock.acquire(folder)
        held.seek(0)
        held.truncate()
        held.write(b'{"pid": 5, "host": "elsewhere"}')
        held.flush()
        ended = Daemon(folder, odd=FAKE).run()
        assert ended.returncode == 2
        assert "process 5 on elsewhere" in ended.stderr
        assert "--ssh elsewhere" in ended.stderr
        held.close()


@pytest.mark.parametrize("name", ["cmd", "evt", "wrk"])
def test_a_socket_file_in_use_is_not_stolen(name: str) -> None:
    with workspace() as folder:
        taken = socket.socket(socket.AF_UNIX)
        taken.bind(str(folder / name))
        taken.listen()
        ended = Daemon(folder, odd=FAKE).run()
        assert ended.returncode == 2
        assert f"process {os.getpid()} listens" in ended.stderr
        taken.setblocking(False)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / name))  # still ours
        taken.close()
        with Daemon(folder, odd=FAKE):
            pass  # now it is a stale file


def test_a_port_in_use_is_named_and_nothing_is_left(fake: Daemon) -> None:
    fake.stop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = Daemon(fake.folder, "--tcp", str(port), odd=FAKE).run()
        assert ended.returncode == 2
        assert f"tcp://127.0.0.1:{port}: cannot listen there" in ended.stderr
    left = {f.name for f in fake.folder.iterdir()}
    assert not left & {"cmd", "evt", "wrk", FILE}
    fake.start()


# ---------------------------------------------------------------- time


def test_no_timeout_fires_when_the_clock_moves_by_a_day() -> None:
    """Both ways, in the middle of a surface. The clock of the process is replaced; a real one is everybody's."""
    with workspace() as folder:
        clock = folder / "clock"
        with Daemon(folder, odd={**FAKE, "clock": str(clock)}) as daemon, Witness(folder) as witness:
            client = daemon.client()
            _, plane = made_of(client)
            how(folder, row_s=0.05)
            following = client.subscribe(("worker/", "job/"))
            following.poll(0.5)
            (job,) = submit(client, SurfaceSpec(plane=plane, grid=grid(5, 80), limit=256))
            seen: list[Any] = []
            for ahead in (86_400.0, -86_400.0):
                rows = (witness.rows_of_unfinished() or (0, 0.0))[0]
                clock.write_text(str(ahead))
                until(lambda: (witness.rows_of_unfinished() or (0, 0.0))[0] >= rows + 4, "rows", 10)  # noqa: B023
                beats = witness.beats
                until(lambda: witness.beats > beats, "a beat", 3)  # noqa: B023
                seen += [event for event, _ in following.poll(0.1)]
            done(client, job)
            seen += [event for event, _ in following.poll(0.5)]
            assert not [e for e in seen if getattr(e, "state", "") in ("ended", "stale", "lost", "queued")][1:], seen
            assert len(client.request(r.Status(id=new_id())).workers) >= 1


# ---------------------------------------------------------------- slow, strange and hostile clients

SUBSCRIBER = """
import hashlib, sys
import numpy as np
from protocol.client import Client
from protocol.messages import SurfaceDone, SurfaceRow
from protocol.snapshots import Restored

loss, sealed = None, False
for event, arrays in Client.connect(sys.argv[1]).subscribe(sys.argv[2]):
    if isinstance(event, Restored):
        loss, sealed = np.array(event.arrays["loss"]), event.state["file"] is not None
        print("ready", flush=True)
    elif isinstance(event, SurfaceRow):
        loss[event.i] = arrays["loss"]
    elif isinstance(event, SurfaceDone):
        sealed = True
    if sealed:
        break
print("end", hashlib.sha256(loss.tobytes()).hexdigest(), flush=True)
"""


@pytest.mark.parametrize(
    ("height", "width", "passes"), [(1200, 1001, 2), pytest.param(4096, 101, 15, marks=pytest.mark.slow)]
)
def test_a_stopped_subscriber_costs_no_memory_and_is_exact_when_it_wakes(
    fake: Daemon, height: int, width: int, passes: int
) -> None:
    """The same surface again and again, in turns with a subscriber that reads and one that is stopped after the first
    rows. What counts is what the daemon holds when the surface is sealed and its subscriber has not moved yet: on the
    way there the allocator keeps a few copies of the surface or not, 30 MB more or less."""
    fake.stop()
    # The newest snapshot stays for the whole of the test, the others go at once: one that went in between would show.
    fake.odd = {**FAKE, "set": {"compute.desk.SNAPSHOTS_BYTES": 0, "compute.desk.SNAPSHOT_S": 1e9}}
    client = fake.start().client()
    _, plane = made_of(client)
    spec = SurfaceSpec(plane=plane, grid=grid(width, height), limit=256 << passes, passes=passes)

    def held(stop: bool) -> int:
        """What the daemon holds at the end of the surface; then its subscriber must have all of it."""
        (job,) = submit(client, spec, on_conflict="new")
        wait(client, job, "running")
        client.request(r.JobPause(id=new_id(), job=job))
        surface = wait(client, job, "paused").surface
        child = subprocess.Popen(
            [sys.executable, "-c", SUBSCRIBER, str(fake.folder), f"surface/{surface}/"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            assert rows_there(client, surface) < height / 2
            if stop:
                frozen(child.pid)
            client.request(r.JobResume(id=new_id(), job=job))
            done(client, job)
            found, since = memory(fake.pid), time.monotonic()
            while time.monotonic() - since < 1.5:  # what is free goes back to the system in half a second
                client.request(r.Ping(id=new_id()))
                if memory(fake.pid) < found:
                    found, since = memory(fake.pid), time.monotonic()
                time.sleep(0.05)
            os.kill(child.pid, signal.SIGCONT)
            digest = next(line for line in child.stdout if line.startswith("end")).split()[1]
        finally:
            child.kill()
            child.wait()
        whole = client.snapshot(f"surface/{surface}/").arrays["loss"]
        assert digest == hashlib.sha256(np.ascontiguousarray(whole).tobytes()).hexdigest()
        return found

    pairs = [(held(stop=False), held(stop=True)) for _ in range(2)]
    grown = min(with_stopped - without for without, with_stopped in pairs)  # the first has what comes with a first time
    print(f"{height * passes} rows of {width} points: the daemon grew by {grown / 2**20:.1f} MiB")
    assert grown < 12 << 20  # 200 events wait for it, 2.4 MB; all of them are 29 MB, and more with many narrow rows


def test_events_come_as_long_as_somebody_is_subscribed(fake: Daemon) -> None:
    """What nobody listens to is not sent: who leaves, or comes back, takes nothing from the others."""
    client = fake.client()
    _, plane = made_of(client)
    context: zmq.Context[Any] = zmq.Context()

    def listening() -> zmq.Socket[bytes]:
        sub: zmq.Socket[bytes] = context.socket(zmq.SUB)
        for prefix in (b"surface/", b"hb/"):
            sub.setsockopt(zmq.SUBSCRIBE, prefix)
        sub.connect(f"ipc://{fake.folder}/evt")
        assert sub.poll(10_000)
        return sub

    def rows(sub: zmq.Socket[bytes], seed: int) -> list[int]:
        (job,) = submit(client, SurfaceSpec(plane=plane, grid=grid(5, 20), limit=256, seed=seed))
        surface, seqs = done(client, job).surface, list[int]()
        topic = f"surface/{surface}/".encode()
        while sub.poll(2000 if len(seqs) < 22 else 0):
            name, header, *_ = sub.recv_multipart()
            seqs += [msgpack.unpackb(header)["seq"]] * (name == topic)
        return seqs

    whole = list(range(1, 23))  # its beginning, twenty rows, its end
    first, second = listening(), listening()
    assert rows(first, 1) == rows(second, 2) == whole
    first.close(0)
    assert rows(second, 3) == whole
    second.close(0)
    third = listening()
    assert rows(third, 4) == whole
    third.close(0)
    context.term()


def state(client: Client) -> Any:
    """What no bad input may change."""
    status = client.request(r.Status(id=new_id()))
    jobs = client.request(r.JobList(id=new_id(), limit=200)).jobs
    return status.jobs, [(j.job, j.state, j.priority) for j in jobs]


def bare(folder: Path) -> tuple[zmq.Context[Any], zmq.Socket[bytes]]:
    context: zmq.Context[Any] = zmq.Context()
    made = context.socket(zmq.DEALER)
    made.setsockopt(zmq.LINGER, 0)
    made.connect(f"ipc://{folder}/cmd")
    return context, made


@pytest.fixture(scope="module")
def target() -> Iterator[tuple[Daemon, Client, zmq.Socket[bytes]]]:
    with workspace() as folder, Daemon(folder, odd=FAKE) as daemon:
        client = daemon.client()
        made_of(client)
        context, made = bare(folder)
        yield daemon, client, made
        made.close(0)
        context.term()


GOLDEN = json.loads((Path(__file__).parent / "golden" / "wire.json").read_text())
HEADERS = {name: bytes.fromhex(v["frames"][0]) for name, v in GOLDEN.items() if v["union"] == "requests"}
SUBMIT = HEADERS["job.submit"]
# A damaged one that is still a good request would do what it says: no state may follow from these.
HARMLESS = [data for name, data in HEADERS.items() if name not in ("job.submit", "daemon.shutdown", "upload")]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A golden vector with a few bytes changed, left out or put in; or a submission that is cut."""
    if draw(st.integers(0, 5)) == 0:
        return SUBMIT[: draw(st.integers(0, len(SUBMIT) - 1))]
    data = bytearray(draw(st.sampled_from(HARMLESS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(data)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(frames=st.lists(st.one_of(st.binary(max_size=200), damaged()), max_size=12))
def test_garbage_changes_nothing_and_the_next_request_is_answered(
    target: tuple[Daemon, Client, zmq.Socket[bytes]], frames: list[bytes]
) -> None:
    _, client, made = target
    before = state(client)
    if frames:
        made.send_multipart(frames)
    client.request(r.Ping(id=new_id()))
    assert state(client) == before
    while made.poll(0):
        reply = codec.decode(made.recv_multipart(), r.Reply)[0]
        assert "Traceback" not in getattr(reply, "msg", "")


def test_the_worst_headers_are_answered(target: tuple[Daemon, Client, zmq.Socket[bytes]]) -> None:
    """What decoding can raise beside ValueError, and what would not fit a reply."""
    _, client, made = target
    while made.poll(50):
        made.recv_multipart()
    deep = b"\x91" * 60_000
    texts = b"\x82\xa1t\xa4ping\xa2id\xdb" + (60_000).to_bytes(4, "big") + b"y" * 60_000
    long_path = codec.encode(r.JobGet(id="p", job="j" * 64_000))[0]
    broken = b"\x81\xa1t\xa4\xff\xfe\xfd\xfc"
    nan = codec.encode(r.Ping(id="n", expires_at=float("nan")))[0]
    large = msgpack.packb({"t": "ping", "id": "l", "later": "y" * 70_000})  # well-formed, and over the limit
    for header in (deep, texts, long_path, broken, nan, b"", b"\xc1", b"\x80", large):
        made.send_multipart([header])
        assert made.poll(5000), header[:20]
        reply = codec.decode(made.recv_multipart(), r.Reply)[0]
        assert isinstance(reply, r.Err), header[:20]
        assert len(reply.msg) < 2100
    client.request(r.Ping(id=new_id()))


def test_an_oversized_frame_is_dropped_by_the_library(target: tuple[Daemon, Client, zmq.Socket[bytes]]) -> None:
    daemon, client, _ = target
    context, made = bare(daemon.folder)
    before = memory(daemon.pid)
    made.send_multipart([codec.encode(r.Ping(id="p"))[0], bytes(codec.MAX_FRAME + 1)])
    client.request(r.Ping(id=new_id()))
    assert not made.poll(200)
    assert memory(daemon.pid) - before < 4 << 20
    made.close(0)
    context.term()


def test_a_flood_by_one_client_leaves_another_its_latency(target: tuple[Daemon, Client, zmq.Socket[bytes]]) -> None:
    daemon, client, _ = target
    flood = """
import sys, zmq
from protocol import codec
from protocol import requests as r
s = zmq.Context().socket(zmq.DEALER)
s.connect(sys.argv[1])
frames = codec.encode(r.JobList(id="x", limit=200))
print("ready", flush=True)
busy = done = 0
while True:
    for _ in range(50):
        s.send_multipart(frames)
    while s.poll(0):
        told = b"busy" in s.recv()
        busy, done = busy + told, done + (not told)
        if busy == 1000 or done == 8000:
            print("busy" if busy else "never told to wait", flush=True)
"""
    child = subprocess.Popen(
        [sys.executable, "-c", flood, f"ipc://{daemon.folder}/cmd"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        assert child.stdout.readline() == "busy\n"
        times = []
        for _ in range(100):
            began = time.perf_counter()
            client.request(r.Ping(id=new_id()))
            times.append(time.perf_counter() - began)
        print(f"during a flood: p50 {1e3 * sorted(times)[50]:.2f} ms, p99 {1e3 * sorted(times)[98]:.2f} ms")
        assert sorted(times)[50] < 0.05
    finally:
        child.kill()
        child.wait()
    client.request(r.Ping(id=new_id()))


# ---------------------------------------------------------------- TCP


@pytest.fixture(scope="module")
def listening() -> Iterator[tuple[Daemon, tuple[str, str]]]:
    """A daemon that listens on TCP too, and where."""
    with workspace() as folder:
        with socket.socket() as probe, socket.socket() as beside:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            beside.bind(("127.0.0.1", port + 1))
        with Daemon(folder, "--tcp", str(port), odd=FAKE) as daemon:
            yield daemon, (f"tcp://127.0.0.1:{port}", f"tcp://127.0.0.1:{port + 1}")


def test_the_right_key_is_let_in(listening: tuple[Daemon, tuple[str, str]]) -> None:
    daemon, ends = listening
    with Client.connect(endpoints=ends, keys=daemon.folder / "keys" / "clients" / "local.key_secret") as client:
        client.request(r.Ping(id=new_id()))


def test_a_client_without_the_right_key_is_refused_and_counted(listening: tuple[Daemon, tuple[str, str]]) -> None:
    daemon, ends = listening
    theirs = keys.server(daemon.folder).public
    public, secret = zmq.curve_keypair()
    with Client.connect(daemon.folder) as inside:
        before = inside.request(r.Status(id=new_id())).clients_refused
        with pytest.raises(InputError):
            Client.connect(endpoints=ends, keys=keys.Keys("me", public, secret, theirs), timeout_s=2)
        assert inside.request(r.Status(id=new_id())).clients_refused > before
        wrong_server = zmq.curve_keypair()[0]
        local = keys.client(daemon.folder / "keys" / "clients" / "local.key_secret")
        with pytest.raises(InputError):
            Client.connect(
                endpoints=ends, keys=keys.Keys("local", local.public, local.secret, wrong_server), timeout_s=1
            )
        revoked = keys.create(daemon.folder, "guest")
        with Client.connect(endpoints=ends, keys=revoked) as guest:
            guest.request(r.Ping(id=new_id()))
        mine = keys.client(revoked)
        keys.revoke(daemon.folder, "guest")
        with pytest.raises(InputError):
            Client.connect(endpoints=ends, keys=mine, timeout_s=2)


def test_a_damaged_client_key_lets_nobody_in_and_the_others_stay(listening: tuple[Daemon, tuple[str, str]]) -> None:
    daemon, ends = listening
    clients = daemon.folder / "keys" / "clients"
    (clients / "broken.key").write_bytes(b"\xff\x00\xfe")
    (clients / "cut.key").write_text('curve\n    public-key = "short')
    (clients / "folder.key").mkdir()
    with Client.connect(endpoints=ends, keys=clients / "local.key_secret") as client:
        client.request(r.Ping(id=new_id()))


def test_raw_bytes_and_http_on_the_port_reach_nothing(listening: tuple[Daemon, tuple[str, str]]) -> None:
    daemon, ends = listening
    port = int(ends[0].rpartition(":")[2])
    rng = np.random.default_rng(3)
    greeting = b"\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL" + bytes(48)
    streams = [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", greeting + b"\x04\x19\x05READY" + bytes(20)]
    streams += [greeting[: int(k)] + rng.bytes(200) for k in rng.integers(0, 64, 100)]
    with Client.connect(daemon.folder) as inside:
        before = (state(inside), inside.request(r.Status(id=new_id())).bad_frames)
        for data in streams:
            for p in (port, port + 1):
                with socket.create_connection(("127.0.0.1", p)) as raw:
                    raw.sendall(data)
        assert (state(inside), inside.request(r.Status(id=new_id())).bad_frames) == before
        local = daemon.folder / "keys" / "clients" / "local.key_secret"
        with Client.connect(endpoints=ends, keys=local) as client:
            client.request(r.Ping(id=new_id()))
