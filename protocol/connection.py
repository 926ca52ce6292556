"""daemon.json, the connection file: where the daemon of a workspace is to be found. Written after the bind."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec

from protocol.errors import InputError
from protocol.files import replacing

FILE = "daemon.json"
START = "start it with: thalweg daemon start"


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """What a client needs to know. `server_key` (Z85) is empty where the sockets are ipc, guarded by the workspace."""

    proto: int
    cmd: str
    evt: str
    server_key: str = ""
    pid: int
    boot: str
    store: str
    host: str
    tcp: tuple[str, ...] = ()  # cmd and evt for clients with a key, where it listens on TCP too


def write_connection(workspace: str | os.PathLike[str], connection: Connection) -> Path:
    """Write the connection file, whole or not at all, for its owner's eyes."""
    file = Path(workspace) / FILE
    with replacing(file) as out:
        os.chmod(out.fileno(), 0o600)
        out.write(msgspec.json.format(msgspec.json.encode(connection)) + b"\n")
    return file


def read_connection(workspace: str | os.PathLike[str]) -> Connection:
    """The connection file. Raises InputError: `unavailable` where no daemon runs, `integrity` for a damaged file."""
    file = Path(workspace) / FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Connection)
    except (FileNotFoundError, NotADirectoryError) as e:
        raise InputError(f"daemon: none runs on {workspace}: {START}", code="unavailable") from e
    except OSError as e:
        raise InputError(f"{file}: cannot read the connection file ({e.strerror})", code="unavailable") from e
    except (msgspec.MsgspecError, ValueError, RecursionError) as e:
        raise InputError(
            f"{file}: corrupted connection file: stop the daemon if one runs, then {START}", code="integrity"
        ) from e


def check_reachable(workspace: str | os.PathLike[str], connection: Connection) -> None:
    """Raises InputError (`unavailable`) where the file's daemon cannot be there: its process is gone, or it runs on
    another machine that shares the folder."""
    if connection.host and connection.host != socket.gethostname():
        if connection.cmd.startswith("ipc:"):
            raise InputError(
                f"daemon: the one of {workspace} runs on {connection.host}: use --ssh {connection.host}",
                code="unavailable",
            )
        return
    try:
        os.kill(connection.pid, 0)
    except ProcessLookupError as e:
        raise InputError(
            f"daemon: the one of {workspace} has stopped (process {connection.pid} is gone): {START}",
            code="unavailable",
        ) from e
    except (PermissionError, OverflowError):
        return  # somebody else's process with that number: whether a daemon answers is seen by asking
