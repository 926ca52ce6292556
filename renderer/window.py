"""`python -m renderer.window`: a window that shows surfaces while they are measured, and does what it is told.

Three threads: the link follows the daemon, the door takes commands, and this one, the only one that touches GL, sleeps
until one of them or the person wakes it, and draws when something changed: quickly while things move, in full quality
when they are still. Prints one JSON line when it is ready; exits 0 when it is closed.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol import pictures, roll
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.files import Surface
from protocol.view import PRESETS, View, override, preset
from renderer import controls, hud, moves, picking
from renderer.desk import Desk
from renderer.door import Door
from renderer.frame import Frame
from renderer.layers.notes import Note
from renderer.link import Followed, Heard, Link, Source
from renderer.screen import Dark, Screen, opened
from renderer.stage import Stage
from renderer.studio import Studio

FPS = 60.0
SETTLED_S = 0.15  # without a change: the picture is refined to full quality
SLICE_S = 0.015  # of refinement, between two looks at what came
IDLE_S = 0.5  # between looks at the clock when nothing happens
BUDGET_S = 0.010  # of messages between two frames
MOST_BROKEN = 20  # pictures that cannot be drawn, before it gives up
SAID_S = 1.6  # how long a word about a key stays
LETTER_S = 0.08  # and each letter of a longer one
DONE, BROKEN, WRONG = 0, 1, 2
VERSION = "0.1.0"
SMALLEST, LARGEST = 16, 16384  # side of a window


class Window:
    """One window: its stage, its screen, and who speaks to it."""

    def __init__(
        self,
        id: str,
        screen: Screen | Dark,
        stage: Stage,
        door: Door,
        link: Link | None,
        *,
        pictures: Path | None = None,
        fps: float = FPS,
        trace: Path | None = None,
    ) -> None:
        self.id, self.screen, self.stage, self.door, self.link = id, screen, stage, door, link
        self.studio = Studio(stage, screen.context())
        self.desk = Desk(self, stage, self.studio, door, link, pictures)
        self._buffer = self.studio.renderer.ctx.detect_framebuffer(0) if screen.person else None
        self._inbox: deque[Callable[[], None]] = deque()
        self._fps = fps
        self._closing = False
        self._changed_at = 0.0
        self._seen = -1  # revision of the stage that was looked at
        self._drawn: object = None
        self._laid: object = None
        self._still = False
        self._next_frame = 0.0
        self._hand = controls.State()
        self._grasped = 0  # the panel in which a drag began
        self._said, self._said_until = "", 0.0
        self._broken = 0  # pictures that could not be drawn
        self._trace = None if trace is None else open(trace, "a", buffering=1, encoding="utf-8")  # noqa: SIM115 - close
        screen.on_draw = self._draw_now

    # ------------------------------------------------------------ what the desk asks

    @property
    def person(self) -> bool:
        return self.screen.person

    @property
    def live(self) -> bool:
        return self.stage.link == "live"

    def size(self) -> tuple[tuple[int, int], float]:
        """(width, height) in device pixels, at least one, and device pixels a unit."""
        w, h = self.screen.size
        return (max(w, 1), max(h, 1)), self.screen.scale

    def post(self, do: Callable[[], None]) -> None:
        """From any thread: do this in the window's own."""
        self._inbox.append(do)
        self.screen.wake()

    def close(self) -> None:
        """End the loop after this turn."""
        self._closing = True

    # ------------------------------------------------------------ the loop

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until it is closed."""
        self.door.start(
            lambda peer, request, arrays: self.post(lambda: self.desk.do(peer, request, arrays)),
            lambda peer: self.post(lambda: self.desk.gone(peer)),
        )
        if self.link is not None:
            self.link.start(self._heard)
        self._draw_now()
        ready()
        while not (self._closing or self.screen.closing):
            self.screen.wait(self._wait_s())
            self._take()
            self._act()
            self._tick()
            self._safely(self._draw)

    def _safely(self, do: Callable[[], None]) -> None:
        """Draw. What nobody foresaw costs this picture, not the window: it is told, and tried again with a change."""
        try:
            do()
        except Exception as e:
            if self._broken >= MOST_BROKEN:
                raise
            self._broken += 1
            traceback.print_exc()
            self._drawn, self._still, self._laid = self._wanted(), True, None
            self._next_frame = time.monotonic() + 1.0
            self.say(f"This picture could not be drawn: {type(e).__name__}: {e}")

    def _heard(self, heard: Heard) -> None:
        """In the link's thread."""
        self.post(lambda: self._hear(heard))

    def _hear(self, heard: Heard) -> None:
        assert self.link is not None
        self.link.taken += 1
        if isinstance(heard, Followed):
            self.desk.followed(heard)
        else:
            self.stage.hear(heard)

    def _take(self) -> None:
        """What came from the other threads, for at most so long that the picture keeps moving."""
        until = time.monotonic() + BUDGET_S
        while self._inbox and not self._closing:
            self._inbox.popleft()()
            if time.monotonic() > until:
                break

    def _act(self) -> None:
        """What the hand did."""
        size, scale = self.size()
        while self.screen.events:
            event = self.screen.events.popleft()
            k, frame = 0, None
            if not isinstance(event, controls.Leave | controls.KeyPress):
                k, frame = self.studio.at(size, scale, event.x, event.y)
            if self._hand.drag is not None:
                k = self._grasped
            self._grasped = k

            def pick(x: float, y: float, frame: Frame | None = frame) -> NDArray[np.float64] | None:
                hit = None if frame is None else picking.pick(frame, x, y)
                return None if hit is None else hit.world

            out = controls.step(self._hand, event, self.stage.view, self.studio.place(size, scale, k), pick)
            self._hand = out.state
            self.stage.look(out.view)
            if out.note:
                self.say(out.note)
            for action in out.actions:
                self._do(action)

    def _do(self, action: controls.Action) -> None:
        match action:
            case "close":
                self.close()
            case "escape":
                self.desk.reel.turning = None
            case "turntable" | "screenshot" | "record":
                try:
                    self._make(action)
                except InputError as e:
                    self.say(e.msg)

    def _make(self, action: controls.Action) -> None:
        reel, name = self.desk.reel, self.stage.title.replace("/", "-").lstrip(".")[:80] or "window"
        if action == "turntable":
            reel.toggle()
        elif action == "screenshot":
            self.desk.shoot(
                self.stage.view,
                *self.size(),
                name,
                lambda shot, _: self.say(f"Saved as {shot.saved}"),
                lambda e: self.say(e.msg),
            )
        elif reel.busy:
            reel.stop()
        else:
            reel.record(name, 30, 600.0)

    def _tick(self) -> None:
        """What is due; a hand that turns the picture has its way."""
        reel, now = self.desk.reel, time.monotonic()
        if reel.turning is not None and self._hand.drag is not None:
            reel.turning.at = now
        reel.tick(now)

    def say(self, text: str) -> None:
        """A word to the person, for a while."""
        self._said, self._said_until = text, time.monotonic() + max(SAID_S, LETTER_S * len(text))

    # ------------------------------------------------------------ drawing

    def _notes(self, now: float) -> tuple[Note, ...]:
        said = (Note(self._said),) if now < self._said_until else ()
        video = self.desk.reel.note
        return (*(() if video is None else (video,)), *said, *self.stage.notes)

    def _wanted(self) -> object:
        """All that the picture depends on."""
        return (self.stage.revision, self.size())

    def _over(self, now: float) -> object:
        """All that what lies over it depends on."""
        return (self._hand.pointer, self._hand.help, self._hand.pivot, self._notes(now))

    def _wait_s(self) -> float:
        """How long nothing will be due."""
        now = time.monotonic()
        if self._inbox or self.screen.events or self.stage.revision != self._seen:
            return 0.0
        waits = [IDLE_S]
        settled_in = self._changed_at + SETTLED_S - now
        if self._seen_by_anyone():
            if self._wanted() != self._drawn or self._over(now) != self._laid:
                waits.append(self._next_frame - now)
            elif not self._still:
                waits.append(settled_in)
            if now < self._said_until:
                waits.append(self._said_until - now)
        due = self.desk.wait_s(now, settled_in <= 0)
        if due is not None:
            waits.append(due)
        if len(self.desk.streams) and settled_in > 0:
            waits.append(settled_in)
        return max(0.0, min(waits))

    def _seen_by_anyone(self) -> bool:
        """Whether there is a picture of the window: on a display, or without one in a recording."""
        return self.screen.person or self.desk.reel.recording

    def _draw(self) -> None:
        now = time.monotonic()
        if self.stage.revision != self._seen:
            self._seen, self._changed_at = self.stage.revision, now
            if self.link is not None:
                self.link.retitle(self.stage.title)
        settled = now - self._changed_at >= SETTLED_S
        if not self._seen_by_anyone():
            self._drawn = None  # by now somebody else's picture is in the studio
        elif min(self.screen.size) > 0 and now >= self._next_frame:
            if self._wanted() != self._drawn:
                self._paint()
            elif settled and not self._still:
                self._still = self.studio.refine(SLICE_S)
                self._lay(now)
            elif self._over(now) != self._laid:
                self._lay(now)
        if self._drawn is not None and self.studio.drawn:
            self.desk.reel.feed(self.studio.pixels, self.studio.drawn, now)
        self.desk.tell_watchers(now)
        self.desk.send_frames(now, settled)

    def _draw_now(self) -> None:
        """For callbacks in which the system waits for a picture: a resize, an uncovered window."""
        if self.screen.person and min(self.screen.size) > 0:
            if self._wanted() == self._drawn:
                self._lay(time.monotonic())
            else:
                self._paint()

    @property
    def _moving(self) -> bool:
        """Whether the next picture comes at once."""
        return self._hand.drag is not None or self.desk.reel.turning is not None

    def _paint(self) -> None:
        began, wanted = time.monotonic(), self._wanted()
        self.studio.draw(*self.size(), still=False, interacting=self._moving)
        self._drawn, self._still = wanted, False
        self._lay(began)

    def _lay(self, began: float) -> None:
        """Show the picture drawn last, with what lies over it."""
        self._laid = self._over(began)
        if self._buffer is None:  # no display
            self._next_frame = max(began + 1.0 / self._fps, time.monotonic())
            return
        size, scale = self.size()
        hand = self._hand
        _, frame = self.studio.at(size, scale, *(hand.pointer or (0.0, 0.0)))
        hit = None if hand.pointer is None else picking.pick(frame, *hand.pointer)
        pivot = None
        if hand.pivot:
            pivot = moves.pivot_pixel(self.stage.view, self.studio.place(size, scale, self._grasped))
        ink = hud.letter(hud.Hud(frame, hit, hand.pointer, pivot, self._notes(began), hand.help))
        self.studio.show(self._buffer, ink)
        self.screen.swap()
        ended = time.monotonic()
        self.screen.entitle(f"{self.stage.title} - thalweg")
        self._next_frame = max(began + 1.0 / self._fps, ended)
        if self._trace is not None:
            line = {"at": ended, "ms": 1000 * (ended - began), "rows": self.stage.rows[0], "still": self._still}
            self._trace.write(msgspec.json.encode(line).decode() + "\n")

    def end(self) -> None:
        """Say good-bye to the daemon and close everything."""
        if self.link is not None:
            self.link.stop()
        self.desk.close()
        self.door.stop()
        self.studio.renderer.release()
        self.screen.close()
        if self._trace is not None:
            self._trace.close()


