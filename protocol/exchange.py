"""Requests and their replies, matched by id: the pure core of both clients. No socket; time is passed in.

A request is checked before it leaves, kept until its reply comes, sent again under the same id when the connection was
lost or the daemon was busy, and given up at its deadline.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from numpy.typing import NDArray

from protocol import codec
from protocol.errors import Code, InputError
from protocol.plain import check_plain
from protocol.requests import Err, Limits, Ok, Reply, Request
from protocol.windows import EVERY_REPLY, FromWindow

Arrays = Mapping[str, NDArray[Any]]

AGAIN: frozenset[Code] = frozenset({"busy", "unavailable", "internal", "no_space", "expired"})
"""Codes that say something of the daemon's moment, not of what was asked."""
BUSY_S = 0.5  # before a busy daemon that does not say when is asked again
PUSHED = 64  # messages of a window that nobody has taken yet; older ones go
HINTS = {
    "daemon": ("start it with: thalweg daemon start", "look at: thalweg daemon status"),
    "window": ("open one with: thalweg window open", "look at: thalweg window list"),
}


class ClientError(InputError):
    """The daemon could not do it now, or did not answer. `retryable`: the same request may succeed later."""

    def __init__(
        self, msg: str, *, code: Code = "unavailable", retryable: bool = True, retry_after_s: float | None = None
    ) -> None:
        super().__init__(msg, code=code)
        self.retryable = retryable
        self.retry_after_s = retry_after_s


def new_id() -> str:
    """A new ULID: for requests, jobs, uploads, windows."""
    from ulid import ULID  # costs a third of a client's import

    return str(ULID())


def error_of(err: Err) -> InputError:
    """The exception for an error reply."""
    if err.retryable or err.code in AGAIN:
        return ClientError(err.msg, code=err.code, retryable=err.retryable, retry_after_s=err.retry_after_s)
    return InputError(err.msg, code=err.code, path=err.path)


@dataclass(frozen=True, eq=False)
class Answer:
    """What came of a request: a reply of the type that EVERY_REPLY names with its arrays, or an error."""

    request: Request
    reply: Any = None
    arrays: Arrays | None = None
    error: InputError | None = None

    def get(self) -> tuple[Any, Arrays]:
        """(reply, arrays). Raises the error."""
        if self.error is not None:
            raise self.error
        return self.reply, self.arrays or {}


@dataclass(eq=False)
class _Pending:
    request: Request
    frames: list[bytes]
    deadline: float
    timeout_s: float
    due: float | None  # when to send (again); None: sent, waiting
    busy: InputError | None = None


