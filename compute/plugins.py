"""A user's own models and data sets: modules that a workspace's config.toml names, imported where there is torch.

A plug-in is a file that says what a file of compute/models or compute/datasets says: `ENTRIES`, or one `ENTRY`. What it
adds to another table (a metric, a direction, an export) it writes into that table when it is imported.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from compute import config
from protocol.errors import InputError

_loaded: set[tuple[Path, str]] = set()


def load(workspace: Path) -> None:
    """Import the plug-ins of a workspace and register what they bring; those that were are left as they are.

    Raises InputError in one sentence: no such file or module, an error in it, a name that is taken, nothing in it.
    """
    for name in config.read(workspace).plugins:
        if (workspace, name) not in _loaded:
            _register(name, workspace)
            _loaded.add((workspace, name))


def stamp(workspace: Path, names: Iterable[str]) -> dict[str, str]:
    """What a catalogue depends on: versions of packages, and the contents of plug-in files. Imports nothing."""
    found = {}
    for package in ("thalweg", "torch", "torchvision"):
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    for name in names:
        found[name] = "module"
        if _is_file(name):
            with suppress(OSError):
                found[name] = hashlib.sha256(config.path(name, workspace).read_bytes()).hexdigest()
    return found


def _is_file(name: str) -> bool:
    return "/" in name or name.endswith(".py")


def _register(name: str, workspace: Path) -> None:
    tables = _tables()
    before = sum(len(t) for t in tables.values())
    module = _imported(name, workspace)
    entries = [*getattr(module, "ENTRIES", ()), *([module.ENTRY] if hasattr(module, "ENTRY") else [])]
    for entry in entries:
        table = tables.get(type(entry).__name__)
        if table is None:
            raise InputError(
                f"plug-in {name}: expected ModelEntry and DatasetEntry in its ENTRIES, got {type(entry).__name__}"
            )
        if entry.name in table and table[entry.name] is not entry:
            raise InputError(f"plug-in {name}: the name '{entry.name}' is taken: choose another one")
    for entry in entries:  # all or none
        tables[type(entry).__name__][entry.name] = entry
    if not entries and sum(len(t) for t in tables.values()) == before:
        raise InputError(f"plug-in {name}: expected ENTRIES with what it adds, found nothing in it")


def _imported(name: str, workspace: Path) -> ModuleType:
    try:
        if not _is_file(name):
            return importlib.import_module(name)
        file = config.path(name, workspace)
        digest = hashlib.sha256(str(file).encode()).hexdigest()[:8]
        spec = importlib.util.spec_from_file_location(f"thalweg_plugin_{file.stem}_{digest}", file)
        if spec is None or spec.loader is None or not file.is_file():
            raise InputError(f"plug-in {name}: expected a Python file there, found none at {file}", code="not_found")
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        spec.loader.exec_module(module)
    except InputError:
        raise
    except (Exception, SystemExit) as e:  # whatever a file of somebody else's does
        traceback.print_exc()  # for the log
        line = (str(e).strip().splitlines() or [""])[0]
        raise InputError(f"plug-in {name}: it cannot be imported: {type(e).__name__}: {line}") from e
    return module


def _tables() -> dict[str, MutableMapping[str, Any]]:
    """Every table, the two that take entries by the name of the entry's class."""
    from compute import datasets, losses, metrics, models
    from compute.analysis import ANALYSES
    from compute.directions import DIRECTIONS
    from compute.exports import EXPORTS
    from compute.imports import IMPORTS

    return {
        "ModelEntry": models.MODELS,
        "DatasetEntry": datasets.DATASETS,
        "metric": metrics.METRICS,
        "loss": losses.LOSSES,
        "direction": DIRECTIONS,
        "analysis": ANALYSES,
        "export": EXPORTS,
        "import": IMPORTS,
    }
