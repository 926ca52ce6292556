"""The Freudenthal triangulation of a grid: which vertex is a minimum, a saddle or a maximum, by its link alone.

    (i+1, j) ---- (i+1, j+1)      right, up and up-right edges, two triangles a cell. The link of a vertex is a
        |       /    |            hexagon: right, up-right, up, left, down-left, down, each joined to the next.
        |   /        |
    (i, j) ------ (i, j+1)

The lower link of a vertex is the part of its link that comes before it in the order of (value, index). With k
components it makes the vertex a minimum (k = 0), regular (1) or a saddle of multiplicity k - 1; a maximum has its whole
hexagon below it (Banchoff 1970, "Critical points and curvature for embedded polyhedral surfaces"; Edelsbrunner & Harer
2010, "Computational Topology", VI.3). Then minima - saddles + maxima is the Euler characteristic of the triangulation.

Here the grid is padded by one ring of absent vertices, which like the points left out count as above everything. So a
vertex on the border, or beside a hole, needs no rule of its own: it is never below on its whole hexagon, hence no
maximum, and where its link is cut, absent neighbours cut its lower link too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = ((0, 1), (1, 1), (1, 0), (0, -1), (-1, -1), (-1, 0))  # (di, dj), around the hexagon
WHOLE = 0b111111


def _runs(mask: int) -> list[int]:
    """The first neighbour of each run of set bits around the hexagon; of the whole hexagon, neighbour 0."""
    if mask == WHOLE:
        return [0]
    return [k for k in range(6) if mask >> k & 1 and not mask >> (k - 1) % 6 & 1]


COMPONENTS = np.array([len(_runs(m)) for m in range(64)], np.int8)
"""Components of a set of link vertices, by its six bits."""
FIRST = np.array([(_runs(m) + [-1] * 3)[:3] for m in range(64)], np.int8)
"""(64, 3): a neighbour in each component, -1 where there is no further one."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """The vertices in the order of (value, index), on the grid padded by a ring of absent ones.

    `rank` (H + 2, W + 2) int32 counts from 0; `count` stands for absent. `vertex` (count,) gives the flat padded index
    of each rank. `lower` (H + 2, W + 2) uint8 has bit k set where neighbour k is lower; it is 0 at absent vertices.
    """

    rank: NDArray[np.int32]
    vertex: NDArray[np.int32]
    lower: NDArray[np.uint8]
    count: int

    @property
    def absent(self) -> NDArray[np.bool_]:
        return self.rank == self.count


def rank_vertices(values: NDArray[np.float64], present: NDArray[np.bool_]) -> Ranked:
    """The order of the present vertices of a field (H, W). Ties go by index i * W + j, lower first."""
    height, width = values.shape
    index = np.flatnonzero(present)
    index = index[np.argsort(values.ravel()[index], kind="stable")]
    count = len(index)
    vertex = ((index // width + 1) * (width + 2) + index % width + 1).astype(np.int32)
    rank = np.full((height + 2, width + 2), count, np.int32)
    rank.ravel()[vertex] = np.arange(count, dtype=np.int32)
    lower = np.zeros_like(rank, np.uint8)
    here, mask = rank[1:-1, 1:-1], lower[1:-1, 1:-1]
    for k, (di, dj) in enumerate(NEIGHBOURS):
        mask |= (rank[1 + di : height + 1 + di, 1 + dj : width + 1 + dj] < here).astype(np.uint8) << np.uint8(k)
    mask[here == count] = 0
    return Ranked(rank, vertex, lower, count)


def neighbour_steps(width: int) -> NDArray[np.int32]:
    """What to add to a flat index of the padded grid of a field (H, `width`) to reach each neighbour; 0 for -1."""
    return np.array([di * (width + 2) + dj for di, dj in NEIGHBOURS] + [0], np.int32)


def beside_absent(absent: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(H, W): whether a neighbour within the grid is absent, from the padded (H + 2, W + 2)."""
    inside = absent.copy()
    inside[[0, -1], :] = False
    inside[:, [0, -1]] = False
    height, width = absent.shape[0] - 2, absent.shape[1] - 2
    out = np.zeros((height, width), bool)
    for di, dj in NEIGHBOURS:
        out |= inside[1 + di : height + 1 + di, 1 + dj : width + 1 + dj]
    return out
