"""Persistence pairs of the lower-star filtration, on a graph of extrema and saddles instead of on all simplices.

In the lower-star filtration every simplex enters with its last vertex, in the order of (value, index) (Edelsbrunner &
Harer 2010, VI.3). A component of the sublevel set is born at a minimum and can only merge with another at a saddle: so
the graph whose nodes are the minima, and whose edges join, for each saddle, the minima reached by going down from the
components of its lower link, has the same pairs in dimension 0 as the whole triangulation. Loops are born at saddles
and filled at maxima; by Alexander duality on the sphere (the grid, with everything outside it as one more vertex above
all others) these pairs are those of the maxima merging in the superlevel sets. Each hole of points left out is one more
maximum that no value ends: a saddle paired with one bears a loop that is never filled.

The graphs go to gudhi's SimplexTree. A smooth surface leaves it a few dozen vertices, white noise a seventh of the
grid. The filtration of all 6 simplices a vertex, which tests hold this one against, took 4 times as long on noise of
1001 squared and 36 times as long on a smooth field (benchmarks/critical.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError

from .freudenthal import COMPONENTS, FIRST, NEIGHBOURS, WHOLE, Ranked, neighbour_steps

Ranks = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """Vertices by rank. Row k of `minima` (n, 2) is a minimum and the saddle that ends its component, -1 for a
    component that stays (one for each piece of the domain); of `maxima` (m, 2), a maximum and the saddle whose loop it
    fills. `loops` are the saddles whose loop stays, once for each loop."""

    minima: Ranks
    maxima: Ranks
    loops: Ranks


def merges(births: Ranks, edges: NDArray[np.int64], at: Ranks) -> tuple[Ranks, Ranks]:
    """(birth, death) of the components of a filtered graph: node n enters at births[n] and edge `edges[:, e]` at
    at[e]; the elder lives on at a merge, and death is -1 for those that stay. All births and deaths are whole numbers.
    """
    try:
        from gudhi import SimplexTree
    except ImportError as e:
        raise InputError(
            "analysis: persistence needs gudhi, which is not installed: pip install 'thalweg[compute]'",
            code="unavailable",
        ) from e
    tree = SimplexTree()
    tree.insert_batch(np.arange(len(births))[None, :], births.astype(np.float64))
    if len(at):
        tree.insert_batch(edges, at.astype(np.float64))  # of several edges between two nodes the first one counts
    # By default gudhi leaves out the top dimension: right for a graph, whose loops mean nothing here, not for points.
    tree.compute_persistence(homology_coeff_field=2, min_persistence=0, persistence_dim_max=not len(at))
    found = tree.persistence_intervals_in_dimension(0).reshape(-1, 2)
    death = np.where(np.isinf(found[:, 1]), -1, found[:, 1])
    return found[:, 0].astype(np.int64), death.astype(np.int64)


def minimum_pairs(ranked: Ranked) -> Ranks:
    """(n, 2): each minimum with the saddle that ends its component, or -1."""
    steps = neighbour_steps(ranked.rank.shape[1] - 2)
    lower, rank = ranked.lower.ravel(), ranked.rank.ravel()
    down = np.arange(len(lower), dtype=np.int32)
    down += steps[FIRST[:, 0]][lower]  # a minimum, and an absent vertex, stays where it is
    root = _follow(down)
    minima = ranked.vertex[lower[ranked.vertex] == 0]
    number = np.zeros(len(lower), np.int32)
    number[minima] = np.arange(len(minima), dtype=np.int32)
    edges, at = _saddle_edges(ranked, lower, number[root])
    birth, death = merges(rank[minima].astype(np.int64), edges, at)
    return np.stack([birth, death], axis=1)


def maximum_pairs(ranked: Ranked) -> tuple[Ranks, Ranks]:
    """(m, 2): each maximum with its saddle; and the saddles whose loop goes round a hole for ever."""
    steps = neighbour_steps(ranked.rank.shape[1] - 2)
    upper, rank = np.uint8(WHOLE) ^ ranked.lower.ravel(), ranked.rank.ravel()
    up = np.arange(len(upper), dtype=np.int32)
    up += steps[FIRST[:, 0]][upper]
    region, heads = _absent_regions(ranked.absent)
    gone = np.flatnonzero(ranked.absent.ravel())
    up[gone] = heads[region.ravel()[gone] - 1]  # every absent vertex leads to the head of its region
    root = _follow(up)
    maxima = ranked.vertex[upper[ranked.vertex] == 0]
    number = np.zeros(len(upper), np.int32)
    number[heads] = np.arange(len(heads), dtype=np.int32)
    number[maxima] = len(heads) + np.arange(len(maxima), dtype=np.int32)
    edges, at = _saddle_edges(ranked, upper, number[root])
    # Downwards: the outside first, then the holes, then the vertices from the highest on.
    top = len(heads) + ranked.count - 1
    births = np.concatenate([np.arange(len(heads)), top - rank[maxima].astype(np.int64)])
    birth, death = merges(births, edges, top - at)
    paired, loops = (birth >= len(heads)), (birth < len(heads)) & (death >= 0)
    return top - np.stack([birth[paired], death[paired]], axis=1), top - death[loops]


def find_pairs(ranked: Ranked) -> Pairs:
    """All pairs of the lower-star filtration of a ranked field."""
    maxima, loops = maximum_pairs(ranked)
    return Pairs(minimum_pairs(ranked), maxima, loops)


def _follow(step: NDArray[np.int32]) -> NDArray[np.int32]:
    """Where following `step` ends from each vertex, by pointer doubling."""
    while True:
        twice = step[step]
        if np.array_equal(twice, step):
            return step
        step = twice


def _saddle_edges(ranked: Ranked, side: NDArray[np.uint8], node: NDArray[np.int32]) -> tuple[NDArray[np.int64], Ranks]:
    """Edges (2, e) between the nodes that the components of a side (lower or upper) of each saddle's link lead to, and
    the ranks of their saddles. Absent vertices lie in the upper side only, so both sides have as many components."""
    saddles = ranked.vertex[COMPONENTS[ranked.lower.ravel()[ranked.vertex]] > 1]
    first = FIRST[side[saddles]]
    ends = node[saddles[:, None] + neighbour_steps(ranked.rank.shape[1] - 2)[first]]
    a = np.concatenate([ends[:, 0], ends[:, 0]])
    b = np.concatenate([ends[:, 1], np.where(first[:, 2] < 0, ends[:, 0], ends[:, 2])])
    at = np.tile(ranked.rank.ravel()[saddles], 2)
    kept = a != b
    return np.stack([a[kept], b[kept]]).astype(np.int64), at[kept].astype(np.int64)


def _absent_regions(absent: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Connected regions of absent vertices, numbered from 1, and a vertex of each; region 1 is what lies outside."""
    hexagon = np.zeros((3, 3), bool)
    hexagon[1, 1] = True
    for di, dj in NEIGHBOURS:
        hexagon[1 + di, 1 + dj] = True
    from scipy import ndimage

    region, count = ndimage.label(absent, structure=hexagon)
    heads = np.zeros(count + 1, np.int64)
    flat = region.ravel()
    gone = np.flatnonzero(flat)[::-1]
    heads[flat[gone]] = gone  # the first vertex of each region, because it is written last
    return region, heads[1:]
