"""Unit values between the measured points, on the CPU: the twin of shaders/field.frag.

Used for what must stand on the surface (path, marks, labels) without asking the GPU. Catmull & Rom 1974: cubic
Hermite with central differences as tangents, so it passes through the samples; at the rim the missing neighbour is
the linear continuation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocol.view import Smoothing

CEILING = 1.5  # where the scale is clipped, unit values are held below it before they are interpolated
Floats = NDArray[np.float64]


def refinement(width: int, height: int) -> int:
    """Display cells a measured cell is cut into: grids of under 128 points a side are shown about 256 fine."""
    side = max(width, height)
    return 1 if side >= 128 else max(1, -(-256 // (side - 1)))


def weights(t: Floats, smoothing: Smoothing) -> Floats:
    """The weights (..., 4) of the samples at -1, 0, 1, 2 for a place t in [0, 1]."""
    if smoothing != "catmull-rom":
        zero = np.zeros_like(t)
        return np.stack([zero, 1 - t, t, zero], -1)
    t2, t3 = t * t, t * t * t
    return 0.5 * np.stack([-t3 + 2 * t2 - t, 3 * t3 - 5 * t2 + 2, -3 * t3 + 4 * t2 + t, t3 - t2], -1)


def filled(units: Floats) -> Floats:
    """Missing values (NaN) replaced by the mean of valid ones beside them, else of those two away, else by 1/2."""
    if not np.isnan(units).any():
        return units
    out, missing = units.copy(), np.isnan(units)
    height, width = units.shape
    padded = np.pad(units, 2, constant_values=np.nan)
    for reach in (1, 2):
        ring = [
            padded[2 + di : 2 + di + height, 2 + dj : 2 + dj + width]
            for di in range(-reach, reach + 1)
            for dj in range(-reach, reach + 1)
            if max(abs(di), abs(dj)) == reach
        ]
        stack = np.stack(ring)
        count = np.isfinite(stack).sum(0)
        total = np.where(np.isfinite(stack), stack, 0).sum(0)
        take = missing & (count > 0) & np.isnan(out)
        out[take] = total[take] / count[take]
    return np.where(np.isnan(out), 0.5, out)


class Field:
    """Unit values of a grid with axes alpha (W,), beta (H,) and values (H, W), NaN where there are none."""

    def __init__(self, alpha: Floats, beta: Floats, units: Floats, smoothing: Smoothing) -> None:
        self.alpha, self.beta, self.smoothing = alpha, beta, smoothing
        self.units = units
        whole = filled(units)
        # one ring of linear continuation around, so that the stencil never leaves the array
        whole = np.concatenate([2 * whole[:1] - whole[1:2], whole, 2 * whole[-1:] - whole[-2:-1]], 0)
        self._padded = np.concatenate([2 * whole[:, :1] - whole[:, 1:2], whole, 2 * whole[:, -1:] - whole[:, -2:-1]], 1)

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
        height, width = self.units.shape
        j = np.clip(np.floor(x).astype(int), 0, width - 2)
        i = np.clip(np.floor(y).astype(int), 0, height - 2)
        wx, wy = weights(x - j, self.smoothing), weights(y - i, self.smoothing)
        out = np.zeros(np.broadcast(x, y).shape)
        for a in range(4):
            for b in range(4):
                out += wy[..., a] * wx[..., b] * self._padded[i + a, j + b]
        return out

    def valid_at(self, alpha: Floats, beta: Floats) -> NDArray[np.bool_]:
        """Whether the nearest measured point has a finite value."""
        x, y = self.grid(np.asarray(alpha, float), np.asarray(beta, float))
        out: NDArray[np.bool_] = np.isfinite(self.units[np.round(y).astype(int), np.round(x).astype(int)])
        return out
