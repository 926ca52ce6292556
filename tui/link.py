"""A worker process and the socket to it, for a command that runs without a daemon. All of the loop's edge is here.

The command binds `wrk` (ROUTER, ipc) in a fresh 0700 temporary folder, so that two commands never meet. The worker
watches a pipe whose other end is ours: however this process ends, the worker's pipe closes and it ends too. Its own
end is seen at once through a pidfd.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import zmq
from numpy.typing import NDArray

from protocol import codec
from protocol.messages import FromWorker, Message, WorkerLog, WorkerStop
from tui import children
from tui.children import ChildError
from tui.interrupt import Interrupt, Interrupted

Received = tuple[FromWorker, dict[str, NDArray[Any]]]
SOCKET_PATH_LIMIT = 90  # bytes; the system's is 107, the socket's own name comes on top
LAST_WORDS_MS = 200  # how long messages of a worker that has just died may still arrive


class Link:
    """One worker process, started at once; use as a context manager."""

    def __init__(self, log: Path, interrupt: Interrupt, command: Sequence[str] | None = None) -> None:
        self.log = log
        self.interrupt = interrupt
        base = None if len(os.fsencode(tempfile.gettempdir())) < SOCKET_PATH_LIMIT - 20 else "/tmp"
        self._folder = tempfile.mkdtemp(prefix="thalweg-", dir=base)
        endpoint = f"ipc://{self._folder}/wrk"
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.setsockopt(zmq.SNDHWM, 1000)
        self._socket.setsockopt(zmq.MAXMSGSIZE, codec.MAX_FRAME)
        self._socket.setsockopt(zmq.LINGER, 500)
        self._socket.bind(endpoint)
        watch, self._pipe = os.pipe()
        try:
            with open(log, "ab") as out:
                self._child = subprocess.Popen(
                    [*(command or children.python("compute.worker")), "--connect", endpoint, "--watch", str(watch)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    pass_fds=(watch,),
                    start_new_session=True,
                    # Threads that wait by spinning take a busy machine's cores: three epochs beside two busy loops
                    # took 51 s, 6 to 8 s with threads that sleep. Alone, sleeping costs about a fifth (2 cores).
                    env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},
                )
        finally:
            os.close(watch)
        self._pidfd = os.pidfd_open(self._child.pid) if hasattr(os, "pidfd_open") else None
        self._peer: bytes | None = None
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(interrupt.fileno(), zmq.POLLIN)
        if self._pidfd is not None:
            self._poller.register(self._pidfd, zmq.POLLIN)

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._child.pid

    def send(self, message: Message) -> None:
        """Send to the worker. It must have spoken once (`wrk.ready`)."""
        assert self._peer is not None
        with suppress(zmq.ZMQError):  # the peer is gone; the next `receive` says how
            self._socket.send_multipart([self._peer, *codec.encode(message)])

    def receive(self) -> Received | None:
        """The worker's next message, or None when Ctrl-C was pressed meanwhile.

        Raises ChildError as soon as the worker is dead and all that it sent has been read; Interrupted at the second
        press.
        """
        while True:
            ready = dict(self._poller.poll(None if self._pidfd is not None else 200))
            if self.interrupt.fileno() in ready:
                self.interrupt.clear()
                if self.interrupt.count > 1:
                    raise Interrupted
                return None
            dead = self._child.poll() is not None
            if self._socket in ready or (dead and self._socket.poll(LAST_WORDS_MS)):
                self._peer, *frames = self._socket.recv_multipart()
                message: FromWorker
                message, arrays = codec.decode(frames, FromWorker)
                if isinstance(message, WorkerLog):
                    self._write_log(f"{message.level}: {message.text}")
                return message, arrays
            if dead:
                raise ChildError(
                    f"the worker process ended unexpectedly {children.how_it_ended(self._child.returncode)}; "
                    f"what it said is in {self.log}"
                )

    def _write_log(self, line: str) -> None:
        with open(self.log, "a", encoding="utf-8") as out:
            out.write(line + "\n")

    def __enter__(self) -> Link:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._peer is not None:
            self.send(WorkerStop())
        else:  # it may be in the middle of a row: what it had committed is on disk already
            self._signal(signal.SIGTERM)
        self._socket.close()
        os.close(self._pipe)
        children.end(self._child)
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._context.term()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        if self._child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)
