"""The same work by other libraries in the same run: one row of a surface changed, its isolines found anew, a complete
frame of 1280 x 800 drawn and read back.

    python benchmarks/render_peers.py                      # a virtual environment of its own in a temporary folder
    python benchmarks/render_peers.py --python PATH        # an interpreter that has vispy, pyvista or both

Every (library, size) is a process of its own, one after the other and the round repeated, so that all of them meet the
same machine; the figure is the least of all frames. What each draws: the surface in a colour map with 16 isolines on
it, lit, seen at an angle. thalweg also draws axes, colour bar, legend and title; vispy and pyvista do not. "turning" is
`draw(interacting=True)`. A library that is missing or fails is left out, with a line that says why. Nothing is
installed into this environment.

2 cores, llvmpipe, a machine that others kept busy (load 8.6), so the milliseconds of all threads are what compares:

                      25 squared   251 squared   1001 squared
    thalweg                 19.1          32.0           28.4
    thalweg, turning        16.9          15.9           22.5
    vispy                   26.7         170.4         2086.1
    pyvista                 66.3         238.0         1433.8
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SIZES = (25, 251, 1001)
LEVELS = 16
SIZE = (1280, 800)
PEERS = ("vispy", "pyvista")
WANTED = {"vispy": "vispy", "pyvista": "pyvista"}
Step = Callable[[np.ndarray, int], None]


def field(count: int) -> np.ndarray:
    """The logarithm of Himmelblau's function on [-5, 5] squared, (count, count): heights that all of them can draw."""
    x, y = np.meshgrid(np.linspace(-5, 5, count), np.linspace(-5, 5, count))
    return np.log10((x * x + y - 11) ** 2 + (x + y * y - 7) ** 2 + 0.5)


def thalweg(count: int, interacting: bool = False) -> Step:
    from protocol.files import Surface
    from protocol.messages import SurfaceRow
    from protocol.view import PRESETS
    from renderer.picture import Renderer
    from renderer.scene import EVERYTHING, Scene

    axis, z = np.linspace(-5, 5, count), field(count)
    nothing, n = np.full(z.shape, np.nan), np.full(z.shape, 512)
    renderer, scene = Renderer(), Scene(PRESETS["contours-3d"])
    scene.apply(Surface(alpha=axis, beta=axis, loss=z, accuracy=nothing, sem=nothing, n=n))
    renderer.draw(scene, *SIZE, dirty=EVERYTHING, samples=1)

    def step(z: np.ndarray, i: int) -> None:
        dirty = scene.apply(SurfaceRow(surface="", i=i, pass_=0, n=512), {"loss": z[i]})
        renderer.draw(scene, *SIZE, dirty=dirty, samples=1, interacting=interacting)
        renderer.pixels()

    return step


def vispy(count: int) -> Step:
    import vispy as library
    from vispy import scene
    from vispy.color import get_colormap

    library.use(app="egl")
    axis, z = np.linspace(-5, 5, count), field(count)
    canvas = scene.SceneCanvas(size=SIZE, bgcolor="white", show=False)
    view = canvas.central_widget.add_view()
    view.camera = scene.TurntableCamera(fov=24, elevation=35, azimuth=35, distance=25)
    colours = get_colormap("viridis")
    surface = scene.visuals.SurfacePlot(x=axis, y=axis, z=z, shading="smooth", parent=view.scene)
    mesh = surface.mesh_data
    levels = np.linspace(z.min(), z.max(), LEVELS + 2)[1:-1]
    lines = scene.visuals.Isoline(
        vertices=mesh.get_vertices(),
        tris=mesh.get_faces(),
        data=z.ravel(),
        levels=levels,
        color_lev="k",
        parent=view.scene,
    )

    def step(z: np.ndarray, i: int) -> None:
        shade = colours.map(((z - z.min()) / np.ptp(z)).ravel()).reshape(*z.shape, 4)
        surface.set_data(z=z, colors=shade)
        lines.set_data(vertices=surface.mesh_data.get_vertices(), tris=mesh.get_faces(), data=z.ravel())
        canvas.render()

    step(z, 0)
    return step


