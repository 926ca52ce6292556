"""A surface being put together: which rows to lease next, what has come in, and the surface that it makes.

Pure: sums of (row, pass) in, derived values out; the library, a command's loop and the daemon all keep rows with it.
The definitions of shares, order and values are protocol.shares'.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol import shares
from protocol.files import PATH_DTYPE, Surface, SurfaceMeta
from protocol.shares import MetricDecl

SHOWN = ("loss", "accuracy", "sem")  # the arrays of surface.npz
AT_ONCE = 8  # rows derived together: their temporary arrays stay in the cache, and come from the heap

Came = tuple[int, int, int, Mapping[str, NDArray[Any]]]
"""A row that came: its number, its pass, samples, sums (W,)."""


class Sheet:
    """The rows of one surface, from its axes to the sealed arrays. Rows that are there already (`add` them first) are
    not leased again after `skip`."""

    def __init__(
        self,
        alpha: NDArray[Any],
        beta: NDArray[Any],
        meta: SurfaceMeta,
        metrics: Sequence[MetricDecl],
        schedule: Sequence[shares.Share],
        until: float | None = None,
    ) -> None:
        self.alpha = np.array(alpha, dtype=np.float64)
        self.beta = np.array(beta, dtype=np.float64)
        self.meta = meta
        self.metrics = tuple(metrics)
        self.shares = tuple(schedule)
        self.until = until  # stop after the first whole pass at which no finite point may still move by more
        self._order = shares.row_order(len(self.beta))
        self._todo = deque((i, k) for k in range(len(self.shares)) for i in self._order)
        self._parts: list[dict[int, dict[str, NDArray[np.generic]]]] = [{} for _ in self.beta]  # by row, then pass
        self._came = np.zeros((len(self.shares), len(self.beta)), dtype=bool)
        self._done = 0  # of them
        self.path = np.zeros(0, dtype=PATH_DTYPE)
        shape = (len(self.beta), len(self.alpha))
        self._shown = {name: np.full(shape, np.nan) for name in SHOWN}
        self._n = np.zeros(shape, dtype=np.int64)
        self._summed = {name: dtype for m in self.metrics for name, dtype in m.sums.items()}

    def next(self) -> tuple[int, int] | None:
        """The next (row, pass) to lease, coarse to fine within a pass; None when there is none at the moment.

        With `until`, a pass is whole before the next begins: whether there is a next depends on it.
        """
        if not self._todo or self.complete:
            return None
        if self.until is not None and not self._came[: self._todo[0][1]].all():
            return None
        return self._todo.popleft()

    def add(self, i: int, pass_: int, n: int, sums: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float64]]:
        """Take the sums of row i over the share of `pass_`; the row's derived values so far, each (W,)."""
        return self.add_rows([(i, pass_, n, sums)])[0]

    def add_rows(self, rows: Iterable[Came]) -> list[dict[str, NDArray[np.float64]]]:
        """Take several rows, in the order in which they came; the derived values (W,) of each when it had come. Many
        at once cost a fraction of one by one, and give the same to the bit."""
        out: list[dict[str, NDArray[np.float64]]] = []
        group: list[int] = []  # different rows that have seen the same passes
        for i, pass_, n, sums in rows:
            parts = self._parts[i]
            if group and (i in group or len(group) == AT_ONCE or {*parts, pass_} != self._parts[group[0]].keys()):
                out += self._derive(group)
                group = []
            parts[pass_] = {**sums, "n": np.array(n, dtype=np.int64)}
            self._done += not self._came[pass_, i]
            self._came[pass_, i] = True
            group.append(i)
        return out + self._derive(group)

    def check(self, sums: Mapping[str, NDArray[Any]]) -> None:
        """Raises ValueError where these are not the sums of a row."""
        if sums.keys() != self._summed.keys():
            raise ValueError(f"expected the sums {', '.join(self._summed)}, got {', '.join(sums)}")
        for name, values in sums.items():
            if values.shape != self.alpha.shape or values.dtype.str != self._summed[name]:
                raise ValueError(f"{name}: expected {self.alpha.shape} of {self._summed[name]}")

    def skip(self) -> None:
        """Lease no row that has come; what came from an earlier worker is kept."""
        self._todo = deque((i, k) for i, k in self._todo if not self._came[k, i])

    def give_back(self, leased: Iterable[tuple[int, int]]) -> None:
        """Lease these again, first of all: the worker that had them is gone."""
        place = {i: at for at, i in enumerate(self._order)}
        lost = [(i, k) for i, k in leased if not self._came[k, i]]
        self._todo.extendleft(sorted(lost, key=lambda row: (row[1], place[row[0]]), reverse=True))

    def restart(self, pass_: int) -> None:
        """Forget what came of this pass and later ones, and lease it again: its batch was halved in the middle."""
        for i, parts in enumerate(self._parts):
            for k in [k for k in parts if k >= pass_]:
                del parts[k]
            self._derive([i])
        self._came[pass_:] = False
        self._done = int(self._came.sum())
        self._todo = deque((i, k) for k in range(pass_, len(self.shares)) for i in self._order)

    def _derive(self, rows: list[int]) -> list[dict[str, NDArray[np.float64]]]:
        """Derive rows that have seen the same passes; the values (W,) of each."""
        if not rows:
            return []
        several = [self._parts[i] for i in rows]
        folded: dict[str, NDArray[Any]] = {}  # as shares.fold adds
        for k in sorted(several[0]):
            for name, first in several[0][k].items():
                if name not in folded:
                    wide = np.float64 if first.dtype.kind == "f" else np.int64
                    folded[name] = np.zeros((len(rows), *first.shape), dtype=wide)
                    for at, parts in enumerate(several):
                        folded[name][at] = parts[k][name]
                else:
                    for at, parts in enumerate(several):
                        folded[name][at] += parts[k][name]
        derived: dict[str, NDArray[np.float64]] = {}
        if folded:
            folded["n"] = folded["n"][:, None]
            derived = shares.values(folded, self.metrics)
        for name in SHOWN:
            self._shown[name][rows] = derived.get(name, np.nan)
        self._n[rows] = folded["n"] if folded else 0
        return [{name: values[at] for name, values in derived.items()} for at in range(len(rows))]

    def samples(self, i: int, upto: int | None = None) -> int:
        """Samples that row i has seen so far, or in the passes up to this one."""
        return sum(int(part["n"]) for k, part in self._parts[i].items() if upto is None or k <= upto)

    def set_path(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Take the columns of path.csv, each (n,); those that did not come stay NaN."""
        length = max((len(v) for v in columns.values()), default=0)
        self.path = np.zeros(length, dtype=PATH_DTYPE)
        for name in PATH_DTYPE.names or ():
            self.path[name] = columns.get(name, 0 if name == "step" else np.nan)

    @property
    def rows_done(self) -> int:
        """Row-passes that have come in."""
        return self._done

    @property
    def rows_total(self) -> int:
        """Row-passes in all."""
        return int(self._came.size)

    @property
    def weight_done(self) -> float:
        """Share of the work that is done, 0 to 1: a row weighs as much as the share it is over."""
        return float(self._came.mean(axis=1) @ self._weights())

    def _weights(self) -> NDArray[np.float64]:
        sizes = np.array([s.stop - s.start for s in self.shares], dtype=np.float64)
        return sizes / sizes.sum()

    @property
    def complete(self) -> bool:
        """Every row has seen all of the data, or as much as `until` asks for."""
        return self._done == self._came.size or self._settled()

    def _settled(self) -> bool:
        """No finite point's standard error of this estimate is above `until`, and the passes begun are whole."""
        if self.until is None:
            return False
        whole: NDArray[np.bool_] = np.asarray(self._came.all(axis=1))
        if not whole[0] or self._came[~whole].any():
            return False
        n, samples = int(self._n.min()), self.shares[-1].stop
        moves = shares.sem_of_estimate(self._shown["sem"], n, samples)
        return float(np.max(moves[np.isfinite(self._shown["loss"])], initial=0.0)) <= self.until

    def surface(self, **meta: Any) -> Surface:
        """The surface as it stands, in arrays of its own; rows that did not come have n = 0. `meta` overrides fields of
        the provenance."""
        filled = msgspec.structs.replace(self.meta, passes_done=int(self._came.all(axis=1).sum()), **meta)
        return Surface(
            alpha=self.alpha.copy(),
            beta=self.beta.copy(),
            n=self._n.copy(),
            meta=filled,
            path=self.path.copy(),
            **{name: values.copy() for name, values in self._shown.items()},
        )
