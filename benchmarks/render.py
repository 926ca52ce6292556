"""One row changed and a complete frame, 1280 x 800, at 25, 251 and 1001 squared: what a live window costs a row.

    python benchmarks/render.py [--presets contours-3d ...]

Prints milliseconds on the clock and, in brackets, half of what all threads of the process took together (what two free
cores would need at least), each the least of the repeats, the GL pipeline drained each time: a window's frame in full
quality, and while somebody turns it. Then, in processes of their own: from the process' start to the first frame's
pixels, the memory at most, and what an idle window's refinement to the still costs a step. The same work by other
libraries: render_peers.py.

2 cores, llvmpipe (Mesa 22.3.6), others at work beside it (load 2 to 3); ms on the clock (half of all threads' time):

                            25 squared     251 squared    1001 squared
    contours-3d             12.5 (8.0)     21.5 (14.4)     18.3 (12.1)
    contours-3d, turning    10.0 (7.5)      12.5 (7.0)      14.0 (9.8)
    contours-air           15.6 (10.7)     20.6 (13.6)     21.9 (14.5)
    contours-2d              9.8 (4.9)       7.1 (4.8)       9.9 (6.3)

With a fifth fewer vertices in a window's frame, contours-3d at 25 squared takes 7.5 in brackets where it took 8.6 in
the same minutes. First frame 0.33 s after the process' start; a step of refinement 21, 32 and 39 ms. Resident memory at
most 155, 181 and 219 MiB, of which 94 are files that other processes share (Mesa's LLVM alone 54); what a window takes
of its own is in window.py.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SIZES = (25, 251, 1001)
PRESETS = ("contours-3d", "solid", "mesh", "contours-air", "contours-2d", "heat")

# Run as a process of its own: the first frame's pixels, then rows, then the most memory that it held.
FIRST = """
import sys, numpy as np
from renderer.picture import Renderer
from renderer.scene import Scene
from protocol.files import Surface
from protocol.messages import SurfaceRow
count = int(sys.argv[1])
axis = np.linspace(-5, 5, count)
x, y = np.meshgrid(axis, axis)
z = (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2
nothing = np.full(z.shape, np.nan)
scene = Scene()
scene.apply(Surface(alpha=axis, beta=axis, loss=z, accuracy=nothing, sem=nothing, n=np.full(z.shape, 512)))
renderer = Renderer()
renderer.draw(scene, samples=1)
renderer.pixels()
if len(sys.argv) > 2:
    for i in range(8):
        dirty = scene.apply(SurfaceRow(surface="", i=i, pass_=0, n=512), {"loss": z[i]})
        renderer.draw(scene, samples=1, dirty=dirty)
    print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""


def field(count: int) -> np.ndarray:
    """Himmelblau's function on [-5, 5] squared, (count, count)."""
    x, y = np.meshgrid(np.linspace(-5, 5, count), np.linspace(-5, 5, count))
    return (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2


def rows(preset: str, count: int, interacting: bool, seconds: float) -> tuple[float, float]:
    """Least milliseconds of a row and its frame: on the clock, and half of all threads' time."""
    from protocol.files import Surface
    from protocol.messages import SurfaceRow
    from protocol.view import PRESETS as VIEWS
    from renderer.picture import Renderer
    from renderer.scene import Scene

    renderer, scene = Renderer(), Scene(VIEWS[preset])
    axis, z = np.linspace(-5, 5, count), field(count)
    nothing = np.full(z.shape, np.nan)
    scene.apply(Surface(alpha=axis, beta=axis, loss=z, accuracy=nothing, sem=nothing, n=np.full(z.shape, 512)))
    renderer.draw(scene, samples=1, interacting=interacting)
    wall, cpu, began = [], [], time.perf_counter()
    while len(wall) < 5 or (time.perf_counter() - began < seconds and len(wall) < 60):
        k = len(wall)
        row = SurfaceRow(surface="", i=(k * 7919) % count, pass_=0, n=512)
        a, b = time.perf_counter(), time.process_time()
        dirty = scene.apply(row, {"loss": z[row.i] * (1 + 0.01 * (k % 3))})
        renderer.draw(scene, samples=1, dirty=dirty, interacting=interacting)
        with renderer.ctx:
            renderer.ctx.finish()
        wall.append(1000 * (time.perf_counter() - a))
        cpu.append(1000 * (time.process_time() - b))
    renderer.release()
    return min(wall[1:]), min(cpu[1:]) / 2


def refining(count: int) -> tuple[float, float]:
    """Mean milliseconds of a step of `refine` on the clock, and the seconds of a still drawn at once."""
    from protocol.files import Surface
    from renderer.picture import Renderer
    from renderer.scene import CLEAN, Scene

    renderer, scene = Renderer(), Scene()
    axis, z = np.linspace(-5, 5, count), field(count)
    nothing = np.full(z.shape, np.nan)
    scene.apply(Surface(alpha=axis, beta=axis, loss=z, accuracy=nothing, sem=nothing, n=np.full(z.shape, 512)))
    renderer.draw(scene, samples=1)
    began, steps = time.perf_counter(), 0
    while renderer.refine():
        steps += 1
    renderer.pixels()
    each = 1000 * (time.perf_counter() - began) / steps
    began = time.perf_counter()
    renderer.draw(scene, dirty=CLEAN)
    renderer.pixels()
    still = time.perf_counter() - began
    renderer.release()
    return each, still


def process(*arguments: str) -> tuple[float, str]:
    """Seconds that FIRST took as a process, and what it printed."""
    began = time.perf_counter()
    command = [sys.executable, "-c", FIRST, *arguments]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return time.perf_counter() - began, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), choices=PRESETS)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    given = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from renderer.picture import Renderer

    renderer = Renderer()
    print(f"{renderer.name}; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    renderer.release()
    print("one row changed + a complete frame, 1280 x 800; least ms on the clock (half of all threads' time)\n")
    print(f"{'':26}" + "".join(f"{f'{s} squared':>18}" for s in given.sizes))
    for preset in given.presets:
        for name, interacting in (("", False), (", turning", True)):
            cells = [rows(preset, count, interacting, given.seconds) for count in given.sizes]
            print(f"{preset + name:26}" + "".join(f"{f'{wall:.1f} ({cpu:.1f})':>18}" for wall, cpu in cells))
    first = min(process("25")[0] for _ in range(5))
    print(f"\nfrom the process' start to its end with a first frame of 25 squared: {first:.2f} s (least of 5)")
    memory = ", ".join(f"{int(process(str(count), 'rows')[1]) / 1024:.0f} MiB at {count}" for count in given.sizes)
    print(f"memory at most: {memory} squared")
    for count in given.sizes:
        each, still = refining(count)
        print(f"refining {count} squared: {each:.0f} ms a step; a still at once {still:.2f} s")


if __name__ == "__main__":
    main()
