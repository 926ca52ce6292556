"""The client against a fake daemon that loses events, restarts, is busy, silent or gone."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from fake_daemon import FakeDaemon

from protocol import keys
from protocol.client import Client, Subscription, new_id, submission
from protocol.connection import Connection, read_connection, write_connection
from protocol.errors import InputError
from protocol.exchange import ClientError
from protocol.follower import Link
from protocol.messages import PlaneSpec, Recipe, RunEpoch, SurfaceRow, TrainSpec
from protocol.requests import (
    Err,
    EventsSince,
    FileGet,
    Heads,
    JobSubmit,
    LogTail,
    Nothing,
    PieceReply,
    Ping,
    Snapshot,
    SubmitReply,
    Upload,
    UploadReply,
)
from protocol.snapshots import Restored

ROOT = Path(__file__).parent.parent
TOPIC = "surface/01ARZ3NDEKTSV4RRFFQ69G5FAV/"


def row(i: int) -> SurfaceRow:
    return SurfaceRow(surface="01ARZ3NDEKTSV4RRFFQ69G5FAV", i=i, pass_=0, n=1)


def values(i: int) -> dict[str, Any]:
    return {"loss": np.full(3, i, "<f4")}


@pytest.fixture
def daemon(tmp_path: Path) -> Any:
    with FakeDaemon(tmp_path) as fake:
        yield fake


@pytest.fixture
def client(daemon: FakeDaemon) -> Any:
    with Client.connect(daemon.folder) as connected:
        yield connected


def read(subscription: Subscription, n: int, seconds: float = 8.0) -> list[tuple[Any, Any]]:
    """Events and snapshots until n events came."""
    got: list[tuple[Any, Any]] = []
    end = time.monotonic() + seconds
    while sum(isinstance(thing, SurfaceRow) for thing, _ in got) < n:
        assert time.monotonic() < end, f"only these came: {[t for t, _ in got]}"
        got += subscription.poll(0.1)
    return got


def rows(got: list[tuple[Any, Any]]) -> list[int]:
    return [thing.i for thing, _ in got if isinstance(thing, SurfaceRow)]


def test_hello_ping_and_typed_replies(client: Client, daemon: FakeDaemon) -> None:
    assert client.hello is not None
    assert client.hello.boot == daemon.boot
    assert client.request(Ping(id=new_id())) == Nothing()


def test_a_subscription_begins_with_a_snapshot_and_goes_on_live(client: Client, daemon: FakeDaemon) -> None:
    for i in range(3):
        daemon.publish(TOPIC, row(i))
    with client.subscribe(TOPIC) as subscription:
        got = read(subscription, 0)
        while not any(isinstance(t, Restored) for t, _ in got):
            got += subscription.poll(0.1)
        for i in range(3, 6):
            daemon.publish(TOPIC, row(i), values(i))
        got += read(subscription, 3)
    things = [t for t, _ in got]
    assert things[0] == Link("live", 0.0)
    [restored] = [t for t in things if isinstance(t, Restored)]
    assert restored.seq == 3
    assert restored.arrays["rows"].tolist() == [0, 1, 2]
    assert rows(got) == [3, 4, 5]
    assert got[-1][1]["loss"].tolist() == [5, 5, 5]


def test_lost_events_are_asked_for_and_delivered_in_order(client: Client, daemon: FakeDaemon) -> None:
    daemon.publish(TOPIC, row(0))
    with client.subscribe(TOPIC) as subscription:
        while not subscription.following.follower.applied(TOPIC):
            subscription.poll(0.1)
        for i in range(1, 200):
            daemon.drop = i % 3 == 0
            daemon.publish(TOPIC, row(i), values(i))
        daemon.drop = 1
        daemon.publish(TOPIC, row(200), values(200))  # the very last one: only a head tells
        got = read(subscription, 200)
    assert rows(got) == list(range(1, 201))
    assert all(arrays["loss"][0] == t.i for t, arrays in got if isinstance(t, SurfaceRow))


def test_a_restarted_daemon_is_caught_up_with(client: Client, daemon: FakeDaemon) -> None:
    daemon.publish(TOPIC, row(0))
    with client.subscribe(TOPIC) as subscription:
        while not subscription.following.follower.applied(TOPIC):
            subscription.poll(0.1)
        daemon.drop = 2
        daemon.publish(TOPIC, row(1))
        daemon.publish(TOPIC, row(2))
        daemon.restart()
        daemon.publish(TOPIC, row(3))
        got = read(subscription, 3)
    assert rows(got) == [1, 2, 3]
    assert client.request(Ping(id=new_id())) == Nothing()  # requests come in order: what was asked before is there
    assert Heads in {type(r) for r in daemon.requests}


def test_events_that_are_gone_come_as_a_snapshot(client: Client, daemon: FakeDaemon) -> None:
    daemon.publish(TOPIC, row(0))
    with client.subscribe(TOPIC) as subscription:
        while not subscription.following.follower.applied(TOPIC):
            subscription.poll(0.1)
        daemon.kept[TOPIC] = 3
        daemon.drop = 2
        for i in range(1, 4):
            daemon.publish(TOPIC, row(i))
        got: list[Any] = []
        while not any(isinstance(t, Restored) for t, _ in got):
            got += subscription.poll(0.1)
    [restored] = [t for t, _ in got if isinstance(t, Restored)]
    assert restored.seq == 4


def test_an_event_of_a_later_version_does_not_stop_the_topic(client: Client, daemon: FakeDaemon) -> None:
    import msgpack

    daemon.publish(TOPIC, row(0))
    with client.subscribe(TOPIC) as subscription:
        while not subscription.following.follower.applied(TOPIC):
            subscription.poll(0.1)
        header = msgpack.packb({"t": "surface.tomorrow", "seq": 2})
        daemon._do(lambda: (daemon.topics[TOPIC].append([header]), daemon.evt.send_multipart([TOPIC.encode(), header])))
        daemon.publish(TOPIC, row(2))
        assert rows(read(subscription, 1)) == [2]
    assert EventsSince not in {type(r) for r in daemon.requests}


def test_a_topic_that_is_not_there_is_an_error_with_its_name(client: Client) -> None:
    subscription = client.subscribe("run/01ARZ3NDEKTSV4RRFFQ69G5FAX/")
    with pytest.raises(InputError, match="run/01AR"):
        read(subscription, 1)


def test_two_subscriptions_and_requests_share_a_client(client: Client, daemon: FakeDaemon) -> None:
    other = TOPIC.replace("V/", "W/")
    daemon.publish(TOPIC, row(0))
    daemon.publish(other, row(0))
    with client.subscribe(TOPIC) as a, client.subscribe(other) as b:
        for k in range(1, 21):
            daemon.drop = k % 2
            daemon.publish(TOPIC, row(k))
            daemon.publish(other, row(k))
            assert client.request(Ping(id=new_id())) == Nothing()
        for subscription in (a, b):
            while subscription.following.follower.applied(subscription.following.prefixes[0]) != 21:
                subscription.poll(0.1)


@pytest.mark.parametrize("topics", ["surface", "surface/abc", [], ["run/x/", "hb/"]])
def test_a_topic_without_its_slash_is_refused(client: Client, topics: Any) -> None:
    with pytest.raises(InputError, match="expected"):
        client.subscribe(topics)


def test_a_busy_daemon_is_asked_again_under_the_same_id(client: Client, daemon: FakeDaemon) -> None:
    busy = Err(id=None, code="busy", msg="later", retryable=True, retry_after_s=0.05)
    daemon.refuse[Ping] = deque([busy, busy])
    assert client.request(Ping(id="P")) == Nothing()
    assert [r.id for r in daemon.requests if isinstance(r, Ping)] == ["P"] * 3


def test_a_daemon_that_stays_busy_says_so_at_the_deadline(client: Client, daemon: FakeDaemon) -> None:
    busy = Err(id=None, code="busy", msg="the queue is full", retryable=True, retry_after_s=0.05)
    daemon.refuse[Ping] = deque([busy] * 100)
    with pytest.raises(ClientError, match="the queue is full") as e:
        client.request(Ping(id="P"), timeout_s=0.3)
    assert e.value.retryable
    assert e.value.code == "busy"


def test_what_was_asked_wrongly_is_an_input_error_with_its_path(client: Client, daemon: FakeDaemon) -> None:
    daemon.refuse[LogTail] = deque([Err(id=None, code="not_found", msg="job x: none", path="$.job")])
    with pytest.raises(InputError, match="job x") as e:
        client.request(LogTail(id=new_id(), job="x"))
    assert not isinstance(e.value, ClientError)
    assert (e.value.code, e.value.path) == ("not_found", "$.job")


def test_a_request_on_its_way_survives_a_restart(client: Client, daemon: FakeDaemon) -> None:
    daemon.behaviour[JobSubmit] = lambda request, _: SubmitReply(jobs=())
    daemon.silent = True
    import threading

    def recover() -> None:
        while not any(isinstance(r, JobSubmit) for r in daemon.requests):
            time.sleep(0.01)
        daemon.silent = False
        daemon.restart(0.1)

    helper = threading.Thread(target=recover)
    helper.start()
    assert client.submit(TrainSpec()) == ()
    helper.join()
    ids = [r.id for r in daemon.requests if isinstance(r, JobSubmit)]
    assert len(ids) == 2
    assert len(set(ids)) == 1  # the idempotency key: nothing is done twice


def test_a_silent_daemon_is_told_in_one_sentence(client: Client, daemon: FakeDaemon) -> None:
    daemon.silent = True
    with pytest.raises(ClientError, match=r"no reply to ping within 0\.2 s"):
        client.request(Ping(id=new_id()), timeout_s=0.2)
    daemon.silent = False
    assert client.request(Ping(id=new_id())) == Nothing()


def test_a_daemon_that_has_gone_is_not_taken_for_a_slow_one(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as fake:
        client = Client.connect(fake.folder)
    with client, pytest.raises(ClientError, match="nobody answers at"):
        client.request(Ping(id=new_id()), timeout_s=0.3)


def test_silence_makes_a_subscription_stale(
    client: Client, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocol.follower.STALE_S", 0.3)
    monkeypatch.setattr("protocol.follower.LOST_S", 0.6)
    daemon.publish(TOPIC, row(0))
    states: list[str] = []
    with client.subscribe(TOPIC) as subscription:
        for k in range(60):
            states += [t.state for t, _ in subscription.poll(0.05) if isinstance(t, Link)]
            if states == ["live"] and k > 5:
                daemon.silent = True
            if states == ["live", "stale", "lost"]:
                daemon.silent = False
            if states == ["live", "stale", "lost", "live"]:
                break
    assert states == ["live", "stale", "lost", "live"]


# ---------------------------------------------------------------- before anything is sent


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), b"bytes", 2**70, {1, 2}])
def test_nothing_that_is_not_plain_leaves(client: Client, daemon: FakeDaemon, bad: Any) -> None:
    with pytest.raises(InputError) as e:
        client.submit(PlaneSpec(options={"deep": [1, {"x": bad}]}))
    assert e.value.path == "$.jobs[0].spec.options.deep[1].x"
    assert not any(isinstance(r, JobSubmit) for r in daemon.requests)


def test_a_learning_rate_of_nan_is_refused(client: Client) -> None:
    with pytest.raises(InputError, match=r"jobs\[0\]\.spec\.recipe\.lr: expected .* got nan"):
        client.submit(TrainSpec(recipe=Recipe(lr=float("nan"))))


def test_too_large_is_refused_before_it_is_sent(client: Client, daemon: FakeDaemon) -> None:
    for make in (
        lambda: client.submit(PlaneSpec(options={"x": "y" * 70_000})),
        lambda: client.request(Ping(id=new_id()), {"x": np.zeros(2**21 + 1)}),
    ):
        with pytest.raises(InputError) as e:
            make()
        assert e.value.code == "too_large"
    assert {type(r).__name__ for r in daemon.requests} == {"Hello"}


def test_an_id_that_is_open_cannot_be_used_again() -> None:
    from protocol.exchange import Exchange

    exchange = Exchange()
    exchange.ask(Ping(id="a"), None, 0.0, 1.0)
    with pytest.raises(InputError, match="open already"):
        exchange.ask(Ping(id="a"), None, 0.0, 1.0)


# ---------------------------------------------------------------- files


def serve_file(daemon: FakeDaemon, data: bytes, sha: str | None = None, piece: int = 1000) -> None:
    def answer(request: FileGet, _: Any) -> tuple[PieceReply, dict[str, Any]]:
        cut = data[request.offset : request.offset + piece]
        digest = hashlib.sha256(data).hexdigest() if sha is None else sha
        return PieceReply(name="x", total=len(data), sha256=digest), {"piece": np.frombuffer(cut, "|u1")}

    daemon.behaviour[FileGet] = answer


@pytest.mark.parametrize("size", [0, 1, 1000, 2501])
def test_a_file_is_fetched_in_pieces(client: Client, daemon: FakeDaemon, tmp_path: Path, size: int) -> None:
    data = bytes(k % 251 for k in range(size))
    serve_file(daemon, data)
    assert client.fetch(tmp_path / "out", surface="s").read_bytes() == data


def test_a_file_whose_hash_does_not_match_is_not_written(client: Client, daemon: FakeDaemon, tmp_path: Path) -> None:
    serve_file(daemon, b"abc", sha="0" * 64)
    (tmp_path / "out").write_bytes(b"before")
    with pytest.raises(InputError, match="does not match its sha256"):
        client.fetch(tmp_path / "out", surface="s")
    assert (tmp_path / "out").read_bytes() == b"before"
    assert not list(tmp_path.glob("*.tmp"))


def test_a_fetch_that_is_refused_leaves_no_file(client: Client, daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.refuse[FileGet] = deque([Err(id=None, code="not_found", msg="surface s: none")])
    with pytest.raises(InputError, match="surface s"):
        client.fetch(tmp_path / "out", surface="s")
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("size", [0, 10, 9 * 2**20])
def test_a_file_is_uploaded_in_pieces(client: Client, daemon: FakeDaemon, tmp_path: Path, size: int) -> None:
    data, came = bytes(size), bytearray()

    def answer(request: Upload, arrays: Any) -> UploadReply:
        assert request.offset == len(came)
        came.extend(arrays["piece"].tobytes())
        complete = len(came) == request.total
        if complete:
            assert hashlib.sha256(came).hexdigest() == request.sha256
        return UploadReply(received=len(came), complete=complete)

    daemon.behaviour[Upload] = answer
    (tmp_path / "in").write_bytes(data)
    assert len(client.upload(tmp_path / "in")) == 26
    assert bytes(came) == data


def test_an_upload_of_nothing_readable_says_so(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read it"):
        client.upload(tmp_path / "no such file")


# ---------------------------------------------------------------- where there is no daemon


def gone_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def connection(folder: Path, **changes: Any) -> Connection:
    import os
    import socket

    about = {"proto": 1, "cmd": f"ipc://{folder}/cmd", "evt": f"ipc://{folder}/evt", "pid": os.getpid(), "boot": "b"}
    return Connection(**(about | {"store": "s", "host": socket.gethostname()} | changes))  # type: ignore[arg-type]


def test_no_daemon_is_one_sentence_that_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none runs on .*: start it with: thalweg daemon start"):
        Client.connect(tmp_path)


def test_a_stopped_daemon_is_recognised_at_once(tmp_path: Path) -> None:
    write_connection(tmp_path, connection(tmp_path, pid=gone_pid()))
    began = time.monotonic()
    with pytest.raises(InputError, match="has stopped"):
        Client.connect(tmp_path)
    assert time.monotonic() - began < 1


def test_a_daemon_on_another_machine_is_named(tmp_path: Path) -> None:
    write_connection(tmp_path, connection(tmp_path, host="elsewhere"))
    with pytest.raises(InputError, match="--ssh elsewhere"):
        Client.connect(tmp_path)


def test_nobody_at_the_endpoint_is_told_within_the_timeout(tmp_path: Path) -> None:
    write_connection(tmp_path, connection(tmp_path))  # our own pid lives, but nobody listens
    with pytest.raises(ClientError, match="nobody answers at ipc://"):
        Client.connect(tmp_path, timeout_s=0.3)


@pytest.mark.parametrize("damage", [b"", b"{", b'{"proto": "x"}', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_connection_file_is_refused_by_name(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "daemon.json").write_bytes(damage)
    with pytest.raises(InputError, match=r"daemon\.json: corrupted"):
        Client.connect(tmp_path)


def test_the_connection_file_is_private_and_round_trips(tmp_path: Path) -> None:
    file = write_connection(tmp_path, connection(tmp_path))
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_connection(tmp_path) == connection(tmp_path)


@pytest.mark.parametrize("arguments", [{}, {"endpoints": ["nonsense"]}, {"endpoints": ["a", "b", "c"]}])
def test_a_bad_address_is_refused(arguments: Any) -> None:
    with pytest.raises(InputError, match="connect: expected"):
        Client.connect(**arguments)


# ---------------------------------------------------------------- keys


class Curve:
    """A fake daemon with CURVE and a ZAP thread that lets in `allowed`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = keys.server(folder)
        assert self.server.secret is not None
        self.fake = FakeDaemon(folder, curve=(self.server.public, self.server.secret))

    def __enter__(self) -> Curve:
        import threading

        bind = self.fake._bind

        def zap(context: zmq.Context[Any], up: threading.Event) -> None:
            socket = context.socket(zmq.REP)
            socket.bind("inproc://zeromq.zap.01")
            up.set()
            with contextlib.suppress(zmq.ContextTerminated):
                while True:
                    reply = keys.zap_reply(socket.recv_multipart(), keys.allowed(self.folder))
                    assert reply is not None
                    socket.send_multipart(reply)
            socket.close(0)

        def bind_with_zap() -> None:
            up = threading.Event()
            self.thread = threading.Thread(target=zap, args=(self.fake.context, up), daemon=True)
            self.thread.start()
            assert up.wait(5)
            bind()

        self.fake._bind = bind_with_zap  # type: ignore[method-assign]
        self.fake.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.fake.__exit__()


