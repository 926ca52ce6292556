"""The worked examples of docs/protocol.md, run against a daemon: a training and a surface, received live."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from protocol.files import Surface

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("workspace")
    daemon = subprocess.Popen([sys.executable, "-m", "compute.daemon", "--workspace", str(folder)], cwd=ROOT)
    try:
        end = time.monotonic() + 20
        while not (folder / "daemon.json").exists():
            assert daemon.poll() is None, "the daemon ended at its start"
            assert time.monotonic() < end
            time.sleep(0.05)
        yield folder
    finally:
        daemon.terminate()
        daemon.wait(20)


def check(printed: str, workspace: Path) -> None:
    """Seven rows came live, and they are those of the sealed surface."""
    rows = {int(i): line.split() for i, line in re.findall(r"^row (\d): (.*)$", printed, re.M)}
    assert sorted(rows) == list(range(7))
    [surface] = re.findall(r"^surface (\S{26})$", printed, re.M)
    loss = Surface.load(workspace / "surfaces" / f"{surface}.npz").loss
    live = np.array([[float(v) for v in rows[i]] for i in range(7)])
    np.testing.assert_allclose(live, loss, rtol=1e-5, atol=6e-4)  # printed with three decimals


def test_the_python_example_receives_a_surface_live(workspace: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "follow_surface.py"), str(workspace)]
    out = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert out.returncode == 0, out.stderr
    check(out.stdout, workspace)


def test_the_node_example_receives_a_surface_live(workspace: Path, tmp_path: Path) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("node and npm are not here")
    for name in ("package.json", "follow_surface.mjs"):
        shutil.copy(EXAMPLES / name, tmp_path)
    install = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    made = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, timeout=300, env=dict(os.environ))
    if made.returncode != 0:
        pytest.skip(f"the npm packages cannot be installed: {made.stderr.strip()[-200:]}")
    out = subprocess.run(
        [node, "follow_surface.mjs", str(workspace)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert out.returncode == 0, out.stderr
    check(out.stdout, workspace)


def test_the_examples_use_nothing_but_zeromq_and_messagepack() -> None:
    python = (EXAMPLES / "follow_surface.py").read_text(encoding="utf-8")
    imported = set(re.findall(r"^(?:import|from) (\w+)", python, re.M))
    assert imported - set(sys.stdlib_module_names) == {"msgpack", "zmq"}
