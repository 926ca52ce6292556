"""The window's side of the daemon, in a thread of its own: it finds the daemon, announces the window, follows the
surfaces that are shown, and finds the daemon again.

What is heard is handed to `hear` for the thread that draws. Each surface's rows come whole and in order, whatever was
missed (protocol/follower.py); of one that is sealed the file is fetched, which holds the exact values and the critical
points.
"""

from __future__ import annotations

import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import zmq
from numpy.typing import NDArray

from protocol import follower
from protocol.client import Client, Subscription
from protocol.connection import read_connection
from protocol.errors import InputError
from protocol.exchange import ClientError, new_id
from protocol.files import Surface
from protocol.messages import AnalysisDone, EventMessage, SurfaceDone, ThingDeleted
from protocol.requests import SurfaceGet, WindowAnnounce, WindowLeave
from protocol.snapshots import Restored

Arrays = Mapping[str, NDArray[Any]]
State = Literal["none", "connecting", "live", "lost"]
CONNECT_S, REQUEST_S, LEAVE_S = 2.0, 5.0, 0.5
AGAIN_S = 1.0  # before a daemon that did not answer is looked for again
LOST_S = 15.0  # a daemon that is away for so long may have come back elsewhere
TICK_S = 0.5
FETCH_AGAIN_S = 2.0
AHEAD = 4000  # things heard that the picture has not come to: no more are read until it has


@dataclass(frozen=True)
class Source:
    """Where the daemon is: the folder of its workspace, or its endpoints."""

    workspace: str | None = None
    endpoints: tuple[str, ...] = ()
    keys: str | None = None
    server_key: str | None = None

    def connect(self) -> Client:
        """A client that has said hello. Raises InputError."""
        ends = self.endpoints or None
        return Client.connect(
            None if ends else self.workspace,
            endpoints=ends,
            keys=self.keys,
            server_key=self.server_key,
            name="thalweg window",
            timeout_s=CONNECT_S,
        )

    def moved(self, client: Client) -> bool:
        """Whether the workspace's daemon is elsewhere now than where this client looks for it."""
        if self.endpoints or self.workspace is None:
            return False
        with suppress(InputError):
            now = read_connection(self.workspace)
            return (now.cmd, now.evt) != (client.address.cmd, client.address.evt)
        return False


# ---------------------------------------------------------------- what is heard


@dataclass(frozen=True, eq=False)
class Told:
    """A surface's snapshot or its next event."""

    surface: str
    thing: Restored | EventMessage
    arrays: Arrays


@dataclass(frozen=True, eq=False)
class Whole:
    """A sealed surface, from its file."""

    surface: str
    whole: Surface


@dataclass(frozen=True)
class Gone:
    """The daemon has no such surface (any more)."""

    surface: str
    why: str


@dataclass(frozen=True)
class Linked:
    """The connection changed its state; `why` it is not there."""

    state: State
    why: str = ""


@dataclass(frozen=True)
class Followed:
    """The answer to `follow`: these surfaces are followed now, or none of the new ones."""

    token: object
    error: InputError | None = None


Heard = Told | Whole | Gone | Linked | Followed


