"""Critical points with persistence: seconds and memory at 251 and 1001 squared, of white noise and of a smooth field.

    python benchmarks/critical.py [--all-simplices]

Each case runs in a process of its own; memory is what its peak grew by over the process with everything imported and
the field made. White noise is the worst case: every seventh vertex is a minimum. Below the table, the ratio to a plain
loop over the vertices in Python (kinds alone, without persistence) at 101 squared; with `--all-simplices`, the same
answer from gudhi on every vertex, edge and triangle.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from numpy.typing import NDArray

SIZES = (251, 1001)
SMALL = 101


def field(kind: str, count: int) -> NDArray[np.float64]:
    """White noise, or Himmelblau's function on [-5, 5] squared, (count, count)."""
    if kind == "noise":
        return np.random.default_rng(0).random((count, count))
    x, y = np.meshgrid(np.linspace(-5, 5, count), np.linspace(-5, 5, count))
    return (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2


def thalweg(z: NDArray[np.float64]) -> int:
    """The minima among all critical points."""
    from compute.analysis import ANALYSES
    from protocol.files import Surface

    axis, nothing = np.arange(len(z), dtype=float), np.full(z.shape, np.nan)
    s = Surface(alpha=axis, beta=axis, loss=z, accuracy=nothing, sem=nothing, n=np.ones(z.shape, np.int64))
    entry = ANALYSES["critical"]
    steps = entry.make(s, entry.options(threshold=0.0))  # type: ignore[call-arg]
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return int(np.sum(end.value.arrays["critical"]["kind"] == "minimum"))


def all_simplices(z: NDArray[np.float64]) -> int:
    """The minima, by gudhi's persistence of the lower-star filtration of the whole triangulation."""
    from gudhi import SimplexTree

    index = np.arange(z.size, dtype=np.int32).reshape(z.shape)
    rank = np.empty(z.size)
    rank[np.argsort(z.ravel(), kind="stable")] = np.arange(z.size)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    tree = SimplexTree()
    tree.insert_batch(index.reshape(1, -1), rank)
    for corners in ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:]), (a, d), (a, b, d), (a, c, d)):
        simplex = np.stack([p.ravel() for p in corners])
        tree.insert_batch(simplex, rank[simplex].max(0))
    tree.compute_persistence()
    return len(tree.persistence_intervals_in_dimension(0))


def python_loop(z: NDArray[np.float64]) -> int:
    """The minima, by a loop over all vertices that counts the components of each lower link."""
    from compute.analysis.freudenthal import NEIGHBOURS

    height, width = z.shape
    minima = 0
    for i in range(height):
        for j in range(width):
            here, below = (z[i, j], i, j), []
            for di, dj in NEIGHBOURS:
                p, q = i + di, j + dj
                below.append(0 <= p < height and 0 <= q < width and (z[p, q], p, q) < here)
            components = sum(below[k] and not below[k - 1] for k in range(6))
            minima += int(components == 0 and not all(below))
    return minima


METHODS = {"thalweg": thalweg, "all simplices": all_simplices, "python loop": python_loop}


def measured(method: str, kind: str, count: int) -> dict[str, float]:
    """Seconds, MiB and minima of one case, in a process of its own."""
    out = subprocess.run(
        [sys.executable, __file__, "--one", method, kind, str(count)], check=True, capture_output=True, text=True
    )
    result: dict[str, float] = json.loads(out.stdout)
    return result


def one(method: str, kind: str, count: int) -> None:
    """Print one case as JSON, after a small one that pays for the imports."""
    METHODS[method](field(kind, 11))
    z = field(kind, count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    minima = METHODS[method](z)
    seconds = time.perf_counter() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(json.dumps({"seconds": seconds, "mib": grown, "minima": minima}))


def main() -> None:
    methods = ["thalweg", *(["all simplices"] if "--all-simplices" in sys.argv else [])]
    print(f"{'method':<15}{'field':<9}{'grid':>12}{'seconds':>10}{'MiB':>8}{'minima':>10}")
    for method in methods:
        for kind in ("noise", "smooth"):
            for count in SIZES:
                r = measured(method, kind, count)
                grid = f"{count} x {count}"
                print(f"{method:<15}{kind:<9}{grid:>12}{r['seconds']:>10.2f}{r['mib']:>8.0f}{r['minima']:>10,.0f}")
    own, loop = measured("thalweg", "noise", SMALL), measured("python loop", "noise", SMALL)
    assert own["minima"] == loop["minima"]
    print(
        f"\n{SMALL} x {SMALL} noise: {1000 * own['seconds']:.0f} ms with persistence; a Python loop over the vertices "
        f"takes {1000 * loop['seconds']:.0f} ms for the kinds alone, {loop['seconds'] / own['seconds']:.1f} times that"
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        one(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
