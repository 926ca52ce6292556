"""The daemon with parts replaced, as a process of its own: `python odd_daemon.py JSON --workspace ...`.

{"fake": true}         workers are tests/fake_worker.py: no torch, rows of nothing
{"patience_s": 0.3}    between asking a worker, SIGTERM and SIGKILL
{"clock": "file"}      the wall clock is ahead by as many seconds as the file says
{"set": {"compute.answers.PIECE": 9}}   any constant of a module
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from compute import crew, daemon
from compute.launchers import LAUNCHERS, local


class FakeWorkers(local.Local):
    """Starts tests/fake_worker.py with a worker's arguments; the light lane needs no torch as it is."""

    def launch(self, *, arguments: tuple[str, ...] = (), **more: Any) -> local.LocalHandle:
        fake = local.Local()
        if "--light" not in arguments:
            fake.command = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
        return fake.launch(arguments=arguments, **more)


def move_clock(file: Path) -> None:
    """Let the wall clock of this process be ahead by what the file says at the moment."""
    real, real_ns = time.time, time.time_ns

    def ahead() -> float:
        try:
            return float(file.read_text())
        except (OSError, ValueError):
            return 0.0

    time.time = lambda: real() + ahead()
    time.time_ns = lambda: real_ns() + int(1e9 * ahead())


def main() -> None:
    """Replace, then serve."""
    odd: dict[str, Any] = json.loads(sys.argv.pop(1))
    if odd.get("fake"):
        LAUNCHERS["local"] = FakeWorkers()
    if "patience_s" in odd:
        crew.PATIENCE_S = odd["patience_s"]
    if "clock" in odd:
        move_clock(Path(odd["clock"]))
    for name, value in odd.get("set", {}).items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(module), constant, value)
    daemon.main()


if __name__ == "__main__":
    main()
