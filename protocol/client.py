"""The client for scripts and programs without an event loop. For asyncio see async_client.py.

    with Client.connect(workspace) as client:
        train, plane, surface = client.submit(TrainSpec(), PlaneSpec(...), SurfaceSpec(...))
        for event, arrays in client.subscribe(f"surface/{...}/"):
            ...

One thread uses a client. A request is tried again under its own id when the connection is lost, so that nothing is done
twice; what the daemon refuses is an InputError, what it could not do now a ClientError.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import zmq
from numpy.typing import NDArray

from protocol import wires
from protocol.conversations import Ask, fetching, restoring, uploading
from protocol.exchange import Answer, ClientError, new_id
from protocol.following import Item
from protocol.keys import Keys
from protocol.messages import Spec
from protocol.requests import JobInfo, Request, Submitted
from protocol.snapshots import Restored
from protocol.wired import Wired, following, hello, submission

__all__ = ["Client", "ClientError", "Subscription", "new_id", "submission"]

TICK_S = 0.25
TIMEOUT_S = 10.0

Arrays = Mapping[str, NDArray[Any]]


class Client(Wired["Subscription"]):
    """A connection to a daemon. Make one with `connect`; close it, or use it in a `with`."""

    def __init__(self, address: wires.Address, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(address, context or zmq.Context(), context is None)
        self._answers: dict[str, Answer] = {}

    @classmethod
    def connect(
        cls,
        workspace: str | os.PathLike[str] | None = None,
        *,
        endpoints: Sequence[str] | None = None,
        keys: str | os.PathLike[str] | Keys | None = None,
        server_key: str | None = None,
        name: str = "thalweg",
        version: str = "",
        timeout_s: float = 5.0,
        context: zmq.Context[Any] | None = None,
    ) -> Self:
        """A client that has said hello to the daemon of a workspace (through its daemon.json), or at `endpoints`
        (cmd, evt). `keys`: a client's key file, where the daemon listens on TCP. That of a workspace is found again
        where it listens elsewhere after a restart.

        Raises ClientError (`unavailable`) within `timeout_s` where no daemon answers, InputError for bad arguments.
        """
        client = cls(wires.find(workspace, endpoints, keys, server_key), context)
        try:
            client.hello = client.request(hello(name, version), timeout_s=timeout_s)
            assert client.hello is not None
            client._exchange.limits = client.hello.limits
        except BaseException:
            client.close(linger_ms=0)
            raise
        return client

    # ------------------------------------------------------------ requests

    def request(self, request: Request, arrays: Arrays | None = None, *, timeout_s: float = TIMEOUT_S) -> Any:
        """The reply, of the type that requests.REPLIES names. Raises InputError or ClientError."""
        return self.call(request, arrays, timeout_s=timeout_s)[0]

    def call(
        self, request: Request, arrays: Arrays | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> tuple[Any, Arrays]:
        """The reply and its arrays. Raises InputError or ClientError."""
        self._exchange.ask(request, arrays, time.monotonic(), timeout_s)
        try:
            while request.id not in self._answers:
                self._pump(self._exchange.wait_s(time.monotonic()))
            return self._answers.pop(request.id).get()
        finally:
            self._exchange.forget(request.id)

    def submit(self, *jobs: Submitted | Spec, timeout_s: float = TIMEOUT_S) -> tuple[JobInfo, ...]:
        """Submit jobs in one transaction, all or none; what they are now, in the order given."""
        reply: tuple[JobInfo, ...] = self.request(submission(*jobs), timeout_s=timeout_s).jobs
        return reply

    def snapshot(self, topic: str, *, timeout_s: float = TIMEOUT_S) -> Restored:
        """The state of a topic now."""
        whole: Restored = self._drive(restoring(topic), timeout_s)
        return whole

    def fetch(
        self,
        file: str | os.PathLike[str],
        *,
        job: str | None = None,
        surface: str | None = None,
        plane: str | None = None,
        name: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Path:
        """Fetch a file of a job (an export), surface or plane; written whole or not at all, its sha256 checked.
        `timeout_s` is for each piece."""
        talk = fetching(file, job=job, surface=surface, plane=plane, name=name)
        path: Path = self._drive(talk, timeout_s)
        return path

    def upload(self, file: str | os.PathLike[str], *, timeout_s: float = TIMEOUT_S) -> str:
        """Send a file for an import job; the upload's id. `timeout_s` is for each piece."""
        upload: str = self._drive(uploading(file), timeout_s)
        return upload

    def subscribe(self, topics: str | Iterable[str]) -> Subscription:
        """Follow topics (`surface/<id>/`), or all of a kind (`job/`). See Subscription."""
        subscription = Subscription(self, topics)
        self._subscriptions.append(subscription)
        return subscription

    def _drive(self, talk: Generator[Ask, tuple[Any, Arrays], Any], timeout_s: float) -> Any:
        try:
            ask = next(talk)
            while True:
                try:
                    answer = self.call(*ask, timeout_s=timeout_s)
                except BaseException as e:
                    ask = talk.throw(e)
                else:
                    ask = talk.send(answer)
        except StopIteration as done:
            return done.value
        finally:
            talk.close()

    # ------------------------------------------------------------ the socket

    def _pump(self, wait_s: float | None) -> None:
        """Send what is due, receive what is there, wait at most this long for the first of it."""
        now = time.monotonic()
        unsent = self._send(now)
        poller = zmq.Poller()
        poller.register(self._monitor, zmq.POLLIN)
        poller.register(self._cmd, zmq.POLLIN | (zmq.POLLOUT if unsent else 0))
        wait_s = self._patience(wait_s)
        poller.poll(None if wait_s is None else int(wait_s * 1000) + 1)
        self._receive()

    def _send(self, now: float) -> bool:
        """Send what is due; whether something is left that could not be."""
        for id, frames in self._exchange.outgoing(now):
            try:
                self._cmd.send_multipart(frames, zmq.NOBLOCK)
            except zmq.Again:
                return True
            self._exchange.sent(id)
        return False

    def _receive(self) -> None:
        now = time.monotonic()
        answers: list[Answer] = []
        while (frames := _receive(self._cmd)) is not None:
            answer = self._exchange.received(frames, now)
            if answer is not None:
                answers.append(answer)
        while (frames := _receive(self._monitor)) is not None:
            match wires.happened(frames):
                case "connected":
                    self._exchange.reached(now)
                case "disconnected":
                    self._exchange.disconnected()
                case "refused" if not self._move(now):
                    answers += self._exchange.refuse_all(wires.refused(self.address.cmd))
        self._move(now)
        for answer in answers + self._exchange.expired(now):
            if not any(s.takes(answer) for s in self._subscriptions):
                self._answers[answer.request.id] = answer

    def close(self, linger_ms: int = wires.LINGER_MS) -> None:
        """Close the sockets. Jobs go on."""
        for subscription in list(self._subscriptions):
            subscription.close()
        self._end(linger_ms)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class Subscription:
    """Iterate for ever over (thing, arrays), or `poll` from a loop of your own. A thing is

    - a `Restored`: the state of a topic, first of all and whenever too much was missed;
    - an event, each persisted one exactly once and in order: what was lost is asked for again;
    - a `Link`: the connection became live, stale (3 s without a beat) or lost (10 s).
    """

    def __init__(self, client: Client, topics: str | Iterable[str]) -> None:
        self.following, self.wire = following(client, topics, time.monotonic())
        self._evt, self._monitor = self.wire.socket, self.wire.monitor
        self._client = client
        self._mine: set[str] = set()  # requests of ours that are open
        self._answers: deque[Answer] = deque()

    def poll(self, timeout_s: float = 0.0) -> list[Item]:
        """What is to be read, waiting at most this long for the first of it. Raises InputError (`not_found`) where a
        topic is not there."""
        end = time.monotonic() + timeout_s
        while True:
            self._step(min(TICK_S, max(0.0, end - time.monotonic())))
            if self.following.items or time.monotonic() >= end:
                items = list(self.following.items)
                self.following.items.clear()
                return items

    def __iter__(self) -> Iterator[Item]:
        while not self._evt.closed:
            yield from self.poll(TICK_S)

    @property
    def sockets(self) -> tuple[zmq.Socket[Any], ...]:
        """To wait for in a loop of your own, until `poll` is worth calling; a second later it is in any case."""
        return (self._evt, self._monitor, self._client._cmd, self._client._monitor)

    def takes(self, answer: Answer) -> bool:
        """Whether this answer was ours."""
        if answer.request.id not in self._mine:
            return False
        self._mine.discard(answer.request.id)
        self._answers.append(answer)
        return True

    def close(self) -> None:
        """Follow no longer."""
        if self in self._client._subscriptions:
            self._client._subscriptions.remove(self)
        for id in self._mine:
            self._client._exchange.forget(id)
        self.wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _step(self, wait_s: float) -> None:
        client, following = self._client, self.following
        unsent = client._send(time.monotonic())
        poller = zmq.Poller()
        for socket in (self._evt, self._monitor, client._monitor):
            poller.register(socket, zmq.POLLIN)
        poller.register(client._cmd, zmq.POLLIN | (zmq.POLLOUT if unsent else 0))
        poller.poll(int(wait_s * 1000))
        now = time.monotonic()
        for _ in range(BATCH):
            frames = _receive(self._evt)
            if frames is None:
                break
            following.frames(frames, now)
        while (frames := _receive(self._monitor)) is not None:
            if wires.happened(frames) == "connected":
                following.reconnected(now)
        client._receive()
        while self._answers:
            following.answered(self._answers.popleft(), now)
        following.tick(now)
        while following.asks:
            request, arrays = following.asks.popleft()
            self._mine.add(request.id)
            client._exchange.ask(request, arrays, now, TIMEOUT_S)
        client._send(now)


BATCH = 1000  # events before the caller sees them


def _receive(socket: zmq.Socket[Any]) -> list[bytes] | None:
    try:
        return socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return None
