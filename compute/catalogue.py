"""What a workspace's programs can do, as data: models, data sets, directions, metrics, analyses, exports, imports.

    python -m compute.catalogue WORKSPACE [--watch FD]

writes `catalogue.json` there, with what it depends on (package versions, plug-ins), so that a daemon and a terminal
without torch can offer every entry with its options. It ends when the pipe FD closes: with the daemon that started it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from compute import config, plugins
from compute.worker import watch
from protocol.errors import InputError
from protocol.files import replacing
from protocol.messages import PRESETS, AnalysisSpec, ExportSpec, ImportSpec, PlaneSpec, SurfaceSpec, TrainSpec

FILE = "catalogue.json"
SPECS = {
    "train": TrainSpec, "plane": PlaneSpec, "surface": SurfaceSpec,
    "analysis": AnalysisSpec, "export": ExportSpec, "import": ImportSpec,
}  # fmt: skip


def catalogue(roots: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Every registry as plain data; options and specs as JSON Schema."""
    from compute import datasets, execution, losses, metrics, models
    from compute.analysis import ANALYSES
    from compute.directions import DIRECTIONS
    from compute.exports import EXPORTS
    from compute.imports import IMPORTS

    return {
        "versions": execution.versions(),
        "presets": msgspec.to_builtins(PRESETS),
        "specs": {kind: msgspec.json.schema(spec) for kind, spec in SPECS.items()},
        "models": models.catalogue(),
        "datasets": datasets.listing(roots),
        "directions": [
            {"name": n, "trajectory": d.trajectory, "options": msgspec.json.schema(d.options)}
            for n, d in DIRECTIONS.items()
        ],
        "metrics": [msgspec.to_builtins(m.decl) for m in metrics.METRICS.values()],
        "losses": sorted(losses.LOSSES),
        "analyses": _entries(ANALYSES),
        "exports": _entries(EXPORTS),
        "imports": _entries(IMPORTS),
    }


def _entries(registry: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": name, "summary": e.summary, "options": msgspec.json.schema(e.options)} for name, e in registry.items()
    ]


class Made(msgspec.Struct):
    """What a written catalogue says of itself."""

    of: dict[str, str] = {}


def is_current(workspace: Path, names: Iterable[str]) -> bool:
    """Whether the catalogue of a workspace was written with the same packages and plug-ins."""
    try:
        made = msgspec.json.decode((workspace / FILE).read_bytes(), type=Made)
    except (OSError, msgspec.MsgspecError, ValueError):
        return False
    return made.of == plugins.stamp(workspace, names)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(prog="compute.catalogue")
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--watch", type=int, metavar="FD", help="a pipe whose closing ends this process")
    args = parser.parse_args()
    if args.watch is not None:
        watch(args.watch)
    from compute import datasets

    try:
        settings = config.read(args.workspace)
        of = plugins.stamp(args.workspace, settings.plugins)
        plugins.load(args.workspace)
    except InputError as e:
        sys.exit(str(e))
    made = catalogue(datasets.search_roots(config=settings.data, workspace=args.workspace))
    with replacing(args.workspace / FILE) as out:
        out.write(msgspec.json.encode({"of": of, **made}))


if __name__ == "__main__":
    main()
