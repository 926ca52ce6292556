"""What a client may ask of the daemon, and what it answers. One struct a request, one a reply; REPLIES pairs them.

Every request carries `id`, chosen by the client: it is the idempotency key. The same id with the same body again gets
the stored reply; the same id with another body is `id_reused`. Pieces of arrays and files travel as buffers.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from protocol.errors import Code
from protocol.messages import PROTO, Done, Execution, Message, Spec, State

Id = Annotated[str, Meta(pattern="^[0-9A-HJKMNP-TV-Z]{26}$")]  # a ULID
PIECE = 4 * 1024 * 1024  # bytes of an array or file in one message
PAGE = 200

# ---------------------------------------------------------------- requests


class Request(Message, frozen=True, kw_only=True):
    """The base of requests. `expires_at`: seconds since the epoch, after which it must not be done."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    proto: int = PROTO
    expires_at: float | None = None


class ClientInfo(Struct, frozen=True):
    """Who speaks."""

    name: str
    version: str = ""


class Hello(Request, frozen=True, kw_only=True, tag="hello"):
    """Negotiate the protocol version; learn limits and what the daemon can do."""

    client: ClientInfo
    proto_min: int = PROTO
    proto_max: int = PROTO


class Ping(Request, frozen=True, kw_only=True, tag="ping"):
    """Answered at once."""


class Status(Request, frozen=True, kw_only=True, tag="status"):
    """Workers, counts of jobs by state, sizes, peers that sent bad frames."""


class Schema(Request, frozen=True, kw_only=True, tag="schema"):
    """The JSON Schema of every message, as a buffer `schema`."""


class Catalogue(Request, frozen=True, kw_only=True, tag="catalogue"):
    """Models, data sets, directions, ... with their options, as a buffer `catalogue` (JSON)."""


class Submitted(Struct, frozen=True, kw_only=True):
    """One job of a submission. `job` is a ULID that the client chooses; a reference in its spec may be `job:<id>`."""

    job: Id
    spec: Spec
    name: Annotated[str, Meta(max_length=200)] = ""
    priority: Annotated[int, Meta(ge=-100, le=100)] = 0  # higher first
    device: Literal["cpu", "cuda", "mps"] | None = None
    execution: Execution | None = None
    after: tuple[str, ...] = ()
    on_conflict: Literal["existing", "new", "error"] = "existing"


class JobSubmit(Request, frozen=True, kw_only=True, tag="job.submit"):
    """Submit jobs in one transaction: all of them or none."""

    jobs: Annotated[tuple[Submitted, ...], Meta(min_length=1, max_length=100)]


class JobEstimate(Request, frozen=True, kw_only=True, tag="job.estimate"):
    """What a job would cost."""

    spec: Spec
    device: Literal["cpu", "cuda", "mps"] | None = None


class JobList(Request, frozen=True, kw_only=True, tag="job.list"):
    """Jobs, newest first, a page at a time."""

    states: tuple[State, ...] = ()
    limit: Annotated[int, Meta(ge=1, le=PAGE)] = 50
    cursor: str | None = None


class JobGet(Request, frozen=True, kw_only=True, tag="job.get"):
    """A job, by its id, the end of its id, or its name."""

    job: str


class JobCancel(Request, frozen=True, kw_only=True, tag="job.cancel"):
    """Stop a job: `now` at the next row or step, `boundary` after the epoch or row in progress."""

    job: str
    when: Literal["now", "boundary"] = "now"


class JobPause(Request, frozen=True, kw_only=True, tag="job.pause"):
    """Pause at the next row or step; the worker is free for other jobs."""

    job: str


class JobResume(Request, frozen=True, kw_only=True, tag="job.resume"):
    """Queue a paused job again."""

    job: str


class JobRetry(Request, frozen=True, kw_only=True, tag="job.retry"):
    """Queue a failed or cancelled job again; what it had committed is kept."""

    job: str


class JobMove(Request, frozen=True, kw_only=True, tag="job.move"):
    """Change a job's priority."""

    job: str
    priority: Annotated[int, Meta(ge=-100, le=100)]


Thing = Literal["run", "plane", "surface"]


class _List(Request, frozen=True, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=PAGE)] = 50
    cursor: str | None = None


class RunList(_List, frozen=True, kw_only=True, tag="run.list"):
    """Runs, newest first."""


class PlaneList(_List, frozen=True, kw_only=True, tag="plane.list"):
    """Planes, newest first."""


class SurfaceList(_List, frozen=True, kw_only=True, tag="surface.list"):
    """Surfaces, newest first."""


class RunGet(Request, frozen=True, kw_only=True, tag="run.get"):
    """A run and its epochs."""

    run: str


class PlaneGet(Request, frozen=True, kw_only=True, tag="plane.get"):
    """A plane and how it was made."""

    plane: str


class SurfaceGet(Request, frozen=True, kw_only=True, tag="surface.get"):
    """A surface and where it comes from."""

    surface: str


