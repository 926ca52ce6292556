"""`thalweg doctor`: what this machine has, found out by starting what the other commands start."""

from __future__ import annotations

import platform
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from protocol.errors import InputError
from protocol.files import Surface, SurfaceMeta
from protocol.messages import Render
from tui import loop, progress, session
from tui.children import ChildError, need
from tui.interrupt import interrupts
from tui.link import Link
from tui.session import Common
from tui.verbs.data import ask
from tui.verbs.render import draw, renderer


def doctor(*, common: Common | None = None) -> None:
    """Say what this machine has: torch, device, OpenGL, data sets."""
    common = session.common(common)
    found: dict[str, Any] = {
        "thalweg": version("thalweg"),
        "python": f"{platform.python_version()} ({sys.executable})",
        "workspace": str(common.place().root),
        "compute": attempt(compute),
        "pictures": attempt(pictures),
        "data": attempt(lambda: data(common)),
    }
    if common.json:
        progress.print_json(found)
        return
    for name, value in found.items():
        first, *rest = value if isinstance(value, list) else [value]
        print(f"{name:<11}{first}")
        for line in rest:
            print(f"{'':<11}{line}")


def attempt(probe: Any) -> Any:
    """What a probe finds, or in one sentence why it finds nothing."""
    try:
        return probe()
    except (InputError, ChildError) as e:
        return f"missing: {e}"


def compute() -> list[str]:
    """Device, threads and versions, as a worker says when it is up."""
    need("compute", "torch", "torchvision")
    with tempfile.TemporaryDirectory(prefix="thalweg-") as folder, interrupts() as stop:
        log = Path(folder) / "worker.log"
        try:
            with Link(log, stop) as link:
                ready = loop.ready(link)
        except ChildError as e:
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise ChildError(f"the worker process does not start{': ' + last[0] if last else ''}") from e
    return [
        f"device {ready.device}, {ready.threads} threads",
        ", ".join(f"{name} {number}" for name, number in sorted(ready.versions.items())),
    ]


def pictures() -> str:
    """The OpenGL renderer that draws pictures, found by drawing a small one."""
    need("window", "moderngl", "PIL")
    axis = np.linspace(-1.0, 1.0, 5)
    bowl = axis[None, :] ** 2 + axis[:, None] ** 2
    with tempfile.TemporaryDirectory(prefix="thalweg-") as folder, renderer() as child:
        file, out = Path(folder) / "bowl.npz", Path(folder) / "bowl.png"
        Surface(
            alpha=axis,
            beta=axis,
            loss=bowl,
            accuracy=np.full_like(bowl, np.nan),
            sem=np.full_like(bowl, np.nan),
            n=np.ones(bowl.shape, np.int64),
            meta=SurfaceMeta(model="a bowl"),
        ).save(file)
        answer = draw(child, Render(file=str(file), out=str(out), preset="heat", width=320, height=240, scale=1))
    return f"OpenGL by {answer['renderer']}"


def data(common: Common) -> list[str]:
    """The data sets and where they lie."""
    rows = ask(common, "list")
    width = max(len(row["name"]) for row in rows)
    return [f"{row['name']:<{width}}  {row['where'] or 'absent'}" for row in rows]
