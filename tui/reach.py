"""The daemon that a command speaks to: of a workspace here (started where none runs), through ssh, or on TCP."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from protocol.client import Client
from protocol.connection import START
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.requests import Status
from tui import forward, starting
from tui.forward import Forward
from tui.session import Common


@dataclass(frozen=True)
class Reach:
    """A client, and what is known of the way to its daemon. `root`: its workspace, where that is a folder here."""

    client: Client
    common: Common
    root: Path | None = None
    tunnel: Forward | None = None

    def check(self) -> None:
        """Raise InputError, with the reason, where the way is cut for good."""
        if self.tunnel is not None:
            self.tunnel.check()

    def hint(self, command: str) -> str:
        """`thalweg COMMAND` with the flags that reach the same daemon."""
        return f"thalweg {command}{self.common.again()}"


@contextmanager
def daemon(common: Common, *, start: bool = True) -> Iterator[Reach]:
    """The daemon that was meant, for the block. `start`: start that of a workspace here where none runs.

    Raises InputError in one sentence where there is no way to it.
    """
    check_flags(common)
    if common.connect is not None:
        ends = [e.strip() for e in common.connect.split(",")]
        if len(ends) != 2 or not all(e.startswith(("tcp://", "ipc://")) for e in ends):
            raise InputError(f"--connect: expected tcp://HOST:PORT,tcp://HOST:PORT (cmd, evt), got '{common.connect}'")
        key = None if common.key is None else common.key.expanduser()
        with Client.connect(endpoints=ends, keys=key) as client:
            yield Reach(client, common)
    elif common.ssh is not None:
        command = shlex.split(common.remote_command)
        remote = forward.status(forward.checked(common.ssh), command, common.remote_workspace)
        with Forward(common.ssh, remote) as tunnel, tunnel.client() as client:
            yield Reach(client, common, tunnel=tunnel)
    else:
        root = common.place().root
        with local(common, root, start) as client:
            yield Reach(client, common, root)


@contextmanager
def running(common: Common) -> Iterator[Reach | None]:
    """The daemon where one can be reached, None where no daemon runs on a workspace of this machine."""
    if not common.elsewhere and starting.found(common.place().root) is None:
        yield None
        return
    with daemon(common, start=False) as reach:
        yield reach


@contextmanager
def maybe(common: Common) -> Iterator[Reach | None]:
    """The daemon, None where the workspace of this machine is not there yet: to look for things makes no folder."""
    if not common.elsewhere and not common.place().root.exists():
        check_flags(common)
        yield None
        return
    with daemon(common) as reach:
        yield reach


@contextmanager
def local(common: Common, root: Path, start: bool) -> Iterator[Client]:
    """A client of the daemon of a folder here."""
    client = starting.connect(root)
    if client is None:
        if not start:
            raise InputError(f"daemon: none runs on {root}: {START}{common.again()}", code="unavailable")
        command = starting.command(root, common.data_folder())
        client, new = starting.start(root, command)
        if new:
            starting.say(f"started the daemon of {root}; it stays when this command ends (thalweg daemon stop)")
    with client:
        _same_data(client, common)
        yield client


def _same_data(client: Client, common: Common) -> None:
    wanted = common.data_folder()
    if wanted is None:
        return
    has = client.request(Status(id=new_id())).data
    if has is None or Path(has) != wanted:
        raise InputError(
            f"--data: the daemon that runs reads {has or 'its default folders'}: stop it first (thalweg daemon stop"
            f"{common.again()}), or leave --data out"
        )


def check_flags(common: Common) -> None:
    """Raise InputError for flags of two ways at once."""
    known = {"--workspace": common.workspace, "--ssh": common.ssh, "--connect": common.connect}
    ways = [flag for flag, value in known.items() if value is not None]
    if len(ways) > 1:
        raise InputError(f"{ways[1]}: expected one way to a daemon, got {ways[0]} too: leave one out")
    if common.elsewhere and common.data is not None:
        raise InputError("--data: the daemon elsewhere reads its own folders: leave it out")
    if common.remote_workspace is not None and common.ssh is None:
        raise InputError("--remote-workspace: expected --ssh beside it: it names a folder there")
    if common.key is not None and common.connect is None:
        raise InputError("--key: expected --connect beside it: a workspace here has its own keys")
