"""Where worker processes run. A new place is a file here and a line in LAUNCHERS.

The contract: `launch` starts a worker that connects to an endpoint, and gives a `Handle`; a handle can be asked whether
the worker lives (`poll`), be waited for without polling where the system allows it (`fileno`), be signalled, describe
itself as plain data, and be attached again from that description after the parent was restarted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from . import local


class Handle(Protocol):
    """One worker process."""

    def poll(self) -> int | None:
        """Its exit status (negative: the signal that ended it), or None while it lives."""
        ...

    def fileno(self) -> int | None:
        """A descriptor that becomes readable when it ends, or None where the system has none."""
        ...

    def signal(self, number: int) -> None:
        """Send a signal to the worker and to whatever it started; harmless when it is gone."""
        ...

    def describe(self) -> dict[str, Any]:
        """Plain data from which `attach` finds it again."""
        ...

    def close(self) -> None:
        """Let go: the worker sees its parent gone and ends."""
        ...


class Launcher(Protocol):
    """A place where workers run."""

    def launch(
        self,
        *,
        name: str,
        endpoint: str,
        log: str,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
    ) -> Handle:
        """Start a worker that calls itself `name` and connects to `endpoint`; its output goes to the file `log`.

        `environment` is added to that of the daemon.
        """
        ...

    def attach(self, described: Mapping[str, Any]) -> Handle | None:
        """The handle of a worker that an earlier parent started, or None when it is gone."""
        ...


LAUNCHERS: dict[str, Launcher] = {"local": local.Local()}
