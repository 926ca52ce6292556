"""The house: who imports whom, and that the guard itself can fail."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("protocol", "compute", "renderer", "tui")
MAY_IMPORT = {"protocol": {"protocol"}, "compute": {"compute", "protocol"}, "renderer": {"renderer", "protocol"},
              "tui": {"tui", "protocol"}}  # fmt: skip
ONLY_IN = {"torch": "compute", "torchvision": "compute", "moderngl": "renderer", "glfw": "renderer", "textual": "tui"}


def imported(source: str) -> set[str]:
    """Top-level names that a module imports absolutely, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def breaches(room: str, source: str) -> set[str]:
    """What a module of this room may not import but does."""
    names = imported(source)
    return {n for n in names if n in ROOMS and n not in MAY_IMPORT[room]} | {
        n for n in names if n in ONLY_IN and ONLY_IN[n] != room
    }


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    assert files
    assert {str(f): b for f in files if (b := breaches(room, f.read_text()))} == {}


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("tui", "from compute.engine import Engine"),
        ("renderer", "def f():\n    import compute.landscape"),
        ("protocol", "import torch.nn as nn"),
        ("compute", "from textual.app import App"),
        ("tui", "import moderngl"),
    ],
)
def test_the_import_rule_can_fail(room: str, source: str) -> None:
    assert breaches(room, source)


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    own = {f.stem for room in ROOMS for f in (ROOT / room).rglob("*.py")} - {"__init__", "__main__"}
    assert own & set(sys.stdlib_module_names) == set()


@pytest.mark.parametrize("module", ["protocol.messages", "protocol.codec", "protocol.view", "tui.cli"])
def test_light_modules_stay_light(module: str) -> None:
    """What a laptop without torch or OpenGL imports, and what `thalweg --help` pays for."""
    heavy = {"torch", "torchvision", "moderngl", "glfw", "textual", "sklearn", "scipy"}
    code = f"import sys, {module}; print(sorted(set(sys.modules) & {heavy}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


def test_the_project_speaks_of_itself_alone() -> None:
    """No registry host and no lock file: versions are pinned in constraints.txt, without addresses."""
    assert "://" not in (ROOT / "constraints.txt").read_text()
    assert not [f for f in ROOT.iterdir() if f.name in {"uv.lock", "poetry.lock", "Pipfile.lock", "package-lock.json"}]
