"""Clients of a window: the same core as those of the daemon, and what the window sends of its own accord.

    with WindowClient.open(endpoint) as window:
        window.request(ViewSet(id=new_id(), view={"preset": "mesh"}))
        window.request(WindowWatch(id=new_id()))
        for message, arrays in window:
            ...

    async with await AsyncWindowClient.open(endpoint) as window:
        await window.request(FramesStart(id=new_id(), width=320, height=200))
        async for message, arrays in window:
            ...

A frame is acknowledged when it is taken, so that a reader that is busy gets fewer and never older ones. After a lost
connection the stream and the watch that were asked for are asked for again.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from typing import Any, Self

import numpy as np
import zmq
import zmq.asyncio
from numpy.typing import NDArray

from protocol import wires
from protocol.async_client import AsyncClient
from protocol.client import TICK_S, TIMEOUT_S, Client
from protocol.errors import InputError
from protocol.exchange import ClientError, Exchange, new_id
from protocol.keys import Keys
from protocol.requests import Request
from protocol.windows import (
    Frame,
    FramesAck,
    FramesStart,
    FramesStop,
    FromWindow,
    PictureGet,
    ShotReply,
    WindowWatch,
)
from protocol.wired import hello

__all__ = ["AsyncWindowClient", "Push", "WindowClient", "picture", "whole"]

Arrays = Mapping[str, NDArray[Any]]
Push = tuple[FromWindow, Arrays]
"""What a window sends of its own accord, with its arrays (`image` of a frame)."""
ACK_S = 5.0  # an acknowledgement that could not be sent by then is given up


def picture(message: Frame, arrays: Arrays) -> NDArray[np.uint8]:
    """The pixels (h, w, 3) uint8 of a frame, top row first; a copy. Needs Pillow for `jpeg` and `png`.

    Raises InputError (`bad_frame`) where the image is not what the frame says.
    """
    shape = (message.height, message.width, 3)
    try:
        data = arrays["image"]
        if message.format == "raw":
            return np.array(data, np.uint8).reshape(shape)
        import io

        from PIL import Image

        with Image.open(io.BytesIO(data.tobytes()), formats=(message.format,)) as image:
            out: NDArray[np.uint8] = np.array(image.convert("RGB"))
        if out.shape != shape:
            raise ValueError(f"{out.shape}")
    except (KeyError, ValueError, OSError) as e:
        raise InputError(f"frame {message.number}: expected an image of {shape[1]} x {shape[0]} ({e})") from e
    return out


def whole(shot: ShotReply, pieces: list[bytes]) -> bytes:
    """A picture put together and checked. Raises InputError (`integrity`)."""
    import hashlib

    data = b"".join(pieces)
    if len(data) != shot.total or hashlib.sha256(data).hexdigest() != shot.sha256:
        raise InputError("picture: what came does not match its sha256: take it again", code="integrity")
    return data


class _Asked:
    """What is to be asked for again after a lost connection."""

    def __init__(self) -> None:
        self.stream: FramesStart | None = None
        self.watch: WindowWatch | None = None

    def note(self, request: Request) -> None:
        match request:
            case FramesStart():
                self.stream = request
            case FramesStop():
                self.stream = None
            case WindowWatch(on=on):
                self.watch = request if on else None

    def again(self) -> list[Request]:
        import msgspec

        return [msgspec.structs.replace(r, id=new_id()) for r in (self.stream, self.watch) if r is not None]


class WindowClient(Client):
    """A connection to a window. Make one with `open`; close it, or use it in a `with`."""

    def __init__(self, address: wires.Address, context: zmq.Context[Any] | None = None) -> None:
        super().__init__(address, context)
        self._exchange = Exchange(address.cmd, "window")
        self._asked = _Asked()
        self._quiet: set[str] = set()  # requests whose answer nobody waits for

    @classmethod
    def open(
        cls,
        endpoint: str,
        *,
        keys: str | os.PathLike[str] | Keys | None = None,
        server_key: str | None = None,
        name: str = "thalweg",
        version: str = "",
        timeout_s: float = 5.0,
        context: zmq.Context[Any] | None = None,
    ) -> Self:
        """A client that has said hello to the window at `endpoint`; `hello.boot` is the window's id.

        Raises ClientError (`unavailable`) within `timeout_s` where none answers.
        """
        client = cls(wires.find(None, (endpoint,), keys, server_key), context)
        try:
            client.hello = client.request(hello(name, version), timeout_s=timeout_s)
            client._exchange.limits = client.hello.limits
        except BaseException:
            client.close(linger_ms=0)
            raise
        return client

    def call(
        self, request: Request, arrays: Arrays | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> tuple[Any, Arrays]:
        answer = super().call(request, arrays, timeout_s=timeout_s)
        self._asked.note(request)
        return answer

    def picture(self, shot: ShotReply, first: Arrays | None = None, *, timeout_s: float = TIMEOUT_S) -> bytes:
        """The bytes of a picture or video that the window made; `first`: the arrays that came with its reply."""
        pieces = [first["piece"].tobytes()] if first and "piece" in first else []
        while (size := sum(map(len, pieces))) < shot.total:
            got = self.call(PictureGet(id=new_id(), picture=shot.picture, offset=size), timeout_s=timeout_s)[1]
            if not len(got.get("piece", ())):
                raise InputError(f"picture: no piece came at {size}: take it again", code="integrity")
            pieces.append(got["piece"].tobytes())
        return whole(shot, pieces)

    def poll(self, timeout_s: float = 0.0) -> list[Push]:
        """What the window sent, waiting at most this long for the first of it."""
        end = time.monotonic() + timeout_s
        while True:
            self._pump(min(TICK_S, max(0.0, end - time.monotonic())))
            if self._exchange.pushed or time.monotonic() >= end:
                break
        out = list(self._exchange.pushed)
        self._exchange.pushed.clear()
        newest = max((m.number for m, _ in out if isinstance(m, Frame)), default=None)
        if newest is not None:
            self._send_quietly(FramesAck(id=new_id(), number=newest))
        return out

    def __iter__(self) -> Iterator[Push]:
        while not self._cmd.closed:
            yield from self.poll(TICK_S)

    def _send_quietly(self, request: Request) -> None:
        self._quiet.add(request.id)
        self._exchange.ask(request, None, time.monotonic(), ACK_S)
        self._send(time.monotonic())

    def _receive(self) -> None:
        before = self._exchange.reconnections
        super()._receive()
        for id in self._quiet & self._answers.keys():
            self._quiet.discard(id)
            del self._answers[id]
        if self._exchange.reconnections != before:
            for request in self._asked.again():
                self._send_quietly(request)


class AsyncWindowClient(AsyncClient):
    """A connection to a window, for asyncio programs. One task may iterate, any number may ask."""

    def __init__(self, address: wires.Address, context: zmq.asyncio.Context | None = None) -> None:
        super().__init__(address, context)
        self._exchange = Exchange(address.cmd, "window")
        self._asked = _Asked()
        self._arrived = asyncio.Event()
        self._again: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(
        cls,
        endpoint: str,
        *,
        keys: str | os.PathLike[str] | Keys | None = None,
        server_key: str | None = None,
        name: str = "thalweg",
        version: str = "",
        timeout_s: float = 5.0,
        context: zmq.asyncio.Context | None = None,
    ) -> Self:
        """As WindowClient.open."""
        client = cls(wires.find(None, (endpoint,), keys, server_key), context)
        try:
            client.hello = await client.request(hello(name, version), timeout_s=timeout_s)
            assert client.hello is not None
            client._exchange.limits = client.hello.limits
        except BaseException:
            await client.close(linger_ms=0)
            raise
        return client

    async def call(
        self, request: Request, arrays: Arrays | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> tuple[Any, Arrays]:
        answer = await super().call(request, arrays, timeout_s=timeout_s)
        self._asked.note(request)
        return answer

    async def picture(self, shot: ShotReply, first: Arrays | None = None, *, timeout_s: float = TIMEOUT_S) -> bytes:
        """As WindowClient.picture."""
        pieces = [first["piece"].tobytes()] if first and "piece" in first else []
        while (size := sum(map(len, pieces))) < shot.total:
            ask = PictureGet(id=new_id(), picture=shot.picture, offset=size)
            got = (await self.call(ask, timeout_s=timeout_s))[1]
            if not len(got.get("piece", ())):
                raise InputError(f"picture: no piece came at {size}: take it again", code="integrity")
            pieces.append(got["piece"].tobytes())
        return whole(shot, pieces)

    async def poll(self, timeout_s: float = 0.0) -> list[Push]:
        """What the window sent, waiting at most this long for the first of it. Raises ClientError once it is closed."""
        if not self._exchange.pushed:
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._arrived.wait()
        if self._cmd.closed:
            raise ClientError("window: the connection was closed", retryable=False)
        out = list(self._exchange.pushed)
        self._exchange.pushed.clear()
        newest = max((m.number for m, _ in out if isinstance(m, Frame)), default=None)
        if newest is not None:
            self._exchange.ask(FramesAck(id=new_id(), number=newest), None, time.monotonic(), ACK_S)
            self._woken.set()
        return out

    async def __aiter__(self) -> AsyncIterator[Push]:
        while not self._cmd.closed:
            for push in await self.poll(TICK_S * 4):
                yield push

    async def _read(self) -> None:
        while True:
            answer = self._exchange.received(await self._cmd.recv_multipart(), time.monotonic())
            if answer is not None:
                self._settle([answer])
            if self._exchange.pushed:
                self._arrived.set()
            self._woken.set()

    def _reached(self) -> None:
        before = self._exchange.reconnections
        super()._reached()
        if self._exchange.reconnections != before:
            for request in self._asked.again():
                self._exchange.ask(request, None, time.monotonic(), ACK_S)

    async def close(self, linger_ms: int = wires.LINGER_MS) -> None:
        await super().close(linger_ms)
        self._arrived.set()
