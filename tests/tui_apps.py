"""The terminal UI under a test: against tests/busy_daemon.py, with keys pressed and states waited for, never slept."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from busy_daemon import BusyDaemon
from textual.pilot import Pilot

from protocol.errors import InputError
from tui.app import ThalwegApp
from tui.profiles import Config, Profile

PATIENCE_S = 20.0
WIDE, USUAL, NARROW = (120, 36), (80, 24), (44, 12)


async def no_picture(_preview: Any) -> None:
    """In place of the process that draws: the rows are shown as they are, and tests do not wait for a renderer."""
    raise InputError("picture: there is none in this test", code="unavailable")


async def until(pilot: Pilot[Any], found: Callable[[], Any], what: str = "it") -> None:
    """Let the app work until this holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not found():
        assert time.monotonic() < deadline, f"{what} did not come within {PATIENCE_S:g} s"
        await pilot.pause(0.01)
    await pilot.pause()


@asynccontextmanager
async def opened(
    folder: Path, size: tuple[int, int] = USUAL, config: Config | None = None, **more: Any
) -> AsyncIterator[tuple[ThalwegApp, Pilot[Any]]]:
    """The app, live, its lists read."""
    app = ThalwegApp(Profile(workspace=folder), config or Config(), start=False, **more)
    app.frame_s = 0.02
    with patch("tui.preview.Preview.open", no_picture):
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: all_there(app), "the lists")
            yield app, pilot


def all_there(app: ThalwegApp) -> bool:
    """Whether it is live and its lists are read."""
    return app.store.link.state == "live" and {"run", "plane", "surface", "job", "window"} <= app.store.loaded


def used(
    what: Callable[[ThalwegApp, Pilot[Any], BusyDaemon], Awaitable[None]],
    size: tuple[int, int] = USUAL,
    *,
    runs: int = 3,
    config: Config | None = None,
    prepare: Callable[[BusyDaemon], None] = lambda _: None,
) -> None:
    """Use the app against a busy daemon."""

    async def main(daemon: BusyDaemon) -> None:
        async with asyncio.timeout(60), opened(daemon.folder, size, config) as (app, pilot):
            await what(app, pilot, daemon)

    with tempfile.TemporaryDirectory(prefix="thw-") as folder, BusyDaemon(Path(folder), runs, 5) as daemon:
        prepare(daemon)
        asyncio.run(main(daemon))


def screen_text(app: ThalwegApp) -> str:
    """What stands on the screen, as lines."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(s.text for s in strip).rstrip() for strip in strips[:height] if width)
