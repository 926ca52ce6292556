"""Whether the terminal has taken what was drawn before. The one place that knows Textual's writer.

Textual's driver hands each frame to a thread that writes it to the terminal, through a queue of 30. A terminal that
takes less than is drawn (a slow SSH link) fills it, and the 31st write blocks the event loop: keys, the daemon's
events, everything. So a frame that need not be drawn now is skipped while an earlier one is still on its way, and the
next one shows the newest state anyway.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from textual.app import App

LOCAL_HZ = 10.0
SSH_HZ = 2.0
RETRY_S = 0.05  # before a skipped frame is tried again


def over_ssh(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal is at the other end of an SSH connection."""
    return any(environment.get(name) for name in ("SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"))


def frame_s(environment: Mapping[str, str] = os.environ) -> float:
    """The least time between two drawings, in seconds; $THALWEG_HZ sets how many a second (0.2 to 30)."""
    try:
        hz = float(environment.get("THALWEG_HZ", ""))
    except ValueError:
        hz = SSH_HZ if over_ssh(environment) else LOCAL_HZ
    return 1.0 / min(30.0, max(0.2, hz))


def waiting(app: App[Any]) -> int:
    """Writes that the terminal has not taken yet; 0 where that cannot be known (tests, the web, another system)."""
    writer = getattr(getattr(app, "_driver", None), "_writer_thread", None)
    queue = getattr(writer, "_queue", None)
    return int(queue.qsize()) if queue is not None else 0


class Gate:
    """Lets a frame through where the one before has been taken. `skipped` counts the others."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self.skipped = 0

    def open(self) -> bool:
        """Whether to draw now."""
        if waiting(self._app):
            self.skipped += 1
            return False
        return True
