"""START HERE. Planes, surfaces and paths of your own model and data, in a few lines.

    plane   = landscape.random_plane(model, seed=0, normalize="filter", ignore="bias_bn")
    plane   = landscape.pca_plane(model, checkpoints)          # state dicts or safetensors paths, the last is theta_n
    surface = landscape.measure(model, data, plane, grid=25)   # data: (x, y) tensors, a Dataset or a DataLoader
    path    = landscape.project(model, checkpoints, plane, data=data, surface=surface)
    surface.with_path(path).save("surface.npz")

The model is only read: measuring moves a copy. Nothing here needs a daemon, a store or a network.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from compute import execution as run
from compute.checkpoints import Checkpoint
from compute.directions import DIRECTIONS
from compute.directions.vectors import cosine, dot
from compute.engine import Engine, loss_name
from compute.options import converted
from compute.parameters import Layout, require_finite
from compute.planes import Plane, content_hash
from compute.samples import Data, Samples, order, read
from compute.trajectory import path_coordinates
from protocol import grid as grids
from protocol.errors import InputError, unknown_name
from protocol.files import PATH_DTYPE, PlaneMeta, Surface, SurfaceMeta
from protocol.messages import BatchNorm, Execution, Precision, SurfaceSpec
from protocol.shares import MetricDecl, Passes, Share, row_order, shares
from protocol.sheet import Sheet

__all__ = ["Plane", "Surface", "measure", "pca_plane", "project", "random_plane"]

CheckpointSource = Mapping[str, Tensor] | str | os.PathLike[str]
CALIBRATION = 2048  # samples for the policy `recalibrate`
OnRow = Callable[[int, dict[str, NDArray[np.float64]], int, int], None]


# ---------------------------------------------------------------- planes


def random_plane(
    model: nn.Module,
    *,
    seed: int = 0,
    normalize: str = "filter",
    ignore: str = "bias_bn",
    orthogonal: bool = False,
) -> Plane:
    """A plane of two random directions through the model's present weights (Li et al. 2018, section 4).

    normalize: `filter` (each filter of a direction gets the norm of theta*'s), `layer`, `weight`, `none`.
    ignore: `bias_bn` sets the direction to zero in biases and batch-norm scale and shift; `nothing`.
    orthogonal: Gram-Schmidt of eta against delta. Raises InputError for an unknown name or weights that are not finite.
    """
    options = {"seed": seed, "normalize": normalize, "ignore": ignore, "orthogonal": orthogonal}
    return finish(make_plane("random", model, [model.state_dict()], options, origin="model"))


def pca_plane(model: nn.Module, checkpoints: Sequence[CheckpointSource], *, centre: bool = True) -> Plane:
    """The plane of the two leading principal components of a trajectory (Li et al. 2018, section 7.2), exact.

    checkpoints: state dicts or safetensors paths, first to last; the last is theta_n, the plane's origin. At least 4
    (3 with `centre=False`). Peak memory above the model: three vectors of length P and 64 MiB, however many there are.
    """
    return finish(make_plane("pca", model, checkpoints, {"centre": centre}))


def make_plane(
    kind: str,
    model: nn.Module,
    checkpoints: Sequence[CheckpointSource],
    options: Mapping[str, Any],
    *,
    origin: str = "",
    trajectory: Sequence[CheckpointSource] = (),
) -> Generator[tuple[int, int], None, Plane]:
    """A plane of any registered kind, as a generator of (done, total); the last checkpoint is theta*.

    `trajectory` (default: the checkpoints, for a kind that is made of several) is what `path` projects.

    Raises InputError, before any work, for an unknown kind or option.
    """
    if kind not in DIRECTIONS:
        raise unknown_name("direction", kind, DIRECTIONS)
    entry = DIRECTIONS[kind]
    chosen = converted(f"{kind} plane", options, entry.options)
    if not checkpoints:
        raise InputError("checkpoints: expected at least one, got none")
    layout = Layout.of(model)
    opened = open_all(checkpoints, layout)
    last = opened[-1]
    theta = last.theta()
    require_finite(theta, origin or last.what)
    directions = yield from entry.make(layout, opened, chosen)
    path = np.zeros(0, PATH_DTYPE)
    if directions.path_places is not None:
        path = path_of(opened, *directions.path_places)
    elif trajectory:
        path = finish(coordinates(open_all(trajectory, layout), theta, directions.delta, directions.eta))
    settings = msgspec.to_builtins(chosen)
    buffers = last.buffers()
    return Plane(
        delta=directions.delta,
        eta=directions.eta,
        origin=theta,
        buffers=buffers,
        layout=layout,
        path=path,
        meta=PlaneMeta(
            kind=kind,
            hash=content_hash(layout, (theta, directions.delta, directions.eta), buffers, path),
            origin=origin or last.what,
            options=settings,
            seed=settings.get("seed"),
            norms=(math.sqrt(dot(directions.delta, directions.delta)), math.sqrt(dot(directions.eta, directions.eta))),
            cosine=cosine(directions.delta, directions.eta),
            explained_variance_ratio=directions.explained_variance_ratio,
            random_walk_ratio=directions.random_walk_ratio,
            checkpoints=len(opened) if entry.trajectory else None,
        ),
    )


def finish(steps: Generator[Any, None, Any]) -> Any:
    """What a generator of progress returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def open_all(sources: Sequence[CheckpointSource], layout: Layout) -> list[Checkpoint]:
    """The checkpoints, opened and checked against the model's layout."""
    return [Checkpoint(c, layout, f"checkpoint {k}" if isinstance(c, Mapping) else "") for k, c in enumerate(sources)]


def coordinates(
    checkpoints: Sequence[Checkpoint], origin: Tensor, delta: Tensor, eta: Tensor
) -> Generator[tuple[int, int], None, NDArray[np.void]]:
    """The columns step, epoch, alpha, beta, off_plane of path.csv for these checkpoints."""
    places, off = np.zeros((len(checkpoints), 2)), np.zeros(len(checkpoints))
    for done in path_coordinates(checkpoints, origin, (delta, eta), places, off):
        yield done, len(origin)
    return path_of(checkpoints, places, off)


def path_of(
    checkpoints: Sequence[Checkpoint], places: NDArray[np.float64], off: NDArray[np.float64]
) -> NDArray[np.void]:
    """The columns of path.csv for checkpoints at these coordinates (n, 2) and off-plane distances (n,), losses NaN."""
    out = np.zeros(len(checkpoints), PATH_DTYPE)
    for name in PATH_DTYPE.names or ():
        if name != "step":
            out[name] = np.nan
    for k, c in enumerate(checkpoints):
        out["step"][k] = k if c.step is None else c.step
        out["epoch"][k] = np.nan if c.epoch is None else c.epoch
    out["alpha"], out["beta"], out["off_plane"] = places[:, 0], places[:, 1], off
    return out


# ---------------------------------------------------------------- surfaces


def measure(
    model: nn.Module,
    data: Data,
    plane: Plane,
    grid: int | grids.GridSpec = 25,
    *,
    alpha: tuple[float, float] | None = None,
    beta: tuple[float, float] | None = None,
    loss: Callable[..., Any] = F.cross_entropy,
    metrics: Sequence[str] = ("loss", "accuracy"),
    batch_norm: BatchNorm = "frozen",
    calibration: Data | None = None,
    limit: int | None = None,
    seed: int = 0,
    passes: Passes = 1,
    precision: Precision = "fp32",
    device: str | None = None,
    batch_size: int | None = None,
    on_row: OnRow | None = None,
    what: str = "",
    split: str = "",
) -> Surface:
    """The surface f(alpha, beta) = mean loss at theta* + alpha delta + beta eta, on a grid over a plane.

    grid: points a side, or a GridSpec. alpha, beta: ranges (lo, hi) in units of the directions; default [-1, 1] for a
    random plane, the path's grown bounding box for a PCA plane (math.md, "Ranges").
    loss: (output, target) -> one value a sample; called with reduction="none" where it takes that.
    batch_norm: `frozen` (theta*'s running statistics, as Li et al. do), `batch` (statistics of each partition of 256),
    `recalibrate` (estimated anew at each point from `calibration`, else from a seeded 2,048 samples of `data`).
    limit, seed: a seeded sample, stratified by class, in a seeded order that is the same at every point.
    passes: an integer k, or "grow": several sweeps over growing shares of the data; the last makes the mean exact.
    precision: fp32 (TF32 off), tf32 (CUDA), bf16; for the latter two the deviation from fp32 is recorded.
    on_row(i, values, pass, n) is called when row i has seen n samples; values are arrays (W,) by name.
    what, split: names for the record. Raises InputError for anything that cannot be measured, before any work.
    """
    session = Session(
        model,
        read(data, what),
        plane,
        loss=loss,
        metrics=metrics,
        batch_norm=batch_norm,
        calibration=read(calibration) if calibration is not None else None,
        limit=limit,
        seed=seed,
        precision=precision,
        execution=Execution(device=device, batch_size=batch_size),  # type: ignore[arg-type]
        split=split,
    )
    x, y = session.axes(_grid(grid, alpha, beta))
    schedule = session.schedule(passes)
    begun = time.monotonic()
    sheet = Sheet(x, y, session.meta, session.declarations, schedule)
    with session:
        for k, share in enumerate(schedule):
            while not _swept(session, sheet, k, share, on_row):
                pass
        deviation = session.deviation(x, y)
    return sheet.surface(
        passes=str(passes),
        seconds=round(time.monotonic() - begun, 3),
        precision_deviation=deviation,
        execution=session.recorded(),
    )


def _swept(session: Session, sheet: Sheet, k: int, share: Share, on_row: OnRow | None) -> bool:
    """One pass over the grid; False when memory ran out, the batch was halved and the pass has to begin again."""
    try:
        rows = [(i, float(sheet.beta[i])) for i in row_order(len(sheet.beta))]
        for i, sums in session.rows(rows, sheet.alpha, share):
            derived = sheet.add(i, k, int(sums.pop("n")), sums)
            if on_row:
                on_row(i, derived, k, sheet.samples(i))
        return True
    except torch.OutOfMemoryError:
        session.halve_batch()
        sheet.restart(k)
        return False


def _grid(
    grid: int | grids.GridSpec, alpha: tuple[float, float] | None, beta: tuple[float, float] | None
) -> grids.GridSpec:
    if isinstance(grid, grids.GridSpec):
        spec = grid
    elif isinstance(grid, int) and not isinstance(grid, bool):
        spec = grids.GridSpec(alpha=grids.AxisSpec(count=grid), beta=grids.AxisSpec(count=grid))
    else:
        raise InputError(f"grid: expected a number of points a side or a GridSpec, got {type(grid).__name__}")
    for name, given in (("alpha", alpha), ("beta", beta)):
        if given is not None and len(given) != 2:
            raise InputError(f"{name}: expected a pair (start, end), got {len(given)} numbers")
    ranges = [None if r is None else (float(r[0]), float(r[1])) for r in (alpha, beta)]
    a, b = (
        axis if r is None else msgspec.structs.replace(axis, lo=r[0], hi=r[1])
        for axis, r in zip((spec.alpha, spec.beta), ranges)
    )
    return grids.GridSpec(alpha=a, beta=b)


def require_same(layout: Layout, plane: Plane) -> None:
    """Refuse a plane of another model."""
    if layout.names != plane.layout.names or layout.shapes != plane.layout.shapes:
        raise InputError(
            f"plane: expected one of this model ({layout.size} parameters), got one of {plane.layout.size} parameters "
            "in other tensors: make the plane from the model that you measure"
        )


class Session:
    """Everything that measuring on one plane needs, checked and resident: model, data, plane, policies, execution.

    The library and the worker measure through it. Use it as a context manager around `rows` and `path_losses`: it
    applies the execution's threads and arithmetic.
    """

    def __init__(
        self,
        model: nn.Module,
        samples: Samples,
        plane: Plane,
        *,
        loss: Callable[..., Any] = F.cross_entropy,
        metrics: Sequence[str] = ("loss", "accuracy"),
        batch_norm: BatchNorm = "frozen",
        calibration: Samples | None = None,
        calibration_size: int = CALIBRATION,
        limit: int | None = None,
        seed: int = 0,
        precision: Precision = "fp32",
        execution: Execution = Execution(),  # noqa: B008 - frozen
        calibrate: bool = False,
        split: str = "",
    ) -> None:
        # The same names and bounds as a surface job's.
        asked = {"batch_norm": batch_norm, "precision": precision, "limit": limit, "seed": seed}
        converted("surface", {"plane": "", **asked, "calibration": calibration_size}, SurfaceSpec, "$")
        execution = converted("surface", msgspec.to_builtins(execution), Execution, "$.execution")
        layout = Layout.of(model)
        require_same(layout, plane)
        execution = run.fix(execution)
        assert execution.device is not None
        run.check_precision(precision, torch.device(execution.device))
        if precision == "bf16" and layout.dtype == torch.float64:
            raise InputError("precision: bf16 is for float32 models, this one is float64: use fp32, or model.float()")
        require_finite(plane.origin, "plane origin")
        self.plane, self.precision, self._metric_names = plane, precision, tuple(metrics)
        index = order(samples.y, limit, seed)
        source = calibration or samples
        calibrating = None
        if batch_norm == "recalibrate":
            calibrating = source.x[order(source.y, min(calibration_size, len(source)), seed)]
        self._build = lambda x, y, precision, execution, calibrate=False: Engine(
            model,
            layout,
            origin=plane.origin,
            delta=plane.delta,
            eta=plane.eta,
            buffers=plane.buffers,
            x=x,
            y=y,
            loss=loss,
            metrics=metrics,
            batch_norm=batch_norm,
            calibration=calibrating,
            precision=precision,
            execution=execution,
            calibrate=calibrate,
        )
        self.lacking: set[str] = set()  # operations without a deterministic kernel on this device
        with run.applied(execution, precision, self.lacking):
            self.engine = self._build(samples.x[index], samples.y[index], precision, execution, calibrate)
        self.samples = len(index)
        self.meta = SurfaceMeta(
            plane=plane.meta,
            data=samples.what,
            split=split,
            samples=self.samples,
            limit=limit,
            seed=seed,
            calibration_samples=len(calibrating) if calibrating is not None else None,
            loss=loss_name(loss),
            metrics=tuple(m.decl.name for m in self.engine.metrics),
            batch_norm=batch_norm,
            calibration=(
                f"{len(calibrating)} samples of {'the calibration data' if calibration else 'the measured data'}"
                if calibrating is not None
                else ""
            ),
            precision=precision,
            versions=run.versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            model=type(model).__name__,
        )
        self._applied: Any = None

    def __enter__(self) -> Session:
        self._applied = run.applied(self.engine.execution, self.precision, self.lacking)
        self._applied.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._applied.__exit__(*error)

    @property
    def declarations(self) -> list[MetricDecl]:
        """What is summed and what derives from it."""
        return [m.decl for m in self.engine.metrics]

    def recorded(self) -> dict[str, Any]:
        """The execution, as the surface keeps it."""
        found = {k: v for k, v in msgspec.to_builtins(self.engine.execution).items() if v is not None}
        return found | ({"deterministic": False} if self.lacking else {})

    def estimate(self, points: int, checkpoints: int) -> float | None:
        """Seconds for `points` grid points and the losses of `checkpoints` on the path, by the calibration."""
        each = self.engine.seconds_per_sample
        if each is None:
            return None
        calibrated = self.engine.calibration_samples
        return each * (points * (self.samples + calibrated) + checkpoints * (3 * self.samples + 2 * calibrated))

    def axes(
        self, grid: grids.GridSpec, path: NDArray[np.void] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The grid's axes. Automatic ranges cover the path (default: the plane's own); a random plane's are [-1, 1]."""
        path = self.plane.path if path is None else path
        fixed = not self.plane.meta.checkpoints or not len(path)
        return grids.resolve(grid, None if fixed else grids.path_box(path["alpha"], path["beta"]))

    def schedule(self, passes: Passes) -> list[Share]:
        """The shares of the passes. `recalibrate` is measured in one."""
        if isinstance(passes, bool) or not (passes == "grow" or (isinstance(passes, int) and passes >= 1)):
            raise InputError(
                f"passes: expected 'grow' or a whole number of at least 1, got {passes!r}", path="$.passes"
            )
        if self.meta.batch_norm == "recalibrate":
            passes = 1
        return shares(self.samples, passes)

    def rows(self, rows: Any, alpha: NDArray[np.float64], share: Share) -> Any:
        """engine.rows: sums of each (i, beta) over a share."""
        return self.engine.rows(rows, alpha, share)

    def halve_batch(self) -> None:
        """After running out of memory: half the batch, or a sentence where that is no remedy."""
        size = self.engine.execution.batch_size or 1
        if self.meta.batch_norm == "batch":
            raise InputError(
                "memory: a partition of 256 samples does not fit, and the batch-norm policy 'batch' cannot split it: "
                "use batch_norm=frozen or recalibrate",
                code="unavailable",
            )
        if size == 1:
            raise InputError(
                "memory: not even one sample fits: use a smaller model or another device", code="unavailable"
            )
        self.engine.execution = msgspec.structs.replace(self.engine.execution, batch_size=size // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def deviation(
        self, alpha: NDArray[np.float64], beta: NDArray[np.float64]
    ) -> float | Literal["inf", "unknown"] | None:
        """The largest relative deviation of the loss from fp32, over the first share at up to 9 grid points (corners,
        middles of the edges, centre); None for fp32 itself, "inf" where a point diverges that does not in fp32,
        "unknown" where all of them diverge in fp32."""
        if self.precision == "fp32":
            return None
        share = shares(self.samples, "grow")[0]
        rows = [(i, float(beta[i])) for i in sorted({0, len(beta) // 2, len(beta) - 1})]
        columns = alpha[sorted({0, len(alpha) // 2, len(alpha) - 1})]

        def losses(precision: Precision) -> NDArray[np.float64]:
            engine = self.engine
            if precision != self.precision:
                engine = self._build(*engine.data, precision, engine.execution)  # the resident data, not a copy
            with run.applied(engine.execution, precision):
                return np.stack([s["loss_sum"] for _, s in engine.rows(rows, columns, share)])

        want, got = (self.retrying(lambda p=p: losses(p)) for p in ("fp32", self.precision))  # type: ignore[misc]
        defined = np.isfinite(want)
        if not defined.any():
            return "unknown"
        if not np.isfinite(got[defined]).all():
            return "inf"
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(np.nanmax(np.abs(got[defined] - want[defined]) / np.abs(want[defined]), initial=0.0))

    def retrying(self, work: Callable[[], Any]) -> Any:
        """What `work` gives; with half the batch, and again, while memory runs out."""
        while True:
            try:
                return work()
            except torch.OutOfMemoryError:
                self.halve_batch()

    def path_losses(
        self, checkpoints: Sequence[Checkpoint], path: NDArray[np.void]
    ) -> Generator[tuple[int, int], None, NDArray[np.void]]:
        """A copy of the path with its three losses (math.md, "Path"): `loss_plane` at (alpha, beta), `loss_weights` at
        theta_i under the surface's batch-norm policy, `loss_true` at theta_i with its own buffers.

        Yields (done, total)."""
        out = path.copy()
        share = Share(0, self.samples)
        for k, c in enumerate(checkpoints):
            theta, buffers = c.theta(), c.buffers()

            def losses() -> tuple[float, float, float]:
                ((_, sums),) = self.engine.rows([(0, float(path["beta"][k]))], path["alpha"][k : k + 1], share)  # noqa: B023
                here = self.engine.at(theta)  # noqa: B023 - called at once
                true = self.engine.at(theta, buffers, own_statistics=True)  # noqa: B023
                return float(sums["loss_sum"][0]), here["loss_sum"], true["loss_sum"]

            for name, total in zip(("loss_plane", "loss_weights", "loss_true"), self.retrying(losses)):
                out[name][k] = total / self.samples
            yield k + 1, len(checkpoints)
        return out


# ---------------------------------------------------------------- paths


def project(
    model: nn.Module,
    checkpoints: Sequence[CheckpointSource],
    plane: Plane,
    *,
    data: Data | None = None,
    surface: Surface | None = None,
    loss: Callable[..., Any] = F.cross_entropy,
    calibration: Data | None = None,
    device: str | None = None,
) -> np.recarray[Any, Any]:
    """The trajectory on a plane: a record array with the columns of path.csv as attributes, a row a checkpoint.

    Least-squares coordinates `alpha`, `beta`, and `off_plane`, the share of the displacement that the plane does not
    show. With `data`, the three losses too; with `surface`, measured the way that surface was (its batch-norm policy,
    sample, precision and batch).
    """
    layout = Layout.of(model)
    require_same(layout, plane)
    opened = open_all(checkpoints, layout)
    path = finish(coordinates(opened, plane.origin, plane.delta, plane.eta))
    if data is not None:
        meta = surface.meta if surface is not None else SurfaceMeta(loss=loss_name(loss), seed=0)
        if meta.loss != loss_name(loss):
            raise InputError(
                f"loss: the surface was measured with '{meta.loss}', expected the same here, got '{loss_name(loss)}': "
                "pass loss="
            )
        known = msgspec.convert(
            {"device": device, **meta.execution, **({"device": device} if device else {})}, Execution
        )
        session = Session(
            model,
            read(data),
            plane,
            loss=loss,
            metrics=("loss",),
            batch_norm=meta.batch_norm,  # type: ignore[arg-type]
            calibration=read(calibration) if calibration is not None else None,
            calibration_size=meta.calibration_samples or CALIBRATION,
            limit=meta.limit,
            seed=meta.seed or 0,
            precision=meta.precision,  # type: ignore[arg-type]
            execution=known,
        )
        with session:
            path = finish(session.path_losses(opened, path))
    return path.view(np.recarray)
