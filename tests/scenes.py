"""Surfaces for the renderer's tests: closed forms, the seed's files, and everything that a picture must survive."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from protocol.files import PATH_DTYPE, PlaneMeta, Surface, SurfaceMeta, read_path_csv
from renderer.picture import Renderer

DATA = Path(__file__).parent / "data"


def made(
    loss: NDArray[np.float64],
    alpha: NDArray[np.float64] | None = None,
    beta: NDArray[np.float64] | None = None,
    **how: object,
) -> Surface:
    """A surface of given values (H, W), on [-1, 1] squared unless axes are given."""
    height, width = loss.shape
    nothing = np.full(loss.shape, np.nan)
    fields: dict[str, object] = {"n": np.full(loss.shape, 512), "meta": SurfaceMeta(model="net", data="digits")} | how
    return Surface(
        alpha=np.linspace(-1, 1, width) if alpha is None else alpha,
        beta=np.linspace(-1, 1, height) if beta is None else beta,
        loss=np.asarray(loss, float),
        accuracy=nothing,
        sem=nothing,
        **fields,  # type: ignore[arg-type]
    )


def function(
    f: Callable[..., NDArray[np.float64]], width: int = 41, height: int = 41, reach: float = 5.0, **how: object
) -> Surface:
    """f(x, y) on [-reach, reach] squared."""
    alpha, beta = np.linspace(-reach, reach, width), np.linspace(-reach, reach, height)
    x, y = np.meshgrid(alpha, beta)
    return made(np.broadcast_to(f(x, y), x.shape).astype(float), alpha, beta, **how)


def himmelblau(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2


def ply(name: str, **meta: object) -> Surface:
    """One of the seed's ASCII PLY files: x, y and the loss `s` of each vertex, rows of one y."""
    lines = (DATA / f"{name}.ply").read_text().splitlines()
    count = next(int(line.split()[2]) for line in lines if line.startswith("element vertex"))
    first = lines.index("end_header") + 1
    table = np.array([[float(v) for v in line.split()] for line in lines[first : first + count]])
    alpha, beta = np.unique(table[:, 0]), np.unique(table[:, 1])
    loss = table[:, 6].reshape(len(beta), len(alpha))
    return made(loss, alpha, beta, meta=SurfaceMeta(name=name, data="CIFAR-10", split="train", samples=1000, **meta))  # type: ignore[arg-type]


def resnet() -> Surface:
    """The seed's ResNet-50 on its PCA plane, with its path."""
    path = read_path_csv(DATA / "ResNet_PCA_gradient_descent_results.csv")
    path["epoch"] = np.arange(len(path))
    plane = PlaneMeta(kind="pca", checkpoints=11)
    return replace(ply("ResNet_PCA", model="ResNet-50", plane=plane), path=path)


def vgg() -> Surface:
    """The seed's VGG-11 on its random plane."""
    return ply("VGG_Random", model="VGG-11", plane=PlaneMeta(kind="random", options={"normalize": "layer"}))


def holes() -> Surface:
    """Two blocks that diverged (NaN and inf) and one that was not measured."""
    surface = function(lambda x, y: 0.1 + 0.1 * x * x + 0.2 * y * y, 25, 25)
    loss, n = surface.loss.copy(), surface.n.copy()
    loss[3:8, 4:10], loss[15:18, 15:20] = np.nan, np.inf
    n[10:13, 2:9] = 0
    return replace(surface, loss=loss, n=n)


def off_plane() -> Surface:
    """A random plane with a path that hardly lies in it."""
    path = np.zeros(6, PATH_DTYPE)
    path["step"] = path["epoch"] = np.arange(6)
    path["alpha"], path["beta"] = np.linspace(0.3, 0, 6), np.linspace(-0.2, 0, 6)
    for column in ("loss_plane", "loss_weights", "loss_true"):
        path[column] = np.nan
    path["off_plane"] = [0.99, 0.99, 0.98, 0.97, 0.95, 0.0]
    return replace(vgg(), path=path)


def leaving() -> Surface:
    """A path of which the start lies outside of the grid."""
    surface = resnet()
    path = surface.path.copy()
    path["alpha"] *= 2.2
    return replace(surface, path=path)


ODD: dict[str, Callable[[], Surface]] = {
    "resnet": resnet,
    "vgg": vgg,
    "huge": lambda: function(lambda x, y: 0.2 + 2e10 * (np.hypot(x, y) / 7.0711) ** 14, 21, 21),
    "holes": holes,
    "all-nan": lambda: function(lambda x, y: x * np.nan, 9, 9),
    "nothing": lambda: function(lambda x, y: x * np.nan, 9, 9, n=np.zeros((9, 9), int)),
    "constant": lambda: function(lambda x, y: 0 * x + 2.3026, 9, 9),
    "zero": lambda: function(lambda x, y: 0 * x, 9, 9),
    "2x2": lambda: function(lambda x, y: x + 2 * y, 2, 2),
    "wide": lambda: function(lambda x, y: np.sin(x) + y * y, 31, 4),
    "tall": lambda: function(lambda x, y: np.sin(x) + y * y, 3, 29),
    "negative": lambda: function(lambda x, y: himmelblau(x, y) / 50 - 3, 21, 21),
    "outlier": lambda: function(lambda x, y: np.where((x < -4.6) & (y < -4.6), 1e6, himmelblau(x, y) - 40), 31, 31),
    "largest": lambda: function(lambda x, y: x / 5 * 1.7e308, 9, 9),
    "smallest": lambda: function(lambda x, y: 5e-324 + 0 * x + (x > 0) * 1e-310, 9, 9),
    "close": lambda: function(lambda x, y: 1e6 + 1e-3 * (x * x + y * y), 21, 21),
    "one-point": lambda: function(lambda x, y: np.where((x == 0) & (y == 0), 1.0, np.nan), 9, 9),
    "off-plane": off_plane,
    "leaving": leaving,
    "uneven": lambda: made(
        himmelblau(*np.meshgrid(np.linspace(-5, 5, 12), np.linspace(-5, 5, 9))),
        np.geomspace(1, 9, 12),
        np.cumsum(np.arange(1.0, 10.0)),
    ),
}


@functools.cache
def renderer() -> Renderer:
    """One renderer for the whole process; the test is skipped on a machine without OpenGL."""
    from protocol.errors import InputError

    try:
        return Renderer()
    except InputError as e:
        pytest.skip(e.msg)
