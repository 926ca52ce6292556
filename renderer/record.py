"""Videos: MP4 with H.264 in yuv420p, the index in front, which plays in browsers, slides and players alike.

The encoder is the ffmpeg that imageio-ffmpeg brings, fed raw pictures through a pipe. A video is written whole or not
at all: into a hidden file beside its place, renamed when it is complete.

    with Recorder("turn.mp4", (1280, 800), fps=30) as video:      a window: pictures come when they come
        video.frame(renderer.pixels(), time.monotonic())          `frame` never waits; the rate stays constant
        ...
        video.close()                                             the file is there; without it, it never is

A turntable (`turntable`) keeps the size of the box as it turns.
"""

from __future__ import annotations

import os
import queue
import re
import secrets
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.files import sync_folder
from protocol.view import Camera
from renderer import keeping
from renderer.camera import middle

QUALITY = 18  # x264's constant rate factor: visually lossless on lines and text
AHEAD = 8  # pictures that may wait for the encoder
END_S = 120.0  # for the encoder to write what it holds
Pixels = NDArray[np.uint8]


def encoder() -> str:
    """The path of ffmpeg. Raises InputError (`unavailable`) where there is none."""
    try:
        import imageio_ffmpeg  # its import looks for programs; only a video needs it

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except ImportError as e:
        raise InputError(
            "video: imageio-ffmpeg is not installed here, and a video needs it: pip install 'thalweg[window]'",
            code="unavailable",
        ) from e
    except RuntimeError as e:
        raise InputError(
            "video: no ffmpeg program on this machine: pip install --force-reinstall imageio-ffmpeg, or name one in "
            "IMAGEIO_FFMPEG_EXE",
            code="unavailable",
        ) from e