class Exchange:
    """The open requests of one connection, to a daemon or to a `peer` of another kind."""

    def __init__(self, endpoint: str = "", peer: Literal["daemon", "window"] = "daemon") -> None:
        self.endpoint, self.peer = endpoint, peer
        self.pushed: deque[tuple[FromWindow, Arrays]] = deque(maxlen=PUSHED)  # what a window sent of its own accord
        self.connected = False
        self.reconnections = 0
        self._lost = False  # a connection that was there is gone and not yet back
        self.limits = Limits(header=codec.MAX_HEADER, frame=codec.MAX_FRAME, buffers=codec.MAX_BUFFERS, piece=0, page=0)
        self._open: dict[str, _Pending] = {}

    def ask(self, request: Request, arrays: Arrays | None, now: float, timeout_s: float) -> None:
        """Take up a request. Raises InputError before anything is sent: NaN in it, too large, its id still open."""
        if request.id in self._open:
            raise InputError(f"request {request.id}: it is open already: choose another id", code="id_reused")
        check_plain(request)
        frames = codec.encode(request, arrays)
        self._check_limits(frames)
        self._open[request.id] = _Pending(request, frames, now + timeout_s, timeout_s, due=now)

    def _check_limits(self, frames: list[bytes]) -> None:
        allowed = self.limits
        for what, got, most in (
            ("header", len(frames[0]), allowed.header),
            ("buffer", max(map(len, frames[1:]), default=0), allowed.frame),
        ):
            if got > most:
                raise InputError(f"request: {what} of {got} bytes, expected at most {most}", code="too_large")
        if len(frames) - 1 > allowed.buffers:
            raise InputError(
                f"request: {len(frames) - 1} buffers, expected at most {allowed.buffers}", code="too_large"
            )

    def outgoing(self, now: float) -> list[tuple[str, list[bytes]]]:
        """(id, frames) to send now, oldest first. Say `sent` of each that was.

        Nothing while the connection is away: what is written to a socket at that moment may go down with the old one.
        """
        if self._lost:
            return []
        return [(i, p.frames) for i, p in self._open.items() if p.due is not None and p.due <= now]

    def sent(self, id: str) -> None:
        """These frames were handed to the connection."""
        if id in self._open:
            self._open[id].due = None

    def disconnected(self) -> None:
        """The connection was lost, and with it maybe requests or replies."""
        self.connected, self._lost = False, True

    def reached(self, now: float) -> None:
        """A connection is there. After one that was lost, all open requests go out again."""
        self.reconnections += self._lost
        for pending in self._open.values() if self._lost else ():
            if pending.due is None:
                pending.due = now
        self.connected, self._lost = True, False

    def received(self, frames: list[bytes], now: float) -> Answer | None:
        """The answer in these frames. None for a reply to nothing that is open, or to what will be tried again."""
        try:
            reply: Ok | Err | FromWindow
            reply, arrays = codec.decode(frames, Reply if self.peer == "daemon" else Reply | FromWindow)
        except InputError:
            return None  # what is not a reply answers nothing; the request runs into its deadline
        if not isinstance(reply, Ok | Err):
            self.pushed.append((reply, arrays))
            return None
        pending = self._open.get(reply.id or "")
        if pending is None:
            return None
        if isinstance(reply, Err):
            error = error_of(reply)
            after = BUSY_S if reply.retry_after_s is None and reply.code == "busy" else reply.retry_after_s
            if reply.retryable and after is not None and now + after < pending.deadline:
                pending.due, pending.busy = now + max(0.0, after), error
                return None
            return self._close(pending, error=error)
        try:
            result = msgspec.convert(reply.result, EVERY_REPLY[type(pending.request)])
        except msgspec.ValidationError as e:
            t = type(pending.request).__struct_config__.tag
            return self._close(
                pending,
                error=ClientError(f"{self.peer}: unreadable reply to {t}: {e}", code="internal", retryable=False),
            )
        return self._close(pending, reply=result, arrays=arrays)

    def expired(self, now: float) -> list[Answer]:
        """Those whose deadline has passed."""
        return [self._close(p, error=p.busy or self._silent(p)) for p in list(self._open.values()) if now >= p.deadline]

    def wait_s(self, now: float) -> float | None:
        """How long until something is due, None without open requests."""
        times = [
            min(p.deadline, p.due if p.due is not None and p.due > now else p.deadline) for p in self._open.values()
        ]
        return max(0.0, min(times) - now) if times else None

    def unsent(self, now: float) -> bool:
        """Whether something wants to be sent now."""
        return bool(self.outgoing(now))

    def forget(self, id: str) -> None:
        """Wait for this one no longer."""
        self._open.pop(id, None)

    def refuse_all(self, error: InputError) -> list[Answer]:
        """Close all with this error."""
        return [self._close(p, error=error) for p in list(self._open.values())]

    def _silent(self, pending: _Pending) -> ClientError:
        if not self.connected:
            return ClientError(f"{self.peer}: nobody answers at {self.endpoint}: {HINTS[self.peer][0]}")
        t = type(pending.request).__struct_config__.tag
        return ClientError(f"{self.peer}: no reply to {t} within {pending.timeout_s:g} s: {HINTS[self.peer][1]}")

    def _close(
        self,
        pending: _Pending,
        reply: Any = None,
        arrays: Arrays | None = None,
        error: InputError | None = None,
    ) -> Answer:
        self._open.pop(pending.request.id, None)
        return Answer(pending.request, reply, arrays, error)
