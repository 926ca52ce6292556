"""What the terminal UI knows, as a store where the latest wins. Pure: no socket, no clock of its own, no textual.

The hub applies events and answers; widgets read. Every part of the store has an *area* ("runs", "run/<id>", ...) with
a version that grows when it changes, so that a widget that is looked at can tell in one comparison whether it has to be
drawn again, and a thousand events cost one drawing.

    areas   link  jobs  runs  planes  surfaces  windows  workers  latest
            list/run  list/plane  ...  which things there are, whatever becomes of them
            run/<id>  plane/<id>  surface/<id>  log/<job>       details, there for what is followed
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tui import words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from protocol.messages import EventMessage
    from protocol.requests import JobInfo

Kind = Literal["run", "plane", "surface", "window", "job"]
LinkState = Literal["connecting", "live", "stale", "lost"]
KINDS: tuple[Kind, ...] = ("run", "plane", "surface", "window", "job")
AREAS: dict[Kind, str] = {
    "run": "runs", "plane": "planes", "surface": "surfaces", "window": "windows", "job": "jobs",
}  # fmt: skip
ENDS = frozenset({"done", "failed", "cancelled"})
STEPS_KEPT = 20_000  # losses of single steps of a run that is looked at
LOG_LINES = 5_000
DETAILS_KEPT = 12  # runs, planes or surfaces whose details stay when others are looked at


@dataclass(slots=True)
class Run:
    """A training, as lists show it."""

    id: str
    name: str = ""
    model: str = ""
    dataset: str = ""
    epochs: int = 0
    epochs_done: int = 0
    loss: float | None = None
    accuracy: float | None = None
    created: str = ""
    note: str = ""
    job: str = ""


@dataclass(slots=True)
class Plane:
    """A plane, as lists show it. `run`: the one it goes through, where it is one."""

    id: str
    hash: str = ""
    name: str = ""
    kind: str = ""
    run: str = ""
    explained: float | None = None
    cosine: float | None = None
    created: str = ""
    missing: bool = False


@dataclass(slots=True)
class SurfaceRow:
    """A surface, as lists show it. `plane`: the id or the hash of its plane."""

    id: str
    name: str = ""
    plane: str = ""
    model: str = ""
    data: str = ""
    width: int = 0
    height: int = 0
    sealed: bool = False
    analysed: bool = False
    created: str = ""
    job: str = ""
    missing: bool = False


@dataclass(slots=True)
class Window:
    """A window that announced itself."""

    id: str
    title: str = ""
    endpoint: str = ""


@dataclass(slots=True)
class Job:
    """A job, as lists show it; `spec` is what was asked, as plain data."""

    id: str
    kind: str = ""
    name: str = ""
    state: str = "queued"
    spec: dict[str, Any] = field(default_factory=dict)
    done: int = 0
    total: int = 0
    rate: float | None = None
    eta_s: float | None = None
    note: str = ""
    error: str = ""
    run: str = ""
    plane: str = ""
    surface: str = ""
    priority: int = 0
    after: tuple[str, ...] = ()
    created: str = ""
    started: str = ""
    ended: str = ""
    files: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """In two or three words: `train resnet20`, `pca plane`, `surface`."""
        if self.kind == "train":
            return f"train {self.spec.get('recipe', {}).get('model', '')}".strip()
        if self.kind == "plane":
            return f"{self.spec.get('direction', '')} plane".strip()
        if self.kind in ("export", "import"):
            return f"{self.kind} {self.spec.get('format', '')}".strip()
        if self.kind == "analysis":
            return f"{self.spec.get('analysis', 'critical')} points"
        return self.kind or "job"

    @property
    def share(self) -> float | None:
        """How far it is, 0 to 1; None where that is not known."""
        if self.state == "done":
            return 1.0
        return self.done / self.total if self.total else None

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.state not in ENDS


@dataclass(slots=True)
class RunDetail:
    """A run that is looked at: its record, its epochs by number, the losses of its last steps."""

    item: dict[str, Any] = field(default_factory=dict)
    epochs: dict[int, dict[str, Any]] = field(default_factory=dict)  # {"epoch", "step", "metrics"}
    steps: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=STEPS_KEPT))


@dataclass(slots=True)
class SurfaceDetail:
    """A surface that is looked at. Arrays are (H, W), `alpha` (W,), `beta` (H,); columns of path and critical (n,).

    `row_version` (H,) grows where a row changes: a picture of it repaints the rows over what it has seen.
    """

    item: dict[str, Any] = field(default_factory=dict)
    alpha: NDArray[Any] | None = None
    beta: NDArray[Any] | None = None
    values: dict[str, NDArray[Any]] = field(default_factory=dict)  # loss, sem, accuracy, ..., n
    path: dict[str, NDArray[Any]] = field(default_factory=dict)
    critical: dict[str, NDArray[Any]] = field(default_factory=dict)
    row_version: NDArray[Any] | None = None
    version: int = 0
    passes: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W); (0, 0) where not known yet."""
        return (0, 0) if self.alpha is None or self.beta is None else (len(self.beta), len(self.alpha))

    @property
    def rows_measured(self) -> int:
        """Rows that have values."""
        n = self.values.get("n")
        return 0 if n is None or not n.size else int((n.max(axis=1) > 0).sum())


