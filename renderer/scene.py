"""START HERE. What is shown: the measured values, their provenance, the path, the view. Pure: no GL, no sockets.

    event, arrays -> Scene.apply -> Dirty -> each layer's sync -> draw

The scene keeps the values exactly as they came, in float32 where that holds them all; everything that the screen shows
derives from them and the view (see auto.py for the scales, field.py for values between the points). A surface comes
whole or row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.files import CRITICAL_DTYPE, PATH_DTYPE, Surface, SurfaceMeta
from protocol.messages import PathDone, SurfaceBegin, SurfaceDone, SurfaceRow
from protocol.view import View
from renderer import auto, draft, reference
from renderer.field import Field

METRICS = ("loss", "accuracy", "sem")
MOST_SMALL = 1 << 31  # samples of a point that int32 does not hold
OFF_PLANE = 0.9  # over this median off-plane distance a projected path misleads (math.md, "Path")
Floats = NDArray[np.float64]
Event = Surface | SurfaceBegin | SurfaceRow | PathDone | SurfaceDone | View


@dataclass(frozen=True, kw_only=True)
class Dirty:
    """What an event changed. `rows`: these rows' values; `all`: axes, provenance and every value."""

    all: bool = False
    rows: frozenset[int] = frozenset()
    path: bool = False
    view: bool = False

    def __or__(self, other: Dirty) -> Dirty:
        return Dirty(
            all=self.all or other.all,
            rows=self.rows | other.rows,
            path=self.path or other.path,
            view=self.view or other.view,
        )

    def __bool__(self) -> bool:
        return self.all or bool(self.rows) or self.path or self.view


CLEAN = Dirty()
EVERYTHING = Dirty(all=True, path=True, view=True)


def unknown(shape: tuple[int, ...]) -> Floats:
    """NaN everywhere, read-only and without memory of its own: a metric that nothing told of yet."""
    return np.broadcast_to(np.float32(np.nan), shape)


def slim(values: NDArray[Any]) -> Floats:
    """A copy of values (H, W): in float32 where that holds each of them, as of those that came over the wire."""
    with np.errstate(over="ignore"):
        small = values.astype(np.float32)
    if all(fits(row, small.dtype) for row in values):
        return small  # type: ignore[return-value]
    return values.astype(np.float64)