class RunDelete(Request, frozen=True, kw_only=True, tag="run.delete"):
    """Delete a run and its checkpoints."""

    run: str


class PlaneDelete(Request, frozen=True, kw_only=True, tag="plane.delete"):
    """Delete a plane and its file."""

    plane: str


class SurfaceDelete(Request, frozen=True, kw_only=True, tag="surface.delete"):
    """Delete a surface and its file."""

    surface: str


class CheckpointList(_List, frozen=True, kw_only=True, tag="checkpoint.list"):
    """A run's checkpoints, first to last."""

    run: str


class FileGet(Request, frozen=True, kw_only=True, tag="file.get"):
    """A piece (buffer `piece`, at most 4 MiB) of an export's file, a sealed surface, or a plane's file."""

    job: str | None = None
    surface: str | None = None
    plane: str | None = None
    name: str | None = None
    offset: Annotated[int, Meta(ge=0)] = 0


class Upload(Request, frozen=True, kw_only=True, tag="upload"):
    """A piece (buffer `piece`) of a file for an import job. Pieces come in order; the last one completes the total."""

    upload: Id
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    total: Annotated[int, Meta(ge=0, le=64 * 2**30)]
    offset: Annotated[int, Meta(ge=0)]


class Snapshot(Request, frozen=True, kw_only=True, tag="snapshot"):
    """The state of a topic at one `seq`, in pieces (`cursor` -> `next`)."""

    topic: str
    cursor: str | None = None


class EventsSince(Request, frozen=True, kw_only=True, tag="events.since"):
    """The persisted events of a topic after `seq`, as a buffer `events`: a MessagePack stream of
    `[header, [buffer, ...]]`, the very bytes that were published."""

    topic: str
    seq: Annotated[int, Meta(ge=0)]


class Heads(Request, frozen=True, kw_only=True, tag="heads"):
    """The newest seq of these topics (0: no event yet). For `job/`, `run/`, ...: of the topics beneath, at most 1000 in
    all, those of the newest ids."""

    topics: Annotated[tuple[str, ...], Meta(max_length=200)]


class LogTail(Request, frozen=True, kw_only=True, tag="log.tail"):
    """A piece of a job's log from `offset` on (negative: from the end), as a buffer `text`."""

    job: str
    offset: int = -65536


class WindowAnnounce(Request, frozen=True, kw_only=True, tag="window.announce"):
    """From a window: here I am."""

    window: Id
    endpoint: str
    title: str = ""


class WindowLeave(Request, frozen=True, kw_only=True, tag="window.leave"):
    """From a window: I am closing."""

    window: Id


class WindowList(Request, frozen=True, kw_only=True, tag="window.list"):
    """The windows that announced themselves."""


class StoreVerify(Request, frozen=True, kw_only=True, tag="store.verify"):
    """Check the database and the hash of every file."""


class StoreBackup(Request, frozen=True, kw_only=True, tag="store.backup"):
    """Copy the database into backups/ now."""


class DaemonShutdown(Request, frozen=True, kw_only=True, tag="daemon.shutdown"):
    """`finish`: after the row or epoch in progress; `now`: at the next row or step. Jobs go on at the next start."""

    mode: Literal["finish", "now"] = "now"


AnyRequest = (
    Hello | Ping | Status | Schema | Catalogue
    | JobSubmit | JobEstimate | JobList | JobGet | JobCancel | JobPause | JobResume | JobRetry | JobMove
    | RunList | PlaneList | SurfaceList | RunGet | PlaneGet | SurfaceGet | RunDelete | PlaneDelete | SurfaceDelete
    | CheckpointList | FileGet | Upload | Snapshot | EventsSince | Heads | LogTail
    | WindowAnnounce | WindowLeave | WindowList | StoreVerify | StoreBackup | DaemonShutdown
)  # fmt: skip

CHANGES = (
    JobSubmit, JobCancel, JobPause, JobResume, JobRetry, JobMove, RunDelete, PlaneDelete, SurfaceDelete,
)  # fmt: skip
"""Requests whose reply is stored with their id in the transaction that does them, so that a retry is harmless."""

# ---------------------------------------------------------------- replies


class Limits(Struct, frozen=True, kw_only=True):
    """What a client must not exceed."""

    header: int
    frame: int
    buffers: int
    piece: int
    page: int


class HelloReply(Struct, frozen=True, kw_only=True):
    boot: str  # changes with every start of the daemon
    store: str  # stays with the workspace
    proto: int
    version: str
    caps: tuple[str, ...] = ()
    limits: Limits


class Nothing(Struct, frozen=True):
    """Done; there is nothing to say."""


class StatusReply(Struct, frozen=True, kw_only=True):
    boot: str
    pid: int
    uptime_s: float
    jobs: dict[str, int]  # by state
    workers: tuple[dict[str, Any], ...]
    clients_refused: int  # by CURVE/ZAP
    bad_frames: int
    store: dict[str, Any]  # sizes, free space
    workspace: str = ""
    data: str | None = None  # the data folder that it was started with, or that of its config.toml
    config: dict[str, Any] = {}  # what config.toml says, and the defaults of what it does not


