"""Workers on this machine: a process in a session of its own that watches a pipe from its parent.

When the parent ends, however it ends, the kernel closes the pipe and the worker exits: there is never one to attach to.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any


class LocalHandle:
    """A child process; its end is seen through a pidfd where the system has them."""

    def __init__(self, child: subprocess.Popen[bytes], pipe: int) -> None:
        self._child = child
        self._pipe = pipe
        self._pidfd = os.pidfd_open(child.pid) if hasattr(os, "pidfd_open") else None

    def poll(self) -> int | None:
        return self._child.poll()

    def fileno(self) -> int | None:
        return self._pidfd

    def signal(self, number: int) -> None:
        if self._child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)

    def describe(self) -> dict[str, Any]:
        return {"launcher": "local", "pid": self._child.pid}

    def close(self) -> None:
        for fd in (self._pipe, self._pidfd):
            if fd is not None:
                with suppress(OSError):
                    os.close(fd)
        self._pipe, self._pidfd = -1, None

    def end(self, grace_s: float) -> None:
        """Wait for a worker that was told to stop; then SIGTERM, then SIGKILL to its group."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                self._child.wait(grace_s)
                return
            except subprocess.TimeoutExpired:
                self.signal(number)
        self._child.wait()


def watched(command: Sequence[str], log: str, environment: Mapping[str, str] | None = None) -> LocalHandle:
    """Start a process in a session of its own, `--watch FD` added to its command line; what it says goes to `log`."""
    watch, pipe = os.pipe()
    try:
        with open(log, "ab") as out:
            child = subprocess.Popen(
                [*command, "--watch", str(watch)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(watch,),
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
    except BaseException:
        os.close(pipe)
        raise
    finally:
        os.close(watch)
    return LocalHandle(child, pipe)


class Local:
    """Starts `python -m compute.worker`."""

    command: tuple[str, ...] = (sys.executable, "-P", "-m", "compute.worker")

    def launch(
        self,
        *,
        name: str,
        endpoint: str,
        log: str,
        arguments: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> LocalHandle:
        return watched([*self.command, "--connect", endpoint, "--name", name, *arguments], log, environment)

    def attach(self, described: Mapping[str, Any]) -> LocalHandle | None:
        return None
