"""The store of a workspace that no daemon is using, as a process: `python -m compute.store restore --workspace DIR`.

One line of JSON on stdout; a refusal is a line of JSON too (`t: err`). The daemon's own lock keeps it out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from compute import lock
from protocol.errors import InputError

from . import backup
from .restore import restore


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="compute.store", description=__doc__)
    parser.add_argument("verb", choices=("restore", "list"))
    parser.add_argument("which", nargs="?", default=None, help="name of a backup; default: the newest good one")
    parser.add_argument("--workspace", required=True, type=Path)
    args = parser.parse_args()
    workspace = args.workspace.expanduser().absolute()
    answer: dict[str, Any]
    try:
        if args.verb == "list":
            answer = {"t": "ok", "backups": [about(f) for f in backup.backups(workspace)]}
        else:
            answer = {"t": "ok", **put_back(workspace, args.which)}
    except InputError as e:
        answer = {"t": "err", "code": e.code, "msg": e.msg, "path": e.path}
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")


def put_back(workspace: Path, which: str | None) -> dict[str, Any]:
    """Restore under the daemon's lock; what was done."""
    if not workspace.is_dir():
        raise InputError(f"{workspace}: expected a workspace there, found none", code="not_found")
    held = lock.acquire(workspace)
    try:
        done = restore(workspace, which)
    finally:
        held.close()
    return {
        "backup": done.backup.name,
        "old": None if done.old is None else str(done.old),
        "swept": msgspec.to_builtins(done.swept),
    }


def about(file: Path) -> dict[str, Any]:
    """A backup's name, size and whether it is whole."""
    return {"name": file.name, "bytes": file.stat().st_size, "good": backup.is_good(file)}


if __name__ == "__main__":
    main()
