"""The window's command socket, in a thread of its own: it lets requests in, one by one, checked, and answers go out.

What is no request is answered here and never reaches the picture; `hello` and `ping` are answered here too, so that a
long drawing does not look like a dead window. Everything else is handed to `deliver` for the thread that draws.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import zmq
from numpy.typing import NDArray

from protocol import codec, keys
from protocol.errors import InputError
from protocol.messages import PROTO, Message
from protocol.plain import check_plain
from protocol.requests import PIECE, Err, Hello, HelloReply, Limits, Nothing, Ok, Ping, Request
from protocol.windows import AnyWindowRequest

Arrays = dict[str, NDArray[Any]]
Deliver = Callable[[bytes, Request, Arrays], None]
CAPS = ("window",)
BURST, RATE = 400.0, 400.0  # requests of one peer at once, and a second
PEERS = 1000  # whose rate is remembered
WAITING = 500  # requests that the picture has not come to yet: then `busy`
BUSY_S = 0.25
MAX_MESSAGE = 2000  # characters of an error
OUT_HWM = 1000  # messages to a peer that does not read; frames are bounded by their acknowledgements
GOODBYE_S = 0.2  # a peer drops what it has not read when the connection ends: time to read the last answer
FAIR = 64  # requests taken in before answers go out
ZAP = "inproc://zeromq.zap.01"
SOCKET_PATH = 100  # bytes; the system's limit is 107


@dataclass
class Bucket:
    """How much a peer may still ask."""

    tokens: float
    at: float


@dataclass
class Counts:
    """What came, for tests and for `status` lines."""

    requests: int = 0
    bad_frames: int = 0
    refused: int = 0


def err(id: str | None, e: InputError, after: float | None = None) -> list[bytes]:
    """The frames of an error."""
    msg = e.msg if len(e.msg) <= MAX_MESSAGE else f"{e.msg[:MAX_MESSAGE]} ..."
    path = e.path if e.path is None else e.path[:200]
    retryable = after is not None or e.code == "busy"
    return codec.encode(Err(id=id, code=e.code, msg=msg, path=path, retryable=retryable, retry_after_s=after))


def ok(request: Request, reply: msgspec.Struct, arrays: Arrays | None = None) -> list[bytes]:
    """The frames of a reply."""
    return codec.encode(Ok(id=request.id, result=msgspec.to_builtins(reply)), arrays)


class Door:
    """Bind with `Door(...)`, then `start`. `send` and `stop` may be called from any thread."""

    def __init__(self, window: str, bind: str | None = None, workspace: str | None = None, version: str = "") -> None:
        """`bind`: where to listen (default: an ipc socket in a fresh folder of 0700). On TCP only keys of the
        `workspace` are let in. Raises InputError where it cannot listen there."""
        self.window, self.version = window, version
        self.counts = Counts()
        self.waiting = 0  # delivered, not yet answered; kept by the thread that draws
        self._keys = workspace
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.ROUTER)
        self._zap: zmq.Socket[bytes] | None = None
        self._buckets: dict[bytes, Bucket] = {}
        self._out: deque[tuple[bytes, list[bytes]]] = deque()
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._stopping = False
        self._sent_at = 0.0
        self._thread: threading.Thread | None = None
        self._deliver: Deliver = lambda *_: None
        self._left: Callable[[bytes], None] = lambda _: None
        for option, value in (
            (zmq.ROUTER_MANDATORY, 1), (zmq.SNDHWM, OUT_HWM), (zmq.LINGER, 300), (zmq.MAXMSGSIZE, codec.MAX_FRAME),
            (zmq.HANDSHAKE_IVL, 2000), (zmq.HEARTBEAT_IVL, 2000), (zmq.HEARTBEAT_TIMEOUT, 6000),
        ):  # fmt: skip
            self._socket.setsockopt(option, value)
        try:
            self.endpoint = self._bind(bind)
        except BaseException:
            self._close()
            raise

    def _bind(self, bind: str | None) -> str:
        if bind is None:
            base = None if len(os.fsencode(tempfile.gettempdir())) < SOCKET_PATH - 40 else "/tmp"
            self._folder = tempfile.TemporaryDirectory(prefix="thalweg-window-", dir=base)  # mode 0700
            bind = f"ipc://{self._folder.name}/cmd"
        if bind.startswith("tcp://"):
            self._lock()
        elif not bind.startswith("ipc://"):
            raise InputError(f"--cmd: expected ipc://FILE or tcp://ADDRESS:PORT, got '{bind}'")
        file = Path(bind.removeprefix("ipc://"))
        if bind.startswith("ipc://"):
            if len(os.fsencode(str(file))) > SOCKET_PATH:
                raise InputError(f"--cmd: {file}: expected a path of at most {SOCKET_PATH} bytes")
            if file.exists() and _listens(file):
                raise InputError(f"--cmd: a program listens on {file} already: choose another", code="exists")
        try:
            self._socket.bind(bind)
        except zmq.ZMQError as e:
            raise InputError(f"--cmd: cannot listen on {bind} ({e.strerror}): choose another endpoint") from e
        if bind.startswith("ipc://"):
            os.chmod(file, 0o600)
        return str(self._socket.getsockopt(zmq.LAST_ENDPOINT).decode().rstrip("\0"))  # type: ignore[union-attr]

    def _lock(self) -> None:
        """CURVE with the workspace's own key, and its list of those that are let in."""
        if self._keys is None:
            raise InputError("--cmd: tcp needs --keys, a workspace whose clients' keys are let in, or ipc")
        ours = keys.server(self._keys)
        self._zap = self._context.socket(zmq.REP)
        self._zap.bind(ZAP)
        self._socket.setsockopt(zmq.CURVE_SERVER, 1)
        self._socket.setsockopt(zmq.CURVE_PUBLICKEY, ours.public)
        self._socket.setsockopt(zmq.CURVE_SECRETKEY, ours.secret or b"")
        self._socket.setsockopt(zmq.ZAP_DOMAIN, b"thalweg")

    def start(self, deliver: Deliver, left: Callable[[bytes], None] = lambda _: None) -> None:
        """Let requests in. `deliver(peer, request, arrays)`, and `left(peer)` where one is found to be gone, are called
        in the door's thread and must not wait."""
        self._deliver, self._left = deliver, left
        self._thread = threading.Thread(target=self._run, name="door", daemon=True)
        self._thread.start()

    def send(self, peer: bytes, frames: list[bytes]) -> None:
        """To one peer; dropped where it is gone or does not read."""
        self._out.append((peer, frames))
        self._wake()

    def tell(self, peer: bytes, message: Message, arrays: Arrays | None = None) -> None:
        """A message that nobody asked for."""
        self.send(peer, codec.encode(message, arrays))

    def stop(self) -> None:
        """Send what is left, close, remove the socket file."""
        self._stopping = True
        self._wake()
        if self._thread is not None:
            self._thread.join(3)
            self._thread = None
            time.sleep(max(0.0, self._sent_at + GOODBYE_S - time.monotonic()))
        self._close()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._ours.fileno(), zmq.POLLIN)
        if self._zap is not None:
            poller.register(self._zap, zmq.POLLIN)
        while True:
            found = dict(poller.poll())
            if self._ours.fileno() in found:
                with suppress(BlockingIOError):
                    while self._ours.recv(4096):
                        pass
            if self._zap in found:
                self._let_in()
            if self._socket in found:
                self._requests()
            while self._out:
                peer, frames = self._out.popleft()
                try:
                    self._socket.send_multipart([peer, *frames], zmq.NOBLOCK)
                    self._sent_at = time.monotonic()
                except zmq.Again:
                    pass  # it does not read: its loss alone
                except zmq.ZMQError:
                    self._left(peer)
            if self._stopping:
                return

    def _requests(self) -> None:
        for _ in range(FAIR):
            try:
                peer, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.frames(peer, frames)

    def frames(self, peer: bytes, frames: list[bytes]) -> None:
        """What a peer sent. Whatever it is: an answer, or a delivery; no exception."""
        request: Request | None = None
        self.counts.requests += 1
        try:
            if not self._may(peer):
                self.send(peer, err(_id(frames), InputError("window: too many requests at once", code="busy"), BUSY_S))
                return
            request, arrays = codec.decode(frames, AnyWindowRequest)
            assert request is not None
            check_plain(request)
            if request.proto > PROTO and not isinstance(request, Hello):
                raise InputError(
                    f"proto: this window speaks 1 to {PROTO}, got {request.proto}", code="unsupported_proto"
                )
            if request.expires_at is not None and request.expires_at < time.time():
                raise InputError("request: it expired before it came: send it again", code="expired")
            match request:
                case Hello():
                    self.send(peer, ok(request, self._hello(request)))
                case Ping():
                    self.send(peer, ok(request, Nothing()))
                case _ if self.waiting >= WAITING:
                    raise InputError("window: it has not come to earlier requests yet", code="busy")
                case _:
                    self._deliver(peer, request, arrays)
        except InputError as e:
            self.counts.bad_frames += e.code == "bad_frame"
            after = BUSY_S if e.code == "busy" else None
            self.send(peer, err(request.id if request else _id(frames), e, after))
        except Exception as e:  # a mistake here must not end the thread
            error = InputError(f"window: internal error ({type(e).__name__})", code="internal")
            self.send(peer, err(request.id if request else None, error))

    def _hello(self, request: Hello) -> HelloReply:
        if not request.proto_min <= PROTO <= request.proto_max:
            raise InputError(
                f"hello: this window speaks protocol {PROTO}, got {request.proto_min} to {request.proto_max}",
                code="unsupported_proto",
            )
        limits = Limits(header=codec.MAX_HEADER, frame=codec.MAX_FRAME, buffers=codec.MAX_BUFFERS, piece=PIECE, page=0)
        return HelloReply(boot=self.window, store="", proto=PROTO, version=self.version, caps=CAPS, limits=limits)

    def _may(self, peer: bytes) -> bool:
        now = time.monotonic()
        bucket = self._buckets.get(peer)
        if bucket is None:
            if len(self._buckets) >= PEERS:
                self._buckets.clear()
            bucket = self._buckets[peer] = Bucket(BURST, now)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) * RATE)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _let_in(self) -> None:
        assert self._zap is not None
        frames = self._zap.recv_multipart()
        let_in: frozenset[bytes] = frozenset()
        with suppress(OSError):  # keys that cannot be read let nobody in
            let_in = keys.allowed(self._keys or "")
        reply = keys.zap_reply(frames, let_in) or [b"1.0", b"", b"400", b"not understood", b"", b""]
        self.counts.refused += reply[2] != b"200"
        self._zap.send_multipart(reply)

    def _wake(self) -> None:
        with suppress(BlockingIOError, OSError):
            self._theirs.send(b"\0")

    def _close(self) -> None:
        for made in (self._socket, self._zap):
            if made is not None and not made.closed:
                made.close()
        self._context.term()
        self._ours.close()
        self._theirs.close()
        if hasattr(self, "endpoint") and self.endpoint.startswith("ipc://"):
            with suppress(OSError):
                Path(self.endpoint.removeprefix("ipc://")).unlink()
        if self._folder is not None:
            self._folder.cleanup()


def _listens(file: Path) -> bool:
    """Whether a program listens on a socket file: libzmq would take it away from it."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0.5)
        try:
            probe.connect(str(file))
        except OSError:
            return False
    return True


def _id(frames: list[bytes]) -> str | None:
    """The id in a header that could not be read as a request, where there is one, so that the peer knows which."""
    import msgpack

    try:
        found = msgpack.unpackb(frames[0], raw=False, strict_map_key=True).get("id")
    except Exception:  # whatever it was, it has no id
        return None
    return found if isinstance(found, str) and len(found) <= 64 else None
