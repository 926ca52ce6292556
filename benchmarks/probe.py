"""A pointer that moves over the picture: finding what is under it, and laying the read-out over the picture drawn last.

    python benchmarks/probe.py

Prints milliseconds, the median over 200 places, at 25, 251 and 1001 squared in 1280 x 800: the pick alone, and pick,
copy of the picture and read-out, drained. Drawing the picture anew for each would cost a frame of benchmarks/render.py.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SIZES = (25, 251, 1001)
PLACES = 200


def measure(count: int, preset: str) -> tuple[float, float, int]:
    """Milliseconds of a pick and of pick and read-out, and how many places showed something."""
    from protocol.files import Surface
    from protocol.view import PRESETS
    from renderer import hud, picking
    from renderer.hud import Hud
    from renderer.picture import Renderer
    from renderer.scene import Scene

    axis = np.linspace(-5, 5, count)
    x, y = np.meshgrid(axis, axis)
    loss = (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2 + 1
    nothing = np.full(loss.shape, np.nan)
    scene, renderer = Scene(PRESETS[preset]), Renderer()
    scene.apply(Surface(alpha=axis, beta=axis, loss=loss, accuracy=nothing, sem=nothing, n=np.full(loss.shape, 512)))
    frame = renderer.draw(scene, samples=1)
    plot, rng = frame.layout.plot, np.random.default_rng(0)
    with renderer.ctx:
        texture = renderer.ctx.texture(frame.layout.size, 4)
        screen = renderer.ctx.framebuffer([texture])
        alone, whole, hits = [], [], 0
        for u, v in rng.uniform(0.1, 0.9, (PLACES, 2)):
            at = (plot.x0 + u * plot.width, plot.y0 + v * plot.height)
            began = time.perf_counter()
            hit = picking.pick(frame, *at)
            picked = time.perf_counter()
            renderer.show(screen, hud.letter(Hud(frame, hit, at)))
            renderer.ctx.finish()
            alone.append(1000 * (picked - began))
            whole.append(1000 * (time.perf_counter() - began))
            hits += hit is not None
    renderer.release()
    return float(np.median(alone)), float(np.median(whole)), hits


def main() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.path.insert(0, str(ROOT))
    print(f"{'':14}{'pick':>10}{'pick, read-out':>18}   ms")
    for preset in ("contours-3d", "heat"):
        for count in SIZES:
            pick, whole, hits = measure(count, preset)
            print(f"{preset:12}{count:5}{pick:9.2f}{whole:15.2f}        {hits} of {PLACES} places hit")


if __name__ == "__main__":
    main()
