"""`python -m compute.datasets list|fetch ...`: the data sets as lines of JSON, for `thalweg data`.

`list` prints one object a data set; `fetch NAME` prints `{"t": "ok", "where": ...}` or `{"t": "err", "msg": ...}`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from compute import config, plugins
from protocol.errors import InputError

from . import fetch, listing, search_roots


def main() -> None:
    """Answer one question and exit."""
    parser = argparse.ArgumentParser(prog="python -m compute.datasets")
    parser.add_argument("verb", choices=("list", "fetch"))
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--data")
    parser.add_argument("--workspace")
    parser.add_argument("--into", help="folder that `fetch` downloads into; it must exist")
    asked = parser.parse_args()
    if asked.verb == "fetch" and not asked.into:
        parser.error("fetch: expected --into FOLDER")
    answers: list[dict[str, Any]]
    try:
        settings = config.Config()
        if asked.workspace:
            settings = config.read(Path(asked.workspace))
            plugins.load(Path(asked.workspace))
        if asked.verb == "list":
            answers = listing(search_roots(asked.data, config=settings.data, workspace=asked.workspace))
        else:
            with contextlib.redirect_stdout(sys.stderr):  # downloaders print; stdout is for the answer
                where = fetch(asked.name, Path(asked.into))
            answers = [{"t": "ok", "name": asked.name, "where": str(where)}]
    except InputError as e:
        answers = [{"t": "err", "code": e.code, "msg": e.msg, "path": e.path}]
    for answer in answers:
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
