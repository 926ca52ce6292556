"""The two sockets of a client: their options, and the words for what their monitors say."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import zmq

from protocol.codec import MAX_FRAME
from protocol.connection import check_reachable, read_connection
from protocol.errors import InputError
from protocol.exchange import ClientError
from protocol.keys import LOCAL, Keys, client
from protocol.messages import PROTO

HEARTBEAT_MS, SILENT_MS, LINGER_MS, HANDSHAKE_MS = 2000, 6000, 1000, 2000
RECONNECT_MS, RECONNECT_MAX_MS = 50, 1000
SEND_HWM = 1000

Happened = Literal["connected", "disconnected", "refused", "nothing"]
WATCHED = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


@dataclass(frozen=True)
class Address:
    """Where a daemon is and how to be let in."""

    cmd: str
    evt: str = ""
    server_key: bytes = b""
    keys: Keys | None = None
    again: Callable[[], Address] | None = field(default=None, compare=False)  # looks again where it is


def find(
    workspace: str | os.PathLike[str] | None,
    endpoints: Sequence[str] | None,
    keys: str | os.PathLike[str] | Keys | None,
    server_key: str | None,
) -> Address:
    """Where the daemon of a workspace is, or the one whose endpoints (`cmd`, `evt`) are known. Raises InputError."""
    mine = keys if isinstance(keys, Keys) or keys is None else client(Path(keys))
    again = None
    theirs = (server_key or "").encode() or (mine.server if mine is not None and mine.server else b"")
    if endpoints is not None:
        if not 1 <= len(endpoints) <= 2:
            raise InputError(f"connect: expected the endpoints cmd and evt, got {len(endpoints)}")
        cmd, evt = (*endpoints, "")[:2]
    elif workspace is not None:
        connection = read_connection(workspace)
        if connection.proto < PROTO:
            raise InputError(
                f"daemon: it speaks protocol {connection.proto}, this client {PROTO}: restart it",
                code="unsupported_proto",
            )
        check_reachable(workspace, connection)
        cmd, evt = connection.cmd, connection.evt
        again = partial(find, workspace, None, keys, server_key)
        theirs = theirs or connection.server_key.encode()
        local = Path(workspace) / "keys" / "clients" / f"{LOCAL}.key_secret"
        if theirs and mine is None and local.is_file():
            mine = client(local)
    else:
        raise InputError("connect: expected a workspace folder or the daemon's endpoints, got neither")
    if mine is not None and not theirs:
        if cmd.startswith("tcp:"):
            raise InputError("connect: a key was given without the server's public key: give that too")
        mine = None  # ipc is guarded by its folder
    if theirs and mine is None:
        raise InputError("connect: this daemon asks for a key: make one with: thalweg keys create NAME")
    if len(theirs) not in (0, 40):
        raise InputError(f"connect: expected a server key of 40 characters, got {len(theirs)}")
    return Address(cmd, evt, theirs, mine, again)


def moved(address: Address) -> Address | None:
    """Where the daemon is now, if that is elsewhere; None where it is not there (yet), or no workspace tells."""
    if address.again is None:
        return None
    try:
        now = address.again()
    except InputError:
        return None
    return now if now != address else None


class Wire:
    """A socket of a client, and the monitor that tells what becomes of its connection."""

    def __init__(self, context: Any, kind: int, address: Address, endpoint: str, topics: Iterable[str] = ()) -> None:
        self.socket, self.endpoint = context.socket(kind), endpoint
        configure(self.socket, address)
        for topic in topics:
            self.socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        self.monitor = self.socket.get_monitor_socket(WATCHED)
        connect(self.socket, endpoint)

    def move(self, address: Address, endpoint: str) -> None:
        """Connect to another place, and no longer to the one before."""
        with suppress(zmq.ZMQError):
            self.socket.disconnect(self.endpoint)
        self.endpoint = endpoint
        secure(self.socket, address)
        connect(self.socket, endpoint)

    def close(self, linger_ms: int = 0) -> None:
        """Close both."""
        if not self.socket.closed:
            self.socket.disable_monitor()
            self.monitor.close(0)
            self.socket.close(linger_ms)


def configure(socket: Any, address: Address) -> None:
    """Set what every client socket has: limits, heartbeats, keys. Before it is connected."""
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    socket.setsockopt(zmq.SNDHWM, SEND_HWM)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_FRAME)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENT_MS)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    if socket.type == zmq.DEALER:
        socket.setsockopt(zmq.IMMEDIATE, 1)  # nothing is queued for a daemon that is not there
    secure(socket, address)


def secure(socket: Any, address: Address) -> None:
    """Set the keys, for connections from now on."""
    if address.server_key and address.keys is not None:
        socket.setsockopt(zmq.CURVE_SERVERKEY, address.server_key)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, address.keys.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, address.keys.secret)


def connect(socket: Any, endpoint: str) -> None:
    """Connect, or say what is wrong with the endpoint."""
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as e:
        raise InputError(
            f"connect: expected an endpoint such as ipc:///folder/cmd or tcp://127.0.0.1:5555, got '{endpoint}' "
            f"({e.strerror})"
        ) from e


def happened(frames: Sequence[bytes]) -> Happened:
    """What a monitor message says."""
    if len(frames[0]) != 6:
        return "nothing"
    event, _ = struct.unpack("=HI", frames[0])
    if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
        return "connected"
    if event == zmq.EVENT_DISCONNECTED:
        return "disconnected"
    return "refused" if event in (zmq.EVENT_HANDSHAKE_FAILED_AUTH, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL) else "nothing"


def refused(endpoint: str) -> ClientError:
    """For a handshake that failed: wrong key, none where one is needed, or no daemon of ours at all."""
    return ClientError(
        f"daemon: the one at {endpoint} does not let this key in: make one there with: thalweg keys create NAME",
        retryable=False,
    )
