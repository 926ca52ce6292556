"""What both clients are made of: open requests, the command socket, and the way to a daemon that moved.

A daemon that is started again may listen elsewhere (another port, other keys, other socket files). A client that found
it through its workspace looks into the connection file again while the connection is away, and its sockets move there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar

import zmq

from protocol import wires
from protocol.errors import InputError
from protocol.exchange import Exchange, new_id
from protocol.following import Following
from protocol.messages import Spec
from protocol.requests import ClientInfo, Hello, HelloReply, JobSubmit, Submitted

LOOK_S = 0.5  # between two looks into the connection file


class Follows(Protocol):
    """A subscription: it has a socket too."""

    wire: wires.Wire


F = TypeVar("F", bound=Follows)


class Wired(Generic[F]):
    """The base of both clients. `context` is closed with it where it is its own."""

    def __init__(self, address: wires.Address, context: zmq.Context[Any], own_context: bool) -> None:
        self.address = address
        self.hello: HelloReply | None = None
        self._context, self._own_context = context, own_context
        self._exchange = Exchange(address.cmd)
        self._subscriptions: list[F] = []
        self._wire = wires.Wire(context, zmq.DEALER, address, address.cmd)
        self._cmd, self._monitor = self._wire.socket, self._wire.monitor
        self._look_at = 0.0

    def _move(self, now: float) -> bool:
        """While the connection is away: look where the daemon is now, and go there. Whether it was elsewhere."""
        if self._exchange.connected or self.address.again is None or now < self._look_at:
            return False
        self._look_at = now + LOOK_S
        address = wires.moved(self.address)
        if address is None:
            return False
        self.address, self._exchange.endpoint = address, address.cmd
        self._wire.move(address, address.cmd)
        for subscription in self._subscriptions:
            subscription.wire.move(address, address.evt)
        return True

    def _patience(self, wait_s: float | None) -> float | None:
        """How long to wait at most, so that a daemon that moved is found."""
        if self._exchange.connected or self.address.again is None:
            return wait_s
        return LOOK_S if wait_s is None else min(LOOK_S, wait_s)

    def _end(self, linger_ms: int) -> None:
        self._wire.close(linger_ms)
        if self._own_context and not self._context.closed:
            self._context.term()


def hello(name: str, version: str) -> Hello:
    """The request that a connection begins with."""
    return Hello(id=new_id(), client=ClientInfo(name, version))


def submission(*jobs: Submitted | Spec) -> JobSubmit:
    """The request that submits these jobs in one transaction; bare specs get an id of their own."""
    whole = tuple(j if isinstance(j, Submitted) else Submitted(job=new_id(), spec=j) for j in jobs)
    return JobSubmit(id=new_id(), jobs=whole)


def following(client: Wired[Any], topics: str | Iterable[str], now: float) -> tuple[Following, wires.Wire]:
    """What a subscription of a client begins with. Raises InputError for topics that cannot be."""
    if not client.address.evt:
        raise InputError("subscribe: expected the daemon's event endpoint, only its command endpoint was given")
    core = Following((topics,) if isinstance(topics, str) else topics, now)
    return core, wires.Wire(client._context, zmq.SUB, client.address, client.address.evt, core.prefixes)
