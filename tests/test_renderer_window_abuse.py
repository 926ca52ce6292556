"""Every request of a window with the least, the most and the wrong in every field: answered, and the window goes on."""

from __future__ import annotations

import random
import time
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import scenes
import zmq
from msgspec import inspect
from windows import Window

from protocol import codec
from protocol.exchange import new_id
from protocol.requests import Nothing, Ping
from protocol.schema import tag
from protocol.windows import AnyWindowRequest, ViewGet, WindowClose

JUNK: list[Any] = [None, True, -1, 2**63, 1e308, float("nan"), "", b"\x00", "x" * 3000, [], [1], {}, {"a": {"b": {}}}]
NAMES = ["", "x", "a" * 119, "ü" * 119, "a\n", "../x", " ", "*", "-rf", "%d", "upload:", "upload:" + "0" * 26]
VIEWS: list[dict[str, Any]] = [
    {}, {"height": 0.01}, {"height": 10}, {"camera.zoom": 100}, {"preset": "heat"}, {"mode": "2d"}, {"mode": "3d"},
    {"contours.count": 60}, {"contours.values": [5.0] * 40}, {"clip": 1e-9}, {"clip": 1e30}, {"log_color": "on"},
    {"title": "\n\n"}, {"camera.target": [50, 50, 50]}, {"camera.elevation": -90}, {"camera.shift_x": 200},
    {"camera": {}}, {"": 1}, {"metric": "sem"}, {"layers.surface": False, "layers.mesh": False}, {"preset": [1]},
]  # fmt: skip


def edges(info: inspect.Type) -> list[Any]:
    """Values at and beyond the bounds of a field."""
    match info:
        case inspect.UnionType():
            return [value for one in info.types for value in edges(one)]
        case inspect.IntType() | inspect.FloatType():
            bounds = [b for b in (info.ge, info.gt, info.le, info.lt) if b is not None and b < 4096]
            return [*bounds, 0, 1, 16, -1, 2**62, 1e-300, 1e300, float("nan"), float("inf"), 0.5]
        case inspect.StrType():
            return [*NAMES, new_id()]
        case inspect.LiteralType():
            return list(info.values)
        case inspect.DictType():
            return list(VIEWS)
        case inspect.VarTupleType():
            return [[], ["x"], [new_id()], ["upload:"], ["a"] * 5]
        case _:
            return [None, True, False]


def wild(rng: random.Random) -> dict[str, Any]:
    """A request with anything in its fields."""
    kind = rng.choice([k for k in typing.get_args(AnyWindowRequest) if k is not WindowClose])
    message: dict[str, Any] = {"t": tag(kind), "id": new_id(), "proto": 1}
    for one in inspect.type_info(kind).fields:
        if one.encode_name not in ("id", "proto", "expires_at") and (one.required or rng.random() < 0.6):
            message[one.encode_name] = rng.choice(edges(one.type) if rng.random() < 0.9 else JUNK)
    return message


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Window]:
    scenes.renderer()  # skips where there is no OpenGL
    file = scenes.resnet().save(tmp_path / "surface.npz")
    with Window(tmp_path, file, "--headless", "--size", "160x100") as window:
        yield window


@pytest.fixture
def socket(window: Window) -> Iterator[zmq.Socket[bytes]]:
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.IMMEDIATE, 1)
    socket.connect(window.endpoint)
    socket.poll(200)  # connected
    yield socket
    socket.close(0)
    context.term()


def test_every_request_is_answered_whatever_is_in_it(window: Window, socket: zmq.Socket[bytes]) -> None:
    rng = random.Random(0)
    done = 0
    for _ in range(350):  # fewer than a peer may ask at once
        message = wild(rng)
        socket.send(msgpack.packb(message))
        while True:
            assert socket.poll(20_000), f"no answer to {message}"
            reply = msgpack.unpackb(socket.recv_multipart()[0])
            if reply.get("id") in (message["id"], None) and reply["t"] in ("ok", "err"):
                break
        assert reply.get("code") not in ("internal", "busy"), (message, reply)
        done += reply["t"] == "ok"
    assert done > 50
    assert window.clients[0].request(Ping(id=new_id())) == Nothing()
    assert window.clients[0].request(ViewGet(id=new_id())).window == window.id


def test_who_closes_a_window_hears_that_it_is_done(window: Window, socket: zmq.Socket[bytes]) -> None:
    """A peer's socket drops what was not read yet when the connection ends."""
    request = WindowClose(id=new_id())
    socket.send_multipart(codec.encode(request))
    time.sleep(0.1)  # busy with something else
    assert socket.poll(5000)
    reply = msgpack.unpackb(socket.recv_multipart()[0])
    assert (reply["t"], reply["id"]) == ("ok", request.id)
    assert window.child.wait(10) == 0
