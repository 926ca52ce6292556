"""Unit values between the measured points, on the CPU: the twin of shaders/field.frag.

Used for what must stand on the surface (path, marks, labels, lines in the air) without asking the GPU. Catmull & Rom
1974: cubic Hermite with central differences as tangents, so it passes through the samples; at the rim the missing
neighbour is the linear continuation. Only the samples that a place needs are read, so a row more costs nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol.view import Smoothing

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def refinement(width: int, height: int) -> int:
    """Display cells a measured cell is cut into: grids of under 128 points a side are shown at least 256 fine; always
    by a multiple of four, so that each measured point is a vertex at every level of detail."""
    side = max(width, height)
    return 1 if side >= 128 else 4 * -(-64 // (side - 1))


def weights(t: Floats, smoothing: Smoothing) -> Floats:
    """The weights (..., 4) of the samples at -1, 0, 1, 2 for a place t in [0, 1]."""
    if smoothing != "catmull-rom":
        zero = np.zeros_like(t)
        return np.stack([zero, 1 - t, t, zero], -1)
    t2, t3 = t * t, t * t * t
    return 0.5 * np.stack([-t3 + 2 * t2 - t, 3 * t3 - 5 * t2 + 2, -3 * t3 + 4 * t2 + t, t3 - t2], -1)


class Field:
    """Unit values of a grid with axes alpha (W,), beta (H,): `unit(values)` where n > 0 and the value is finite, or
    also where n == 0 with `drafted` values (draft.py)."""

    def __init__(
        self,
        alpha: Floats,
        beta: Floats,
        values: Floats,
        n: NDArray[np.integer[Any]],
        unit: Callable[[Floats], Floats],
        smoothing: Smoothing,
        drafted: bool = False,
        nothing: float = 0.5,
        ceiling: float = np.inf,
    ) -> None:
        self.alpha, self.beta, self.smoothing = alpha, beta, smoothing
        self._values, self._n, self._unit, self._drafted, self._nothing = values, n, unit, drafted, nothing
        self._ceiling = ceiling
        # Grids that are shown as they are (refinement 1) are bilinear on the GPU too.
        self._cubic = smoothing == "catmull-rom" and refinement(len(alpha), len(beta)) > 1

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return len(self.beta), len(self.alpha)

    def grid(self, alpha: Floats, beta: Floats) -> tuple[Floats, Floats]:
        """Grid coordinates (column, row) of places in the plane, by linear interpolation along each axis."""
        x = np.interp(alpha, self.alpha, np.arange(len(self.alpha)))
        y = np.interp(beta, self.beta, np.arange(len(self.beta)))
        return np.asarray(x, float), np.asarray(y, float)

    def at(self, alpha: Floats, beta: Floats) -> Floats:
        """Unit values at places (alpha, beta) of the plane; the rim's value outside of the grid."""
        return self.at_grid(*self.grid(np.asarray(alpha, float), np.asarray(beta, float)))

    def at_grid(self, x: Floats, y: Floats) -> Floats:
        """Unit values at grid coordinates: x in [0, W-1] columns, y in [0, H-1] rows."""
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        j, wx = self._taps(x, self.shape[1])
        i, wy = self._taps(y, self.shape[0])
        samples = self._extended(*np.broadcast_arrays(i[..., :, None], j[..., None, :]))
        lines, up = self._between(list(np.moveaxis(samples, -1, 0)), np.moveaxis(wx[..., None, :], -1, 0))
        up = np.moveaxis(up, -1, 0)
        return self._between(list(np.moveaxis(lines, -1, 0)), np.moveaxis(wy, -1, 0), list(up))[0]

    def on(self, x: Floats, y: Floats) -> Floats:
        """Unit values (h, w) where columns x (w,) cross rows y (h,): the same, and each sample is read once."""
        j, wx = self._taps(x, self.shape[1])
        i, wy = self._taps(y, self.shape[0])
        rows, i = np.unique(i, return_inverse=True)
        columns, j = np.unique(j, return_inverse=True)
        samples = self._extended(*np.meshgrid(rows, columns, indexing="ij"))
        i, j = i.reshape(wy.shape), j.reshape(wx.shape)
        lines, up = self._between([samples[:, j[:, b]] for b in range(wx.shape[1])], wx.T)
        taps = [i[:, a] for a in range(wy.shape[1])]
        return self._between([lines[tap] for tap in taps], wy.T[..., None], [up[tap] for tap in taps])[0]

    def _between(
        self, taps: list[Floats], weight: Floats, up: Sequence[NDArray[np.bool_]] = ()
    ) -> tuple[Floats, NDArray[np.bool_]]:
        """Two or four samples along an axis, weighted, and whether a clipped one is beside. Of four, held above the
        lower of the middle two where one is clipped or lies on a line that is `up`: a spline would dip beside it."""
        out = np.asarray(sum(w * tap for w, tap in zip(weight, taps)))
        if len(taps) < 4 or self._ceiling == np.inf:
            return out, np.zeros(out.shape, bool)
        most = self._ceiling - 1e-9
        clipped = np.logical_or.reduce([*up, *(tap >= most for tap in taps)])
        held = np.where(clipped, np.maximum(out, np.minimum(taps[1], taps[2])), out)
        return held, np.maximum(taps[1], taps[2]) >= most

    def _taps(self, x: Floats, count: int) -> tuple[Ints, Floats]:
        """The samples (..., 2 or 4) that a coordinate along an axis of `count` points reads, and their weights."""
        first = np.clip(np.floor(x).astype(int), 0, count - 2)
        if self._cubic:
            return first[..., None] + np.arange(-1, 3), weights(x - first, "catmull-rom")
        return first[..., None] + np.arange(2), weights(x - first, "bilinear")[..., 1:3]

    def samples(self, most: int) -> tuple[Floats, Floats, Floats]:
        """Unit values (h, w) of every few measured points, at most `most` a side, and their rows (h,), columns (w,)."""
        height, width = self.shape
        rows, columns = (np.arange(0, n, -(-n // most)) for n in (height, width))
        values = self._sample(*np.meshgrid(rows, columns, indexing="ij"))
        return values, rows.astype(float), columns.astype(float)

    def _drawn(self, i: Ints, j: Ints) -> NDArray[np.bool_]:
        """Whether the points (i, j) have a finite value, measured or drafted."""
        if self._drafted:
            return np.asarray(np.isfinite(self._values[i, j]))
        return self.valid(i, j)

    def valid(self, i: Ints, j: Ints) -> NDArray[np.bool_]:
        """Whether the measured points (i, j) have a finite value."""
        out: NDArray[np.bool_] = (self._n[i, j] > 0) & np.isfinite(self._values[i, j])
        return out

    def _extended(self, i: Ints, j: Ints) -> Floats:
        """Samples, with one ring of linear continuation around the grid."""
        height, width = self.shape
        pi, pj = np.clip(i, 0, height - 1), np.clip(j, 0, width - 1)
        out = self._sample(pi, pj)
        for beyond, inner in (((pj != j), (pi, 2 * pj - j)), ((pi != i), (2 * pi - i, pj))):
            if beyond.any():
                other = self._sample(np.clip(inner[0], 0, height - 1)[beyond], np.clip(inner[1], 0, width - 1)[beyond])
                out[beyond] += self._sample(pi[beyond], pj[beyond]) - other
        return out

    def _sample(self, i: Ints, j: Ints) -> Floats:
        """Unit values of measured points; a missing one borrows the mean of valid ones beside it, else of those two
        away, else `nothing`."""
        missing = ~self._drawn(i, j)
        with np.errstate(all="ignore"):
            out = np.asarray(self._unit(self._values[i, j]), float)
        if not missing.any():
            return out
        out = np.where(missing, np.nan, out)
        height, width = self.shape
        for reach in (1, 2):
            at = np.isnan(out)
            if not at.any():
                break
            total, count = np.zeros(int(at.sum())), np.zeros(int(at.sum()))
            for di in range(-reach, reach + 1):
                for dj in range(-reach, reach + 1):
                    if max(abs(di), abs(dj)) != reach:
                        continue
                    ni, nj = i[at] + di, j[at] + dj
                    inside = (ni >= 0) & (ni < height) & (nj >= 0) & (nj < width)
                    ni, nj = np.clip(ni, 0, height - 1), np.clip(nj, 0, width - 1)
                    good = inside & self._drawn(ni, nj)
                    with np.errstate(all="ignore"):
                        value = self._unit(self._values[ni, nj])
                    total += np.where(good, value, 0.0)
                    count += good
            out[at] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        return np.where(np.isnan(out), self._nothing, out)
