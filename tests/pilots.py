"""For tests that drive the terminal's app: they wait until something is so, and never sleep for a time."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any

from textual.pilot import Pilot

PATIENCE_S = 10.0


async def until(pilot: Pilot[Any], condition: Callable[[], Any]) -> None:
    """Let the app work until the condition holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"it did not come to be within {PATIENCE_S:g} s"
        await pilot.pause(0.01)


def awaited(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """An asynchronous test as a plain one."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))  # type: ignore[arg-type]  # a coroutine

    return run
