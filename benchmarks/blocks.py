"""What a preview frame costs the terminal UI: milliseconds to turn a picture of 60 x 30 characters into strips and then
into bytes, and how many bytes, for frames of an orbit and for a heat map that fills in.

    python -P benchmarks/blocks.py [--frames FRAMES.npy]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any

import numpy as np
from rich.console import Console
from textual.app import App, ComposeResult

from tui.widgets.halfblock import HalfBlock
from tui.widgets.heat import Heat

COLUMNS, ROWS = 60, 30


def orbit(frames: int) -> np.ndarray[Any, Any]:
    """A shaded bowl that turns, where no frames of a window are given; (n, 60, 60, 3)."""
    y, x = np.mgrid[-1 : 1 : 2j * ROWS, -1 : 1 : COLUMNS * 1j]
    out = []
    for k in range(frames):
        a = 0.1 * k
        u, v = x * np.cos(a) + y * np.sin(a), y * np.cos(a) - x * np.sin(a)
        z = np.clip(u * u + 0.4 * v + 0.2 * np.sin(5 * u), 0, 1)
        out.append(np.stack([40 + 200 * z, 60 + 120 * (1 - z), 90 + 60 * v], -1))
    return np.clip(np.stack(out), 0, 255).astype(np.uint8)


class Stage(App[None]):
    """One picture."""

    def compose(self) -> ComposeResult:
        yield HalfBlock()
        yield Heat()


def bytes_of(widget: Any, rows: list[int]) -> int:
    """What these rows are on a terminal with 24-bit colours."""
    console = Console(color_system="truecolor", force_terminal=True)
    return sum(len(widget.render_line(y).render(console).encode()) for y in rows)


async def measure(frames: np.ndarray[Any, Any]) -> None:
    app = Stage()
    async with app.run_test(size=(COLUMNS, 2 * ROWS)):
        block, heat = app.query_one(HalfBlock), app.query_one(Heat)
        block._depth = heat._depth = "colours"
        times, sizes = [], []
        for frame in frames:
            began = time.perf_counter()
            before = dict(block._strips)
            block.show(frame)
            size = bytes_of(block, [y for y in range(ROWS) if y not in before or block._strips.get(y) is not before[y]])
            times.append((time.perf_counter() - began) * 1e3)
            sizes.append(size)
        report("orbit", times[1:], sizes[1:], f"{len(block.quantise.palette)} colours, {block.quantise.made} palettes")
        values = np.abs(np.random.default_rng(0).normal(size=(30, 60))).cumsum(0) + 0.1
        measured = np.zeros(values.shape, bool)
        heat.show(values, ~measured)
        heat.show(values, measured)
        bytes_of(heat, list(range(ROWS)))
        times, sizes = [], []
        for i in range(30):
            measured[i] = True
            began = time.perf_counter()
            before = dict(heat._strips)
            heat.show(values, measured)
            sizes.append(bytes_of(heat, [y for y in range(ROWS) if heat._strips.get(y) is not before.get(y)]))
            times.append((time.perf_counter() - began) * 1e3)
        report("heat, a row", times[2:], sizes[2:], "")


def report(what: str, times: list[float], sizes: list[int], more: str) -> None:
    print(
        f"{what:<12} {np.median(times):6.1f} ms (p95 {np.percentile(times, 95):.1f})  {np.median(sizes) / 1e3:6.1f} kB"
        f" (most {max(sizes) / 1e3:.1f})  {more}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", help="frames (n, h, w, 3) uint8 of a window")
    args = parser.parse_args()
    asyncio.run(measure(np.load(args.frames) if args.frames else orbit(20)))


if __name__ == "__main__":
    main()