def test_a_client_with_an_allowed_key_is_let_in_and_a_revoked_one_is_told(tmp_path: Path) -> None:
    mine = keys.create(tmp_path, "laptop")
    with Curve(tmp_path) as curve:
        with Client.connect(endpoints=curve.fake.endpoints, keys=mine) as client:
            assert client.request(Ping(id=new_id())) == Nothing()
        kept = keys.client(mine)
        keys.revoke(tmp_path, "laptop")
        with pytest.raises(ClientError, match="does not let this key in"):
            Client.connect(endpoints=curve.fake.endpoints, keys=kept)


def test_a_workspace_of_ones_own_needs_no_arguments(tmp_path: Path) -> None:
    keys.create(tmp_path, keys.LOCAL)
    with Curve(tmp_path), Client.connect(tmp_path) as client:
        assert client.request(Ping(id=new_id())) == Nothing()


def test_without_a_key_it_says_how_to_make_one(tmp_path: Path) -> None:
    with Curve(tmp_path), pytest.raises(InputError, match="asks for a key"):
        Client.connect(tmp_path)


def test_a_wrong_server_key_is_not_talked_to(tmp_path: Path) -> None:
    mine = keys.create(tmp_path, "a")
    other, _ = zmq.curve_keypair()
    with Curve(tmp_path) as curve, pytest.raises(ClientError):
        Client.connect(endpoints=curve.fake.endpoints, keys=mine, server_key=other.decode(), timeout_s=0.7)