# ---------------------------------------------------------------- the process


def parser() -> argparse.ArgumentParser:
    """What the process takes."""
    p = argparse.ArgumentParser(prog="renderer.window", description=__doc__.split("\n\n")[0])
    p.add_argument("files", nargs="*", help="surfaces to show: files (.npz)")
    p.add_argument("--surface", action="append", default=[], metavar="ID", help="a surface of the daemon")
    p.add_argument("--from", dest="picture", metavar="PNG", help="the view, and the surface, of a picture made here")
    p.add_argument("--window", default=None, metavar="ID", help="the window's id (default: a new one)")
    p.add_argument("--cmd", default=None, metavar="ENDPOINT", help="where to take commands (default: a new ipc socket)")
    p.add_argument("--workspace", default=None, help="the workspace whose daemon to follow")
    p.add_argument("--daemon", nargs=2, default=None, metavar=("CMD", "EVT"), help="or the daemon's endpoints")
    p.add_argument("--server-key", default=None, help="the daemon's public key, where it listens on TCP")
    p.add_argument("--key", default=None, help="the client's key file for it")
    p.add_argument("--keys", default=None, help="a workspace whose clients' keys are let in, for --cmd on TCP")
    p.add_argument("--announce", default=None, metavar="ENDPOINT", help="what the daemon is told; 'no': nothing")
    p.add_argument("--of", default=None, help="whose it is on the roll (default: the workspace, or the daemon's cmd)")
    p.add_argument(
        "--log", action="store_true", help="write to a log beside the roll, once it is ready, what is to say"
    )
    p.add_argument("--headless", action="store_true", help="no window on a display")
    p.add_argument("--size", default="1280x800", metavar="WxH")
    p.add_argument("--scale", type=float, default=None, help="device pixels a unit (default: the display's)")
    p.add_argument("--preset", default=None, choices=list(PRESETS))
    p.add_argument("--view", action="append", default=[], metavar="NAME=VALUE")
    p.add_argument("--pictures", default=None, metavar="DIR", help="where pictures are saved")
    p.add_argument("--fps", type=float, default=FPS, help="most pictures a second")
    p.add_argument("--title", default=None)
    p.add_argument("--trace", default=None, metavar="FILE", help="write a line of JSON for each picture drawn")
    return p