class JobInfo(Struct, frozen=True, kw_only=True):
    """A job as it is now. `eta_s`: seconds of work left, of a queued job without those before it, where known."""

    job: str
    kind: str
    name: str
    state: State
    priority: int
    spec: dict[str, Any]
    after: tuple[str, ...] = ()
    device: str | None = None
    execution: Execution | None = None
    result: Done | None = None
    error: str | None = None
    code: str | None = None
    done: int = 0
    total: int = 0
    eta_s: float | None = None
    created: str = ""
    started: str = ""
    ended: str = ""
    run: str | None = None  # what it works on, known from its start
    surface: str | None = None


class SubmitReply(Struct, frozen=True, kw_only=True):
    jobs: tuple[JobInfo, ...]


class JobReply(Struct, frozen=True, kw_only=True):
    job: JobInfo


class JobPage(Struct, frozen=True, kw_only=True):
    jobs: tuple[JobInfo, ...]
    next: str | None = None


class EstimateReply(Struct, frozen=True, kw_only=True):
    """`how`: "measured" (a calibration of this model, data and device), "similar" (of another size), "unknown"."""

    points: int = 0
    samples: int = 0
    bytes: int = 0
    seconds: float | None = None
    how: str = "unknown"


class ThingPage(Struct, frozen=True, kw_only=True):
    """A page of runs, planes or surfaces, as plain records."""

    items: tuple[dict[str, Any], ...]
    next: str | None = None


class ThingReply(Struct, frozen=True, kw_only=True):
    item: dict[str, Any]


class PieceReply(Struct, frozen=True, kw_only=True):
    """A piece of a file, in the buffer `piece`."""

    name: str
    total: int
    sha256: str | None = None


class UploadReply(Struct, frozen=True, kw_only=True):
    received: int
    complete: bool


class SnapshotReply(Struct, frozen=True, kw_only=True):
    """One piece of a snapshot. `state` comes with the first; arrays as buffers, long ones cut along their first axis:
    `parts` names each buffer's array and the row it starts at."""

    topic: str
    seq: int
    state: dict[str, Any] = {}
    parts: dict[str, int] = {}
    next: str | None = None


class EventsReply(Struct, frozen=True, kw_only=True):
    """`head`: the newest seq. `next`: there is more, ask again from there. `gone`: events so old are no longer kept,
    take a snapshot."""

    head: int
    count: int
    gone: bool = False
    next: int | None = None


class HeadsReply(Struct, frozen=True, kw_only=True):
    heads: dict[str, int]


class LogReply(Struct, frozen=True, kw_only=True):
    offset: int
    total: int


class WindowInfo(Struct, frozen=True, kw_only=True):
    """A window and where it listens."""

    window: str
    endpoint: str
    title: str = ""


class WindowsReply(Struct, frozen=True, kw_only=True):
    windows: tuple[WindowInfo, ...]


class VerifyReply(Struct, frozen=True, kw_only=True):
    checked: int
    problems: tuple[str, ...] = ()


class BackupReply(Struct, frozen=True, kw_only=True):
    file: str


REPLIES: dict[type[Request], type[Struct]] = {
    Hello: HelloReply,
    Ping: Nothing,
    Status: StatusReply,
    Schema: Nothing,
    Catalogue: Nothing,
    JobSubmit: SubmitReply,
    JobEstimate: EstimateReply,
    JobList: JobPage,
    JobGet: JobReply,
    JobCancel: JobReply,
    JobPause: JobReply,
    JobResume: JobReply,
    JobRetry: JobReply,
    JobMove: JobReply,
    RunList: ThingPage,
    PlaneList: ThingPage,
    SurfaceList: ThingPage,
    RunGet: ThingReply,
    PlaneGet: ThingReply,
    SurfaceGet: ThingReply,
    RunDelete: Nothing,
    PlaneDelete: Nothing,
    SurfaceDelete: Nothing,
    CheckpointList: ThingPage,
    FileGet: PieceReply,
    Upload: UploadReply,
    Snapshot: SnapshotReply,
    EventsSince: EventsReply,
    Heads: HeadsReply,
    LogTail: LogReply,
    WindowAnnounce: Nothing,
    WindowLeave: Nothing,
    WindowList: WindowsReply,
    StoreVerify: VerifyReply,
    StoreBackup: BackupReply,
    DaemonShutdown: Nothing,
}


class Ok(Message, frozen=True, kw_only=True, tag="ok"):
    """Done. What `result` holds depends on the request."""

    id: str
    result: dict[str, Any] = field(default_factory=dict)


class Err(Message, frozen=True, kw_only=True, tag="err"):
    """Not done, nothing changed: what was expected, what came, what to do."""

    id: str | None
    code: Code
    msg: str
    path: str | None = None
    retryable: bool = False
    retry_after_s: float | None = None


Reply = Ok | Err
