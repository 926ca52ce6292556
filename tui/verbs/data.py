"""`thalweg data list|fetch`: asks `python -m compute.datasets`, which knows the data sets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from protocol.errors import InputError
from tui import progress, session
from tui.children import JsonChild, need, python
from tui.session import Common
from tui.tables import table
from tui.workspace import folders


def data_list(*, common: Common | None = None) -> None:
    """List the data sets and where they lie."""
    common = session.common(common)
    rows = ask(common, "list")
    if common.json:
        for row in rows:
            progress.print_json(row)
        return
    table(
        ("name", "images", "train", "test", "classes", "where"),
        [
            (
                row["name"],
                f"{row['image_size']} x {row['image_size']} {'grey' if row['channels'] == 1 else 'colour'}",
                f"{row['train']:,}",
                f"{row['test']:,}",
                str(row["classes"]),
                row["where"] or (f"absent: thalweg data fetch {row['name']}" if row["fetchable"] else "absent"),
            )
            for row in rows
        ],
    )


def data_fetch(
    name: Annotated[str, Parameter(help="Data set, as `thalweg data list` names it.")],
    /,
    *,
    common: Common | None = None,
) -> None:
    """Download a data set."""
    common = session.common(common)
    chosen = common.data_folder() or os.environ.get("THALWEG_DATA")
    into = Path(chosen).expanduser().absolute() if chosen else common.place().root / "data"
    if not common.json:
        print(f"fetching {name} ...", flush=True)
    with folders(into):
        (answer,) = ask(common, "fetch", name, "--into", str(into))
    if common.json:
        progress.print_json(answer)
    else:
        print(f"{name} lies in {answer['where']}")


def ask(common: Common, *verb: str) -> list[dict[str, Any]]:
    """The answers of `python -m compute.datasets`; an error among them is raised."""
    need("compute", "torch", "torchvision")
    command = [*python("compute.datasets"), *verb, "--workspace", str(common.place().root)]
    folder = common.data_folder()
    if folder is not None:
        command += ["--data", str(folder)]
    with JsonChild(command, "the process that knows the data sets") as child:
        answers = child.answers()
    for answer in answers:
        if answer.get("t") == "err":
            raise InputError(answer["msg"], code=answer["code"], path=answer["path"])
    return answers
