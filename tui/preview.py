"""A window without a screen, started by the app: it draws what a window would show, and sends frames.

    preview = Preview(("--workspace", str(root)))
    await preview.open()                          # the process is up, or InputError says why not
    await preview.show("01K...")                  # a surface of the daemon
    await preview.stream(60, 56, fps=10)
    async for pixels, still in preview.frames():  # (h, w, 3); two in flight, the rest is skipped at the window's end
        ...
    await preview.close()

The process ends with the app, however that ends: it is told by the system (Linux), and its socket's folder is private.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.requests import Request
from protocol.steering import AsyncWindowClient, picture
from protocol.windows import (
    CameraOrbit,
    CameraSet,
    CameraZoom,
    Frame,
    FramesStart,
    FramesStop,
    Pick,
    PickReply,
    Show,
    ViewReply,
    ViewSet,
)
from tui import children

READY_S = 30.0  # a first start under load; otherwise 1 s
END_S = 2.0
SIZE = "1280x800"  # of the window that nobody sees: of its videos; picks and moves count in the stream
SOCKET_PATH_LIMIT = 107

# Set before anything is imported: the process is to end when the app does, by SIGTERM, which it hears.
GUARDED = """
import ctypes, os, runpy, sys
parent = int(sys.argv.pop(1))
try:
    ctypes.CDLL(None).prctl(1, 15)  # PR_SET_PDEATHSIG
except (OSError, AttributeError):
    pass
if os.getppid() == parent:
    sys.argv[0] = "renderer.window"
    runpy.run_module("renderer.window", run_name="__main__", alter_sys=True)
