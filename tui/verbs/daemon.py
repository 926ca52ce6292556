"""`thalweg daemon start|stop|status|logs|run`: the process that keeps jobs, and goes on when everybody has left."""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from protocol.connection import read_connection
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.requests import DaemonShutdown, Status, StatusReply
from tui import progress, reach, session, starting
from tui.children import ChildError
from tui.session import Common

STOP_S = 15.0  # it promises 10
Tcp = Annotated[
    int | None,
    Parameter(help="Listen on this port and the next one as well, for clients with a key (`thalweg keys create`)."),
]
Listen = Annotated[str | None, Parameter(help="Address for --tcp. [default: 127.0.0.1]")]


def daemon_start(*, tcp: Tcp = None, listen: Listen = None, common: Common | None = None) -> None:
    """Start the daemon of the workspace, where none runs; it stays when this command and the login end."""
    common = session.common(common)
    root = common.place().root
    check_tcp(tcp, listen)
    client = starting.connect(root)
    new = client is None
    if client is None:
        client, new = starting.start(root, starting.command(root, common.data_folder(), tcp, listen))
    elif tcp is not None:
        client.close()
        raise InputError(
            "--tcp: the daemon runs already: stop it first (thalweg daemon stop), then start it with --tcp"
        )
    with client:
        status: StatusReply = client.request(Status(id=new_id()))
    if common.json:
        progress.print_json({"t": "result", "started": new, "pid": status.pid, "boot": status.boot})
        return
    print(f"the daemon {'is started' if new else 'runs already'} (process {status.pid}) on {root}")


def daemon_run(*, tcp: Tcp = None, listen: Listen = None, common: Common | None = None) -> None:
    """Run the daemon in the foreground, for a service manager or a look at it; Ctrl-C ends it in good order."""
    common = session.common(common)
    check_tcp(tcp, listen)
    line = starting.command(common.place().root, common.data_folder(), tcp, listen)
    os.execvpe(line[0], line, {"OMP_WAIT_POLICY": "PASSIVE", **os.environ})


def check_tcp(tcp: int | None, listen: str | None) -> None:
    """Raise InputError for a port or address that cannot be."""
    if tcp is not None and not 0 <= tcp <= 65534:
        raise InputError(f"--tcp: expected a port of 0 (any) to 65534, got {tcp}")
    if listen is not None and tcp is None:
        raise InputError("--listen: expected --tcp beside it: sockets of the workspace have no address")


def daemon_stop(
    *,
    mode: Annotated[
        Literal["now", "finish"],
        Parameter(help="`now`: at the next step or row. `finish`: after the epoch or row in progress."),
    ] = "now",
    common: Common | None = None,
) -> None:
    """Stop the daemon and wait for its end; jobs go on where they were when it starts again."""
    common = session.common(common)
    root = common.place().root
    try:
        client = starting.connect(root)
    except InputError as e:
        connection = starting.found(root)
        if e.code != "unavailable" or connection is None or "--ssh" in e.msg:
            raise
        raise ChildError(
            f"the daemon of {root} does not answer; as a last resort: kill {connection.pid} (what is stored is kept)"
        ) from e
    if client is None:
        if not common.json:
            print(f"no daemon runs on {root}")
        else:
            progress.print_json({"t": "result", "stopped": False})
        return
    with client:
        status: StatusReply = client.request(Status(id=new_id()))
        client.request(DaemonShutdown(id=new_id(), mode=mode))
    left = status.jobs.get("running", 0) + status.jobs.get("queued", 0) + status.jobs.get("waiting", 0)
    if not starting.wait_for_end(status.pid, STOP_S if mode == "now" else 1e9):
        raise ChildError(f"the daemon (process {status.pid}) has not ended within {STOP_S:.0f} s: see its log")
    if common.json:
        progress.print_json({"t": "result", "stopped": True, "pid": status.pid, "unfinished": left})
        return
    rest = f"; {left} unfinished job{'s go' if left > 1 else ' goes'} on when it starts again" if left else ""
    print(f"the daemon (process {status.pid}) is stopped{rest}")


def daemon_status(*, common: Common | None = None) -> None:
    """Say where the daemon is and what it does."""
    common = session.common(common)
    with reach.daemon(common, start=False) as there:
        status: StatusReply = there.client.request(Status(id=new_id()))
        if common.json:
            hello = there.client.hello
            at = there.client.address
            cmd, evt = at.cmd, at.evt
            if there.root is not None:
                connection = read_connection(there.root)
                cmd, evt = connection.cmd, connection.evt
            progress.print_json(
                {
                    "cmd": cmd,
                    "evt": evt,
                    "proto": hello.proto if hello else 0,
                    "pid": status.pid,
                    "boot": status.boot,
                    "store": hello.store if hello else "",
                    "workspace": status.workspace,
                    "uptime_s": status.uptime_s,
                    "jobs": status.jobs,
                    "workers": status.workers,
                }
            )
            return
        for line in status_lines(status):
            print(line)


def status_lines(status: StatusReply) -> list[str]:
    """A daemon's state for a person."""
    jobs = {state: n for state, n in status.jobs.items() if n}
    lines = [
        f"daemon     process {status.pid}, up {progress.seconds_text(status.uptime_s)}",
        f"workspace  {status.workspace}",
        f"data       {status.data or 'the default folders (thalweg data list)'}",
        *(f"settings   {line}" for line in [config_text(status.config)] if line),
        f"jobs       {', '.join(f'{n} {state}' for state, n in jobs.items()) or 'none yet'}",
    ]
    workers = [worker_text(w) for w in status.workers] or ["none: one starts with the next job"]
    lines += [f"{'workers' if k == 0 else '':<11}{w}" for k, w in enumerate(workers)]
    free = status.store.get("free_bytes")
    if free is not None:
        full = " (full: jobs wait until there is room)" if status.store.get("full") else ""
        lines.append(f"disk       {free / 1e9:.1f} GB free{full}")
    if status.clients_refused or status.bad_frames:
        lines.append(f"refused    {status.clients_refused} clients without a key, {status.bad_frames} bad messages")
    return lines


def config_text(config: dict[str, Any]) -> str:
    """What config.toml says besides the data folder, in a few words; nothing where it says nothing."""
    said = {name: value for name, value in config.items() if name != "data" and (name, value) != ("passes", 1)}
    return "; ".join(f"{k} {', '.join(v) if isinstance(v, list) else v}" for k, v in said.items())


def worker_text(worker: dict[str, Any]) -> str:
    """A worker in a few words."""
    job = f" with job {worker['job'][-6:]}" if worker.get("job") else ""
    return f"{worker.get('state', '')}{job}, {worker.get('device') or 'starting'}, process {worker.get('pid')}"


def daemon_logs(
    *,
    lines: Annotated[int, Parameter(help="How many of the last lines.")] = 40,
    follow: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Print what is added, until Ctrl-C.")
    ] = False,
    common: Common | None = None,
) -> None:
    """Print the end of the daemon's log."""
    common = session.common(common)
    file = common.place().logs / starting.LOG
    if lines < 1:
        raise InputError(f"--lines: expected at least 1, got {lines}")
    if not file.is_file():
        raise InputError(f"{file}: expected the daemon's log, found none: none was started there", code="not_found")
    tail(file, lines, follow)


def tail(file: Path, lines: int, follow: bool) -> None:
    """The last lines of a file, and what is added."""
    with open(file, encoding="utf-8", errors="replace") as log:
        for line in deque(log, maxlen=lines):
            print(line, end="")
        while follow:
            line = log.readline()
            if line:
                print(line, end="", flush=True)
            else:
                time.sleep(0.2)
