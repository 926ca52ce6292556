"""The window's figures on a display of its own (Xvfb): first picture, a row received to its picture on the screen, idle
processor time, memory.

    python benchmarks/window.py [25 251 1001]

Rows come from tests/fake_daemon.py over ipc, one at a time into a window that is still. "beyond the frame" is the time
from sending a row to the end of the swap, less the time that the frame itself took to draw.

Memory, 2 cores, llvmpipe (Mesa 22.3.6), half of the rows of three metrics and the still drawn: of its own 82 MiB at 251
and 116 to 120 at 1001 squared (it was 210), proportional share 107 and 138, resident 175 and 213.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import numpy as np
import windows
from fake_daemon import FakeDaemon
from windows import Window, until

ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
ROWS, IDLE_S = 20, 5.0
STILL_S = 2.0  # a row does not wait longer for the picture to be refined


def say(what: str, value: str, wanted: str = "") -> None:
    """A line of the table."""
    print(f"{what:58} {value:>18}   {wanted}", flush=True)


def drawn(trace: Path) -> list[dict[str, Any]]:
    """The pictures that were shown."""
    return [json.loads(line) for line in trace.read_text().splitlines()] if trace.exists() else []


def loss(side: int, i: int) -> np.ndarray:
    """A row of a bowl."""
    x, y = np.linspace(-1, 1, side), -1 + 2 * i / (side - 1)
    return (0.1 + x**2 + y**2 + 0.1 * np.sin(9 * x)).astype("<f4")


def still(trace: Path) -> None:
    """Wait until the picture is as good as it gets, or a while."""
    end = time.monotonic() + STILL_S
    while not drawn(trace)[-1]["still"] and time.monotonic() < end:
        time.sleep(0.02)


def later(trace: Path, rows: int) -> dict[str, Any] | None:
    """The first picture with more rows than these."""
    return next((d for d in drawn(trace) if d["rows"] > rows), None)


def proportional(pid: int) -> int:
    """Bytes of a process, those that it shares with others divided among them (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("Pss:"))) * 1024


def measure(side: int, display: str) -> None:
    """All figures of one size of surface, 1280 x 800 pixels."""
    with tempfile.TemporaryDirectory(prefix="thw-") as name, FakeDaemon(Path(name), beat_s=1.0) as fake:
        folder, trace = Path(name), Path(name) / "trace"
        windows.begin(windows.with_surfaces(fake), ID, side, side)
        for i in range(0, side, 2):
            windows.row(fake, ID, i, loss(side, i))
        words = ("--workspace", folder, "--surface", ID, "--trace", trace)
        began = time.monotonic()
        with Window(folder, *words, display=display) as window:
            first = drawn(trace)[0]["at"] - began
            until(lambda: drawn(trace)[-1]["rows"] > 0, "the surface", 60)
            beyond, frames = [], []
            for i in range(1, min(2 * ROWS, side - 1), 2):
                still(trace)
                before, sent = drawn(trace)[-1]["rows"], time.monotonic()
                windows.row(fake, ID, i, loss(side, i))
                shown = until(lambda before=before: later(trace, before), "the row", every_s=0.002)  # type: ignore[misc]
                frames.append(shown["ms"])
                beyond.append(1000 * (shown["at"] - sent) - shown["ms"])
            until(lambda: drawn(trace)[-1]["still"], "a still picture", 60)
            time.sleep(0.5)
            spent, at = window.cpu_s(), time.monotonic()
            time.sleep(IDLE_S)
            idle = 100 * (window.cpu_s() - spent) / (time.monotonic() - at)
            memory, own = window.memory(), windows.own_memory(window.child.pid)
            share = proportional(window.child.pid)
        text = f"{side} x {side}"
        say(f"first picture on the screen, from the process's start, {text}", f"{first:.2f} s", "<= 0.6 s")
        say(f"a row: its frame, {text}", f"{statistics.median(frames):.1f} ms", "<= 10, 20, 40 ms at 25, 251, 1001")
        say(f"a row: received to swap, beyond the frame, {text}", f"{statistics.median(beyond):.1f} ms", "<= 5 ms")
        say(f"processor while nothing happens, {text}", f"{idle:.1f} %", "<= 1 %")
        say(f"memory of its own, {text}", f"{own / 2**20:.0f} MB", "< 150 MB at 1001 x 1001")
        say(f"proportional share of what others use too, {text}", f"{share / 2**20:.0f} MB")
        say(f"resident, with all it shares (Mesa's LLVM: 60 MB), {text}", f"{memory / 2**20:.0f} MB")


def main() -> None:
    sides = [int(word) for word in sys.argv[1:]] or [25, 251, 1001]
    with windows.display(1400, 900) as display:
        for side in sides:
            measure(side, display)


if __name__ == "__main__":
    main()
