"""What the daemon holds for clients that do not read, and that those who read are served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from daemons import Daemon, done, made_of, submit, until, workspace

from compute.debts import Debts
from protocol import codec
from protocol import requests as r
from protocol.async_client import AsyncClient
from protocol.client import Client
from protocol.exchange import new_id
from protocol.grid import AxisSpec, GridSpec
from protocol.messages import Recipe, SurfaceSpec

MIB = 1024 * 1024
ASKED = 60  # pieces: 240 MiB


class Sent:
    """A message on its way."""

    done = False


def test_only_so_much_may_be_on_its_way() -> None:
    debts = Debts(piece=4, most=10)
    answers: list[list[bytes]] = []
    first, second = (debts.begin(b"a", answers.append) for _ in range(2))
    assert debts.of(b"a") == 8
    assert not debts.may(b"a")
    assert debts.may(b"b")
    first([b"x"])
    assert answers == [[b"x"]]
    assert debts.of(b"a") == 4
    assert debts.may(b"a")
    first([b"x"])  # a second time counts for nothing
    assert debts.of(b"a") == 4
    sent = Sent()
    debts.sent(b"a", 3, sent)
    second([b"y"])
    assert debts.of(b"a") == 3
    debts.sent(b"a", 6, Sent())
    assert not debts.may(b"a")
    sent.done = True
    debts.forget()
    assert debts.of(b"a") == 6
    assert debts.may(b"a")


@pytest.fixture(scope="module")
def serving() -> Iterator[tuple[Daemon, str]]:
    """A daemon with a sealed surface of several pieces."""
    with workspace() as folder, Daemon(folder, odd={"fake": True}) as daemon:
        client = daemon.client(timeout_s=20)
        _, plane = made_of(client, Recipe(model="mlp", epochs=1))
        grid = GridSpec(alpha=AxisSpec(count=1000), beta=AxisSpec(count=500))
        (job,) = submit(client, SurfaceSpec(plane=plane, grid=grid, limit=256))
        yield daemon, done(client, job).surface or ""


def piece(surface: str) -> list[bytes]:
    return codec.encode(r.FileGet(id=new_id(), surface=surface, offset=1))


def deaf(daemon: Daemon) -> zmq.Socket[bytes]:
    """A socket that takes one message and then no more."""
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    socket.setsockopt(zmq.RCVHWM, 1)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(f"ipc://{daemon.folder / 'cmd'}")
    return socket


def answers(socket: zmq.Socket[bytes], n: int) -> Iterator[tuple[Any, int]]:
    for _ in range(n):
        assert socket.poll(10_000)
        reply: Any
        reply, arrays = codec.decode(socket.recv_multipart(), r.Reply)
        yield reply, sum(a.nbytes for a in arrays.values())


def test_a_client_that_does_not_read_costs_little_and_is_told(serving: tuple[Daemon, str]) -> None:
    daemon, surface = serving
    before, peak = daemon.memory(), 0
    socket = deaf(daemon)
    for _ in range(ASKED):
        socket.send_multipart(piece(surface))
    with Client.connect(daemon.folder) as other:
        for _ in range(50):
            other.request(r.Ping(id=new_id()))
            peak = max(peak, daemon.memory() - before)
            time.sleep(0.01)
        assert peak < 48 * MIB
        given = list(answers(socket, ASKED))
        pieces = [size for reply, size in given if isinstance(reply, r.Ok)]
        refused = [reply for reply, _ in given if isinstance(reply, r.Err)]
        assert 1 <= len(pieces) <= 10
        assert set(pieces) == {4 * MIB}
        assert {(e.code, e.retryable, e.retry_after_s) for e in refused} == {("busy", True, 0.05)}
        socket.send_multipart(piece(surface))  # now that it has read
        assert isinstance(next(answers(socket, 1))[0], r.Ok)
    socket.close()


def test_a_client_that_goes_owes_nothing(serving: tuple[Daemon, str]) -> None:
    daemon, surface = serving
    before = daemon.memory()
    for _ in range(5):
        socket = deaf(daemon)
        for _ in range(10):
            socket.send_multipart(piece(surface))
        assert socket.poll(10_000)
        socket.close()
    until(lambda: daemon.memory() - before < 32 * MIB, "the memory", 10)


def test_many_files_at_once_come_whole(serving: tuple[Daemon, str], tmp_path: Path) -> None:
    daemon, surface = serving

    async def fetch() -> list[Path]:
        async with await AsyncClient.connect(daemon.folder) as client:
            several = [client.fetch(tmp_path / f"{k}.npz", surface=surface, timeout_s=30) for k in range(12)]
            return await asyncio.gather(*several)

    files = asyncio.run(fetch())
    assert len({f.read_bytes() for f in files}) == 1
