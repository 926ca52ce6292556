"""A catalogue and records as a daemon gives them, for tests of the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tui.forms import Known, known

RUN, RUN2 = "01K0000000000000000000RUN1", "01K0000000000000000000RUN2"
PCA, RANDOM = "a" * 58 + "4c1dea", "b" * 58 + "81c2fe"
SURFACE = "01K000000000000000000SURF1"


def catalogue() -> dict[str, Any]:
    """The daemon's catalogue with five of the models."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "catalogue.json").read_text())
    return found


def workspace() -> Known:
    """Two runs, two planes, a surface."""
    recipe = {"model": "resnet20", "dataset": "digits"}
    return known(
        runs=[{"id": RUN, "name": "demo", "recipe": recipe, "checkpoints": 11}, {"id": RUN2, "recipe": recipe}],
        planes=[
            {"id": PCA, "hash": PCA, "name": "", "meta": {"kind": "pca", "origin": f"{RUN}@last"}},
            {"id": RANDOM, "hash": RANDOM, "name": "", "meta": {"kind": "random", "origin": f"{RUN}@last"}},
        ],
        surfaces=[{"id": SURFACE, "name": "demo-pca", "meta": {"model": "resnet20", "plane": {"kind": "pca"}}}],
    )
