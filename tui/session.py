"""What every command has in common: the workspace, the data folder, --json, and a worker for the length of a block."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from protocol.errors import InputError
from tui import loop
from tui.children import fresh_log, need
from tui.interrupt import Interrupted, interrupts
from tui.link import Link
from tui.workspace import Workspace, folders, locate

ELSEWHERE = Group("On another machine", sort_key=98)
COMMON = Group("Common", sort_key=99)  # last in every help


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Common:
    """Flags that every command takes."""

    workspace: Annotated[
        Path | None,
        Parameter(
            group=COMMON,
            help="Folder for runs, planes and surfaces; default $THALWEG_WORKSPACE, else your user data folder.",
        ),
    ] = None
    data: Annotated[
        Path | None,
        Parameter(group=COMMON, help="Folder with data sets, looked into first; default $THALWEG_DATA."),
    ] = None
    json: Annotated[
        bool,
        Parameter(
            group=COMMON, negative=(), show_default=False, help="Print lines of JSON for machines instead of words."
        ),
    ] = False
    ssh: Annotated[
        str | None,
        Parameter(group=ELSEWHERE, help="[USER@]HOST whose daemon to use, through one `ssh` process."),
    ] = None
    remote_workspace: Annotated[
        str | None, Parameter(group=ELSEWHERE, help="Workspace on that host; by default its own default.")
    ] = None
    remote_command: Annotated[
        str, Parameter(group=ELSEWHERE, help="How thalweg is run on that host.", show_default=True)
    ] = "thalweg"
    connect: Annotated[
        str | None,
        Parameter(group=ELSEWHERE, help="Daemon that listens on TCP, as tcp://HOST:PORT,tcp://HOST:PORT (cmd, evt)."),
    ] = None
    key: Annotated[
        Path | None, Parameter(group=ELSEWHERE, help="Key file for --connect, from `thalweg keys create` there.")
    ] = None

    @property
    def elsewhere(self) -> bool:
        """Whether the daemon is on another machine, or at least not found through a folder of this one."""
        return self.ssh is not None or self.connect is not None

    def again(self) -> str:
        """The flags that a further command needs to speak to the same daemon, as they are typed after it."""
        words: list[str] = []
        for flag, value in (
            ("--workspace", self.workspace),
            ("--ssh", self.ssh),
            ("--remote-workspace", self.remote_workspace),
            ("--connect", self.connect),
            ("--key", self.key),
        ):
            words += [] if value is None else [flag, shlex.quote(str(value))]
        if self.ssh and self.remote_command != "thalweg":
            words += ["--remote-command", shlex.quote(self.remote_command)]
        return "".join(f" {w}" for w in words)

    def place(self) -> Workspace:
        """The workspace that is meant; it need not exist yet."""
        return Workspace(locate(self.workspace))

    def data_folder(self) -> Path | None:
        """The data folder that was typed."""
        return None if self.data is None else self.data.expanduser().absolute()


def ask(question: str, yes: bool) -> None:
    """Ask before something that cannot be undone, on a terminal; anything but y or yes leaves it as it is.

    Where there is no terminal to ask on, `yes` has to be given.
    """
    if yes:
        return
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise InputError("--yes: expected it where nobody can be asked: nothing was changed")
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise InputError("nothing was changed")


@contextmanager
def worker(place: Workspace) -> Iterator[Link]:
    """A worker that is up and idle. Its log stays where something went wrong or something was said.

    A refusal (InputError) leaves nothing behind: no log, no folder that was not there before.
    """
    need("compute", "torch", "torchvision", "sklearn", "scipy")
    with folders(place.root, mode=0o700), folders(place.logs, mode=0o700), interrupts() as stop:
        log = fresh_log(place.logs, "worker")
        try:
            with Link(log, stop) as link:
                loop.ready(link)
                yield link
        except (InputError, Interrupted):
            log.unlink(missing_ok=True)
            raise
        if log.stat().st_size == 0:
            log.unlink()


def common(given: Common | None) -> Common:
    """The flags that were typed, or their defaults."""
    return given or Common()
