"""`thalweg keys create|list|revoke`: who may speak to a daemon that listens on TCP."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from protocol import keys
from protocol.errors import InputError
from tui import progress, session
from tui.session import Common
from tui.tables import table
from tui.workspace import check_writable, folders

Name = Annotated[str, Parameter(help="Name of the client: a-z, 0-9, `-` and `_`.")]


def keys_create(
    name: Name,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Copy the client's key file there as well.")] = None,
    common: Common | None = None,
) -> None:
    """Make a key for a client: the file to hand to it, for --key."""
    common = session.common(common)
    target = None if out is None else out.expanduser().absolute()
    if target is not None:
        target = target / f"{name}.key_secret" if target.is_dir() else target
        if target.exists():
            raise InputError(f"--out: {target} is there already: choose another name", code="exists")
        check_writable(target.parent)
    with folders(common.place().root, mode=0o700):
        file = keys.create(common.place().root, name)
    if target is not None:
        shutil.copyfile(file, target)
        os.chmod(target, 0o600)
    where = target or file
    if common.json:
        progress.print_json({"t": "result", "name": name, "file": str(where)})
        return
    print(
        f"key '{name}': {where}\nHand this file over in a safe way: who has it can use the daemon, which listens with"
    )
    print("  thalweg daemon start --tcp PORT")


def keys_list(*, common: Common | None = None) -> None:
    """List the clients that have a key."""
    common = session.common(common)
    found = keys.clients(common.place().root)
    if common.json:
        for key in found:
            progress.print_json({"name": key.name, "public": key.public.decode(), "created": key.created})
        return
    table(
        ("name", "made", "public key"),
        [(key.name, key.created[:16].replace("T", " "), key.public.decode()) for key in found],
        empty="no key yet: thalweg keys create NAME",
    )


def keys_revoke(name: Name, /, *, common: Common | None = None) -> None:
    """Take a client's key away: it is not let in again."""
    common = session.common(common)
    keys.revoke(common.place().root, name)
    if common.json:
        progress.print_json({"t": "result", "name": name, "revoked": True})
        return
    print(f"key '{name}' is revoked; a connection that is open now lasts until it ends")