def even(size: tuple[int, int]) -> tuple[int, int]:
    """The size in pixels as a video has it: H.264 in yuv420p wants even sides; the last column or row is repeated."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


class Recorder:
    """A video of `size` (width, height) pixels at a constant rate, from pictures at any times.

    `frame(pixels, time)` shows a picture from its time on; of several within one frame of the video the last counts.
    With `wait` every picture is encoded; without, one that the encoder has no room for is passed over and the next one
    fills its time. Pictures must not be changed afterwards. `texts` go into the file as metadata. With `fresh` a file
    of that name is left alone, and the video's name gets -2, -3 ... (`path`, after `close`). Raises InputError at once
    where nothing can be written there or no encoder is found, and from `close` where the encoder failed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        size: tuple[int, int],
        fps: int = 30,
        *,
        wait: bool = False,
        fresh: bool = False,
        texts: dict[str, str] | None = None,
    ) -> None:
        self.path, self.size, self.fps, self.wait, self.fresh = Path(path), even(size), fps, wait, fresh
        self.frames = 0  # written, of the video
        self._held: Pixels | None = None
        self._began: float | None = None
        self._latest = 0.0
        self._tmp = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.tmp")
        program = encoder()
        try:
            self._tmp.touch(mode=0o644, exist_ok=False)
        except OSError as e:
            raise InputError(
                f"{self.path}: cannot write there ({e.strerror}): choose another folder", code="unavailable"
            ) from e
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the encoder
        try:
            self._child = subprocess.Popen(
                _command(program, self.size, fps, wait, self._tmp, texts or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                start_new_session=True,  # Ctrl-C ends the recording, not the encoder under it
            )
        except OSError as e:
            self._said.close()
            self._tmp.unlink(missing_ok=True)
            raise InputError(f"video: cannot run {program} ({e.strerror})", code="unavailable") from e
        self._queue: queue.Queue[tuple[Pixels, int] | None] = queue.Queue(AHEAD)
        self._writer = threading.Thread(target=self._write, name="video", daemon=True)
        self._writer.start()

    @property
    def seconds(self) -> float:
        """How long the video is, so far."""
        return self.frames / self.fps

    @property
    def room(self) -> bool:
        """Whether `frame` returns at once, with `wait` too."""
        return not self._queue.full()

    @property
    def broken(self) -> bool:
        """Whether the encoder ended before its time; `close` says why."""
        return self._child.poll() is not None

    def frame(self, pixels: Pixels, time: float) -> None:
        """Show a picture (h, w, 3), top row first, from `time` in seconds on, by any clock that does not go back.

        One of another size is laid into the middle, smaller where it is larger.
        """
        if self._began is None:
            self._began = time
        self._fill(time, self.wait)
        self._held, self._latest = pixels, time

    def hold(self, time: float) -> None:
        """The last picture is still shown at `time`: encode it until then, so that less is left for the end."""
        self._fill(time, self.wait)
        self._latest = max(self._latest, time)

    def close(self, time: float | None = None) -> Path:
        """Finish the video, the last picture shown until `time` (at least one frame), and put it in its place. Raises
        InputError, with no file left, where no picture came or the encoder failed."""
        if self._held is None and not self._child.poll():
            self.cancel()
            raise InputError(f"{self.path}: no picture was recorded: there is no video", code="wrong_state")
        self._fill(self._latest, patient=True)  # what the encoder had no room for
        before = self.frames
        if time is not None:
            self._fill(time, patient=True)
        if self.frames == before and self._held is not None:
            self._send(1, patient=True)
        try:
            self._end()
            if self.fresh:
                self.path = keeping.settle(self._tmp, self.path)
            else:
                os.replace(self._tmp, self.path)
            sync_folder(self.path.parent)
        except OSError as e:
            raise InputError(f"{self.path}: cannot write it ({e.strerror})", code="unavailable") from e
        finally:
            self.cancel()
        return self.path

    def cancel(self) -> None:
        """Leave no trace of what was not finished; harmless after `close`."""
        self._child.kill()
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        while self._writer.is_alive():
            with suppress(queue.Empty):
                self._queue.get_nowait()
            with suppress(queue.Full):
                self._queue.put_nowait(None)
            self._writer.join(0.05)
        self._child.wait()
        self._said.close()
        self._tmp.unlink(missing_ok=True)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def _fill(self, time: float, patient: bool) -> None:
        """Write the picture that is held until `time`."""
        if self._began is not None and self._held is not None:
            # a clock's rounding must not turn frames of the video's own rate into one more or less
            due = int((time - self._began) * self.fps + 1e-6)
            if due > self.frames:
                self._send(due - self.frames, patient)

    def _send(self, count: int, patient: bool) -> None:
        assert self._held is not None
        if self._queue.full() and not patient:
            return  # the next picture fills this one's place: the time is kept
        self._queue.put((self._held, count))
        self.frames += count

    def _write(self) -> None:
        pipe = self._child.stdin
        assert pipe is not None
        with suppress(OSError):  # the encoder is gone: `close` tells
            while (item := self._queue.get()) is not None:
                data = fitted(item[0], self.size).data
                for _ in range(item[1]):
                    pipe.write(data)
        while item is not None:  # nobody may wait for room
            item = self._queue.get()
        with suppress(OSError):
            pipe.close()

    def _end(self) -> None:
        self._queue.put(None)
        self._writer.join()
        try:
            code = self._child.wait(END_S)
        except subprocess.TimeoutExpired as e:
            raise InputError(f"{self.path}: the encoder does not end", code="internal") from e
        if code:
            self._said.seek(0)
            lines = self._said.read().decode(errors="replace").strip().splitlines()
            if any("No space left" in line for line in lines):
                raise InputError(f"{self.path}: no space left on that disk: choose another folder", code="no_space")
            why = re.sub(r"^\[[^]]*\]\s*", "", lines[-1]) if lines else f"exit code {code}"
            raise InputError(f"{self.path}: the encoder failed ({why})", code="unavailable")
        with open(self._tmp, "rb+") as file:
            os.fsync(file.fileno())


def _command(
    program: str, size: tuple[int, int], fps: int, offline: bool, out: Path, texts: dict[str, str]
) -> list[str]:
    w, h = size
    words = [program, "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
    words += ["-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{w}x{h}", "-framerate", str(fps)]
    words += ["-i", "pipe:0", "-an", "-c:v", "libx264", "-preset", "medium" if offline else "veryfast"]
    # colours are converted by the standard of high definition and marked as such: players that guess are not asked to
    rec709 = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
    colours = f"scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,{rec709}"
    words += ["-crf", str(QUALITY), "-vf", colours]
    words += ["-profile:v", "high", "-movflags", "+faststart"]
    for key, text in texts.items():
        words += ["-metadata", f"{key}={text}"]
    return [*words, "-f", "mp4", str(out)]


def fitted(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """A picture (h, w, 3) as one of `size` (width, height): made smaller, its shape kept, where it does not fit, and
    laid into the middle, its edges repeated around it."""
    h, w = pixels.shape[:2]
    width, height = size
    shrink = min(1.0, width / w, height / h)
    if shrink < 1.0:
        from PIL import Image  # only a window that grew while it was recorded needs it

        w, h = max(1, round(w * shrink)), max(1, round(h * shrink))
        small = Image.fromarray(np.ascontiguousarray(pixels)).resize((w, h), Image.Resampling.BOX)
        pixels = np.asarray(small, np.uint8)
    if (w, h) == (width, height):
        return np.ascontiguousarray(pixels)
    up, left = (height - h) // 2, (width - w) // 2
    around = ((up, height - h - up), (left, width - w - left), (0, 0))
    return np.ascontiguousarray(np.pad(pixels, around, mode="edge"))


def turntable(lens: Camera, top: float, frames: int, turns: float = 1.0) -> Iterator[Camera]:
    """The cameras of a turntable: `frames` of them, `turns` around the box of world height `top`, evenly, so that whole
    turns join without a jolt. `lens` has its angles settled; one with an automatic target gets the middle of the box,
    so that the size stays."""
    start = 0.0 if lens.azimuth == "auto" else lens.azimuth
    if lens.target == "auto":
        x, y, z = (float(v) for v in middle(top))
        lens = msgspec.structs.replace(lens, target=(x, y, z))
    for k in range(frames):
        azimuth = (start + 360.0 * turns * k / frames + 180.0) % 360.0 - 180.0
        yield msgspec.structs.replace(lens, azimuth=azimuth)
