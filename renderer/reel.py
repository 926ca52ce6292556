"""What moves and is kept: a picture that turns on its own, a recording of what the window shows, a turntable in full
quality as a video. `tick` is called in every turn of the window's loop and does at most one picture's work."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.view import Camera, View
from protocol.windows import ShotReply, Turntable
from renderer import moves
from renderer.frame import box_top
from renderer.record import Recorder, turntable
from renderer.stage import Stage
from renderer.studio import Studio

TURN_S = 12.0  # of one turn that a key began
Done = Callable[[ShotReply, Path], None]
Failed = Callable[[InputError], None]
Sized = Callable[[], tuple[tuple[int, int], float]]


@dataclass(eq=False)
class Turning:
    """The picture turns: degrees a second, and how many are left (None: until somebody stops it)."""

    speed: float
    left: float | None
    at: float


@dataclass(eq=False)
class Film:
    """A video in work: of the window as it is (`cameras` is None), or of a turntable, picture by picture."""

    recorder: Recorder
    began: float
    until: float
    cameras: Iterator[Camera] | None = None
    view: View | None = None
    size: tuple[int, int] = (0, 0)
    scale: float = 1.0
    drawn: int = 0
    total: int = 0
    seen: object = None  # what was fed last


class Reel:
    """One for a window. `aside` does what waits for the encoder; `post` brings its end into the window's thread."""

    def __init__(
        self,
        stage: Stage,
        size: Sized,
        studio: Studio,
        beside: Callable[[], Studio],
        folder: Path | None,
        aside: Callable[[Callable[[], None]], object],
        post: Callable[[Callable[[], None]], None],
        ended: Callable[[ShotReply | None, InputError | None, Path | None], None],
    ) -> None:
        self.stage, self.size, self.studio, self.beside, self.folder = stage, size, studio, beside, folder
        self._aside, self._post, self._ended = aside, post, ended
        self.turning: Turning | None = None
        self.film: Film | None = None

    @property
    def busy(self) -> bool:
        """Whether a video is being made."""
        return self.film is not None

    @property
    def note(self) -> str:
        """A few words for the window, while a video is being made."""
        if self.film is None:
            return ""
        if self.film.cameras is not None:
            return f"Recording a turntable, {self.film.drawn} of {self.film.total} pictures"
        seconds = int(time.monotonic() - self.film.began)
        return f"Recording {seconds // 60}:{seconds % 60:02d}"

    # ------------------------------------------------------------ turning

    def turn(self, request: Turntable) -> None:
        """Turn the picture, or make a video of it turning. Raises InputError with nothing changed."""
        if request.turns == 0:
            self.turning = None
            if self.film is not None and self.film.cameras is not None:
                self.cancel()
            return
        if self.stage.view.mode == "2d":
            raise InputError("turntable: only a raised picture turns: set mode=3d", code="wrong_state")
        now = time.monotonic()
        if request.save is None:
            way = 360.0 * request.turns
            self.turning = Turning(360.0 / request.seconds * (1 if way > 0 else -1), abs(way), now)
            return
        size, scale = self.size()
        frames = max(1, round(request.seconds * abs(request.turns) * request.fps))
        film = self._film(request.save, size, request.fps, wait=True)
        place = self.studio.place(size, scale)
        film.view = moves.held(self.stage.view, place)
        film.cameras = turntable(film.view.camera, box_top(film.view), frames, request.turns)
        film.size, film.scale, film.total = size, scale, frames
        self.film = film

    def toggle(self) -> None:
        """Turn until told otherwise, or stop."""
        if self.turning is not None:
            self.turning = None
        elif self.stage.view.mode == "2d":
            raise InputError("Only a raised picture turns: 3")
        else:
            self.turning = Turning(360.0 / TURN_S, None, time.monotonic())

    def _turn(self, turning: Turning, now: float) -> None:
        degrees = turning.speed * (now - turning.at)
        if turning.left is not None and abs(degrees) >= turning.left:
            degrees = turning.left if degrees > 0 else -turning.left
            self.turning = None
        turning.at = now
        if turning.left is not None:
            turning.left -= abs(degrees)
        if self.stage.view.mode == "2d":
            self.turning = None
            return
        place = self.studio.place(*self.size())
        self.stage.look(moves.orbit(self.stage.view, place, degrees, 0.0))

    # ------------------------------------------------------------ videos

    def record(self, save: str, fps: int, seconds: float) -> None:
        """Record what the window shows. Raises InputError where that cannot be."""
        film = self._film(save, self.size()[0], fps, wait=False)
        film.until = film.began + seconds
        self.film = film

    def _film(self, save: str, size: tuple[int, int], fps: int, wait: bool) -> Film:
        if self.folder is None:
            raise InputError("record: this window was started without a folder for pictures")
        if self.film is not None:
            raise InputError("record: a video is being made already: stop it first", code="wrong_state")
        path = reserved(self.folder, save, ".mp4")
        try:
            recorder = Recorder(path, size, fps, wait=wait, texts={"title": self.stage.title})
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        now = time.monotonic()
        return Film(recorder, now, now + 1e9)

    def stop(self, done: Done | None = None, failed: Failed | None = None) -> None:
        """End the recording; `done` or `failed` is called when the file is there, and those that watch are told.
        Raises InputError where nothing is recorded."""
        film = self.film
        if film is None:
            raise InputError("record: nothing is being recorded", code="wrong_state")
        self.film = None
        now = None if film.cameras is not None else time.monotonic()

        def end() -> None:
            try:
                path = film.recorder.close(now)
                with open(path, "rb") as made:
                    digest = hashlib.file_digest(made, "sha256").hexdigest()
                    total = made.tell()
            except (InputError, OSError) as e:
                error = e if isinstance(e, InputError) else InputError(f"record: {e}", code="unavailable")
                _forget(film.recorder.path)
                self._post(lambda: self._tell(None, error, None, done, failed))
                return
            width, height = film.recorder.size
            shot = ShotReply(picture=new_id(), total=total, sha256=digest, width=width, height=height, saved=str(path))
            self._post(lambda: self._tell(shot, None, path, done, failed))

        self._aside(end)

    def _tell(
        self,
        shot: ShotReply | None,
        error: InputError | None,
        path: Path | None,
        done: Done | None,
        failed: Failed | None,
    ) -> None:
        self._ended(shot, error, path)
        if shot is not None and path is not None and done is not None:
            done(shot, path)
        elif error is not None and failed is not None:
            failed(error)

    def cancel(self) -> None:
        """Leave no trace of a video that is not finished."""
        film, self.film = self.film, None
        if film is not None:
            film.recorder.cancel()
            _forget(film.recorder.path)

    # ------------------------------------------------------------ time

    def feed(self, pixels: Callable[[], NDArray[np.uint8]], key: object, now: float) -> None:
        """A window's new picture, for a recording; `key` says whether it is another one than the last."""
        film = self.film
        if film is not None and film.cameras is None and key != film.seen:
            film.seen = key
            film.recorder.frame(pixels(), now)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.turning is not None and now >= self.turning.at + 1 / 60:
            self._turn(self.turning, now)
        film = self.film
        if film is None:
            return
        if film.cameras is None:
            if now >= film.until:
                self.stop()
            return
        lens = next(film.cameras, None)
        if lens is None:
            self.stop()
            return
        assert film.view is not None
        view = msgspec.structs.replace(film.view, camera=lens)
        studio = self.beside()
        studio.draw(film.size, film.scale, still=True, view=view)
        film.recorder.frame(studio.pixels(), film.drawn / film.recorder.fps)
        film.drawn += 1

    def wait_s(self, now: float) -> float | None:
        """How long until `tick` has something to do."""
        waits = [] if self.turning is None else [max(0.0, self.turning.at + 1 / 60 - now)]
        if self.film is not None:
            waits.append(0.0 if self.film.cameras is not None else min(max(0.0, self.film.until - now), 0.5))
        return min(waits) if waits else None


def reserved(folder: Path, name: str, suffix: str) -> Path:
    """A free name in the folder, taken by an empty file: NAME.mp4, else NAME-2.mp4 and so on."""
    stem = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            file = folder / f"{stem}{'' if number == 1 else f'-{number}'}{suffix}"
            try:
                os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            except FileExistsError:
                continue
            return file
    except OSError as e:
        raise InputError(
            f"{folder}: cannot save a video there ({e.strerror}): start the window with --pictures", code="no_space"
        ) from e
    raise InputError(f"{folder}: ten thousand videos are called {stem}: choose another name", code="exists")


def _forget(file: Path) -> None:
    """Give back a name that was reserved and not used."""
    try:
        if file.stat().st_size == 0:
            file.unlink()
    except OSError:
        pass
