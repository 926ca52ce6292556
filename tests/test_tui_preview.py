"""The window without a screen that the app starts: frames come, moves show, and it ends with the app."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from pilots import awaited

from protocol.errors import InputError
from protocol.files import Surface
from tui.preview import Hand, Preview

pytest.importorskip("moderngl")

PATIENCE_S = 30.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small surface."""
    a = np.linspace(-1, 1, 9)
    z = a[None] ** 2 + 2 * a[:, None] ** 2 + 0.1
    nan = np.full_like(z, np.nan)
    n = np.ones(z.shape, np.int64)
    return Surface(alpha=a, beta=a, loss=z, accuracy=nan, sem=nan, n=n).save(tmp_path / "bowl.npz")


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


@awaited
async def test_frames_come_and_a_turn_of_the_camera_shows(file: Path) -> None:
    preview = Preview()
    await preview.open()
    assert preview._child is not None
    assert preview._folder is not None
    pid, folder = preview._child.pid, preview._folder
    assert folder.stat().st_mode & 0o777 == 0o700
    try:
        await preview.show_file(file)
        await preview.stream(40, 32, 30)
        frames = preview.frames()
        async with asyncio.timeout(PATIENCE_S):
            first = await anext(frames)
            while not first[1]:
                first = await anext(frames)
            assert first[0].shape == (32, 40, 3)
            assert len(np.unique(first[0].reshape(-1, 3), axis=0)) > 20  # a picture, not one colour
            hand = Hand(preview)
            for _ in range(9):
                hand.orbit(5, 0)
            hand.zoom(0.5)
            while (np.abs((await anext(frames))[0].astype(int) - first[0]) > 40).mean() < 0.1:
                pass
            while hand._task is not None and not hand._task.done():
                await asyncio.sleep(0.01)
        assert preview.view is not None
        assert preview.view.view.camera.zoom < 1  # it glides to 0.5
        taken = preview.taken
        await preview.set({"preset": "heat", "colormap": "rainbow"})
        assert preview.view.view.mode == "2d"
        with pytest.raises(InputError, match="height"):
            await preview.set({"height": 99})
        await asyncio.wait_for(anext(frames), PATIENCE_S)
        assert preview.taken == taken + 1
    finally:
        await preview.close()
    assert gone(pid)
    assert not folder.exists()
    await preview.close()


@awaited
async def test_while_the_terminal_is_behind_nothing_is_taken(file: Path) -> None:
    preview = Preview()
    await preview.open()
    try:
        await preview.show_file(file)
        await preview.stream(40, 32, 30)
        open_ = False
        frames = preview.frames(lambda: open_)
        waiting = asyncio.create_task(anext(frames))
        for k in range(6):
            await preview.set({"height": 0.5 + 0.1 * k})
        assert preview.taken == 0
        open_ = True
        async with asyncio.timeout(PATIENCE_S):
            await waiting
        assert preview.taken == 1  # the newest of those that came, not each of them
    finally:
        await preview.close()


@awaited
async def test_a_window_that_cannot_draw_says_so_in_a_sentence() -> None:
    preview = Preview(("--surface", "01K0000000000000000000SURF"))
    with pytest.raises(InputError, match=r"^picture: --surface: expected --workspace or --daemon"):
        await preview.open()
    assert not preview.alive
    with pytest.raises(InputError, match="not up"):
        await preview.set({})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that tells a process of its parent's end")
def test_the_process_ends_when_the_app_is_killed() -> None:
    code = (
        "import asyncio\nfrom tui.preview import Preview\n"
        "async def main():\n p = Preview()\n await p.open()\n print(p._child.pid, flush=True)\n"
        " await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    app = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert app.stdout is not None
    pid = int(app.stdout.readline())
    os.kill(app.pid, signal.SIGKILL)
    app.wait()
    app.stdout.close()
    end = time.monotonic() + PATIENCE_S
    while not gone(pid):
        assert time.monotonic() < end
        time.sleep(0.02)