# ---------------------------------------------------------------- weight


def test_the_client_imports_in_a_fifth_of_a_second_and_without_torch() -> None:
    """0.2 s of CPU time on an idle machine, half of it numpy's; on a busy one numpy tells how much slower it is."""
    code = (
        "import sys, time; t = time.process_time; a = t(); import numpy; b = t(); import protocol.client; c = t(); "
        "print(b - a, c - b, sorted(set(sys.modules) & {'torch', 'asyncio', 'textual', 'moderngl', 'ulid'}))"
    )
    runs = []
    for _ in range(3):
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        numpy_s, client_s, heavy = out.stdout.strip().split(" ", 2)
        assert heavy == "[]"
        runs.append((float(client_s), float(numpy_s)))
    client_s, numpy_s = min(runs)
    assert client_s < max(0.1, 1.5 * numpy_s)


def test_a_submission_gives_bare_specs_an_id() -> None:
    request = submission(TrainSpec(), PlaneSpec())
    assert len({j.job for j in request.jobs} | {request.id}) == 3


def test_events_of_another_kind_pass_the_follower_of_a_run(client: Client, daemon: FakeDaemon) -> None:
    topic = "run/01ARZ3NDEKTSV4RRFFQ69G5FAV/"
    daemon.publish(topic, RunEpoch(run="r", epoch=0, step=0, metrics={"loss": float("nan")}))
    with client.subscribe("run/") as subscription:  # a prefix: taken up by the head in a beat
        got: list[Any] = []
        while not any(isinstance(t, Restored) for t, _ in got):
            got += subscription.poll(0.1)
        daemon.publish(topic, RunEpoch(run="r", epoch=1, step=1, metrics={"loss": float("nan")}))
        while not any(isinstance(t, RunEpoch) for t, _ in got):
            got += subscription.poll(0.1)
    assert np.isnan(got[-1][0].metrics["loss"])
    assert Snapshot in {type(r) for r in daemon.requests}