def _view(args: argparse.Namespace) -> tuple[View, list[str], list[Path]]:
    """The view to begin with, and the surfaces that a picture names: of the daemon by their ids, and files."""
    view = preset(args.preset or "contours-3d")
    surfaces: list[str] = []
    files: list[Path] = []
    if args.picture is not None:
        picture = pictures.read(args.picture)
        for shown in picture.surfaces if not (args.surface or args.files) else ():
            file = pictures.lies(shown, args.picture)
            if file is not None:
                files.append(file)
            elif shown.id:
                surfaces.append(shown.id)
            else:
                raise pictures.lost(shown, args.picture)
        view = picture.view if args.preset is None else preset(args.preset)
    changes = {}
    for text in args.view:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError(f"--view: expected NAME=VALUE, as height=0.5; got '{text}'")
        changes[name] = value
    if args.title is not None:
        changes["title"] = args.title
    return override(view, changes), surfaces, files


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)[xX×](\d+)", text.strip())
    if not found:
        raise InputError(f"--size: expected WIDTHxHEIGHT, as 1280x800; got '{text}'")
    if not all(SMALLEST <= int(side) <= LARGEST for side in found.groups()):
        raise InputError(f"--size: expected sides from {SMALLEST} to {LARGEST}, as 1280x800; got '{text}'")
    return int(found[1]), int(found[2])


