"""The asyncio client does what the other one does, and any number of tasks share it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_daemon import FakeDaemon

from protocol.async_client import AsyncClient
from protocol.client import new_id
from protocol.errors import InputError
from protocol.exchange import ClientError
from protocol.follower import Link
from protocol.messages import PlaneSpec, SurfaceRow, TrainSpec
from protocol.requests import Err, FileGet, JobSubmit, Nothing, PieceReply, Ping, SubmitReply, Upload, UploadReply
from protocol.snapshots import Restored

TOPIC = "surface/01ARZ3NDEKTSV4RRFFQ69G5FAV/"


def row(i: int) -> SurfaceRow:
    return SurfaceRow(surface="01ARZ3NDEKTSV4RRFFQ69G5FAV", i=i, pass_=0, n=1)


@pytest.fixture
def daemon(tmp_path: Path) -> Any:
    with FakeDaemon(tmp_path) as fake:
        yield fake


def run(daemon: FakeDaemon, what: Callable[[AsyncClient], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with await AsyncClient.connect(daemon.folder) as client:
            return await asyncio.wait_for(what(client), 15)

    return asyncio.run(main())


def test_many_tasks_share_a_client(daemon: FakeDaemon) -> None:
    async def what(client: AsyncClient) -> list[Any]:
        return await asyncio.gather(*(client.request(Ping(id=new_id())) for _ in range(100)))

    assert run(daemon, what) == [Nothing()] * 100


def test_lost_events_and_a_restart_are_caught_up_with_in_order(daemon: FakeDaemon) -> None:
    daemon.publish(TOPIC, row(0))

    async def what(client: AsyncClient) -> list[Any]:
        got: list[Any] = []
        async with client.subscribe(TOPIC) as subscription:
            async for thing, _ in subscription:
                got.append(thing)
                if isinstance(thing, Restored):
                    for i in range(1, 100):
                        daemon.drop = i % 3 == 0
                        daemon.publish(TOPIC, row(i), {"loss": np.full(3, i, "<f4")})
                    daemon.drop = 1
                    daemon.publish(TOPIC, row(100))
                    daemon.restart()
                if isinstance(thing, SurfaceRow) and thing.i == 100:
                    break
            assert await client.request(Ping(id=new_id())) == Nothing()
        return got

    got = run(daemon, what)
    assert got[0] == Link("live", 0.0)
    assert [t.i for t in got if isinstance(t, SurfaceRow)] == list(range(1, 101))


def test_polling_ends_when_it_should(daemon: FakeDaemon) -> None:
    async def what(client: AsyncClient) -> float:
        subscription = client.subscribe("job/")
        while await subscription.poll(0.2):
            pass
        began = time.monotonic()
        assert await subscription.poll(0.3) == []
        return time.monotonic() - began

    assert 0.25 < run(daemon, what) < 1.0


def test_a_topic_that_is_not_there_is_an_error(daemon: FakeDaemon) -> None:
    async def what(client: AsyncClient) -> None:
        async for _ in client.subscribe("run/01ARZ3NDEKTSV4RRFFQ69G5FAX/"):
            pass

    with pytest.raises(InputError, match="run/01AR"):
        run(daemon, what)


def test_busy_and_refused_are_as_in_the_other_client(daemon: FakeDaemon) -> None:
    busy = Err(id=None, code="busy", msg="later", retryable=True, retry_after_s=0.05)

    async def what(client: AsyncClient) -> None:
        daemon.refuse[Ping] = deque([busy, busy])
        assert await client.request(Ping(id="P")) == Nothing()
        daemon.refuse[Ping] = deque([Err(id=None, code="wrong_state", msg="no")])
        with pytest.raises(InputError, match="no"):
            await client.request(Ping(id=new_id()))
        with pytest.raises(InputError, match="finite"):
            await client.submit(PlaneSpec(options={"x": float("nan")}))
        daemon.silent = True
        with pytest.raises(ClientError, match="no reply to ping"):
            await client.request(Ping(id=new_id()), timeout_s=0.2)

    run(daemon, what)
    assert [r.id for r in daemon.requests if isinstance(r, Ping)][:3] == ["P"] * 3


def test_a_request_on_its_way_survives_a_restart(daemon: FakeDaemon) -> None:
    daemon.behaviour[JobSubmit] = lambda request, _: SubmitReply(jobs=())

    async def what(client: AsyncClient) -> None:
        daemon.silent = True
        asking = asyncio.create_task(client.submit(TrainSpec()))
        while not any(isinstance(r, JobSubmit) for r in daemon.requests):
            await asyncio.sleep(0.01)
        daemon.silent = False
        daemon.restart(0.1)
        assert await asking == ()

    run(daemon, what)
    assert len({r.id for r in daemon.requests if isinstance(r, JobSubmit)}) == 1


def test_files_go_both_ways(daemon: FakeDaemon, tmp_path: Path) -> None:
    data = bytes(range(256)) * 20

    def piece(request: FileGet, _: Any) -> tuple[PieceReply, dict[str, Any]]:
        cut = np.frombuffer(data[request.offset : request.offset + 1000], "|u1")
        return PieceReply(name="x", total=len(data)), {"piece": cut}

    daemon.behaviour[FileGet] = piece
    daemon.behaviour[Upload] = lambda r, arrays: UploadReply(received=r.offset + len(arrays["piece"]), complete=True)

    async def what(client: AsyncClient) -> None:
        file = await client.fetch(tmp_path / "out", job="j", name="x")
        assert file.read_bytes() == data
        assert len(await client.upload(file)) == 26

    run(daemon, what)


def test_nobody_there_is_told_within_the_timeout(tmp_path: Path) -> None:
    async def main() -> None:
        await AsyncClient.connect(endpoints=[f"ipc://{tmp_path}/cmd"], timeout_s=0.3)

    with pytest.raises(ClientError, match="nobody answers"):
        asyncio.run(main())
