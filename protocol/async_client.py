"""The client for asyncio programs: the same core as client.py, other sockets.

    async with await AsyncClient.connect(workspace) as client:
        async for event, arrays in client.subscribe("job/"):
            ...

Any number of tasks may share one. It must be used in the event loop that connected it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq
import zmq.asyncio
from numpy.typing import NDArray

from protocol import wires
from protocol.client import TICK_S, TIMEOUT_S
from protocol.conversations import Ask, fetching, restoring, uploading
from protocol.errors import InputError
from protocol.exchange import Answer, ClientError
from protocol.following import Item
from protocol.keys import Keys
from protocol.messages import Spec
from protocol.requests import JobInfo, Request, Submitted
from protocol.snapshots import Restored
from protocol.wired import Wired, following, hello, submission

Arrays = Mapping[str, NDArray[Any]]


class AsyncClient(Wired["AsyncSubscription"]):
    """A connection to a daemon. Make one with `connect`; close it, or use it in an `async with`."""

    def __init__(self, address: wires.Address, context: zmq.asyncio.Context | None = None) -> None:
        super().__init__(address, context or zmq.asyncio.Context(), context is None)
        self._waiting: dict[str, asyncio.Future[Answer]] = {}
        self._woken = asyncio.Event()
        self._tasks = [
            asyncio.create_task(self._read(), name="client replies"),
            asyncio.create_task(self._watch(), name="client connection"),
            asyncio.create_task(self._write(), name="client requests"),
        ]

    @classmethod
    async def connect(
        cls,
        workspace: str | os.PathLike[str] | None = None,
        *,
        endpoints: Sequence[str] | None = None,
        keys: str | os.PathLike[str] | Keys | None = None,
        server_key: str | None = None,
        name: str = "thalweg",
        version: str = "",
        timeout_s: float = 5.0,
        context: zmq.asyncio.Context | None = None,
    ) -> Self:
        """As Client.connect."""
        client = cls(wires.find(workspace, endpoints, keys, server_key), context)
        try:
            client.hello = await client.request(hello(name, version), timeout_s=timeout_s)
            assert client.hello is not None
            client._exchange.limits = client.hello.limits
        except BaseException:
            await client.close(linger_ms=0)
            raise
        return client

    # ------------------------------------------------------------ requests

    async def request(self, request: Request, arrays: Arrays | None = None, *, timeout_s: float = TIMEOUT_S) -> Any:
        """The reply, of the type that requests.REPLIES names. Raises InputError or ClientError."""
        return (await self.call(request, arrays, timeout_s=timeout_s))[0]

    async def call(
        self, request: Request, arrays: Arrays | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> tuple[Any, Arrays]:
        """The reply and its arrays. Raises InputError or ClientError."""
        return (await self._answer(request, arrays, timeout_s)).get()

    async def submit(self, *jobs: Submitted | Spec, timeout_s: float = TIMEOUT_S) -> tuple[JobInfo, ...]:
        """Submit jobs in one transaction, all or none; what they are now, in the order given."""
        reply: tuple[JobInfo, ...] = (await self.request(submission(*jobs), timeout_s=timeout_s)).jobs
        return reply

    async def snapshot(self, topic: str, *, timeout_s: float = TIMEOUT_S) -> Restored:
        """The state of a topic now."""
        whole: Restored = await self._drive(restoring(topic), timeout_s)
        return whole

    async def fetch(
        self,
        file: str | os.PathLike[str],
        *,
        job: str | None = None,
        surface: str | None = None,
        plane: str | None = None,
        name: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Path:
        """As Client.fetch."""
        talk = fetching(file, job=job, surface=surface, plane=plane, name=name)
        path: Path = await self._drive(talk, timeout_s)
        return path

    async def upload(self, file: str | os.PathLike[str], *, timeout_s: float = TIMEOUT_S) -> str:
        """As Client.upload."""
        upload: str = await self._drive(uploading(file), timeout_s)
        return upload

    def subscribe(self, topics: str | Iterable[str]) -> AsyncSubscription:
        """Follow topics (`surface/<id>/`), or all of a kind (`job/`). See client.Subscription."""
        subscription = AsyncSubscription(self, topics)
        self._subscriptions.append(subscription)
        return subscription

    async def _drive(self, talk: Generator[Ask, tuple[Any, Arrays], Any], timeout_s: float) -> Any:
        try:
            ask = next(talk)
            while True:
                try:
                    answer = await self.call(*ask, timeout_s=timeout_s)
                except BaseException as e:
                    ask = talk.throw(e)
                else:
                    ask = talk.send(answer)
        except StopIteration as done:
            return done.value
        finally:
            talk.close()

    async def _answer(self, request: Request, arrays: Arrays | None, timeout_s: float) -> Answer:
        if self._cmd.closed:
            raise ClientError("client: it is closed: connect again", retryable=False)
        self._exchange.ask(request, arrays, time.monotonic(), timeout_s)
        future = self._waiting[request.id] = asyncio.get_running_loop().create_future()
        self._woken.set()
        try:
            return await future
        finally:
            self._waiting.pop(request.id, None)
            self._exchange.forget(request.id)

    # ------------------------------------------------------------ the socket

    def _settle(self, answers: Iterable[Answer]) -> None:
        for answer in answers:
            future = self._waiting.get(answer.request.id)
            if future is not None and not future.done():
                future.set_result(answer)

    async def _write(self) -> None:
        """Send what is due, again and again; give up what is late."""
        while True:
            now = time.monotonic()
            self._settle(self._exchange.expired(now))
            stuck = False
            for id, frames in self._exchange.outgoing(now):
                try:
                    # Without NOBLOCK the socket would keep what cannot be sent now and send it whenever it can.
                    await self._cmd.send_multipart(frames, flags=zmq.NOBLOCK)
                except zmq.Again:
                    stuck = True
                    break
                self._exchange.sent(id)
            self._move(now)
            wait_s = self._patience(self._exchange.wait_s(time.monotonic()))
            if stuck:
                wait_s = min(TICK_S, wait_s or 0.0) if wait_s is not None else TICK_S
            self._woken.clear()
            # Not wait_for: before Python 3.12 it swallows a cancellation that meets the wake-up, and `close` hangs.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()

    async def _read(self) -> None:
        while True:
            answer = self._exchange.received(await self._cmd.recv_multipart(), time.monotonic())
            if answer is not None:
                self._settle([answer])
            self._woken.set()  # a busy daemon may have made something due later

    async def _watch(self) -> None:
        while True:
            match wires.happened(await self._monitor.recv_multipart()):
                case "connected":
                    self._reached()
                case "disconnected":
                    self._exchange.disconnected()
                case "refused" if not self._move(time.monotonic()):
                    self._settle(self._exchange.refuse_all(wires.refused(self.address.cmd)))
            self._woken.set()

    def _reached(self) -> None:
        self._exchange.reached(time.monotonic())

    async def close(self, linger_ms: int = wires.LINGER_MS) -> None:
        """Close the sockets. Jobs go on."""
        for subscription in list(self._subscriptions):
            await subscription.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._settle(self._exchange.refuse_all(ClientError("client: it was closed", retryable=False)))
        self._end(linger_ms)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()


class AsyncSubscription:
    """`async for thing, arrays in subscription`; what the things are: client.Subscription."""

    def __init__(self, client: AsyncClient, topics: str | Iterable[str]) -> None:
        self.following, self.wire = following(client, topics, time.monotonic())
        self._evt, self._monitor = self.wire.socket, self.wire.monitor
        self._client = client
        self._asking: set[asyncio.Task[None]] = set()
        self._error: InputError | None = None
        self._woken = asyncio.Event()

    async def poll(self, timeout_s: float = 0.0) -> list[Item]:
        """What is to be read, waiting at most this long for the first of it. Raises InputError (`not_found`) where a
        topic is not there."""
        end = time.monotonic() + timeout_s
        while True:
            await self._step(min(TICK_S, max(0.0, end - time.monotonic())))
            if self._error is not None:
                raise self._error
            if self.following.items or time.monotonic() >= end:
                items = list(self.following.items)
                self.following.items.clear()
                return items

    async def __aiter__(self) -> AsyncIterator[Item]:
        while not self._evt.closed:
            for item in await self.poll(TICK_S):
                yield item

    async def close(self) -> None:
        """Follow no longer."""
        if self in self._client._subscriptions:
            self._client._subscriptions.remove(self)
        for task in list(self._asking):
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        self.wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.close()

    async def _step(self, wait_s: float) -> None:
        following = self.following
        if not following.items and not self._woken.is_set():
            await self._wait(wait_s)
        self._woken.clear()
        now = time.monotonic()
        for _ in range(BATCH):
            if not await self._evt.poll(0):
                break
            following.frames(await self._evt.recv_multipart(), now)
        while await self._monitor.poll(0):
            if wires.happened(await self._monitor.recv_multipart()) == "connected":
                following.reconnected(now)
        following.tick(now)
        while following.asks:
            task = asyncio.create_task(self._ask(*following.asks.popleft()))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _wait(self, wait_s: float) -> None:
        """Until an event or an answer came, or this long."""
        waits = {asyncio.ensure_future(self._evt.poll(int(wait_s * 1000))), asyncio.ensure_future(self._woken.wait())}
        try:
            await asyncio.wait(waits, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _ask(self, request: Request, arrays: Arrays | None) -> None:
        try:
            answer = await self._client._answer(request, arrays, TIMEOUT_S)
        except InputError as e:
            answer = Answer(request, error=e)
        try:
            self.following.answered(answer, time.monotonic())
        except InputError as e:
            self._error = e
        self._woken.set()


BATCH = 100  # events before the caller sees them, and others have their turn: 7 ms
