"""One row changed and a complete frame, 1280 x 800, at 25, 251 and 1001 squared: what a live window costs a row.

    python benchmarks/render.py

Prints a table of milliseconds (median of the repeats, the GL pipeline drained each time) and the ratio to matplotlib's
`plot_surface` and `contour` on its Agg canvas, where matplotlib is installed. Also import plus context, and memory.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

SIZES = (25, 251, 1001)
PRESETS = ("contours-3d", "solid", "mesh", "contours-air", "contours-2d", "heat")


def field(count: int) -> np.ndarray:
    """Himmelblau's function on [-5, 5] squared, (count, count)."""
    x, y = np.meshgrid(np.linspace(-5, 5, count), np.linspace(-5, 5, count))
    return (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2


def median_ms(step: Callable[[int], None], repeats: int) -> float:
    """Median milliseconds of `step(k)`, after one that is not counted."""
    step(0)
    times = []
    for k in range(1, repeats + 1):
        began = time.perf_counter()
        step(k)
        times.append(1000 * (time.perf_counter() - began))
    return float(np.median(times))


def thalweg() -> tuple[dict[tuple[str, int], float], str]:
    """Milliseconds by (preset, size), and the GL renderer."""
    from protocol.files import Surface
    from protocol.messages import SurfaceRow
    from protocol.view import PRESETS as VIEWS
    from renderer.picture import Renderer
    from renderer.scene import EVERYTHING, Scene

    renderer = Renderer()
    out = {}
    for count in SIZES:
        axis, z = np.linspace(-5, 5, count), field(count)
        nothing = np.full(z.shape, np.nan)
        n = np.full(z.shape, 512)
        whole = Surface(alpha=axis, beta=axis, loss=z, accuracy=nothing, sem=nothing, n=n)
        for preset in PRESETS:
            scene = Scene(VIEWS[preset])
            scene.apply(whole)
            renderer.draw(scene, samples=1, dirty=EVERYTHING)

            def step(k: int, scene: Scene = scene, z: np.ndarray = z, count: int = count) -> None:
                i = (k * 7919) % count
                row = SurfaceRow(surface="", i=i, pass_=0, n=512)
                dirty = scene.apply(row, {"loss": z[i] * (1 + 0.01 * (k % 3))})
                renderer.draw(scene, samples=1, dirty=dirty)
                renderer.ctx.finish()

            out[preset, count] = median_ms(step, 15 if count < 1000 else 7)
    return out, renderer.name


def matplotlib() -> dict[tuple[str, int], float] | None:
    """The same by matplotlib (surface at full resolution, contours), None where it is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        return None
    mpl.use("agg")
    from matplotlib import pyplot

    out = {}
    for count in SIZES:
        x, y = np.meshgrid(np.linspace(-5, 5, count), np.linspace(-5, 5, count))
        z = field(count)
        for name in ("solid", "contours-2d"):

            def step(k: int, name: str = name, x: np.ndarray = x, y: np.ndarray = y, z: np.ndarray = z) -> None:
                z[(k * 7919) % len(z)] *= 1.01
                figure = pyplot.figure(figsize=(12.8, 8.0), dpi=100)
                if name == "solid":
                    figure.add_subplot(projection="3d").plot_surface(x, y, z, rcount=len(z), ccount=len(z))  # type: ignore[attr-defined]
                else:
                    figure.add_subplot().contour(x, y, z, 20)
                figure.canvas.draw()
                pyplot.close(figure)

            out[name, count] = median_ms(step, 3)
    return out


def start() -> tuple[float, float]:
    """Seconds and MiB (Linux) of a process that imports the renderer and makes a context."""
    code = (
        "from renderer.picture import Renderer; Renderer(); "
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return time.perf_counter() - began, int(done.stdout) / 1024


def main() -> None:
    times, name = thalweg()
    peer = matplotlib()
    print(f"one row changed + a complete frame, 1280 x 800, ms; {name}; {os.cpu_count()} cores\n")
    print(f"{'':24}" + "".join(f"{f'{s} x {s}':>14}" for s in SIZES))
    for preset in PRESETS:
        print(f"{preset:24}" + "".join(f"{times[preset, s]:14.1f}" for s in SIZES))
    if peer is None:
        print("\nmatplotlib is not installed: no ratio")
    else:
        for preset in ("solid", "contours-2d"):
            print(f"{'matplotlib ' + preset:24}" + "".join(f"{peer[preset, s]:14.1f}" for s in SIZES))
            ratios = "".join(f"{peer[preset, s] / times[preset, s]:13.1f}x" for s in SIZES)
            print(f"{'  ratio':24}{ratios}")
    seconds, mib = start()
    print(
        f"\nimport + context {seconds:.2f} s, {mib:.0f} MiB; this process at most "
        f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"
    )


if __name__ == "__main__":
    main()