def _pictures(typed: str | None) -> Path:
    if typed is not None:
        return Path(typed).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_pictures_path()) / "thalweg"


def start(args: argparse.Namespace) -> Window:
    """Everything that is asked for, checked, then made. Raises InputError with nothing left behind."""
    view, named, lying = _view(args)
    size = _size(args.size)
    if args.scale is not None and not 0.25 <= args.scale <= 8:
        raise InputError(f"--scale: expected a number from 0.25 to 8, got {args.scale:g}")
    if not 1 <= args.fps <= 1000:
        raise InputError(f"--fps: expected a number from 1 to 1000, got {args.fps:g}")
    files = {str(Path(f).expanduser().absolute()): Surface.load(f) for f in (*args.files, *lying)}
    id = args.window or new_id()
    surfaces = tuple(dict.fromkeys([*args.surface, *named]))
    source = Source(args.workspace, tuple(args.daemon or ()), args.key, args.server_key)
    if surfaces and not (source.workspace or source.endpoints):
        raise InputError("--surface: expected --workspace or --daemon beside it: a surface is the daemon's")
    stage = Stage(view)
    stage.put((*files, *surfaces), files)
    screen: Screen | Dark | None = None
    if not args.headless:
        screen = opened(size, f"{stage.title} - thalweg", args.scale)
    screen = screen or Dark(size, args.scale or 1.0)
    door = Door(id, args.cmd, args.keys, VERSION)
    try:
        link = None
        if source.workspace or source.endpoints:
            told = "" if args.announce == "no" else args.announce or door.endpoint
            link = Link(id, source, told, surfaces)
            link.retitle(stage.title)
        trace = None if args.trace is None else Path(args.trace)
        return Window(id, screen, stage, door, link, pictures=_pictures(args.pictures), fps=args.fps, trace=trace)
    except BaseException:
        door.stop()
        raise