def pyvista(count: int) -> Step:
    import pyvista as library

    axis, z = np.linspace(-5, 5, count), field(count)
    x, y = np.meshgrid(axis, axis)
    grid = library.StructuredGrid(x, y, z)
    grid["z"] = z.ravel(order="F")
    levels = np.linspace(z.min(), z.max(), LEVELS + 2)[1:-1]
    plotter = library.Plotter(off_screen=True, window_size=list(SIZE))
    plotter.add_mesh(grid, scalars="z", cmap="viridis", show_scalar_bar=False)
    lines = grid.contour(levels, scalars="z")
    plotter.add_mesh(lines, color="black")
    plotter.show(auto_close=False)

    def step(z: np.ndarray, i: int) -> None:
        heights = z.ravel(order="F")
        grid.points[:, 2] = heights
        grid["z"] = heights
        lines.copy_from(grid.contour(levels, scalars="z"))
        plotter.render()
        plotter.screenshot(return_img=True)

    step(z, 0)
    return step


def measure(step: Step, count: int, seconds: float) -> dict[str, float]:
    """Least milliseconds of a step on the clock and of all of the process' threads, over at least three."""
    z = field(count)
    step(z, 0)
    wall, cpu, began, k = [], [], time.perf_counter(), 0
    while k < 3 or (time.perf_counter() - began < seconds and k < 40):
        k += 1
        i = (k * 7919) % count
        z[i] *= 1 + 0.01 * (k % 3 - 1)
        a, b = time.perf_counter(), time.process_time()
        step(z, i)
        wall.append(1000 * (time.perf_counter() - a))
        cpu.append(1000 * (time.process_time() - b))
    return {"wall": min(wall), "cpu": min(cpu)}


def ask(python: str, name: str, count: int, seconds: float) -> dict[str, float] | str:
    """A library's figures in a process of its own, or why there are none."""
    command = [python, str(Path(__file__).resolve()), "--child", name, "--count", str(count), "--seconds", str(seconds)]
    env = os.environ | {"PYTHONPATH": str(ROOT) if name.startswith("thalweg") else "", "EGL_PLATFORM": "surfaceless"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return "took longer than 300 s"
    try:
        out: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return (done.stderr.strip().splitlines() or ["ended without an answer"])[-1]
    return out


def interpreter(folder: str) -> str | None:
    """A new virtual environment with the peers in it; None, with a line, where pip cannot get them."""
    python = str(Path(folder) / "bin" / "python")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    for name in WANTED.values():
        done = subprocess.run([python, "-m", "pip", "install", "-q", name], capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name}: pip could not install it; left out")
    return python


def rounds(names: dict[str, str], sizes: list[int], repeats: int, seconds: float) -> Iterator[tuple[str, int, object]]:
    for _ in range(repeats):
        for count in sizes:
            for name, python in names.items():
                yield name, count, ask(python, name, count, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", help="an interpreter that has the peers")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=2, help="rounds")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each library and size, each round")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        made: dict[str, Callable[[int], Step]] = {
            "thalweg": thalweg,
            "thalweg, turning": lambda count: thalweg(count, True),
            "vispy": vispy,
            "pyvista": pyvista,
        }
        print(json.dumps(measure(made[given.child](given.count), given.count, given.seconds)))
        return
    with tempfile.TemporaryDirectory() as folder:
        python = given.python or interpreter(folder)
        own = {"thalweg": sys.executable, "thalweg, turning": sys.executable}
        names = own | (dict.fromkeys(PEERS, python) if python else {})
        best: dict[tuple[str, int], dict[str, float]] = {}
        failed: set[str] = set()
        for name, count, answer in rounds(names, given.sizes, given.repeats, given.seconds):
            if isinstance(answer, dict):
                held = best.setdefault((name, count), answer)
                best[name, count] = {key: min(held[key], answer[key]) for key in held}
            elif name not in failed:
                failed.add(name)
                print(f"{name} at {count} squared: left out: {answer}")
    load = os.getloadavg()[0]
    print(
        f"\none row changed, isolines, a complete frame read back, {SIZE[0]} x {SIZE[1]}; least milliseconds\n"
        f"on the clock (in brackets: of all threads); {os.cpu_count()} cores, load {load:.1f}\n"
    )
    print(f"{'':18}" + "".join(f"{f'{count} squared':>22}" for count in given.sizes))
    for name in names:
        cells = [best.get((name, count)) for count in given.sizes]
        shown = [f"{c['wall']:.1f} ({c['cpu']:.1f})" if c else "-" for c in cells]
        print(f"{name:18}" + "".join(f"{cell:>22}" for cell in shown))
    for ours in own:
        for name in PEERS:
            pairs = [(best.get((ours, count)), best.get((name, count))) for count in given.sizes]
            ratios = [f"{b['wall'] / a['wall']:.1f} ({b['cpu'] / a['cpu']:.1f})" if a and b else "-" for a, b in pairs]
            print(f"{name + ' / ' + ours:28}"[:28] + "".join(f"{r:>22}" for r in ratios)[10:])


if __name__ == "__main__":
    main()
