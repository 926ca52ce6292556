"""Ctrl-C as a request that a loop can wait for beside its sockets: the first asks, the second insists."""

from __future__ import annotations

import os
import signal
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType


class Interrupted(Exception):
    """The person stopped the command; exit code 130. `kept` says in one sentence what is kept."""

    def __init__(self, kept: str = "") -> None:
        super().__init__(kept)
        self.kept = kept


class Left(Interrupted):
    """The person left the command; its jobs go on. `kept` says so, and how to stop them."""


class Interrupt:
    """How often Ctrl-C was pressed, and a file descriptor that becomes readable when it is."""

    def __init__(self, fd: int) -> None:
        self.count = 0
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor to poll."""
        return self._fd

    def clear(self) -> None:
        """Make the descriptor unreadable again until the next press."""
        with suppress(BlockingIOError):
            os.read(self._fd, 64)

    def check(self) -> None:
        """Raise Interrupted where a press is pending: for places between two jobs."""
        if self.count:
            raise Interrupted


@contextmanager
def interrupts() -> Iterator[Interrupt]:
    """Count SIGINT instead of raising KeyboardInterrupt, as long as the block runs.

    SIGTERM and SIGHUP end the block with SystemExit, so that temporary folders go and the worker is told.
    """
    r, w = os.pipe()
    os.set_blocking(r, False)
    os.set_blocking(w, False)
    state = Interrupt(r)

    def pressed(_signal: int, _frame: FrameType | None) -> None:
        state.count += 1
        with suppress(BlockingIOError):
            os.write(w, b"!")

    def ended(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    quiet = _no_caret_c()
    before = {signal.SIGINT: signal.signal(signal.SIGINT, pressed)}
    for number in (signal.SIGTERM, signal.SIGHUP):
        before[number] = signal.signal(number, ended)
    try:
        yield state
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        quiet()
        os.close(r)
        os.close(w)


def _no_caret_c() -> Callable[[], None]:
    """Keep the terminal from writing `^C` into a bar that fills its line; what is given back undoes that."""
    try:
        before = termios.tcgetattr(0)
        changed = [*before[:3], before[3] & ~termios.ECHOCTL, *before[4:]]
        termios.tcsetattr(0, termios.TCSANOW, changed)
    except (termios.error, OSError):
        return lambda: None  # no terminal

    def undo() -> None:
        with suppress(termios.error, OSError):
            termios.tcsetattr(0, termios.TCSANOW, before)

    return undo
