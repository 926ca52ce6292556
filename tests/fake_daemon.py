"""A daemon of a few lines in a thread, for tests of clients: it keeps events, answers, beats, and can be made to fail.

Knobs: `silent` (no reply, no beat), `drop` (commit the next events without publishing them), `restart`, `refuse` (an
error for the next requests of a type), `behaviour` (a function in place of an answer), `kept` (older events are gone).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq

from protocol import codec, events
from protocol.connection import Connection, write_connection
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.messages import EventMessage, Heartbeat
from protocol.requests import (
    AnyRequest,
    Err,
    EventsReply,
    EventsSince,
    Heads,
    HeadsReply,
    Hello,
    HelloReply,
    Limits,
    Nothing,
    Ok,
    Ping,
    Request,
    Snapshot,
    SnapshotReply,
)

LIMITS = Limits(header=codec.MAX_HEADER, frame=codec.MAX_FRAME, buffers=codec.MAX_BUFFERS, piece=2**22, page=200)


class FakeDaemon:
    """Start it with `with`; it binds ipc sockets in `folder`, or TCP ports that are others at each start, and writes
    daemon.json there."""

    def __init__(
        self, folder: Path, *, beat_s: float = 0.05, curve: tuple[bytes, bytes] | None = None, tcp: bool = False
    ) -> None:
        self.folder, self.beat_s, self.curve, self.tcp = folder, beat_s, curve, tcp
        self.endpoints = (f"ipc://{folder}/cmd", f"ipc://{folder}/evt")
        self.topics: dict[str, list[list[bytes]]] = {}
        self.states: dict[str, dict[str, Any]] = {}
        self.kept: Counter[str] = Counter()  # events up to this seq are gone
        self.requests: list[Request] = []  # all that came
        self.silent = False
        self.drop = 0
        self.refuse: dict[type, deque[Err]] = {}
        self.behaviour: dict[type, Callable[[Any, Any], Any]] = {}  # request, arrays -> reply, or (reply, arrays)
        self.boot, self.beat = new_id(), 0
        self._todo: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> FakeDaemon:
        self._thread.start()
        assert self._up.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    # ------------------------------------------------------------ from the test's thread

    def publish(self, topic: str, event: EventMessage, arrays: codec.Arrays | None = None) -> None:
        """Commit the event, and publish it unless `drop` says not to."""
        self._do(lambda: self._publish(topic, event, arrays))

    def restart(self, down_s: float = 0.05) -> None:
        """Close the sockets, be away for a while, come back as another boot."""
        self._do(lambda: self._restart(down_s))

    def _do(self, what: Callable[[], None]) -> None:
        done = threading.Event()
        self._todo.append(lambda: (what(), done.set())[0])
        assert done.wait(5)

    # ------------------------------------------------------------ in its own

    def _bind(self) -> None:
        self.cmd, self.evt = self.context.socket(zmq.ROUTER), self.context.socket(zmq.XPUB)
        self.cmd.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.evt.setsockopt(zmq.XPUB_VERBOSE, 1)
        for socket, endpoint in zip((self.cmd, self.evt), self.endpoints):
            socket.setsockopt(zmq.LINGER, 100)
            if self.curve is not None:
                socket.setsockopt(zmq.CURVE_SERVER, 1)
                socket.setsockopt(zmq.CURVE_PUBLICKEY, self.curve[0])
                socket.setsockopt(zmq.CURVE_SECRETKEY, self.curve[1])
            socket.bind("tcp://127.0.0.1:*" if self.tcp else endpoint)
        cmd, evt = (socket.getsockopt(zmq.LAST_ENDPOINT).decode() for socket in (self.cmd, self.evt))
        self.endpoints = cmd, evt
        import os
        import socket as sockets

        write_connection(
            self.folder,
            Connection(
                proto=1,
                cmd=self.endpoints[0],
                evt=self.endpoints[1],
                server_key=self.curve[0].decode() if self.curve else "",
                pid=os.getpid(),
                boot=self.boot,
                store="s",
                host=sockets.gethostname(),
            ),
        )

    def _run(self) -> None:
        self.context = zmq.Context()
        self._bind()
        self._up.set()
        next_beat = time.monotonic() + self.beat_s
        while not self._stop.is_set():
            while self._todo:
                self._todo.popleft()()
            poller = zmq.Poller()
            poller.register(self.cmd, zmq.POLLIN)
            poller.register(self.evt, zmq.POLLIN)
            ready = dict(poller.poll(5))
            if self.cmd in ready:
                self._answer(self.cmd.recv_multipart())
            if self.evt in ready and self.evt.recv() == b"\x01hb/":
                self._send_beat()
            if time.monotonic() >= next_beat:
                next_beat += self.beat_s
                self.beat += 1
                self._send_beat()
        self.cmd.close()
        self.evt.close()
        self.context.term()

    def _send_beat(self) -> None:
        if not self.silent:
            heads = {t: len(e) for t, e in self.topics.items()}
            self.evt.send_multipart([b"hb/", *codec.encode(Heartbeat(boot=self.boot, beat=self.beat, heads=heads))])

    def _publish(self, topic: str, event: EventMessage, arrays: codec.Arrays | None) -> None:
        kept = self.topics.setdefault(topic, [])
        frames = codec.encode(msgspec.structs.replace(event, seq=len(kept) + 1), arrays)
        kept.append(frames)
        if self.drop:
            self.drop -= 1
        elif not self.silent:
            self.evt.send_multipart([topic.encode(), *frames])

    def _restart(self, down_s: float) -> None:
        self.cmd.close(0)
        self.evt.close(0)
        time.sleep(down_s)
        self.boot, self.beat = new_id(), 0
        self._bind()

    def _answer(self, frames: list[bytes]) -> None:
        peer, *rest = frames
        try:
            request, arrays = codec.decode(rest, AnyRequest)
        except InputError as e:
            self.cmd.send_multipart([peer, *codec.encode(Err(id=None, code=e.code, msg=e.msg, path=e.path))])
            return
        self.requests.append(request)
        if self.silent:
            return
        waiting = self.refuse.get(type(request))
        if waiting:
            reply: Ok | Err = msgspec.structs.replace(waiting.popleft(), id=request.id)
            out: codec.Arrays | None = None
        else:
            try:
                result, out = self._result(request, arrays)
                reply = Ok(id=request.id, result=msgspec.to_builtins(result))
            except InputError as e:
                reply, out = Err(id=request.id, code=e.code, msg=e.msg, path=e.path), None
        with contextlib.suppress(zmq.ZMQError):  # the client has closed meanwhile
            self.cmd.send_multipart([peer, *codec.encode(reply, out)])

    def _result(self, request: Any, arrays: Any) -> tuple[msgspec.Struct, codec.Arrays | None]:
        if type(request) in self.behaviour:
            result = self.behaviour[type(request)](request, arrays)
            return result if isinstance(result, tuple) else (result, None)
        match request:
            case Hello():
                return HelloReply(boot=self.boot, store="s", proto=1, version="0", limits=LIMITS), None
            case Ping():
                return Nothing(), None
            case Heads(topics=topics):
                heads = {t: len(self.topics.get(t, ())) for t in topics if t.count("/") > 1}
                for prefix in (t for t in topics if t.count("/") == 1):
                    heads |= {t: len(events) for t, events in self.topics.items() if t.startswith(prefix)}
                return HeadsReply(heads=heads), None
            case Snapshot(topic=topic, cursor=cursor):
                if topic not in self.topics:
                    raise InputError(
                        f"topic {topic}: expected a run, plane, surface or job, found none", code="not_found"
                    )
                seq = len(self.topics[topic])
                rows = np.arange(seq, dtype="<i8")  # in two pieces, to show that they are put together
                if cursor is None:
                    state = self.states.get(topic, {"seq": seq})
                    return SnapshotReply(topic=topic, seq=seq, state=state, parts={"rows": 0}, next=f"{seq}"), {
                        "rows": rows[: seq // 2]
                    }
                seq = int(cursor)
                return SnapshotReply(topic=topic, seq=seq, parts={"rows": seq // 2}), {"rows": rows[seq // 2 : seq]}
            case EventsSince(topic=topic, seq=seq):
                kept = self.topics.get(topic, [])
                if seq < self.kept[topic]:
                    return EventsReply(head=len(kept), count=0, gone=True), None
                buffer, count = events.pack(kept[seq:])
                more = seq + count if seq + count < len(kept) else None
                return EventsReply(head=len(kept), count=count, next=more), {"events": np.frombuffer(buffer, "|u1")}
        raise InputError(f"{type(request).__name__}: the fake daemon does not know it", code="unknown_command")
