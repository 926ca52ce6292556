"""Between the daemon and the store: connects, lists, follows, and asks, all in asyncio tasks of the app.

    reply = await hub.request(RunGet(id=new_id(), run=run))       # one request; InputError says what went wrong
    jobs  = await hub.submit(TrainSpec(...), PlaneSpec(...))      # one transaction
    hub.look(choice, log=True)                                    # what is looked at is followed live

`run` never ends: it finds or starts the daemon, reads the lists a page at a time, follows every job, and begins anew
where the daemon comes back with another boot. What it learns goes into the store, nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocol.errors import InputError
from tui.profiles import Profile
from tui.state import Choice, Kind, Store

if TYPE_CHECKING:
    from protocol.async_client import AsyncClient, AsyncSubscription
    from protocol.messages import Spec
    from protocol.requests import JobInfo, Request, Submitted
    from tui.forward import Forward

TICK_S = 0.25
AGAIN_S = (0.5, 1.0, 2.0, 5.0)  # between attempts to connect
PING_S = 15.0
BATCH_S = 0.005  # the longest that one batch of events may keep the loop
LIST_PAUSE_S = 0.01  # between pages, so that keys are answered meanwhile
log = logging.getLogger("thalweg.hub")


class Hub:
    """The app's link to one daemon."""

    def __init__(self, store: Store, profile: Profile, *, start: bool = True) -> None:
        self.store = store
        self.profile = profile
        self.start = start  # a daemon on this machine, where none runs
        self.client: AsyncClient | None = None
        self.root: Path | None = None  # its workspace, where that is a folder of this machine
        self.busy: set[str] = set()
        self._wanted: frozenset[str] = frozenset()
        self._wanted_changed = asyncio.Event()
        self._choice, self._log = Choice(), False
        self._compared: tuple[str, ...] = ()
        self._tunnel: Forward | None = None
        self._fetch: dict[tuple[Kind, str], None] = {}
        self._fetch_due = asyncio.Event()
        self._whole: set[str] = set()  # surfaces whose values changed as a whole
        self._started = False

    # ------------------------------------------------------------ asking

    @property
    def live(self) -> bool:
        """Whether requests can be sent now."""
        return self.client is not None and self.store.link.state == "live"

    async def request(
        self, request: Request, arrays: Mapping[str, Any] | None = None, *, timeout_s: float = 10.0
    ) -> Any:
        """The reply. Raises InputError in one sentence: refused, or not live."""
        return (await self.call(request, arrays, timeout_s=timeout_s))[0]

    async def call(
        self, request: Request, arrays: Mapping[str, Any] | None = None, *, timeout_s: float = 10.0
    ) -> tuple[Any, Mapping[str, Any]]:
        """The reply and its arrays."""
        return await self._client().call(request, arrays, timeout_s=timeout_s)

    async def submit(self, *jobs: Submitted | Spec) -> tuple[JobInfo, ...]:
        """Submit jobs, all or none; they are in the store when this returns."""
        from protocol.exchange import new_id
        from protocol.requests import Submitted

        whole = [j if isinstance(j, Submitted) else Submitted(job=new_id(), spec=j) for j in jobs]
        infos = await self._client().submit(*whole)
        for info in infos:
            self.store.put_job(info)
            if info.state == "done":
                self._fetch_result(info.job)
        return infos

    def _client(self) -> AsyncClient:
        if self.client is None:
            raise InputError("the daemon is not connected: nothing was changed", code="unavailable")
        return self.client

    # ------------------------------------------------------------ looking

    def look(self, choice: Choice, *, log: bool = False, compared: Iterable[str] = ()) -> None:
        """Follow the details of what is chosen, the log of its job, and the runs it is compared with."""
        self._choice, self._log, self._compared = choice, log, tuple(compared)
        self._want()

    def _want(self) -> None:
        c = self._choice
        topics = {f"run/{r}/" for r in (c.run, *self._compared) if r}
        topics |= {f"surface/{s}/" for s in (c.surface,) if s}
        if self._log and c.job:
            topics.add(f"log/{c.job}/")
        topics |= {
            f"run/{j.run}/" for j in self.store.jobs.values() if j.state == "running" and j.kind == "train" and j.run
        }
        wanted = frozenset(topics)
        if wanted != self._wanted:
            self._wanted = wanted
            self._wanted_changed.set()

    # ------------------------------------------------------------ the life of the connection

    async def run(self) -> None:
        """Keep the store as the daemon is, until cancelled."""
        attempt = 0
        while True:
            try:
                client = await self._connect()
            except InputError as e:
                log.info("not connected: %s", e)
                self.store.set_link("connecting" if attempt == 0 else "lost", problem=e.msg)
                await asyncio.sleep(AGAIN_S[min(attempt, len(AGAIN_S) - 1)])
                attempt += 1
                continue
            attempt, self.client = 0, client
            try:
                await self._serve(client)
            except InputError as e:
                log.warning("connection given up: %s", e)
                self.store.set_link("lost", problem=e.msg)
            finally:
                self.client = None
                with contextlib.suppress(Exception):
                    await client.close(linger_ms=0)
                await self._close_tunnel()

    async def close(self) -> None:
        """Let go of the connection; jobs go on."""
        client, self.client = self.client, None
        if client is not None:
            await client.close(linger_ms=0)
        await self._close_tunnel()

    async def _close_tunnel(self) -> None:
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            await asyncio.to_thread(tunnel.close)

    async def _connect(self) -> AsyncClient:
        await asyncio.to_thread(_import)
        from protocol.async_client import AsyncClient

        profile = self.profile
        self.store.set_link("connecting", problem="")
        if profile.connect is not None:
            ends = [e.strip() for e in profile.connect.split(",")]
            return await AsyncClient.connect(endpoints=ends, keys=profile.key)
        if profile.ssh is not None:
            self._tunnel = await asyncio.to_thread(_tunnel, profile)
            ends = [self._tunnel.endpoint("cmd"), self._tunnel.endpoint("evt")]
            return await AsyncClient.connect(endpoints=ends)
        from tui.workspace import locate

        self.root = locate(profile.workspace)
        found = await asyncio.to_thread(_find_or_start, self.root, self.start and not self._started)
        self._started = True  # one that is stopped later on purpose stays so, until it is asked for
        if not found:
            raise InputError("no daemon runs on this workspace", code="unavailable")
        return await AsyncClient.connect(self.root)

    def start_again(self) -> None:
        """Start the daemon at the next attempt, where none runs."""
        self._started = False

    async def _serve(self, client: AsyncClient) -> None:
        assert client.hello is not None
        self.store.link.boot, self.store.link.version = client.hello.boot, client.hello.version
        self.store.set_link("live", 0.0, "")
        tasks = [
            asyncio.create_task(self._follow_all(client), name="hub follows jobs"),
            asyncio.create_task(self._follow_details(client), name="hub follows details"),
            asyncio.create_task(self._read_lists(client), name="hub reads lists"),
            asyncio.create_task(self._fetch_records(client), name="hub fetches records"),
            asyncio.create_task(self._ping(client), name="hub pings"),
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _ping(self, client: AsyncClient) -> None:
        from protocol.exchange import new_id
        from protocol.requests import Ping

        while True:
            began = time.monotonic()
            with contextlib.suppress(InputError):
                await client.request(Ping(id=new_id()), timeout_s=5.0)
                self.store.link.ping_s = time.monotonic() - began
                self.store.touch("link")
            if self._tunnel is not None:
                self._tunnel.check()
            await asyncio.sleep(PING_S)

    async def _follow_all(self, client: AsyncClient) -> None:
        """Every job, window and worker."""
        boot = self.store.link.boot
        async with client.subscribe(["job/", "window/", "worker/"]) as subscription:
            while True:
                self._take(await subscription.poll(TICK_S))
                follower = subscription.following.follower
                link = follower.link
                self.store.set_link(link.state if link.age_s is not None else self.store.link.state, link.age_s)
                known = follower.boot
                if known and known != boot:  # it was restarted: what was told meanwhile is in its lists
                    boot = self.store.link.boot = known
                    await self._again(client)
                self._want()

    async def _again(self, client: AsyncClient) -> None:
        self.store.loaded.clear()
        self._spawn_lists(client)

    async def reload(self) -> None:
        """Read every list again."""
        self.store.loaded.clear()
        await self._read_lists(self._client())

    def _spawn_lists(self, client: AsyncClient) -> None:
        task = asyncio.create_task(self._read_lists(client), name="hub reads lists again")
        task.add_done_callback(lambda t: t.cancelled() or t.exception())

    async def _follow_details(self, client: AsyncClient) -> None:
        """Whatever is looked at, by one subscription that is made anew when that changes."""
        missing: dict[str, float] = {}  # topics that are not there (yet): looked for again later
        while True:
            self._wanted_changed.clear()
            now = time.monotonic()
            topics = [t for t in self._wanted if missing.get(t, 0.0) <= now]
            if not topics:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5 if missing else None):
                        await self._wanted_changed.wait()
                continue
            for topic in topics:
                if topic.startswith("log/"):
                    self.store.log(topic[4:-1])
                elif topic.startswith("run/"):
                    self.store.run_detail(topic[4:-1])
                elif topic.startswith("surface/"):
                    self.store.surface_detail(topic[8:-1])
            async with client.subscribe(topics) as subscription:
                await self._tails(client, topics)
                try:
                    await self._until_changed(subscription)
                except InputError as e:
                    if e.code not in ("not_found", "bad_request"):
                        raise
                    log.info("not there: %s", e)
                    gone = [t for t in topics if not t.startswith("log/") and t.split("/")[1] in str(e)] or topics
                    missing.update({t: time.monotonic() + 1.0 for t in gone})
            missing = {t: at for t, at in missing.items() if t in self._wanted}

    async def _until_changed(self, subscription: AsyncSubscription) -> None:
        while not self._wanted_changed.is_set():
            self._take(await subscription.poll(TICK_S))
            await asyncio.sleep(0)

    async def _tails(self, client: AsyncClient, topics: Iterable[str]) -> None:
        from protocol.exchange import new_id
        from protocol.requests import LogTail

        for topic in topics:
            if topic.startswith("log/"):
                job = topic[4:-1]
                with contextlib.suppress(InputError):
                    _, arrays = await client.call(LogTail(id=new_id(), job=job, offset=-131072))
                    text = arrays["text"].tobytes().decode("utf-8", "replace") if "text" in arrays else ""
                    self.store.log_tail(job, text)

    def _take(self, items: Iterable[Any]) -> None:
        from protocol.follower import Link
        from protocol.snapshots import Restored

        now = datetime.now(UTC).isoformat()
        for thing, arrays in items:
            if isinstance(thing, Link):
                continue
            if isinstance(thing, Restored):
                self.store.restore(thing.topic, thing.state, thing.arrays)
                if thing.topic.startswith("job/"):
                    self._fetch_result(thing.topic[4:-1])
                continue
            self.store.apply(thing, arrays, now)
            tag = thing.__struct_config__.tag
            if tag == "job.state":
                self._fetch_result(thing.job)
            elif tag == "job.progress":
                self._fetch_work(thing.job)
            elif tag in ("surface.done", "analysis.done"):
                self.fetch("surface", thing.surface)
                self._whole.add(thing.surface)

    # ------------------------------------------------------------ records

    def fetch(self, kind: Kind, id: str) -> None:
        """Read the record of this thing soon."""
        self._fetch[(kind, id)] = None
        self._fetch_due.set()

    def fetch_whole(self, surface: str) -> None:
        """Read a surface's record, values and points soon."""
        self._whole.add(surface)
        self.fetch("surface", surface)

    def _fetch_work(self, job: str) -> None:
        """The run or surface of a job is known a moment after its start."""
        found = self.store.jobs.get(job)
        if found is not None and found.kind in ("train", "surface"):
            kind: Kind = "run" if found.kind == "train" else "surface"
            id = found.run if kind == "run" else found.surface
            if not id:
                self.fetch("job", job)
            elif id not in self.store.table(kind):
                self.fetch(kind, id)

    def _fetch_result(self, job: str) -> None:
        found = self.store.jobs.get(job)
        if found is None:
            return
        if not found.spec:
            self.fetch("job", job)
        things: tuple[tuple[Kind, str, Mapping[str, Any]], ...] = (
            ("run", found.run, self.store.runs), ("plane", found.plane, self.store.planes),
            ("surface", found.surface, self.store.surfaces),
        )  # fmt: skip
        for kind, id, known in things:
            if id and (id not in known or not found.active):
                self.fetch(kind, id)

    async def _fetch_records(self, client: AsyncClient) -> None:
        while True:
            await self._fetch_due.wait()
            self._fetch_due.clear()
            while self._fetch:
                kind, id = next(iter(self._fetch))
                del self._fetch[(kind, id)]
                try:
                    await self._fetch_one(client, kind, id)
                except InputError as e:
                    log.info("no record: %s", e)

    async def _fetch_one(self, client: AsyncClient, kind: Kind, id: str) -> None:
        from protocol import requests as r
        from protocol.exchange import new_id

        store = self.store
        match kind:
            case "run":
                store.put_run((await client.request(r.RunGet(id=new_id(), run=id))).item)
            case "plane":
                store.put_plane((await client.request(r.PlaneGet(id=new_id(), plane=id))).item)
            case "surface":
                store.put_surface((await client.request(r.SurfaceGet(id=new_id(), surface=id))).item)
                if id in self._whole and id in store.surface_details:  # its points, its final values
                    self._whole.discard(id)
                    whole = await client.snapshot(f"surface/{id}/")
                    store.restore(whole.topic, whole.state, whole.arrays)
            case "job":
                store.put_job((await client.request(r.JobGet(id=new_id(), job=id))).job)
            case "window":
                pass

    async def _read_lists(self, client: AsyncClient) -> None:
        """The newest page of every list first, then the rest of each."""
        from protocol import requests as r
        from protocol.exchange import new_id

        store = self.store
        windows = await client.request(r.WindowList(id=new_id()))
        for id in [w for w in store.windows if w not in {x.window for x in windows.windows}]:
            store.put_window(id, None)
        for w in windows.windows:
            store.put_window(w.window, w.endpoint, w.title)
        store.loaded.add("window")
        status = await client.request(r.Status(id=new_id()))
        store.workers = {str(w.get("name", k)): dict(w) for k, w in enumerate(status.workers)}
        store.passes = status.config.get("passes", 1)
        store.touch("workers", "windows")
        kinds: dict[Kind, Any] = {"job": r.JobList, "run": r.RunList, "plane": r.PlaneList, "surface": r.SurfaceList}
        put = {"run": store.put_run, "plane": store.put_plane, "surface": store.put_surface}
        seen: dict[Kind, list[str]] = {k: [] for k in kinds}
        cursors: dict[Kind, str | None] = dict.fromkeys(kinds)
        while cursors:
            for kind in list(cursors):
                page = await client.request(kinds[kind](id=new_id(), limit=r.PAGE, cursor=cursors[kind]))
                if kind == "job":
                    for job in page.jobs:
                        store.put_job(job)
                    seen[kind] += [j.job for j in page.jobs]
                else:
                    for item in page.items:
                        put[kind](item)
                    seen[kind] += [i["id"] for i in page.items]
                cursors[kind] = page.next
                if page.next is None:
                    del cursors[kind]
                    newest = max(seen[kind], default="")
                    store.keep_only(kind, {*seen[kind], *(i for i in store.table(kind) if i > newest)})
                await asyncio.sleep(LIST_PAUSE_S)
        gc.freeze()  # long lists are looked through no more: a collection stopped the loop for 20 ms


def _import() -> None:
    """What a connection needs and the first paint does not, in a thread."""
    import protocol.async_client
    import protocol.requests  # noqa: F401


def _find_or_start(root: Path, start: bool) -> bool:
    from tui import starting

    found = starting.connect(root)
    if found is None and not start:
        return False
    if found is None:
        found, _ = starting.start(root, starting.command(root, None))
    found.close()
    return True


def _tunnel(profile: Profile) -> Forward:
    import os
    import shlex

    from tui import forward

    # A password cannot be asked for on a screen that is in use: keys or an agent are needed.
    if "BatchMode" not in os.environ.get("THALWEG_SSH", ""):
        os.environ["THALWEG_SSH"] = os.environ.get("THALWEG_SSH", "ssh") + " -o BatchMode=yes"
    host = forward.checked(profile.ssh or "")
    remote = forward.status(host, shlex.split(profile.remote_command), profile.remote_workspace)
    tunnel = forward.Forward(host, remote)
    try:
        tunnel.client().close()
    except BaseException:
        tunnel.close()
        raise
    return tunnel