"""


def command(*words: str) -> list[str]:
    """The command line of a window that ends with this process."""
    return [sys.executable, "-P", "-c", GUARDED, str(os.getpid()), *words]


def pictures() -> Path:
    """Where pictures and videos are saved on this machine."""
    import platformdirs

    return Path(platformdirs.user_pictures_path()) / "thalweg"


class Preview:
    """`source`: the window's flags for the daemon (`--workspace` or `--daemon`); none: files alone can be shown."""

    def __init__(self, source: Sequence[str] = ()) -> None:
        self.source = tuple(source)
        self.window: AsyncWindowClient | None = None
        self.view: ViewReply | None = None
        self.renderer = ""
        self.told: Callable[[], None] = lambda: None  # called when `view` is another
        self.taken = 0  # frames
        self._child: asyncio.subprocess.Process | None = None
        self._folder: Path | None = None
        self._said: IO[str] | None = None
        self._stream: FramesStart | None = None
        self._shown: tuple[str, ...] = ()

    @property
    def alive(self) -> bool:
        """Whether the process runs and can be asked."""
        return self.window is not None and self._child is not None and self._child.returncode is None

    async def open(self, environment: Mapping[str, str] | None = None) -> None:
        """Start it, where it does not run. Raises InputError with its own sentence where it cannot draw."""
        if self.alive:
            return
        await self.close()
        children.need("window", "moderngl", "PIL")
        base = None if len(os.fsencode(tempfile.gettempdir())) < SOCKET_PATH_LIMIT - 40 else "/tmp"
        self._folder = Path(tempfile.mkdtemp(prefix="thalweg-view-", dir=base))  # mode 0700
        endpoint = f"ipc://{self._folder / 'cmd'}"
        self._said = open(self._folder / "said", "w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        words = ["--headless", "--cmd", endpoint, "--announce", "no", "--size", SIZE, "--scale", "1"]
        words += ["--pictures", str(pictures()), *self.source]
        self._child = await asyncio.create_subprocess_exec(
            *command(*words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._said,
            start_new_session=True,
            env=None if environment is None else dict(environment),
        )
        try:
            self.renderer = str((await self._ready()).get("renderer", ""))
            self.window = await AsyncWindowClient.open(endpoint, timeout_s=READY_S)
        except BaseException:
            await self.close()
            raise

    async def _ready(self) -> dict[str, Any]:
        """The line that says it is up."""
        assert self._child is not None
        assert self._child.stdout is not None
        try:
            async with asyncio.timeout(READY_S):
                line = await self._child.stdout.readline()
        except TimeoutError as e:
            raise InputError(f"picture: its process is not ready after {READY_S:.0f} s", code="unavailable") from e
        if not line:
            code = await self._child.wait()
            raise InputError(f"picture: {self._last() or children.how_it_ended(code)}", code="unavailable")
        found = json.loads(line)
        return found if isinstance(found, dict) else {}

    def _last(self) -> str:
        if self._said is None:
            return ""
        self._said.flush()
        self._said.seek(0)
        return (self._said.read().strip().splitlines() or [""])[-1].removeprefix("thalweg: ")

    async def close(self) -> None:
        """End it."""
        window, self.window = self.window, None
        if window is not None:
            await window.close(linger_ms=0)
        child, self._child = self._child, None
        if child is not None and child.returncode is None:
            with suppress(ProcessLookupError):
                child.terminate()
            try:
                async with asyncio.timeout(END_S):
                    await child.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    child.kill()
                await child.wait()
        if self._said is not None:
            self._said.close()
            self._said = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        self._stream, self._shown = None, ()

    # ------------------------------------------------------------ asking

    async def ask(self, request: Request) -> Any:
        """A request to the window. Raises InputError."""
        if self.window is None:
            raise InputError("picture: its process is not up", code="unavailable")
        reply = await self.window.request(request)
        if isinstance(reply, ViewReply):
            self.take(reply)
        return reply

    def take(self, reply: ViewReply) -> None:
        """The window is like this now."""
        if reply != self.view:
            self.view = reply
            self.told()

    async def show(self, *surfaces: str) -> None:
        """Show surfaces of the daemon by id."""
        if surfaces != self._shown:
            await self.ask(Show(id=new_id(), surfaces=surfaces))
            self._shown = surfaces

    async def show_file(self, file: Path) -> None:
        """Show a surface's file."""
        assert self.window is not None
        upload = await self.window.upload(file)
        await self.show(f"upload:{upload}")

    async def set(self, changes: Mapping[str, Any]) -> None:
        """Change fields of the view by dotted name."""
        await self.ask(ViewSet(id=new_id(), view=dict(changes)))

    # ------------------------------------------------------------ frames

    async def stream(self, width: int, height: int, fps: float) -> None:
        """Ask for frames of so many pixels; a stream that is as asked for goes on."""
        wanted = FramesStart(
            id=new_id(), width=max(16, width), height=max(16, height), fps=fps, format="raw", scale=0.5, bare=True
        )
        before = self._stream
        if before is None or (before.width, before.height, before.fps) != (wanted.width, wanted.height, wanted.fps):
            await self.ask(wanted)
            self._stream = wanted

    async def still(self) -> None:
        """No more frames for now."""
        if self._stream is not None:
            self._stream = None
            if self.alive:
                await self.ask(FramesStop(id=new_id()))

    async def frames(self, gate: Callable[[], bool] = lambda: True) -> AsyncIterator[tuple[NDArray[np.uint8], bool]]:
        """Pictures as they come, with whether they are complete. While `gate` says no nothing is taken, and the window
        sends no more than two. Ends when the process does."""
        while self.alive:
            if not gate():
                await asyncio.sleep(0.02)
                continue
            assert self.window is not None
            newest = None
            for message, arrays in await self.window.poll(0.5):
                if isinstance(message, Frame):
                    newest = (message, arrays)
            if newest is not None:
                self.taken += 1
                yield picture(*newest), newest[0].still


class Hand:
    """Camera moves, added up while the window is busy: a held key sends no queue of requests. Of the places that are
    pointed at the newest is asked, and `picked` hears what is drawn there."""

    def __init__(self, preview: Preview, picked: Callable[[PickReply], None] = lambda _: None) -> None:
        self._preview, self._picked = preview, picked
        self._place: tuple[float, float] | None = None
        self._orbit = [0.0, 0.0]
        self._zoom: list[tuple[float, float, float]] = []
        self._pan = [0.0, 0.0]
        self._task: asyncio.Task[None] | None = None

    def orbit(self, azimuth: float, elevation: float) -> None:
        """Turn by degrees."""
        self._orbit[0] += azimuth
        self._orbit[1] += elevation
        self._go()

    def zoom(self, factor: float, x: float = 0.5, y: float = 0.5) -> None:
        """Zoom at a place, in shares of the picture."""
        if self._zoom and self._zoom[0][1:] == (x, y):
            factor *= self._zoom.pop()[0]
        self._zoom = [(factor, x, y)]
        self._go()

    def point(self, x: float, y: float) -> None:
        """Ask what is drawn at a place, in shares of the picture."""
        self._place = (x, y)
        self._go()

    def pan(self, x: float, y: float) -> None:
        """Shift by shares of half the plot."""
        self._pan[0] += x
        self._pan[1] += y
        self._go()

    def _go(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        with suppress(InputError):
            while any(self._orbit) or any(self._pan) or self._zoom or self._place is not None:
                if any(self._orbit):
                    (azimuth, elevation), self._orbit = self._orbit, [0.0, 0.0]
                    azimuth, elevation = _within(azimuth, 3600), _within(elevation, 180)
                    turned = CameraOrbit(id=new_id(), azimuth=azimuth, elevation=elevation, stream=True)
                    await self._preview.ask(turned)
                if self._zoom:
                    factor, x, y = self._zoom.pop()
                    factor = min(100, max(0.01, factor))
                    await self._preview.ask(CameraZoom(id=new_id(), factor=factor, x=x, y=y, stream=True))
                if any(self._pan):
                    (x, y), self._pan = self._pan, [0.0, 0.0]
                    camera = None if self._preview.view is None else self._preview.view.view.camera
                    at = (0.0, 0.0) if camera is None else (camera.shift_x, camera.shift_y)
                    moved = CameraSet(id=new_id(), shift_x=_within(at[0] + x, 10), shift_y=_within(at[1] + y, 10))
                    await self._preview.ask(moved)
                if self._place is not None:
                    (x, y), self._place = self._place, None
                    self._picked(await self._preview.ask(Pick(id=new_id(), x=x, y=y, stream=True)))


def _within(value: float, most: float) -> float:
    return min(most, max(-most, value))
