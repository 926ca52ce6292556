"""`thalweg store verify|backup|restore`: what is kept, checked, copied and brought back."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.requests import BackupReply, StoreBackup, StoreVerify, VerifyReply
from tui import progress, reach, session
from tui.children import JsonChild, python
from tui.session import Common

LONG_S = 24 * 3600.0  # every byte of every file is read


def store_verify(*, common: Common | None = None) -> None:
    """Check the database and the hash of every file; exit code 1 where something is wrong."""
    common = session.common(common)
    with reach.daemon(common) as there:
        reply: VerifyReply = there.client.request(StoreVerify(id=new_id()), timeout_s=LONG_S)
    if common.json:
        progress.print_json({"t": "result", "checked": reply.checked, "problems": reply.problems})
    else:
        for problem in reply.problems:
            print(problem)
        good = "all as they were stored" if not reply.problems else f"{len(reply.problems)} problems"
        print(f"the database and {reply.checked} files are checked: {good}")
    if reply.problems:
        sys.exit(1)


def store_backup(*, common: Common | None = None) -> None:
    """Copy the database into the workspace's backups now."""
    common = session.common(common)
    with reach.daemon(common) as there:
        reply: BackupReply = there.client.request(StoreBackup(id=new_id()), timeout_s=LONG_S)
    if common.json:
        progress.print_json({"t": "result", "file": reply.file})
    else:
        print(f"the database is copied to {reply.file}")


def store_restore(
    backup: Annotated[
        str | None, Parameter(help="Backup to bring back, by its name; by default the newest good one.")
    ] = None,
    /,
    *,
    yes: Annotated[bool, Parameter(negative=(), show_default=False, help="Do not ask.")] = False,
    common: Common | None = None,
) -> None:
    """Bring the database back from a backup; no daemon may run. Newer weights and surfaces are taken up again."""
    common = session.common(common)
    root = common.place().root
    if not root.is_dir():
        raise InputError(f"{root}: expected a workspace there, found none", code="not_found")
    session.ask(f"bring {backup or 'the newest good backup'} back in {root}?", yes)
    words = [*python("compute.store"), "restore", *([backup] if backup else []), "--workspace", str(root)]
    with JsonChild(words, "the process that restores") as child:
        (answer,) = child.answers()
    if answer.get("t") == "err":
        raise InputError(answer["msg"], code=answer["code"], path=answer["path"])
    if common.json:
        progress.print_json({**answer, "t": "result"})
        return
    adopted, bad = len(answer["swept"]["adopted"]), answer["swept"]["quarantined"]
    print(f"{answer['backup']} is the database again" + (f"; the old one is {answer['old']}" if answer["old"] else ""))
    if adopted:
        print(f"{adopted} newer files were taken up")
    for line in bad:
        print(f"set aside: {line}")
