"""The daemon: sockets and the loop. It owns a workspace, runs jobs in workers, and serves any number of clients.

    python -m compute.daemon --workspace DIR [--data DIR] [--tcp PORT [--listen ADDRESS]]

One thread waits for all sockets, the workers' ends and the store's commits; the store has one of its own. No torch.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import hashlib
import os
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import zmq
from ulid import ULID

from compute import config, lock
from compute.desk import Desk
from compute.launchers import LAUNCHERS
from compute.service import Service
from compute.store import Store
from compute.store.sweep import sweep
from protocol import codec, keys
from protocol.connection import FILE, Connection, write_connection
from protocol.errors import InputError
from protocol.messages import PROTO, EventMessage, FromWorker, Heartbeat, Message

BEAT_S = 1.0
BACKUP_S = 3600.0
STOP_S = 10.0  # a worker that has not let go by then is ended; what it had committed is kept
FAIR = 64  # requests taken in one turn of the loop, so that rows and heartbeats are never starved
MORE, READABLE = int(zmq.SNDMORE), int(zmq.POLLIN)  # an enum's | costs as much as sending a small frame
SWITCH_S = 0.0005  # the store's thread asks for the interpreter often: it waits no longer than this each time
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
HEAP_KEPT, LARGE = 16 * 1024 * 1024, 1024 * 1024
SOCKET_PATH = 100  # bytes; the system's limit is 107
SEND_HWM, EVENT_HWM = 1000, 200
TRACKED = 64 * 1024  # bytes of a buffer from which on it is seen when a client has taken it
ZAP = "inproc://zeromq.zap.01"


class Daemon:
    """One workspace's daemon, from lock to socket."""

    def __init__(
        self, workspace: Path, *, data: str | None = None, tcp: int | None = None, listen: str = "127.0.0.1"
    ) -> None:
        self.workspace = workspace.expanduser().absolute()
        self.lock: IO[bytes] = lock.acquire(self.workspace)
        os.chmod(self.workspace, 0o700)
        settings = config.read(self.workspace)
        if data is not None and settings.data is None:
            config.keep_data(self.workspace, str(Path(data).expanduser().absolute()))
            settings = config.read(self.workspace)
        self.boot = str(ULID())
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self.store = Store.open(self.workspace, self.wake)
        self.swept = self.store.call(lambda t: sweep(t, self.workspace))
        self.store_id = self.store.call(lambda t: t.get_meta("store")) or ""
        self.context = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, 1023)
        self.ends: dict[str, str] = {}
        self.cmd: list[zmq.Socket[bytes]] = []
        self.evt: list[zmq.Socket[bytes]] = []
        self._wanted: dict[zmq.Socket[bytes], set[bytes]] = {}  # prefixes that somebody subscribed to
        self._poller, self._polled = zmq.Poller(), tuple[int, ...]()
        self._zap: zmq.Socket[bytes] | None = None
        self.wrk = self._socket(zmq.ROUTER, SEND_HWM)
        try:
            self._bind(tcp, listen)
        except BaseException:
            self.store.close()
            self._close_sockets()
            raise
        launcher = LAUNCHERS["local"]
        self.service = Service(
            self.workspace, self.store, self, launcher, self.ends["wrk"], data=data, config=settings, wake=self.wake
        )
        self.desk = Desk(self.service, boot=self.boot, store_id=self.store_id, clock=time.monotonic)
        self._beat = 0
        self._next_beat = time.monotonic()
        self._next_backup = time.monotonic() + 5.0  # one after serving has begun
        self._stop_by: float | None = None
        self._signalled = False

    # ------------------------------------------------------------ sockets

    def _bind(self, tcp: int | None, listen: str) -> None:
        folder = self.workspace
        if len(os.fsencode(folder / "cmd")) > SOCKET_PATH:
            name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
            folder = Path(tempfile.gettempdir()) / f"thalweg-{name}"
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.stat().st_uid != os.getuid() or folder.stat().st_mode & 0o077:
                raise InputError(f"{folder}: expected a folder of yours alone for the sockets: remove it, start again")
        for name, made in (("wrk", self.wrk), ("cmd", self._command()), ("evt", self._event())):
            self._bind_ipc(name, made, folder / name)
        self.server_key = ""
        if tcp is None:
            return
        ours = keys.server(self.workspace)
        with suppress(InputError):
            keys.create(self.workspace, keys.LOCAL)
        self.server_key = ours.public.decode()
        self._zap = self.context.socket(zmq.REP)
        self._zap.bind(ZAP)
        for name, made, port in (("tcp.cmd", self._command(), tcp), ("tcp.evt", self._event(), tcp + 1 if tcp else 0)):
            made.setsockopt(zmq.CURVE_SERVER, 1)
            made.setsockopt(zmq.CURVE_PUBLICKEY, ours.public)
            made.setsockopt(zmq.CURVE_SECRETKEY, ours.secret or b"")
            made.setsockopt(zmq.ZAP_DOMAIN, b"thalweg")
            try:
                made.bind(f"tcp://{listen}:{port or '*'}")
            except zmq.ZMQError as e:
                raise InputError(
                    f"tcp://{listen}:{port}: cannot listen there ({e.strerror}): choose another port or address",
                    code="exists",
                ) from e
            self.ends[name] = str(made.getsockopt(zmq.LAST_ENDPOINT).decode())  # type: ignore[union-attr]

    def _bind_ipc(self, name: str, made: zmq.Socket[bytes], path: Path) -> None:
        """Bind a socket file. The lock keeps other daemons away, not other programs: libzmq would take it from them."""
        who = lock.listener(path)
        if who is not None:
            raise InputError(
                f"{path}: process {who or 'unknown'} listens on this socket: end it, or choose another workspace",
                code="exists",
            )
        try:
            made.bind(f"ipc://{path}")
        except zmq.ZMQError as e:
            raise InputError(f"{path}: cannot listen there ({e.strerror}): move away what is there") from e
        self.ends[name] = f"ipc://{path}"
        os.chmod(path, 0o600)

    def _socket(self, kind: int, hwm: int) -> zmq.Socket[bytes]:
        made: zmq.Socket[bytes] = self.context.socket(kind)
        made.setsockopt(zmq.SNDHWM, hwm)
        made.setsockopt(zmq.LINGER, 500)
        made.setsockopt(zmq.MAXMSGSIZE, codec.MAX_FRAME)
        made.setsockopt(zmq.HANDSHAKE_IVL, 2000)
        made.setsockopt(zmq.HEARTBEAT_IVL, 2000)
        made.setsockopt(zmq.HEARTBEAT_TIMEOUT, 6000)
        if kind == zmq.ROUTER:
            made.setsockopt(zmq.ROUTER_MANDATORY, 1)
        return made

    def _command(self) -> zmq.Socket[bytes]:
        self.cmd.append(self._socket(zmq.ROUTER, SEND_HWM))
        return self.cmd[-1]

    def _event(self) -> zmq.Socket[bytes]:
        made = self._socket(zmq.XPUB, EVENT_HWM)
        self._wanted[made] = set()
        made.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.evt.append(made)
        return made

    # ------------------------------------------------------------ out (service.Post)

    def publish(self, topic: str, event: EventMessage, arrays: codec.Arrays | None = None) -> None:
        """To every subscriber of the topic."""
        name = topic.encode()
        # A subscription is read before what its client asks after it is answered: nobody misses what is not sent.
        wanted = [made for made in self.evt if name.startswith(tuple(self._wanted[made]))]
        if not wanted:
            return
        *most, last = name, *codec.encode(event, arrays)
        for made in wanted:
            for frame in most:
                made.send(frame, MORE)
            made.send(last)

    def to_worker(self, peer: bytes, message: Message) -> None:
        """To one worker; one that is gone is noticed by its end."""
        with suppress(zmq.ZMQError):
            self.wrk.send_multipart([peer, *codec.encode(message)], zmq.NOBLOCK)

    def wake(self) -> None:
        """From any thread: there is something to hand out."""
        with suppress(BlockingIOError, OSError):
            self._theirs.send(b"\0")

    # ------------------------------------------------------------ the loop

    def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until told to stop."""
        sys.setswitchinterval(SWITCH_S)
        keep_heap()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signal)
        signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        self._write_connection()
        self.service.start()
        gc.freeze()  # modules and classes: 4 ms of a full collection, in which nobody would be answered
        ready()
        while not self._ended():
            self._turn()
        self._close()

    def _signal(self, *_: object) -> None:
        self._signalled = True

    def _turn(self) -> None:
        wait = max(0.0, self._next_beat - time.monotonic())
        found = dict(self._ready().poll(int(1000 * wait) + 1))
        if self._ours.fileno() in found:
            with suppress(BlockingIOError):
                while self._ours.recv(4096):
                    pass
        if self._zap in found:
            self._let_in()
        for made in self.evt:
            if made in found:
                self._subscriptions(made)
        for made in self.cmd:
            if made in found:
                self._requests(made)
        if self.wrk in found:
            self._rows()
        for made in self.evt:  # who subscribed in this turn may have asked for a snapshot in it
            self._subscriptions(made)
        self._safely("stored", self.store.completed)
        self._safely("time", self.service.tick)
        self._time()

    def _ready(self) -> zmq.Poller:
        """Of all sockets, the store's wake-up and the workers' ends; made anew when a worker comes or goes."""
        ends = tuple(e for w in self.service.crew.workers.values() if (e := w.handle.fileno()) is not None)
        if ends != self._polled or not self._poller.sockets:
            self._poller, self._polled = zmq.Poller(), ends
            for made in (*self.cmd, *self.evt, self.wrk, *([self._zap] if self._zap else [])):
                self._poller.register(made, zmq.POLLIN)
            for fd in (self._ours.fileno(), *ends):
                self._poller.register(fd, zmq.POLLIN)
        return self._poller

    def _safely(self, what: str, do: Callable[[], object]) -> None:
        """One thing of the loop. What nobody foresaw is logged; it costs that one thing, not the daemon."""
        try:
            do()
        except Exception:
            self.service.log(None, "error", f"{what}: {traceback.format_exc()}")

    def _requests(self, made: zmq.Socket[bytes]) -> None:
        for _ in range(FAIR):
            try:
                peer, *frames = made.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.desk.frames(peer, frames, self._answer(made, peer))

    def _answer(self, made: zmq.Socket[bytes], peer: bytes) -> Callable[[list[bytes]], None]:
        def answer(frames: list[bytes]) -> None:
            large = [zmq.Frame(frame, track=True, copy=False) for frame in frames if len(frame) >= TRACKED]
            parts = iter(large)
            out = [peer, *(next(parts) if len(frame) >= TRACKED else frame for frame in frames)]
            with suppress(zmq.ZMQError):  # the client is gone, or does not read: its loss alone
                made.send_multipart(out, zmq.NOBLOCK, copy=not large)
                if large:
                    self.desk.debts.sent(peer, sum(map(len, frames)), zmq.MessageTracker(*large))

        return answer

    def _rows(self) -> None:
        for _ in range(FAIR // 4):  # a row takes as long as several requests
            try:
                peer, *frames = self.wrk.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                message: Any
                message, arrays = codec.decode(frames, FromWorker, ours=True)
                self.service.heard(peer, message, arrays)
            except Exception as e:  # of a process of ours, yet not of this one: its mistake is not the daemon's end
                self.service.distrust(peer, f"{type(e).__name__}: {e}")
        self._safely("rows", self.service.came)

    def _subscriptions(self, made: zmq.Socket[bytes]) -> None:
        new = False
        while made.getsockopt(zmq.EVENTS) & READABLE:  # type: ignore[operator]
            told = made.recv(zmq.NOBLOCK)
            if told[:1] == b"\1":
                new = True
                self._wanted[made].add(told[1:])
            elif told[:1] == b"\0":
                self._wanted[made].discard(told[1:])  # the last one that had it is gone
        if new:
            self._heartbeat()  # tells the client that it is subscribed

    def _let_in(self) -> None:
        assert self._zap is not None
        frames = self._zap.recv_multipart()
        let_in: frozenset[bytes] = frozenset()
        with suppress(OSError):  # keys that cannot be read let nobody in
            let_in = keys.allowed(self.workspace)
        reply = keys.zap_reply(frames, let_in)
        if reply is None:
            reply = [b"1.0", b"", b"400", b"not understood", b"", b""]
        if reply[2] != b"200":
            self.desk.refused_clients += 1
        self._zap.send_multipart(reply)

    def _heartbeat(self) -> None:
        now = time.monotonic()
        heads = {topic: seq for topic, (seq, at) in self.service.heads.items() if now - at <= 5.0}
        while len(heads) > 500:  # a header holds so many; the rest is found out by asking
            heads.pop(next(iter(heads)))
        self.publish("hb/", Heartbeat(boot=self.boot, beat=self._beat, heads=heads))

    def _time(self) -> None:
        now = time.monotonic()
        if now >= self._next_beat:
            self._beat += 1
            self._next_beat = max(now, self._next_beat + BEAT_S)
            self._heartbeat()
            self.desk.forget()
        if now >= self._next_backup:
            self._next_backup = now + BACKUP_S
            if self.store.changes:
                self.store.backup(lambda *_: None)
        if (self._signalled or self.desk.shutdown) and self._stop_by is None:
            finish = self.desk.shutdown == "finish"
            self._stop_by = now + (1e9 if finish and not self._signalled else STOP_S)
            self.service.shut_down("finish" if finish else "now")

    def _ended(self) -> bool:
        if self._stop_by is None:
            return False
        if self.service.quiet:
            return True
        return time.monotonic() >= self._stop_by

    # ------------------------------------------------------------ beginning and end

    def _write_connection(self) -> None:
        write_connection(
            self.workspace,
            Connection(
                proto=PROTO,
                cmd=self.ends["cmd"],
                evt=self.ends["evt"],
                server_key=self.server_key if self.ends["cmd"].startswith("tcp") else "",
                pid=os.getpid(),
                boot=self.boot,
                store=self.store_id,
                host=socket.gethostname(),
                tcp=tuple(self.ends[name] for name in ("tcp.cmd", "tcp.evt") if name in self.ends),
            ),
        )

    def _close(self) -> None:
        signal.set_wakeup_fd(-1)
        self.service.close()
        self.store.close()
        while self.store.handed_out:
            self._safely("stored", self.store.completed)
        with suppress(OSError):
            (self.workspace / FILE).unlink()
        self._close_sockets()
        self.lock.close()

    def _close_sockets(self) -> None:
        for made in (*self.cmd, *self.evt, self.wrk, *([self._zap] if self._zap else [])):
            made.close()
        self.context.term()
        for name in ("cmd", "evt", "wrk"):
            if name in self.ends:
                with suppress(OSError):
                    Path(self.ends[name].removeprefix("ipc://")).unlink()


def keep_heap() -> None:
    """Keep what small arrays leave free, for the next ones: glibc would give the end of the heap back to the system and
    fault it in again for every few rows, which costs as much as deriving them. What is large stays apart from it."""
    with suppress(AttributeError, OSError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(M_TRIM_THRESHOLD, HEAP_KEPT)
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)


def main() -> None:
    """Entry point of `python -m compute.daemon`."""
    parser = argparse.ArgumentParser(
        prog="compute.daemon", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", required=True, type=Path)
    parser.add_argument("--data", default=None, help="the data folder that jobs read")
    parser.add_argument("--tcp", type=int, default=None, metavar="PORT", help="listen on TCP too, with CURVE keys")
    parser.add_argument("--listen", default="127.0.0.1", metavar="ADDRESS", help="the address for --tcp")
    args = parser.parse_args()
    try:
        daemon = Daemon(args.workspace, data=args.data, tcp=args.tcp, listen=args.listen)
    except InputError as e:
        print(f"thalweg: {e}", file=sys.stderr)
        sys.exit(2)
    daemon.serve()


if __name__ == "__main__":
    main()