class Link:
    """Make one, `start` it, say what to `follow`; `stop` says good-bye. All of it from the thread that draws."""

    def __init__(self, window: str, source: Source, endpoint: str, surfaces: Sequence[str] = ()) -> None:
        """`endpoint`: of the window's command socket, as the daemon's other clients reach it ("": not at all).
        `surfaces` are followed from the beginning, as soon as there is a daemon."""
        self.window, self.source, self.endpoint = window, source, endpoint
        self.heard = 0  # things handed over; the picture counts up `taken`
        self.taken = 0
        self._title = ""
        self._wishes: deque[tuple[tuple[str, ...], object]] = deque()
        self._subscriptions: dict[str, Subscription] = {}
        self._wanted = tuple(surfaces)
        self._gone: set[str] = set()
        self._fetch: dict[str, float] = {}  # surface -> when
        self._announced: tuple[str | None, str] | None = None  # boot, title
        self._state: State = "none"
        self._lost_at = 0.0
        self._stopping = False
        self._hear: Callable[[Heard], None] = lambda _: None
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def start(self, hear: Callable[[Heard], None]) -> None:
        """Begin. `hear` is called in the link's thread and must not wait."""
        self._hear = hear
        self._thread.start()

    def follow(self, surfaces: Sequence[str], token: object) -> None:
        """Follow these and no others; `Followed(token)` tells when, or why not."""
        self._wishes.append((tuple(surfaces), token))
        self._wake()

    def retitle(self, title: str) -> None:
        """What the window is called in lists."""
        if title != self._title:
            self._title = title
            self._wake()

    def stop(self) -> None:
        """Tell the daemon that the window is gone, as far as it can be told now."""
        self._stopping = True
        self._wake()
        if self._thread.is_alive():
            self._thread.join(CONNECT_S + LEAVE_S + 1.0)
        self._ours.close()
        self._theirs.close()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stopping:
            try:
                client = self.source.connect()
            except InputError as e:
                self._set("connecting" if self._state in ("none", "connecting") else "lost", e.msg)
                self._refuse(e)
                self._sleep(AGAIN_S)
                continue
            with client:
                self._serve(client)

    def _serve(self, client: Client) -> None:
        base = client.subscribe(f"window/{self.window}/")  # its beats are what the connection is judged by
        self._announced = None
        self._subscriptions = {}
        try:
            for surface in self._wanted:
                if surface not in self._gone:
                    self._subscribe(client, surface)
            while not self._stopping:
                self._wait(client, base)
                if self._turn(client, base):
                    return
            if self._announced is not None and self._state == "live":
                with suppress(InputError):
                    client.request(WindowLeave(id=new_id(), window=self.window), timeout_s=LEAVE_S)
        finally:
            self._subscriptions = {}

    def _turn(self, client: Client, base: Subscription) -> bool:
        """One turn; whether the daemon is to be looked for anew."""
        now = time.monotonic()
        for thing, _ in base.poll(0.0):
            if isinstance(thing, follower.Link):
                self._linked(thing, now)
        boot = base.following.follower.boot
        if self._state == "live" and self.endpoint and self._announced != (boot, self._title):
            self._announce(client, boot)
        while self._wishes:
            self._do(client, *self._wishes.popleft())
        for surface, subscription in list(self._subscriptions.items()):
            try:
                items = subscription.poll(0.0)
            except InputError as e:
                self._forget(surface, e.msg)
                continue
            for thing, arrays in items:
                if isinstance(thing, ThingDeleted):
                    self._forget(surface, f"surface {surface[-6:]}: it was deleted")
                    break
                if not isinstance(thing, follower.Link):
                    self._told(surface, thing, arrays)
        for surface, due in list(self._fetch.items()):
            if now >= due:
                self._fetch_whole(client, surface)
        if self._state == "lost" and now - self._lost_at > AGAIN_S:
            if self.source.moved(client):
                return True
            self._lost_at = now
        return False

    def _linked(self, link: follower.Link, now: float) -> None:
        if link.state == "live":
            if self._state == "lost":  # meanwhile somebody may have struck the window off
                self._announced = None
            self._set("live")
        elif link.state in ("stale", "lost"):
            if self._state != "lost":
                self._lost_at = now
            self._set("lost", "the daemon does not answer")

    def _announce(self, client: Client, boot: str | None) -> None:
        ask = WindowAnnounce(id=new_id(), window=self.window, endpoint=self.endpoint, title=self._title)
        with suppress(InputError):
            client.request(ask, timeout_s=REQUEST_S)
            self._announced = (boot, ask.title)

    def _do(self, client: Client, surfaces: tuple[str, ...], token: object) -> None:
        new = [s for s in surfaces if s not in self._subscriptions]
        try:
            for surface in new:
                client.request(SurfaceGet(id=new_id(), surface=surface), timeout_s=REQUEST_S)
        except InputError as e:
            self._tell(Followed(token, e))
            return
        for surface in [s for s in self._subscriptions if s not in surfaces]:
            self._subscriptions.pop(surface).close()
            self._fetch.pop(surface, None)
        self._wanted = surfaces
        self._tell(Followed(token))
        for surface in new:
            self._gone.discard(surface)
            self._subscribe(client, surface)

    def _subscribe(self, client: Client, surface: str) -> None:
        self._subscriptions[surface] = client.subscribe(f"surface/{surface}/")

    def _told(self, surface: str, thing: Any, arrays: Arrays) -> None:
        sealed = isinstance(thing, SurfaceDone | AnalysisDone) or (
            isinstance(thing, Restored) and thing.state.get("file")
        )
        if sealed:
            self._fetch[surface] = time.monotonic()
        self._tell(Told(surface, thing, arrays))

    def _forget(self, surface: str, why: str) -> None:
        """The daemon has it no more."""
        self._subscriptions.pop(surface).close()
        self._fetch.pop(surface, None)
        self._gone.add(surface)
        self._tell(Gone(surface, why))

    def _fetch_whole(self, client: Client, surface: str) -> None:
        del self._fetch[surface]
        try:
            with tempfile.TemporaryDirectory(prefix="thalweg-") as folder:
                file = client.fetch(Path(folder) / "surface.npz", surface=surface, timeout_s=REQUEST_S)
                self._tell(Whole(surface, Surface.load(file)))
        except InputError as e:
            if isinstance(e, ClientError) or e.code == "integrity":  # of its moment: it is written anew just now
                self._fetch[surface] = time.monotonic() + FETCH_AGAIN_S

    def _refuse(self, error: InputError) -> None:
        """There is no daemon to ask."""
        while self._wishes:
            surfaces, token = self._wishes.popleft()
            new = [s for s in surfaces if s not in self._wanted]
            if not new:
                self._wanted = surfaces
            self._tell(Followed(token, error if new else None))

    # ------------------------------------------------------------ between the threads

    def _set(self, state: State, why: str = "") -> None:
        if state != self._state:
            self._state = state
            self._tell(Linked(state, why))

    def _tell(self, heard: Heard) -> None:
        self.heard += 1
        self._hear(heard)

    def _wait(self, client: Client, base: Subscription) -> None:
        """Until something comes, or a tick. While the picture is far behind, nothing is read: the daemon keeps it."""
        while self.heard - self.taken > AHEAD and not self._stopping:
            time.sleep(0.02)
        if any(s.following.items for s in (base, *self._subscriptions.values())):
            return
        poller = zmq.Poller()
        poller.register(self._ours.fileno(), zmq.POLLIN)
        for made in {s for sub in (base, *self._subscriptions.values()) for s in sub.sockets}:
            poller.register(made, zmq.POLLIN)
        poller.poll(int(TICK_S * 1000))
        self._empty()

    def _sleep(self, seconds: float) -> None:
        poller = zmq.Poller()
        poller.register(self._ours.fileno(), zmq.POLLIN)
        poller.poll(int(seconds * 1000))
        self._empty()

    def _empty(self) -> None:
        with suppress(BlockingIOError):
            while self._ours.recv(4096):
                pass

    def _wake(self) -> None:
        with suppress(BlockingIOError, OSError):
            self._theirs.send(b"\0")
