"""What a workspace's programs can do, as data: models, data sets, directions, metrics, analyses, exports, imports.

    python -m compute.catalogue WORKSPACE

writes `catalogue.json` there, keyed by package versions, so that a daemon and a terminal without torch can offer every
entry with its options.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from protocol.files import replacing
from protocol.messages import PRESETS, AnalysisSpec, ExportSpec, ImportSpec, PlaneSpec, SurfaceSpec, TrainSpec

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


def main() -> None:
    """Write the file."""
    workspace = Path(sys.argv[1])
    from compute import datasets

    made = catalogue(datasets.search_roots(workspace=workspace))
    with replacing(workspace / "catalogue.json") as out:
        out.write(msgspec.json.encode(made))


if __name__ == "__main__":
    main()
