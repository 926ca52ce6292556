"""A daemon that listens elsewhere after a restart is found again, by requests and by subscriptions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from daemons import Daemon, workspace
from fake_daemon import FakeDaemon

from protocol import keys, wires
from protocol.async_client import AsyncClient
from protocol.client import Client
from protocol.exchange import ClientError, new_id
from protocol.messages import SurfaceRow
from protocol.requests import Nothing, Ping, Status

TOPIC = "surface/01ARZ3NDEKTSV4RRFFQ69G5FAV/"


def row(i: int) -> SurfaceRow:
    return SurfaceRow(surface="01ARZ3NDEKTSV4RRFFQ69G5FAV", i=i, pass_=0, n=1)


@pytest.fixture(params=["keys stay", "keys change"])
def moving(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeDaemon]:
    """A daemon on TCP with CURVE, whose ports, and maybe whose key, are others after `restart`. Whoever has a key is
    let in: which one is not what counts here."""
    keys.create(tmp_path, keys.LOCAL)
    ours = keys.server(tmp_path)
    assert ours.secret is not None
    fake = FakeDaemon(tmp_path, tcp=True, curve=(ours.public, ours.secret))
    stop = contextlib.ExitStack()
    restart = fake._restart

    def restart_with_other_keys(down_s: float) -> None:
        fake.curve = zmq.curve_keypair()
        restart(down_s)

    if request.param == "keys change":
        fake._restart = restart_with_other_keys  # type: ignore[method-assign]
    bind = fake._bind

    def bind_with_zap() -> None:
        let_everybody_in(fake.context)
        bind()
        fake._bind = bind  # type: ignore[method-assign]

    fake._bind = bind_with_zap  # type: ignore[method-assign]
    with stop, fake:
        yield fake


def let_everybody_in(context: zmq.Context[Any]) -> None:
    up = threading.Event()

    def zap() -> None:
        socket = context.socket(zmq.REP)
        socket.bind("inproc://zeromq.zap.01")
        up.set()
        with contextlib.suppress(zmq.ContextTerminated):
            while True:
                version, sequence, *_ = socket.recv_multipart()
                socket.send_multipart([version, sequence, b"200", b"", b"", b""])
        socket.close(0)

    threading.Thread(target=zap, daemon=True).start()
    assert up.wait(5)


def test_requests_and_a_subscription_go_on(moving: FakeDaemon) -> None:
    moving.publish(TOPIC, row(0))
    before = moving.endpoints
    with Client.connect(moving.folder) as client, client.subscribe(TOPIC) as subscription:
        got: list[int] = []
        while not subscription.following.follower.applied(TOPIC):
            subscription.poll(0.1)
        moving.drop = 1
        moving.publish(TOPIC, row(1))  # lost
        moving.restart()
        assert moving.endpoints != before
        moving.publish(TOPIC, row(2))
        end = time.monotonic() + 10
        while len(got) < 2 and time.monotonic() < end:
            got += [thing.i for thing, _ in subscription.poll(0.1) if isinstance(thing, SurfaceRow)]
        assert got == [1, 2]
        assert client.request(Ping(id=new_id())) == Nothing()
        assert client.address.cmd == moving.endpoints[0]


def test_a_request_alone_finds_it(moving: FakeDaemon) -> None:
    with Client.connect(moving.folder) as client:
        moving.restart()
        began = time.monotonic()
        assert client.request(Ping(id=new_id())) == Nothing()
        assert time.monotonic() - began < 5


def test_an_asyncio_client_and_its_subscription_go_on(moving: FakeDaemon) -> None:
    moving.publish(TOPIC, row(0))

    async def main() -> list[int]:
        got: list[int] = []
        async with await AsyncClient.connect(moving.folder) as client, client.subscribe(TOPIC) as subscription:
            while not subscription.following.follower.applied(TOPIC):
                await subscription.poll(0.1)
            moving.restart()
            assert await client.request(Ping(id=new_id())) == Nothing()
            moving.publish(TOPIC, row(1))
            while not got:
                got += [thing.i for thing, _ in await subscription.poll(0.1) if isinstance(thing, SurfaceRow)]
        return got

    assert asyncio.run(asyncio.wait_for(main(), 15)) == [1]


def test_who_was_given_endpoints_stays_there(moving: FakeDaemon) -> None:
    mine = keys.client(moving.folder / "keys" / "clients" / f"{keys.LOCAL}.key_secret")
    with Client.connect(endpoints=moving.endpoints, keys=mine) as client:
        moving.restart()
        with pytest.raises(ClientError, match="nobody answers"):
            client.request(Ping(id=new_id()), timeout_s=1.0)


def test_a_daemon_that_is_away_has_not_moved(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path) as fake:
        address = wires.find(tmp_path, None, None, None)
        assert wires.moved(address) is None
        (fake.folder / "daemon.json").unlink()
        assert wires.moved(address) is None


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the daemon of Linux")
def test_other_socket_files_of_the_daemon_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sockets of a workspace with a long path lie in the folder for temporary files, which may be another one."""
    with workspace() as short, contextlib.ExitStack() as stack:
        folder = tmp_path / ("long" * 25)
        folder.mkdir()
        for name in ("a", "b"):
            (short / name).mkdir()
        monkeypatch.setenv("TMPDIR", str(short / "a"))
        first = stack.enter_context(Daemon(folder, odd={"fake": True}))
        client = first.client()
        pid = client.request(Status(id=new_id())).pid
        first.kill()
        monkeypatch.setenv("TMPDIR", str(short / "b"))
        second = stack.enter_context(Daemon(folder, odd={"fake": True}))
        assert client.request(Status(id=new_id())).pid == second.pid != pid
        assert str(short / "b") in client.address.cmd