def fits(row: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Whether an array of `dtype` holds every value of a row exactly."""
    with np.errstate(over="ignore"):
        return bool(np.array_equal(row.astype(dtype), row, equal_nan=True))


class Scene:
    """The state of one window or picture.

    `values[metric]` (H, W), float32 where that holds every value and else float64, and `n` (H, W) are in the axis order
    of protocol.grid; `axes` is (alpha (W,), beta (H,)). Until a surface comes the scene is empty (`axes` is None).
    """

    def __init__(self, view: View | None = None) -> None:
        self.view = view or View()
        self.id = ""
        self.meta = SurfaceMeta()
        self.axes: tuple[Floats, Floats] | None = None
        self.values: dict[str, Floats] = {}
        self.n: NDArray[np.integer[Any]] = np.zeros((0, 0), np.int32)
        self.path: NDArray[np.void] = np.zeros(0, PATH_DTYPE)
        self.critical: NDArray[np.void] = np.zeros(0, CRITICAL_DTYPE)
        self.revision = 0  # grows with every change of what is shown, wherever it is seen from
        self._draft: Floats | None = None
        self._scale: auto.Scale | None = None
        self._field: Field | None = None
        self._tally: auto.Tally | None = None
        self._unmeasured: NDArray[np.bool_] | None = None  # (H,): rows without any measured point

    def apply(self, event: Event, arrays: Mapping[str, NDArray[Any]] | None = None) -> Dirty:
        """Take an event in and say what it changed. One of another surface changes nothing.

        Raises InputError, with the scene unchanged, for arrays that do not fit the surface.
        """
        arrays = arrays or {}
        if isinstance(event, View):
            dirty = Dirty(view=event != self.view)
            moved = msgspec.structs.replace(event, camera=self.view.camera) == self.view
            if event.metric != self.view.metric:
                self._draft = self._tally = None
            self.view = event
            if moved:  # scales and field know nothing of the camera
                return dirty
        elif isinstance(event, Surface):
            dirty = self._whole(event)
        elif isinstance(event, SurfaceBegin):
            dirty = self._begin(event, arrays)
        elif event.surface != self.id or self.axes is None:
            return CLEAN
        elif isinstance(event, SurfaceRow):
            dirty = self._row(event, arrays)
        elif isinstance(event, PathDone):
            dirty = self._path(arrays)
        else:  # SurfaceDone: what was drawn stays; critical points come as a whole surface
            return CLEAN
        if dirty:
            self._scale = self._field = None
            self.revision += 1
        return dirty

    def _whole(self, surface: Surface) -> Dirty:
        self._draft = self._tally = self._unmeasured = None
        self.id, self.meta = surface.meta.id, surface.meta
        self.axes = (surface.alpha, surface.beta)
        told = {metric: getattr(surface, metric) for metric in METRICS}
        self.values = {m: unknown(v.shape) if np.isnan(v).all() else slim(v) for m, v in told.items()}
        self.n = np.array(surface.n, np.int32 if np.max(surface.n) < MOST_SMALL else np.int64)
        self.path, self.critical = surface.path, surface.critical
        return Dirty(all=True, path=True)

    def _begin(self, event: SurfaceBegin, arrays: Mapping[str, NDArray[Any]]) -> Dirty:
        axes = []
        for name in ("alpha", "beta"):
            values = np.asarray(arrays.get(name, ()), np.float64)
            if values.ndim != 1 or len(values) < 2 or not np.all(np.diff(values) > 0):
                raise InputError(f"surface.begin: expected '{name}' to be an increasing list of at least 2 numbers")
            axes.append(values)
        self._draft = self._tally = self._unmeasured = None
        self.axes = (axes[0], axes[1])
        shape = (len(axes[1]), len(axes[0]))
        self.id, self.meta = event.surface, event.meta
        self.values = {metric: unknown(shape) for metric in METRICS}
        self.n = np.zeros(shape, np.int32)
        self.path, self.critical = np.zeros(0, PATH_DTYPE), np.zeros(0, CRITICAL_DTYPE)
        return Dirty(all=True, path=True)

    def _row(self, event: SurfaceRow, arrays: Mapping[str, NDArray[Any]]) -> Dirty:
        height, width = self.n.shape
        if not 0 <= event.i < height:
            raise InputError(f"surface.row: expected a row from 0 to {height - 1}, got {event.i}")
        rows = {metric: np.asarray(arrays[metric], np.float64) for metric in METRICS if metric in arrays}
        if "loss" not in rows or any(row.shape != (width,) for row in rows.values()):
            raise InputError(f"surface.row: expected 'loss' with {width} values, as many as the surface has columns")
        finer = False
        for metric, row in rows.items():
            held = self.values[metric]
            fine = not fits(row, held.dtype)
            if fine or not held.flags.writeable:
                self.values[metric] = np.array(held, np.float64 if fine else held.dtype)
                if metric == self.view.metric:
                    self._tally = None  # it counts the old array
                    finer = fine and self._draft is not None
            self.values[metric][event.i] = row
        if event.n >= MOST_SMALL:
            self.n = self.n.astype(np.int64)
        self.n[event.i] = event.n
        if self._unmeasured is not None:
            self._unmeasured[event.i] = event.n == 0
        if self._tally is not None:
            self._tally.row(event.i, self._counted(event.i))
        if finer or not self.unfinished:  # drafts are to be made anew, or not needed any more
            self._draft = None
        if self._draft is None:
            return Dirty(rows=frozenset({event.i}), all=finer)
        self._draft[event.i] = self.shown[event.i]
        drafted = draft.fill(self._draft, self.shown, draft.gaps(self.n, event.i), self._draft_log)
        return Dirty(rows=frozenset({event.i, *drafted}))

    def _path(self, arrays: Mapping[str, NDArray[Any]]) -> Dirty:
        columns = {name: np.asarray(arrays[name]) for name in PATH_DTYPE.names or () if name in arrays}
        if not {"alpha", "beta"} <= columns.keys() or len({c.shape for c in columns.values()}) != 1:
            raise InputError("path.done: expected columns of one length, 'alpha' and 'beta' among them")
        path = np.zeros(len(columns["alpha"]), PATH_DTYPE)
        for name in PATH_DTYPE.names or ():
            path[name] = columns.get(name, np.arange(len(path)) if name == "step" else np.nan)
        self.path = path
        return Dirty(path=True)

    @property
    def shown(self) -> Floats:
        """The values (H, W) of the view's metric."""
        return self.values.get(self.view.metric, np.zeros(self.n.shape))

    @property
    def draft(self) -> Floats:
        """The values shown, with drafts (draft.py) in rows that are not measured yet but lie between measured ones."""
        if self._draft is None:
            self._draft_log = self.scale.log
            self._draft = np.where(self.n > 0, self.shown, np.nan)
            draft.fill(self._draft, self.shown, draft.gaps(self.n), self._draft_log)
        return self._draft

    _draft_log = False

    @property
    def scale(self) -> auto.Scale:
        """The scales of the picture (auto.py), computed when first asked for after a change."""
        if self._scale is None:
            self._scale = auto.tallied([self.tally], self.view)[0] if self.axes is not None else auto.Scale()
        return self._scale

    @property
    def tally(self) -> auto.Tally:
        """What the scale needs to know of the values shown, kept up row by row."""
        if self._tally is None:
            self._tally = auto.Tally(self.shown, self._counted(slice(None)))
        return self._tally

    @property
    def measured(self) -> tuple[Floats, NDArray[np.integer[Any]]]:
        """Values (H, W) of the view's metric, and the samples behind each as that metric counts them."""
        return self.shown, self._counted(slice(None))

    def _counted(self, rows: int | slice) -> NDArray[np.integer[Any]]:
        """The samples behind the values of some rows: a metric that was not computed is missing, not diverged."""
        n, shown = self.n[rows], self.shown[rows]
        if self.view.metric == "loss" or "loss" not in self.values:
            return n
        return np.where(np.isnan(shown) & np.isfinite(self.values["loss"][rows]), 0, n)

    def share(self, scale: auto.Scale) -> bool:
        """Take a scale that several scenes share (auto.shared), until the next change; whether it is another one."""
        if scale == self._scale:
            return False
        self._scale, self._field = scale, None
        return True

    @property
    def unfinished(self) -> bool:
        """Whether there are rows without any measured point."""
        return self.unmeasured > 0

    @property
    def unmeasured(self) -> int:
        """How many rows have no measured point."""
        if self._unmeasured is None:
            self._unmeasured = (self.n == 0).all(1)
        return int(np.count_nonzero(self._unmeasured))

    @property
    def field(self) -> Field:
        """Unit heights between the points, as the picture shows them. Raises InputError while there is no surface."""
        if self.axes is None:
            raise InputError("picture: there is no surface yet")
        if self._field is None:
            space = reference.of(self.scale)
            drafted = self.draft if self.unfinished else self.shown

            def unit(values: Floats) -> Floats:
                return space.unit(space.code(values))

            nothing = space.a * 0.5 + space.b
            ceiling = space.a * space.ceiling + space.b if self.scale.clip is not None else np.inf
            self._field = Field(
                *self.axes, drafted, self.n, unit, self.view.smoothing, self.unfinished, nothing, ceiling
            )
        return self._field

    @property
    def path_off_plane(self) -> bool:
        """Whether the path hardly lies in the plane: its median off-plane distance is over 0.9. The end of a PCA path
        is the origin, where the distance is 0 by definition; unknown distances do not count."""
        off = self.path["off_plane"][np.isfinite(self.path["off_plane"])] if len(self.path) else np.zeros(0)
        return bool(len(off) and np.median(off) > OFF_PLANE)

    def path_inside(self) -> NDArray[np.bool_]:
        """Which points of the path lie on the grid (n,)."""
        if self.axes is None or not len(self.path):
            return np.zeros(len(self.path), bool)
        (alpha, beta), path = self.axes, self.path
        inside: NDArray[np.bool_] = (path["alpha"] >= alpha[0]) & (path["alpha"] <= alpha[-1])
        return inside & (path["beta"] >= beta[0]) & (path["beta"] <= beta[-1])


def with_path(surface: Surface, path: NDArray[np.void]) -> Surface:
    """The surface with another path."""
    return replace(surface, path=path)


def view_json(view: View) -> str:
    """A view as the JSON that a PNG carries."""
    return msgspec.json.encode(view).decode()
