"""What moves and is kept: a picture that turns on its own, a recording of what the window shows, a turntable in full
quality as a video. One video at a time:

    idle      --record.start-->  recording --record.stop, its time is over, the window closes-->  ending --> idle
    idle      --turntable, save-->  turning round --last picture-->  ending --> idle
    any       --the encoder or the drawing fails, turns 0, the window closes on a turntable-->  idle, and no file

`tick` and `feed` are called in every turn of the window's loop and never wait: a turntable is drawn sample by sample,
in a studio of its own, and what waits for the encoder has a thread of its own.
"""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.view import View
from protocol.windows import ShotReply, Turntable
from renderer import keeping, moves
from renderer.frame import box_top
from renderer.headless import VIDEO_SAMPLES, VIDEO_SIDE
from renderer.layers.notes import Note
from renderer.record import Recorder, turntable
from renderer.stage import Stage
from renderer.studio import Studio

TURN_S = 12.0  # of one turn that a key began
HOLD_S = 0.5  # how often a picture that stays is given to the encoder, so that little is left for the end
SLICE_S = 0.015  # of drawing a turntable, between two looks at what came
FULL_S = 0.02  # between two looks at an encoder that has no room
LEAST_SIDE = 16  # pixels that an encoder takes
LONGEST_S = 3600.0  # of a turntable
Done = Callable[[ShotReply], None]
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
    """A video in work: of the window as it is (`pieces` is None), or of a turntable, sample by sample."""

    recorder: Recorder
    name: Path  # as asked for
    began: float
    seconds: float  # of it at most, or in all
    pieces: Iterator[None] | None = None
    drawn: int = 0  # pictures
    seen: object = None  # what was fed last
    next_at: float = 0.0  # when a new picture may be fed
    held_at: float = 0.0
    ending: threading.Thread | None = None
    outcome: ShotReply | InputError | None = None  # once it has ended
    waiting: list[tuple[Done, Failed]] = field(default_factory=list)


