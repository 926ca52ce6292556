"""START HERE. Every spec, event and worker message, as frozen structs.

A *spec* says what is wanted and is the same for the library, the command line, the wire, TOML and the database;
specs are tagged by `kind`. A *message* crosses a socket and is tagged by `t` (see codec.py); its arrays travel
beside it as raw buffers. Fields may be added with defaults, never removed or retyped.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from protocol.files import PlaneMeta, SurfaceMeta
from protocol.grid import GridSpec
from protocol.shares import MetricDecl, Passes, Share
from protocol.view import View

PROTO = 1

Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
Precision = Literal["fp32", "tf32", "bf16"]
BatchNorm = Literal["frozen", "batch", "recalibrate"]

# ---------------------------------------------------------------- specs


class Recipe(Struct, frozen=True, kw_only=True):
    """Everything that determines a training."""

    model: str = "resnet20"
    model_options: dict[str, Any] = {}
    pretrained: bool = False
    dataset: str = "digits"
    image_size: Annotated[int, Meta(ge=1, le=4096)] | None = None  # side to resize to; None keeps the data's own
    augmentation: Literal["none", "standard"] = "none"  # standard: the data set's own random crop and flip
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Positive = 0.1
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.9  # AdamW takes it as its first beta
    nesterov: bool = False
    weight_decay: NonNegative = 5e-4
    schedule: Literal["constant", "cosine", "step"] = "cosine"  # step: a tenth at 1/2 and at 3/4 of the epochs
    batch_size: Annotated[int, Meta(ge=1, le=65536)] = 128
    epochs: Annotated[int, Meta(ge=1, le=100_000)] = 10
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    precision: Precision = "fp32"
    checkpoint_every: Annotated[int, Meta(ge=1)] | None = None  # steps; besides theta_0 and each epoch's end


class TrainSpec(Struct, frozen=True, kw_only=True, tag_field="kind", tag="train"):
    """Train a recipe; gives a run."""

    recipe: Recipe = Recipe()


class PlaneSpec(Struct, frozen=True, kw_only=True, tag_field="kind", tag="plane"):
    """Cut a plane through weight space; gives a plane.

    `origin` and `trajectory` are addresses: `RUN@step`, `RUN@epoch:3`, `RUN@first`, `RUN@last`, or a checkpoint file.
    `trajectory` may be one RUN (its theta_0 and every epoch's end) or a list of addresses, first to last.
    `recipe` names model and data for checkpoint files that do not carry their own.
    """

    direction: str = "random"
    origin: str | None = None  # default: the trajectory's last
    trajectory: str | tuple[str, ...] | None = None
    options: dict[str, Any] = {}
    recipe: Recipe | None = None


class SurfaceSpec(Struct, frozen=True, kw_only=True, tag_field="kind", tag="surface"):
    """Measure metrics on a grid over a plane; gives a surface, with the projected path where there is a trajectory."""

    plane: str
    path: str | tuple[str, ...] | None = None  # a trajectory; default: the plane's own, if it has one
    grid: GridSpec = GridSpec()
    data: str | None = None  # default: the recipe's data set
    split: Literal["train", "test"] = "train"  # the loss that was descended
    limit: Annotated[int, Meta(ge=1)] | None = None  # a seeded sample, stratified where targets are classes
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    loss: str = "cross_entropy"
    metrics: tuple[str, ...] = ("loss", "accuracy")
    batch_norm: BatchNorm = "frozen"
    calibration: Annotated[int, Meta(ge=1)] = 2048  # training samples for `recalibrate`
    precision: Precision = "fp32"
    passes: Passes = 1
    until: NonNegative | None = None  # stop when no finite point's `sem` of this estimate is above it


class AnalysisSpec(Struct, frozen=True, kw_only=True, tag_field="kind", tag="analysis"):
    """Analyse a surface (later: a run, a plane); gives what the analysis says, and for `critical` its points."""

    target: str
    analysis: str = "critical"
    options: dict[str, Any] = {}


class ExportSpec(Struct, frozen=True, kw_only=True, tag_field="kind", tag="export"):
    """Make data files of a surface, in `exports/<job>/`, fetched by clients with `file.get`."""

    target: str
    format: str = "npz"
    options: dict[str, Any] = {}


class ImportSpec(Struct, frozen=True, kw_only=True, tag_field="kind", tag="import"):
    """Make a surface or a run of an uploaded file. `upload` is the id under which its pieces were sent."""

    upload: str
    format: str = "npz"
    options: dict[str, Any] = {}


Spec = TrainSpec | PlaneSpec | SurfaceSpec | AnalysisSpec | ExportSpec | ImportSpec


State = Literal[
    "waiting", "queued", "running", "pausing", "paused", "cancelling", "done", "failed", "cancelled"
]  # fmt: skip
"""Of a job; see states.py for the transitions."""


class Execution(Struct, frozen=True, kw_only=True):
    """How a job runs; fixed when it starts and stored with it. None: chosen then."""

    device: Literal["cpu", "cuda", "mps"] | None = None
    threads: Annotated[int, Meta(ge=1)] | None = None
    batch_size: Annotated[int, Meta(ge=1)] | None = None
    channels_last: bool | None = None


# ---------------------------------------------------------------- worker -> parent, on `wrk`


class Message(Struct, frozen=True, kw_only=True, tag_field="t"):
    """The base of whatever crosses a socket."""


class WorkerReady(Message, frozen=True, kw_only=True, tag="wrk.ready"):
    """The worker is up and idle. `worker` is the name it was started under; `devices` are all that it finds."""

    worker: str = ""
    device: str
    threads: int
    versions: dict[str, str]
    devices: tuple[str, ...] = ()


class WorkerBegin(Message, frozen=True, kw_only=True, tag="wrk.begin"):
    """A job's inputs are read and its execution is fixed. A surface's axes come as arrays `alpha` and `beta`."""

    job: str
    execution: Execution
    total: int  # steps of a training, row-passes of a surface, sweeps of a plane
    seconds: float | None = None  # that the whole job will take, from a calibration
    meta: SurfaceMeta | None = None
    shares: tuple[Share, ...] = ()
    metrics: tuple[MetricDecl, ...] = ()


class WorkerRow(Message, frozen=True, kw_only=True, tag="wrk.row"):
    """The sums of row i over one share, one array (W,) for each name in the metrics' declarations."""

    job: str
    i: int
    pass_: int
    n: int


class WorkerEpoch(Message, frozen=True, kw_only=True, tag="wrk.epoch"):
    """An epoch ended. Metrics may be NaN or infinite: that is told, not hidden."""

    job: str
    run: str
    epoch: int
    step: int
    metrics: dict[str, float]


class WorkerCheckpoint(Message, frozen=True, kw_only=True, tag="wrk.checkpoint"):
    """A checkpoint file is durable under its name."""

    job: str
    run: str
    step: int
    epoch: float
    file: str
    sha256: str


class WorkerProgress(Message, frozen=True, kw_only=True, tag="wrk.progress"):
    """How far a job is, in its own unit of work."""

    job: str
    done: int
    total: int
    note: str = ""
    loss: float | None = None  # of a training's last step


class WorkerPath(Message, frozen=True, kw_only=True, tag="wrk.path"):
    """The projected path, as the columns of path.csv (arrays, each (n,)); sent again when the losses are known."""

    job: str
    losses: bool


class WorkerRestart(Message, frozen=True, kw_only=True, tag="wrk.restart"):
    """Memory ran out: the batch is halved (`execution`), this pass's rows are void and have to be leased again."""

    job: str
    pass_: int
    execution: Execution


class WorkerLog(Message, frozen=True, kw_only=True, tag="wrk.log"):
    """A line for the job's log."""

    job: str | None = None
    level: Literal["info", "warning", "error"] = "info"
    text: str = ""


class Done(Struct, frozen=True, kw_only=True):
    """What a job gave: the id of a run, the hash of a plane, nothing for a surface (its parent seals it)."""

    run: str | None = None
    plane: str | None = None
    plane_meta: PlaneMeta | None = None
    surface: str | None = None
    files: tuple[str, ...] = ()  # of an export, by name
    summary: dict[str, Any] = {}  # of an analysis
    precision_deviation: float | Literal["inf", "unknown"] | None = None
    deterministic: bool | None = None  # of a run or surface: whether all its operations have deterministic kernels
    cancelled: bool = False


class WorkerDone(Message, frozen=True, kw_only=True, tag="wrk.done"):
    """A job ended well, or at the boundary where it was told to stop."""

    job: str
    result: Done


class WorkerFail(Message, frozen=True, kw_only=True, tag="wrk.fail"):
    """A job cannot be done; one sentence for a person. The traceback of an unforeseen error is in the log."""

    job: str
    code: str
    msg: str
    path: str | None = None


FromWorker = (
    WorkerReady
    | WorkerBegin
    | WorkerRow
    | WorkerEpoch
    | WorkerCheckpoint
    | WorkerProgress
    | WorkerPath
    | WorkerRestart
    | WorkerLog
    | WorkerDone
    | WorkerFail
)

# ---------------------------------------------------------------- parent -> worker


class WorkerJob(Message, frozen=True, kw_only=True, tag="wrk.job"):
    """Do this job. The worker answers `wrk.begin`, then works; a surface waits for leases."""

    job: str
    spec: Spec
    execution: Execution = Execution()
    workspace: str
    data: str | None = None  # the data folder, where one was chosen
    run: str | None = None  # the id of the run to make, or to go on with where it has a state; None: a new one
    resume: str | None = None  # the run to go on with; one that cannot is refused
    dry: bool = False  # check everything, build everything, write nothing: ends after `wrk.begin`


class WorkerLease(Message, frozen=True, kw_only=True, tag="wrk.lease"):
    """Measure these rows over the share of this pass. No rows: there will be no more."""

    job: str
    rows: tuple[int, ...]
    pass_: int


class WorkerCancel(Message, frozen=True, kw_only=True, tag="wrk.cancel"):
    """Stop the job at the next row or step (`boundary`: after the epoch); what is committed is kept.

    `keep`: write the state to go on from first, so that not a step is lost (a pause, a daemon that ends).
    """

    job: str
    when: Literal["now", "boundary"] = "now"
    keep: bool = False


class WorkerPause(Message, frozen=True, kw_only=True, tag="wrk.pause"):
    """Hold the job at the next row or step until `wrk.resume`."""

    job: str


class WorkerResume(Message, frozen=True, kw_only=True, tag="wrk.resume"):
    """Go on with a held job."""

    job: str


class WorkerStop(Message, frozen=True, kw_only=True, tag="wrk.stop"):
    """End the worker process after the current row or step."""


ToWorker = WorkerJob | WorkerLease | WorkerCancel | WorkerPause | WorkerResume | WorkerStop

# ---------------------------------------------------------------- events


class EventMessage(Message, frozen=True, kw_only=True):
    """The base of events. `seq` counts the persisted events of a topic without a gap; None on those that are not."""

    seq: int | None = None


class Heartbeat(EventMessage, frozen=True, kw_only=True, tag="hb"):
    """Every second, and at once on a new subscription. `heads` are the newest seq of topics that changed lately."""

    boot: str
    beat: int
    heads: dict[str, int] = {}


class JobStateEvent(EventMessage, frozen=True, kw_only=True, tag="job.state"):
    """A job changed its state; with its result or its error where it ended."""

    job: str
    state: State
    kind: str = ""
    name: str = ""
    result: Done | None = None
    error: str | None = None
    run: str | None = None  # the run or surface it works on, known from its start: whose topic to follow
    surface: str | None = None


class RunStep(EventMessage, frozen=True, kw_only=True, tag="run.step"):
    """The loss of an optimiser step, throttled; not persisted."""

    run: str
    step: int
    loss: float


class AnalysisDone(EventMessage, frozen=True, kw_only=True, tag="analysis.done"):
    """An analysis of a surface is stored: its summary. The points are in the surface (`surface.get`, `snapshot`)."""

    surface: str
    analysis: str
    summary: dict[str, Any]


class ThingDeleted(EventMessage, frozen=True, kw_only=True, tag="thing.deleted"):
    """A run, plane or surface was deleted, on its own topic. It is told once: who missed it finds nothing there."""

    what: Literal["run", "plane", "surface"]
    thing: str  # a plane by its hash


class WindowState(EventMessage, frozen=True, kw_only=True, tag="window.state"):
    """A window announced itself, changed what it shows, or left (no `endpoint`)."""

    window: str
    endpoint: str | None = None
    title: str = ""


class WorkerState(EventMessage, frozen=True, kw_only=True, tag="worker.state"):
    """A worker process started, took a job, or ended."""

    worker: str
    state: Literal["starting", "idle", "busy", "ended"]
    device: str = ""
    pid: int | None = None
    job: str | None = None
    why: str = ""


class RunEpoch(EventMessage, frozen=True, kw_only=True, tag="run.epoch"):
    """An epoch is stored."""

    run: str
    epoch: int
    step: int
    metrics: dict[str, float]


class CheckpointSaved(EventMessage, frozen=True, kw_only=True, tag="checkpoint.saved"):
    """A checkpoint is stored."""

    run: str
    step: int
    epoch: float
    file: str
    sha256: str


class PlaneDone(EventMessage, frozen=True, kw_only=True, tag="plane.done"):
    """A plane is stored."""

    plane: str
    meta: PlaneMeta


class SurfaceBegin(EventMessage, frozen=True, kw_only=True, tag="surface.begin"):
    """A surface's axes (arrays `alpha`, `beta`), provenance and schedule are fixed."""

    surface: str
    meta: SurfaceMeta
    passes: int


class SurfaceRow(EventMessage, frozen=True, kw_only=True, tag="surface.row"):
    """Row i is stored up to this pass; its derived values as <f4 arrays (W,): loss, sem, accuracy, ..."""

    surface: str
    i: int
    pass_: int
    n: int  # samples seen by this row so far


class PathDone(EventMessage, frozen=True, kw_only=True, tag="path.done"):
    """The path on a surface, as the columns of path.csv (arrays, each (n,))."""

    surface: str
    losses: bool


class SurfaceDone(EventMessage, frozen=True, kw_only=True, tag="surface.done"):
    """The surface is sealed."""

    surface: str
    file: str


class JobProgress(EventMessage, frozen=True, kw_only=True, tag="job.progress"):
    """How far a job is. `rate` in its unit of work a second; No `eta_s` until it is known."""

    job: str
    done: int
    total: int
    rate: float | None = None
    eta_s: float | None = None
    note: str = ""


class LogLine(EventMessage, frozen=True, kw_only=True, tag="log.line"):
    """A line of a job's log."""

    job: str | None
    level: str
    text: str


Event = (
    Heartbeat
    | JobStateEvent
    | RunStep
    | AnalysisDone
    | ThingDeleted
    | WindowState
    | WorkerState
    | RunEpoch
    | CheckpointSaved
    | PlaneDone
    | SurfaceBegin
    | SurfaceRow
    | PathDone
    | SurfaceDone
    | JobProgress
    | LogLine
)

# ---------------------------------------------------------------- presets


PRESETS: dict[str, Recipe] = {
    # ResNet-20 on scikit-learn's digits at their own 8 x 8: small enough for two cores, real enough to have terrain.
    # The small constant rate spreads the path over all ten epochs: the loss falls at each one, and the test accuracy
    # passes 0.96; at 0.1 with cosine half of them end on the last point.
    "demo": Recipe(model="resnet20", dataset="digits", lr=0.01, nesterov=True, schedule="constant", epochs=10),
    # The seed's term project: 10 epochs of SGD at batch 10.
    "seed": Recipe(
        model="resnet50",
        dataset="cifar10",
        lr=0.001,
        momentum=0.9,
        weight_decay=0.0,
        schedule="constant",
        batch_size=10,
        epochs=10,
    ),
}

# ---------------------------------------------------------------- pictures: lines of JSON to and from renderer.headless


class Render(Message, frozen=True, kw_only=True, tag="render"):
    """Draw a surface, or several in one picture, into a PNG of width * scale by height * scale pixels, or, where `out`
    ends in .mp4, into a video in which the camera turns around them."""

    file: str  # surface.npz
    out: str  # the PNG or MP4, written whole or not at all
    others: Annotated[tuple[str, ...], Meta(max_length=3)] = ()  # further surfaces of the same picture
    path_csv: str | None = None  # *-path.csv or the seed's x,y file, in place of the first surface's own path
    preset: str = "contours-3d"
    view: dict[str, Any] = {}  # overrides by dotted name (protocol.view.override)
    width: Annotated[int, Meta(ge=160, le=8192)] = 1280
    height: Annotated[int, Meta(ge=120, le=8192)] = 800
    scale: Annotated[float, Meta(ge=0.5, le=8)] = 2.0
    seconds: Annotated[float, Meta(gt=0, le=600)] = 8.0  # of one turn of a video
    turns: Annotated[float, Meta(ge=-100, le=100)] = 1.0  # negative: clockwise
    fps: Annotated[int, Meta(ge=1, le=60)] = 30


class RenderProgress(Message, frozen=True, kw_only=True, tag="progress"):
    """How far a video is, about once a second; its answer is still to come. Closing stdin cancels it."""

    done: int  # frames
    total: int
    eta_s: float | None = None


class RenderOk(Message, frozen=True, kw_only=True, tag="ok"):
    """The picture is written. `view` is the complete view that made it, as it stands in the PNG too."""

    out: str
    view: View
    width: int  # pixels
    height: int
    renderer: str  # the GL renderer
    seconds: float  # that it took
    frames: int = 1  # of a video


class RenderErr(Message, frozen=True, kw_only=True, tag="err"):
    """Nothing was written; one sentence for a person."""

    code: str
    msg: str
    path: str | None = None