@dataclass(slots=True)
class Log:
    """The lines of a job's log that are looked at: (level, text). `dropped` counts those before the first."""

    lines: deque[tuple[str, str]] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    count: int = 0  # lines that ever came


@dataclass(frozen=True, slots=True)
class Choice:
    """What is chosen, and what that means for every tab."""

    kind: Kind | None = None
    id: str = ""
    run: str = ""
    plane: str = ""
    surface: str = ""
    window: str = ""
    job: str = ""


@dataclass(slots=True)
class Link:
    """The connection: its state, the age of the data in seconds, the round trip, and what is wrong in a sentence."""

    state: LinkState = "connecting"
    age_s: float | None = None
    ping_s: float | None = None
    problem: str = ""
    boot: str = ""
    version: str = ""
    since: float = 0.0


class Store:
    """Everything that is known of one daemon."""

    def __init__(self, on_change: Callable[[], None] | None = None) -> None:
        self.on_change = on_change
        self.versions: dict[str, int] = {}
        self.link = Link()
        self.jobs: dict[str, Job] = {}
        self.runs: dict[str, Run] = {}
        self.planes: dict[str, Plane] = {}
        self.surfaces: dict[str, SurfaceRow] = {}
        self.windows: dict[str, Window] = {}
        self.workers: dict[str, dict[str, Any]] = {}
        self.passes: int | Literal["grow"] = 1  # of a surface where nobody says another number
        self.run_details: dict[str, RunDetail] = {}
        self.plane_details: dict[str, dict[str, Any]] = {}
        self.surface_details: dict[str, SurfaceDetail] = {}
        self.logs: dict[str, Log] = {}
        self.latest: tuple[str, str] = ("", "")  # when (ISO) and what was last told, for the bottom line
        self.loaded: set[Kind] = set()  # lists that are complete
        self.ended: deque[Job] = deque(maxlen=50)  # jobs that ended while somebody looked: to be told
        self._run_job: dict[str, str] = {}
        self._plane_of_hash: dict[str, str] = {}

    # ------------------------------------------------------------ versions

    def touch(self, *areas: str) -> None:
        """Say that these parts have changed."""
        for area in areas:
            self.versions[area] = self.versions.get(area, 0) + 1
        if self.on_change is not None:
            self.on_change()

    def version(self, areas: Iterable[str]) -> tuple[int, ...]:
        """To compare with what was drawn."""
        return tuple(self.versions.get(a, 0) for a in areas)

    def table(self, kind: Kind) -> dict[str, Any]:
        """The list of a kind, by id."""
        tables: dict[Kind, dict[str, Any]] = {
            "run": self.runs, "plane": self.planes, "surface": self.surfaces, "window": self.windows, "job": self.jobs,
        }  # fmt: skip
        return tables[kind]

    def _insert(self, kind: Kind, id: str, thing: Any) -> None:
        table = self.table(kind)
        if id not in table:
            self.touch(f"list/{kind}")
        table[id] = thing

    def clear(self) -> None:
        """Forget everything: another daemon is looked at."""
        link, on_change, versions = self.link, self.on_change, self.versions
        self.__init__(on_change)  # type: ignore[misc]
        self.link, self.versions = link, versions
        self.touch("link", *AREAS.values(), *(f"list/{k}" for k in KINDS), "workers", "latest")

    # ------------------------------------------------------------ the connection

    def set_link(self, state: LinkState, age_s: float | None = None, problem: str | None = None) -> None:
        """The connection became this."""
        link = self.link
        before = (link.state, link.problem)
        link.state, link.age_s = state, age_s
        if problem is not None:
            link.problem = problem
        if state == "live":
            link.problem = ""
        if (link.state, link.problem) != before or state != "live":
            self.touch("link")

    # ------------------------------------------------------------ records of lists

    def put_job(self, info: JobInfo) -> None:
        """A job as the daemon tells it."""
        known = self.jobs.get(info.job)
        result = info.result
        self._remember_job(
            Job(
                id=info.job, kind=info.kind, name=info.name, state=info.state,
                spec=dict(info.spec) or (known.spec if known else {}), done=info.done, total=info.total,
                rate=known.rate if known and info.state == "running" else None,
                eta_s=getattr(info, "eta_s", None), error=info.error or "", run=info.run or "",
                surface=info.surface or "", plane=(result.plane if result else None) or "",
                priority=info.priority, after=info.after, created=info.created, started=info.started,
                ended=info.ended, files=result.files if result else (),
            ),
            result,
        )  # fmt: skip

    def _remember_job(self, job: Job, result: Any = None) -> None:
        if result is not None:
            job.run = job.run or result.run or ""
            job.surface = job.surface or result.surface or ""
        self._insert("job", job.id, job)
        if job.run and job.kind == "train":
            self._run_job[job.run] = job.id
            self.touch("runs")
        self.touch("jobs", f"job/{job.id}")

    def put_run(self, item: Mapping[str, Any]) -> None:
        """A run's record, of a list or alone (then with its epochs)."""
        recipe = item.get("recipe", {})
        metrics = item.get("metrics", {})
        run = Run(
            id=item["id"],
            name=words.plain(item.get("name") or ""),
            model=recipe.get("model", ""),
            dataset=recipe.get("dataset", ""),
            epochs=int(recipe.get("epochs", 0)),
            epochs_done=int(item.get("epochs_done", 0)),
            loss=_loss(metrics),
            accuracy=_accuracy(metrics),
            created=item.get("created", ""),
            note=item.get("note", ""),
            job=item.get("job") or "",
        )
        self._insert("run", run.id, run)
        self.touch("runs")
        if "epochs" in item:
            detail = self.run_detail(item["id"])
            detail.item = {k: v for k, v in item.items() if k != "epochs"}
            for epoch in item["epochs"]:
                detail.epochs[int(epoch["epoch"])] = dict(epoch)
            self.touch(f"run/{item['id']}")

    def put_plane(self, item: Mapping[str, Any]) -> None:
        """A plane's record."""
        meta = item.get("meta", {})
        explained = meta.get("explained_variance_ratio")
        trajectory = item.get("trajectory") or ()
        plane = Plane(
            id=item["id"],
            hash=item.get("hash", ""),
            name=words.plain(item.get("name") or ""),
            kind=meta.get("kind", ""),
            run=_run_of(meta.get("origin", "")) or _run_of(trajectory[0] if trajectory else ""),
            explained=sum(explained) if explained else None,
            cosine=meta.get("cosine"),
            created=item.get("created", ""),
            missing=bool(item.get("missing")),
        )
        self._insert("plane", plane.id, plane)
        self._plane_of_hash[plane.hash] = plane.id
        self.plane_details[plane.id] = dict(item)
        _keep(self.plane_details, 500)
        self.touch("planes", f"plane/{plane.id}")

    def put_surface(self, item: Mapping[str, Any]) -> None:
        """A surface's record."""
        meta = item.get("meta", {})
        surface = SurfaceRow(
            id=item["id"],
            name=words.plain(item.get("name") or ""),
            plane=item.get("plane") or meta.get("plane", {}).get("hash", ""),
            model=meta.get("model", ""),
            data=meta.get("data", ""),
            width=int(item.get("width", 0)),
            height=int(item.get("height", 0)),
            sealed=item.get("file") is not None,
            analysed=item.get("critical") is not None,
            created=item.get("created", ""),
            job=item.get("job") or "",
            missing=bool(item.get("missing")),
        )
        self._insert("surface", surface.id, surface)
        if item["id"] in self.surface_details:
            self.surface_details[item["id"]].item = dict(item)
        self.touch("surfaces", f"surface/{item['id']}")

    def put_window(self, id: str, endpoint: str | None, title: str = "") -> None:
        """A window is there, or (without an endpoint) left."""
        if endpoint is None:
            self.windows.pop(id, None)
            self.touch("list/window")
        else:
            self._insert("window", id, Window(id, words.plain(title), endpoint))
        self.touch("windows")

    def keep_only(self, kind: Kind, ids: Iterable[str]) -> None:
        """A list was read from end to end: what is not in it is gone."""
        wanted, table = set(ids), self.table(kind)
        for id in [k for k in table if k not in wanted]:
            self.forget(kind, id)
        self.loaded.add(kind)
        self.touch(AREAS[kind])

    def forget(self, kind: Kind, id: str) -> None:
        """It was deleted."""
        self.table(kind).pop(id, None)
        details: dict[Kind, dict[str, Any]] = {
            "run": self.run_details, "plane": self.plane_details, "surface": self.surface_details, "job": self.logs,
        }  # fmt: skip
        details.get(kind, {}).pop(id, None)
        self.touch(AREAS[kind], f"list/{kind}", f"{kind}/{id}")

    # ------------------------------------------------------------ details

    def run_detail(self, id: str) -> RunDetail:
        """The detail of a run, made where it is not there."""
        if id not in self.run_details:
            self.run_details[id] = RunDetail()
            _keep(self.run_details, DETAILS_KEPT)
        return self.run_details[id]

    def surface_detail(self, id: str) -> SurfaceDetail:
        """The detail of a surface, made where it is not there."""
        if id not in self.surface_details:
            self.surface_details[id] = SurfaceDetail()
            _keep(self.surface_details, DETAILS_KEPT)
        return self.surface_details[id]

    def log(self, job: str) -> Log:
        """The log of a job, made where it is not there."""
        if job not in self.logs:
            self.logs[job] = Log()
            _keep(self.logs, DETAILS_KEPT)
        return self.logs[job]

    def restore(self, topic: str, state: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """The whole state of a topic, from a snapshot."""
        kind, _, rest = topic.partition("/")
        id = rest.rstrip("/")
        match kind:
            case "run":
                self.put_run(state)
            case "plane":
                self.put_plane(state)
            case "surface":
                self._restore_surface(id, state, arrays)
            case "job":
                from msgspec import convert

                from protocol.requests import JobInfo

                self._put_live_job(convert(state, JobInfo))

    def _put_live_job(self, info: JobInfo) -> None:
        before = self.jobs.get(info.job)
        self.put_job(info)
        if before is not None and before.active and info.state in ENDS:
            self.ended.append(self.jobs[info.job])

    def _restore_surface(self, id: str, state: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        import numpy as np

        detail = self.surface_detail(id)
        detail.item = state
        detail.alpha, detail.beta = arrays.get("alpha"), arrays.get("beta")
        h, w = detail.shape
        detail.values = {k: a.copy() for k, a in arrays.items() if "." not in k and a.shape == (h, w)}
        detail.path = {k[5:]: a for k, a in arrays.items() if k.startswith("path.")}
        detail.critical = {k[9:]: a for k, a in arrays.items() if k.startswith("critical.")}
        detail.version += 1
        detail.row_version = np.full(h, detail.version, dtype=np.int64)
        if state:
            self.put_surface(state)
        self.touch(f"surface/{id}")

    def log_tail(self, job: str, text: str) -> None:
        """The end of a log as it is stored: `2026-... level: text` a line. It replaces what came before."""
        log = self.log(job)
        log.lines.clear()
        for line in text.splitlines():
            head, _, rest = line.partition(": ")
            stamp, _, level = head.rpartition(" ")
            known = level in ("info", "warning", "error")
            when = words.clock(stamp)[-5:] if known else ""
            log.lines.append((level if known else "info", words.plain(f"{when} {rest}" if known else line)))
        log.count = len(log.lines)
        self.touch(f"log/{job}")

    # ------------------------------------------------------------ events

    def apply(self, event: EventMessage, arrays: Mapping[str, NDArray[Any]], now: str = "") -> None:
        """An event; `now` is the time that the bottom line shows for it."""
        handler = _HANDLERS.get(event.__struct_config__.tag)
        if handler is not None:
            handler(self, event, arrays, now)

    def say(self, text: str, now: str) -> None:
        """Tell this in the bottom line."""
        self._say(now, text)

    def _say(self, now: str, text: str) -> None:
        self.latest = (now, words.plain(text))
        self.touch("latest")

    def _job_state(self, e: Any, _arrays: Any, now: str) -> None:
        job = self.jobs.get(e.job) or Job(id=e.job, created=now)
        before = job.state
        job.kind, job.name, job.state = e.kind or job.kind, e.name or job.name, e.state
        job.run, job.surface, job.error = e.run or job.run, e.surface or job.surface, e.error or ""
        if e.state in ("running", "queued", "waiting"):
            job.ended = ""
        if e.state == "running" and before != "running":
            job.started = job.started or now
        if e.result is not None:
            job.plane = e.result.plane or job.plane
            job.files = e.result.files
        if e.state != "running":
            job.rate = job.eta_s = None
        if e.state in ENDS:
            job.ended = job.ended or now
            if before not in ENDS:
                self.ended.append(job)
        self._remember_job(job, e.result)
        self._say(now, f"{job.title} {words.short(job.id)} is {job.state}" + (f": {job.error}" if job.error else ""))

    def _job_progress(self, e: Any, _arrays: Any, _now: str) -> None:
        job = self.jobs.get(e.job)
        if job is None:
            return
        job.done, job.total, job.rate, job.eta_s, job.note = e.done, e.total, e.rate, e.eta_s, e.note
        self.touch("jobs", f"job/{job.id}")

    def _run_epoch(self, e: Any, _arrays: Any, now: str) -> None:
        run = self.runs.get(e.run)
        if run is not None:
            run.epochs_done = max(run.epochs_done, e.epoch)
            run.loss, run.accuracy = _loss(e.metrics), _accuracy(e.metrics)
            self.touch("runs")
        detail = self.run_details.get(e.run)
        if detail is not None:
            detail.epochs[e.epoch] = {"epoch": e.epoch, "step": e.step, "metrics": dict(e.metrics)}
            self.touch(f"run/{e.run}")
        loss, accuracy = words.number(_loss(e.metrics)), words.percent(_accuracy(e.metrics))
        self._say(now, f"run {words.short(e.run)} epoch {e.epoch} loss {loss} acc {accuracy}")

    def _run_step(self, e: Any, _arrays: Any, _now: str) -> None:
        detail = self.run_details.get(e.run)
        if detail is not None:
            detail.steps.append((e.step, e.loss))
            self.touch(f"run/{e.run}")

    def _surface_begin(self, e: Any, arrays: Any, _now: str) -> None:
        import numpy as np

        detail = self.surface_details.get(e.surface)
        if detail is None or "alpha" not in arrays or "beta" not in arrays:
            return
        detail.alpha, detail.beta, detail.passes = arrays["alpha"], arrays["beta"], e.passes
        h, w = detail.shape
        if detail.values.get("n") is None or detail.values["n"].shape != (h, w):
            detail.values = {"n": np.zeros((h, w), dtype=np.int64)}
        detail.version += 1
        detail.row_version = np.full(h, detail.version, dtype=np.int64)
        self.touch(f"surface/{e.surface}")

    def _surface_row(self, e: Any, arrays: Any, _now: str) -> None:
        detail = self.surface_details.get(e.surface)
        if detail is None or detail.row_version is None:
            return
        h, w = detail.shape
        if not 0 <= e.i < h:
            return
        for name, row in arrays.items():
            if row.shape != (w,):
                continue
            if name not in detail.values:
                import numpy as np

                detail.values[name] = np.full((h, w), np.nan, dtype=row.dtype)
            detail.values[name][e.i] = row
        detail.values["n"][e.i] = e.n
        detail.version += 1
        detail.row_version[e.i] = detail.version
        self.touch(f"surface/{e.surface}")

    def _path_done(self, e: Any, arrays: Any, _now: str) -> None:
        detail = self.surface_details.get(e.surface)
        if detail is not None:
            detail.path = dict(arrays)
            self.touch(f"surface/{e.surface}")

    def _surface_done(self, e: Any, _arrays: Any, now: str) -> None:
        surface = self.surfaces.get(e.surface)
        if surface is not None:
            surface.sealed = True
        self.touch("surfaces", f"surface/{e.surface}")
        self._say(now, f"surface {words.short(e.surface)} is complete")

    def _analysis_done(self, e: Any, _arrays: Any, now: str) -> None:
        surface = self.surfaces.get(e.surface)
        if surface is not None:
            surface.analysed = True
        detail = self.surface_details.get(e.surface)
        if detail is not None:
            detail.item = {**detail.item, "critical": e.summary}
        self.touch("surfaces", f"surface/{e.surface}")
        self._say(now, f"surface {words.short(e.surface)} is analysed")

    def _window_state(self, e: Any, _arrays: Any, _now: str) -> None:
        self.put_window(e.window, e.endpoint, e.title)

    def _worker_state(self, e: Any, _arrays: Any, _now: str) -> None:
        if e.state == "ended":
            self.workers.pop(e.worker, None)
        else:
            self.workers[e.worker] = {"name": e.worker, "state": e.state, "device": e.device, "job": e.job}
        self.touch("workers")

    def _log_line(self, e: Any, _arrays: Any, now: str) -> None:
        log = self.logs.get(e.job or "")
        if log is not None:
            log.lines.append((e.level, words.plain(f"{words.clock(now)[-5:]} {e.text}")))
            log.count += 1
            self.touch(f"log/{e.job}")
        if e.level != "info":
            self._say(now, e.text)

    # ------------------------------------------------------------ what follows from it

    def run_state(self, run: Run) -> str:
        """The word for a run: that of the job that trains it, else what its epochs say."""
        job = self.jobs.get(self._run_job.get(run.id, run.job))
        if job is not None and job.active:
            return job.state
        if run.loss is not None and not math.isfinite(run.loss):
            return "diverged"
        if run.epochs and run.epochs_done >= run.epochs:
            return "done"
        return job.state if job is not None and job.state != "done" else "kept"

    def run_job(self, run: str) -> Job | None:
        """The job that trains or trained a run."""
        known = self.runs.get(run)
        return self.jobs.get(self._run_job.get(run, known.job if known else ""))

    def surface_state(self, surface: SurfaceRow) -> str:
        """The word for a surface."""
        if surface.missing:
            return "missing"
        if surface.sealed:
            return "done"
        job = self.surface_job(surface.id)
        if job is not None and job.active:
            return "filling" if job.state == "running" else job.state
        return "partial"

    def surface_job(self, surface: str) -> Job | None:
        """The job that measures or measured a surface."""
        known = self.surfaces.get(surface)
        if known is not None and known.job in self.jobs:
            return self.jobs[known.job]
        return next((j for j in self.jobs.values() if j.surface == surface and j.kind == "surface"), None)

    def plane_id(self, id_or_hash: str) -> str:
        """The id of a plane that was named by its id or its hash; "" where it is not known."""
        return id_or_hash if id_or_hash in self.planes else self._plane_of_hash.get(id_or_hash, "")

    def choice(self, kind: Kind | None, id: str) -> Choice:
        """What every tab shows when this is chosen: a surface brings its plane and that one's run, a run the newest
        plane through it and the newest surface on that. Where nothing of the kind belongs to it (a window, or nothing
        at all) the surface that is being filled is shown, else the newest."""
        run = plane = surface = window = job = ""
        match kind:
            case "run":
                run = id
                plane = _newest(p.id for p in self.planes.values() if p.run == id)
                surface = self._newest_surface(plane) or self._surface_of_run(id)
                found = self.run_job(id)
                job = found.id if found else ""
            case "plane":
                plane = id
                run = self.planes[id].run if id in self.planes else ""
                surface = self._newest_surface(id)
            case "surface":
                surface = id
                row = self.surfaces.get(id)
                plane = self.plane_id(row.plane) if row else ""
                run = self.planes[plane].run if plane else ""
                made = self.surface_job(id)
                job = made.id if made else ""
            case "job":
                job = id
                known = self.jobs.get(id)
                if known is not None:
                    run, surface, plane = known.run, known.surface, self.plane_id(known.plane)
                    if known.kind == "analysis" and not surface:
                        surface = str(known.spec.get("target", ""))
                    if surface in self.surfaces and not plane:
                        plane = self.plane_id(self.surfaces[surface].plane)
                    if known.kind == "surface" and not plane:
                        plane = self._plane_of(str(known.spec.get("plane", "")))
                    if plane and not run:
                        run = self.planes[plane].run
                    if known.kind == "train" and run:
                        plane = _newest(p.id for p in self.planes.values() if p.run == run)
                    if known.kind != "surface" and not surface:
                        surface = self._newest_surface(plane) or (self._surface_of_run(run) if run else "")
            case _:
                window = id
                surface = self._in_work() or _newest(self.surfaces)
                plane = self.plane_id(self.surfaces[surface].plane) if surface in self.surfaces else ""
                run = self.planes[plane].run if plane else ""
        return Choice(kind, id, run, plane, surface, window, job)

    def _plane_of(self, named: str) -> str:
        """The id of a plane that a spec names, by the job that makes it too."""
        job = self.jobs.get(named.removeprefix("job:"))
        return self.plane_id(job.plane if job is not None else named)

    def _in_work(self) -> str:
        """The surface that is being filled, the newest of several."""
        return _newest(j.surface for j in self.jobs.values() if j.kind == "surface" and j.state == "running")

    def _newest_surface(self, plane: str) -> str:
        if not plane:
            return ""
        hash = self.planes[plane].hash if plane in self.planes else ""
        return _newest(s.id for s in self.surfaces.values() if s.plane in (plane, hash))

    def _surface_of_run(self, run: str) -> str:
        planes = {x for p in self.planes.values() if p.run == run for x in (p.id, p.hash)}
        return _newest(s.id for s in self.surfaces.values() if s.plane in planes)

    def counts(self) -> dict[str, int]:
        """Jobs that have not ended, by state."""
        out: dict[str, int] = {}
        for job in self.jobs.values():
            if job.active:
                out[job.state] = out.get(job.state, 0) + 1
        return out


_HANDLERS: dict[Any, Callable[[Store, Any, Any, str], None]] = {
    "job.state": Store._job_state,
    "job.progress": Store._job_progress,
    "run.epoch": Store._run_epoch,
    "run.step": Store._run_step,
    "surface.begin": Store._surface_begin,
    "surface.row": Store._surface_row,
    "path.done": Store._path_done,
    "surface.done": Store._surface_done,
    "analysis.done": Store._analysis_done,
    "window.state": Store._window_state,
    "worker.state": Store._worker_state,
    "log.line": Store._log_line,
}


def _loss(metrics: Mapping[str, Any]) -> float | None:
    value = next((metrics[k] for k in ("test_loss", "train_loss", "loss") if k in metrics), None)
    return None if value is None else float(value)


def _accuracy(metrics: Mapping[str, Any]) -> float | None:
    value = next((metrics[k] for k in ("test_accuracy", "train_accuracy", "accuracy") if k in metrics), None)
    return None if value is None else float(value)


def _run_of(address: str) -> str:
    run, at, _ = address.partition("@")
    return run if at or len(run) == 26 else ""


def _newest(ids: Iterable[str]) -> str:
    return max(ids, default="")  # ULIDs sort by time


def _keep(table: dict[str, Any], most: int) -> None:
    while len(table) > most:
        table.pop(next(iter(table)))