class Reel:
    """One for a window. `post` brings the end of a video into the window's thread, `ended` is told of it."""

    def __init__(
        self,
        stage: Stage,
        size: Sized,
        studio: Studio,
        folder: Path | None,
        post: Callable[[Callable[[], None]], None],
        ended: Callable[[ShotReply | InputError], None],
    ) -> None:
        self.stage, self.size, self.studio, self.folder = stage, size, studio, folder
        self._post, self._ended = post, ended
        self._own: Studio | None = None  # of turntables
        self.turning: Turning | None = None
        self.film: Film | None = None

    @property
    def busy(self) -> bool:
        """Whether a video is being made."""
        return self.film is not None

    @property
    def recording(self) -> bool:
        """Whether what the window shows is wanted."""
        return self.film is not None and self.film.pieces is None and self.film.ending is None

    @property
    def seconds(self) -> float:
        """How much of the video there is; whole ones of a recording, whose end nobody knows."""
        film = self.film
        if film is None:
            return 0.0
        if film.pieces is not None:
            return round(film.drawn / film.recorder.fps, 1)
        return float(int(min(time.monotonic() - film.began, film.seconds)))

    @property
    def note(self) -> Note | None:
        """For the window, while a video is being made."""
        film = self.film
        if film is None:
            return None
        if film.ending is not None:
            return Note("Finishing the video ...", "busy")
        if film.pieces is not None:
            share = film.drawn / film.recorder.fps / film.seconds
            return Note(f"Recording a turntable, {100 * share:.0f} %", "record", share)
        seconds = int(self.seconds)
        return Note(f"Recording {seconds // 60}:{seconds % 60:02d}", "record")

    # ------------------------------------------------------------ turning

    def turn(self, request: Turntable) -> None:
        """Turn the picture, or make a video of it turning. Raises InputError with nothing changed."""
        if request.turns == 0:
            self.turning = None
            film = self.film
            if film is not None and film.pieces is not None and film.ending is None:
                why = f"turntable: ended at {film.drawn / film.recorder.fps:.1f} s, no video was kept"
                self._fail(film, InputError(why, code="wrong_state"))
            return
        if self.stage.view.mode == "2d":
            raise InputError("turntable: only a raised picture turns: set mode=3d", code="wrong_state")
        now = time.monotonic()
        if request.save is None:
            way = 360.0 * request.turns
            self.turning = Turning(math.copysign(360.0 / request.seconds, way), abs(way), now)
            return
        seconds = request.seconds * abs(request.turns)
        if seconds > LONGEST_S:
            raise InputError(f"turntable: expected at most {LONGEST_S:g} s of video, got {seconds:g}", code="too_large")
        frames = max(1, round(seconds * request.fps))
        size, scale = self.size()
        view = moves.held(self.stage.view, self.studio.place(size, scale))
        film = self._film(request.save, size, request.fps, frames / request.fps, now, wait=True)
        film.pieces = self._turntable(film, view, size, scale, frames, request.turns)
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
            degrees = math.copysign(turning.left, degrees)
            self.turning = None
        turning.at = now
        if turning.left is not None:
            turning.left -= abs(degrees)
        if self.stage.view.mode == "2d":
            self.turning = None
            return
        place = self.studio.place(*self.size())
        self.stage.look(moves.orbit(self.stage.view, place, degrees, 0.0))

    def _turntable(
        self, film: Film, view: View, size: tuple[int, int], scale: float, frames: int, turns: float
    ) -> Iterator[None]:
        """Draw it, a sample in each step; a step that finds no room for a picture does nothing."""
        if self._own is None:
            self._own = Studio(self.stage, self.studio.renderer.ctx)
        studio = self._own
        for camera in turntable(view.camera, box_top(view), frames, turns):
            studio.draw(size, scale, still=False, view=msgspec.structs.replace(view, camera=camera))
            yield
            for _ in range(VIDEO_SAMPLES):
                studio.renderer.refine()
                yield
            while not film.recorder.room:
                yield
            film.recorder.frame(studio.pixels(), film.drawn / film.recorder.fps)
            film.drawn += 1

    # ------------------------------------------------------------ videos

    def record(self, save: str, fps: int, seconds: float) -> None:
        """Record what the window shows. Raises InputError where that cannot be."""
        self.film = self._film(save, self.size()[0], fps, seconds, time.monotonic(), wait=False)

    def _film(self, save: str, size: tuple[int, int], fps: int, seconds: float, now: float, wait: bool) -> Film:
        if self.folder is None:
            raise InputError("record: this window was started without a folder for pictures")
        if self.film is not None:
            raise InputError("record: a video is being made already: stop it first", code="wrong_state")
        if min(size) < LEAST_SIDE or max(size) > VIDEO_SIDE:
            bounds, has = f"{LEAST_SIDE} to {VIDEO_SIDE}", f"{size[0]} x {size[1]}"
            raise InputError(f"record: expected a window of {bounds} pixels a side, it has {has}", code="wrong_state")
        path = keeping.place(self.folder, save, ".mp4")
        texts = {"title": self.stage.title, "comment": msgspec.json.encode(self.stage.view).decode()}
        recorder = Recorder(path, size, fps, wait=wait, fresh=True, texts=texts)
        return Film(recorder, path, now, seconds, next_at=now, held_at=now)

    def stop(self, done: Done = lambda shot: None, failed: Failed = lambda error: None) -> None:
        """End the recording; `done` or `failed` is called when the file is there, and those that watch are told.
        Raises InputError where nothing is recorded."""
        film = self.film
        if film is None:
            raise InputError("record: nothing is being recorded", code="wrong_state")
        if film.pieces is not None:
            raise InputError("record: a turntable is being made; turntable with turns 0 ends it", code="wrong_state")
        film.waiting.append((done, failed))
        self._end(film, time.monotonic())

    def _end(self, film: Film, at: float | None) -> None:
        """Let the encoder finish, in a thread; what was shown last is shown until `at`."""
        if film.ending is not None:
            return

        def end() -> None:
            try:
                path = film.recorder.close(at)
                with open(path, "rb") as made:
                    digest = hashlib.file_digest(made, "sha256").hexdigest()
                    total = made.tell()
            except InputError as e:
                film.outcome = e
            except Exception as e:  # whatever it is, somebody waits for an answer
                film.outcome = InputError(f"{film.name}: {type(e).__name__}: {e}", code="internal")
            else:
                width, height = film.recorder.size
                film.outcome = ShotReply(
                    picture=new_id(), total=total, sha256=digest, width=width, height=height, saved=str(path)
                )
            self._post(lambda: self._tell(film))

        film.ending = threading.Thread(target=end, name="video end", daemon=True)
        film.ending.start()

    def _tell(self, film: Film) -> None:
        if self.film is not film or film.outcome is None:
            return
        self.film = None
        self._ended(film.outcome)
        for done, failed in film.waiting:
            if isinstance(film.outcome, ShotReply):
                done(film.outcome)
            else:
                failed(film.outcome)

    def _fail(self, film: Film, error: InputError) -> None:
        """Leave no trace of a video that is not finished."""
        film.recorder.cancel()
        film.outcome = error
        self._tell(film)

    def close(self) -> None:
        """The window closes: a recording is finished, a turntable given up."""
        film = self.film
        if film is None:
            return
        if film.pieces is not None and film.ending is None:
            self._fail(film, InputError("turntable: the window was closed, no video was kept", code="unavailable"))
            return
        self._end(film, time.monotonic())
        assert film.ending is not None
        film.ending.join()
        self._tell(film)

    # ------------------------------------------------------------ time

    def feed(self, pixels: Callable[[], NDArray[np.uint8]], key: object, now: float) -> None:
        """What the window shows, for a recording; `key` says whether it is another picture than the last."""
        film = self.film
        if film is None or not self.recording:
            return
        if key != film.seen and now >= film.next_at:
            if film.seen is None:
                film.began = now
            film.seen = key
            film.recorder.frame(pixels(), now)
            frame = math.floor((now - film.began) * film.recorder.fps + 1e-6) + 1
            film.next_at = film.began + frame / film.recorder.fps
            film.held_at = now
        elif now >= film.held_at + HOLD_S:
            film.recorder.hold(now)
            film.held_at = now

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.turning is not None and now >= self.turning.at + 1 / 60:
            self._turn(self.turning, now)
        film = self.film
        if film is None or film.ending is not None:
            return
        if film.recorder.broken:
            self._end(film, now)  # which says why
        elif film.pieces is None:
            if now >= film.began + film.seconds:
                self._end(film, film.began + film.seconds)
        else:
            self._draw(film, film.pieces, now)

    def _draw(self, film: Film, pieces: Iterator[None], now: float) -> None:
        try:
            for _ in pieces:
                if time.monotonic() >= now + SLICE_S or not film.recorder.room:
                    return
        except InputError as e:
            self._fail(film, e)
        except Exception as e:  # of the driver: it costs the video, not the window
            self._fail(film, InputError(f"turntable: {type(e).__name__}: {e}", code="internal"))
        else:
            self._end(film, None)

    def wait_s(self, now: float, key: object) -> float | None:
        """How long until `tick` or `feed` has something to do; `key` is that of the picture shown."""
        waits = [] if self.turning is None else [self.turning.at + 1 / 60 - now]
        film = self.film
        if film is not None and film.ending is None:
            if film.pieces is not None:
                waits.append(0.0 if film.recorder.room else FULL_S)
            else:
                due = film.next_at if key != film.seen else film.held_at + HOLD_S
                waits.append(min(due, film.began + film.seconds) - now)
        return max(0.0, min(waits)) if waits else None