def _enter(window: Window, args: argparse.Namespace) -> None:
    """Put the window on the roll of this machine, so that commands find it without a daemon; not one that is nobody
    else's (`--announce no` alone), as the picture in a terminal is."""
    of = args.of
    if of is None and args.announce == "no":
        return
    if of is None:
        of = os.path.realpath(args.workspace) if args.workspace else (args.daemon or ("",))[0]
    entry = roll.Entry(
        window=window.id, endpoint=window.door.endpoint, pid=os.getpid(), title=window.stage.title, of=of
    )
    roll.enter(entry)


def _log(id: str) -> None:
    """From here on what is printed, and the stack of a crash, go to the window's log: nobody reads stderr any more."""
    file = roll.log(id)
    if file is None:
        return
    with suppress(OSError):
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        os.dup2(fd, 2)
        os.close(fd)
        faulthandler.enable()


def main() -> None:
    """Entry point of `python -m renderer.window`."""
    args = parser().parse_args()
    try:
        window = start(args)
    except InputError as e:
        print(f"thalweg: {e}", file=sys.stderr)
        sys.exit(BROKEN if e.code in ("unavailable", "internal") else WRONG)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: window.close())

    def ready() -> None:
        _enter(window, args)
        line = {
            "t": "ready",
            "window": window.id,
            "endpoint": window.door.endpoint,
            "screen": window.person,
            "pid": os.getpid(),
            "renderer": window.studio.renderer.name,
        }
        with suppress(OSError):  # nobody listens
            sys.stdout.write(msgspec.json.encode(line).decode() + "\n")
            sys.stdout.flush()
        if args.log:
            _log(window.id)

    try:
        window.run(ready)
    except Exception as e:
        fd, log = tempfile.mkstemp(prefix="thalweg-window-", suffix=".log")
        with os.fdopen(fd, "w", encoding="utf-8") as out:
            traceback.print_exc(file=out)
        print(f"thalweg: the window broke ({type(e).__name__}: {e}); details are in {log}", file=sys.stderr)
        with suppress(Exception):  # as far as they still can: the socket's folder goes, the daemon is told
            window.door.stop()
            if window.link is not None:
                window.link.stop()
            window.screen.close()
        os._exit(BROKEN)  # whatever the threads are at
    window.end()
    roll.leave(window.id)


if __name__ == "__main__":
    main()
