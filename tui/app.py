"""The terminal UI: `thalweg` on a terminal.

For what is drawn, read tui/widgets; for what can be done, tui/commands.py (the rows) and tui/deeds.py (what each does).

    app.store      what is known (tui/state.py)             app.choice   what is chosen, for every tab
    app.hub        requests: await app.hub.request(...)     app.cursor   the point under the picture's cursor, (i, j)
    app.deeds      what keys do: open_form, copy, ...
    app.ask(...)   a dialog's answer; app.tell(...) a line for the person; app.do("train") a row of the table

A widget that shows a part of the store is a `Panel`: it says which areas it shows and draws them when they changed. It
never polls, and is drawn at most 10 times a second (2 over SSH), and only while it is on the screen.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import traceback
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from rich.text import Text
from textual.app import App
from textual.binding import Binding, BindingType
from textual.screen import Screen

from protocol.errors import InputError
from tui import backpressure, keymap, profiles, words
from tui.children import ChildError
from tui.commands import Command, actions
from tui.deeds import Deeds
from tui.enabling import why_not
from tui.hub import Hub
from tui.palette import Everything
from tui.profiles import Config, Profile
from tui.screens.main import MainScreen
from tui.state import Choice, Kind, Store
from tui.widgets.panel import Panel

LOOK_S = 0.15  # a choice is followed when the cursor has rested on it so long
STAYS = frozenset({"demo", "help", "palette", "theme", "jobs pause", "reload", "reconnect"})  # these go nowhere
STAMP = 11  # columns of the bottom line that are not its text
T = TypeVar("T")
log = logging.getLogger("thalweg.app")


def bindings() -> list[BindingType]:
    """A binding for each row of the table; its id is the row's, so that the user's keymap can replace its keys."""
    return [
        Binding(c.key, f"do({c.id!r})", c.label or c.help, show=False, id=c.id, priority="ctrl" in c.key)
        for c in actions()
        if c.key
    ]


class ThalwegApp(App[int]):
    """The app. `start`: start the daemon of a workspace here where none runs."""

    TITLE = "thalweg"
    CSS_PATH = Path(__file__).with_name("thalweg.tcss")
    COMMANDS: ClassVar[set[Any]] = {Everything}
    COMMAND_PALETTE_BINDING = "f12"  # the table's own row opens it
    BINDINGS: ClassVar[list[BindingType]] = bindings()

    def __init__(self, profile: Profile | None = None, config: Config | None = None, *, start: bool = True) -> None:
        super().__init__()
        self.config = config or Config()
        self.profile = profile or self.config.profiles[self.config.default]
        self.store = Store(self._changed)
        self.hub = Hub(self.store, self.profile, start=start)
        self.deeds = Deeds(self)
        self.choice = Choice()
        self.compared: tuple[str, ...] = ()  # runs whose curves are drawn beside the chosen one's
        self.cursor: tuple[int, int] | None = None
        self.panels: set[Panel] = set()
        self.table: tuple[Command, ...] = actions()
        self.keymap, self.problems = keymap.checked(self.config.keys)
        self.gate = backpressure.Gate(self)
        self.frame_s = backpressure.frame_s()
        self.crash: Path | None = None
        self.clipped = ""  # what was last copied
        self.led: tuple[str, ...] = ()  # jobs that the screen follows from tab to tab, until a person goes elsewhere
        self._led_to: tuple[str, ...] = ()
        self.drawn = 0  # times that something was drawn because the store changed
        self._due = False
        self._look: asyncio.TimerHandle | None = None
        self._main = MainScreen()
        self._welcomed = False

    # ------------------------------------------------------------ life

    def get_default_screen(self) -> Screen[Any]:
        """The main screen, from the first paint on."""
        return self._main

    @property
    def main(self) -> MainScreen:
        """The main screen."""
        return self._main

    def on_mount(self) -> None:
        """Take the keymap and the theme; then connect, after the first paint."""
        self.set_keymap(self.keymap)
        if self.config.theme in self.available_themes:
            self.theme = self.config.theme
        for problem in (*self.config.problems, *self.problems):
            self.tell(problem, "warning")
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            with suppress(NotImplementedError, ValueError, RuntimeError):  # not the main thread, another system
                loop.add_signal_handler(number, self._ended_from_outside, number)
        self.call_after_refresh(self._connect)

    def _connect(self) -> None:
        self.run_worker(self.hub.run(), name="hub", group="hub", exclusive=True)

    def _ended_from_outside(self, number: int) -> None:
        self.exit(128 + number, return_code=128 + number)

    async def on_unmount(self) -> None:
        """Let go of the daemon; jobs go on."""
        await self.hub.close()

    async def switch(self, profile: Profile) -> None:
        """Look at another daemon."""
        self.workers.cancel_group(self, "hub")
        await self.hub.close()
        self.profile = profile
        self.store.clear()
        self.store.set_link("connecting", None, "")
        self.choice, self.compared, self.led, self._welcomed = Choice(), (), (), False
        self.hub = Hub(self.store, profile)
        self._connect()
        self.flush(force=True)

    def _fatal_error(self) -> None:
        """A crash is one sentence and the path of a log, with no local values."""
        error = self._exception
        if self.crash is not None or error is None:  # the first one tells
            self._close_messages_no_wait()
            return
        self.crash = crashed(error)
        sentence = f"thalweg: an error that it did not expect ({type(error).__name__}); details are in {self.crash}"
        self._exit_renderables.append(Text(sentence))
        self._close_messages_no_wait()

    # ------------------------------------------------------------ drawing

    def _changed(self) -> None:
        """The store changed: draw soon, once for all that changes until then."""
        if self._due:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._due = True
        loop.call_later(self.frame_s, self._draw)

    def _draw(self) -> None:
        self._due = False
        if not self.is_running:
            return
        if not self.gate.open():
            self._due = True
            asyncio.get_running_loop().call_later(backpressure.RETRY_S, self._draw)
            return
        self.drawn += 1
        self.flush()

    def flush(self, *, force: bool = False) -> None:
        """Let every panel on the screen draw what changed; tell what ended."""
        with self._context():
            for panel in list(self.panels):
                panel.flush(force=force)
            self._tell_ends()
            self._lead()
            self._welcome_once()

    def _tell_ends(self) -> None:
        while self.store.ended:
            job = self.store.ended.popleft()
            what = f"{words.GLYPHS[job.state]} {job.title} {job.name}".rstrip()
            took = words.seconds_between(job.started, job.ended) if job.started else None
            if job.state == "failed":
                self.tell(f"{what} failed: {job.error}", "error")
            elif job.state == "cancelled":
                self.tell(f"{what} was cancelled; what it had is kept, r goes on with it", "warning")
            else:
                self.tell(f"{what} is done" + (f" after {words.duration(took)}" if took else ""))
        choice = self.store.choice(self.choice.kind, self.choice.id)
        if choice != self.choice:  # a run got its plane, a plane its surface
            self.choice = choice
            self.looked()
            for panel in list(self.panels):
                panel.flush()

    # ------------------------------------------------------------ leading through jobs

    def lead(self, *jobs: str) -> None:
        """Follow these jobs: the curves while one trains, then the landscape while it fills in."""
        self.led, self._led_to = jobs, ()
        self._lead()

    def taken(self) -> None:
        """A person goes their own way: nothing moves by itself any more."""
        self.led = ()

    def _lead(self) -> None:
        """Go to what the last of the jobs that has begun is about."""
        begun = [j for j in map(self.store.jobs.get, self.led) if j is not None and (j.started or j.state == "running")]
        if not begun:
            return
        job = begun[-1]
        kind: Kind
        if job.kind == "train":
            kind, id, tab = ("run", job.run, "Train") if job.run in self.store.runs else ("job", job.id, "Train")
        elif job.kind == "surface" and job.surface in self.store.surfaces:
            kind, id, tab = "surface", job.surface, "Surface"
        else:
            return
        if self._led_to != (kind, id):
            self._led_to = (kind, id)
            self._main.sidebar.choose(kind, id)
            self.choose(kind, id)
            self._main.show_tab(tab, focus=self._main.one_pane)
        if not any(j.active for j in map(self.store.jobs.get, self.led) if j is not None):
            self.led = ()

    def _welcome_once(self) -> None:
        """A workspace without anything is met with a word of welcome."""
        if self._welcomed or not {"run", "job", "surface", "plane"} <= self.store.loaded:
            return
        self._welcomed = True
        if not (self.store.runs or self.store.jobs or self.store.surfaces or self.store.planes):
            from tui.screens.welcome import WelcomeScreen

            self.push_screen(WelcomeScreen())

    # ------------------------------------------------------------ choosing

    def choose(self, kind: Kind | None, id: str) -> None:
        """Make this the chosen thing, for every tab."""
        choice = self.store.choice(kind, id)
        if choice.surface != self.choice.surface:
            self.cursor = None
        if choice != self.choice:
            self.choice = choice
            self.flush()
            self.looked()

    def looked(self) -> None:
        """What is looked at changed: follow it, once the cursor rests."""
        if self._look is not None:
            self._look.cancel()
        with suppress(RuntimeError):
            self._look = asyncio.get_running_loop().call_later(LOOK_S, self._follow)

    def _follow(self) -> None:
        self._look = None
        self.hub.look(self.choice, log=self._main.tab == "Log", compared=self.compared)

    def put_cursor(self, at: tuple[int, int] | None) -> None:
        """The picture's cursor is on this row and column of the surface."""
        if at != self.cursor:
            self.cursor = at
            self.store.touch(f"surface/{self.choice.surface}")

    # ------------------------------------------------------------ doing

    def action_do(self, id: str) -> None:
        """Do a row of the table, or say why it cannot be done now."""
        command = next(c for c in self.table if c.id == id)
        if id not in STAYS:
            self.taken()
        if isinstance(self.screen, MainScreen) or id in ("quit", "help", "palette"):
            why = why_not(command.when, self.store, self.choice)
            if why:
                self.tell(f"{command.label or command.id}: {why}", "warning")
                return
            done = getattr(self.deeds, f"do_{command.action}")()
            if asyncio.iscoroutine(done):
                self.work(done)

    def do(self, id: str) -> None:
        """The same, for code: `app.do("train")`."""
        self.action_do(id)

    def label_of(self, command: Command) -> str:
        """The footer's word for a row, which may depend on what is chosen."""
        job = self.store.jobs.get(self.choice.job)
        if command.action == "pause" and job is not None and job.state == "paused":
            return "resume"
        if command.action == "next_pane":
            return self._main.pane_after()
        return command.label

    def work(self, doing: Coroutine[Any, Any, T]) -> None:
        """Let a coroutine go on beside the screen; what it is refused is told in a sentence."""
        self.run_worker(self._guarded(doing), group="deeds")

    async def _guarded(self, doing: Coroutine[Any, Any, Any]) -> None:
        try:
            await doing
        except InputError as e:
            self.tell(e.msg, "error")
        except ChildError as e:  # a window or a renderer broke
            self.tell(str(e), "error")

    def tell(self, text: str, severity: str = "information") -> None:
        """A line under the panes, and in the log. Never parsed. An error stands at the corner too, one at a time, as
        does what is longer than that line and what is told while a dialog covers it."""
        log.info("told: %s", text)
        text = words.plain(text)
        text = text if severity == "information" else f"! {text}"
        self.store.say(text, datetime.now(UTC).isoformat(timespec="seconds"))
        fits = len(text) + STAMP <= self.size.width
        if severity != "error" and fits and isinstance(self.screen, MainScreen):
            return
        self.clear_notifications()
        self.notify(
            text,
            severity=severity,  # type: ignore[arg-type]
            timeout=6 if severity == "error" else 3,
            markup=False,
        )

    async def ask(self, screen: Screen[T]) -> T | None:
        """The answer of a dialog. Only in a worker (`work`)."""
        return await self.push_screen_wait(screen)


def crashed(error: BaseException) -> Path:
    """Write the traceback of an error to a file, without local values; where it is."""
    import tempfile

    fd, name = tempfile.mkstemp(prefix="thalweg-crash-", suffix=".log")
    with os.fdopen(fd, "w", encoding="utf-8") as out:
        out.write("".join(traceback.format_exception(error)))
    return Path(name)


def log_to_file() -> Path | None:
    """Let what the app notes go to a file: the screen is taken. None where no file can be written."""
    import platformdirs

    folder = platformdirs.user_log_path("thalweg")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        from logging.handlers import RotatingFileHandler

        handler = RotatingFileHandler(folder / "tui.log", maxBytes=1_000_000, backupCount=1, delay=True)
    except OSError:
        return None
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    root = logging.getLogger("thalweg")
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    root.propagate = False
    return folder / "tui.log"


def open_app(profile: Profile | None = None, config: Config | None = None) -> int:
    """Run the app on this terminal until it is left; the exit code."""
    log_to_file()
    app = ThalwegApp(profile, config or profiles.load())
    try:
        code = app.run()
    except KeyboardInterrupt:
        return 130
    active = sum(j.active for j in app.store.jobs.values())
    if app.crash is None and active and app.store.link.state == "live":
        what = "1 job goes" if active == 1 else f"{active} jobs go"
        print(f"thalweg: {what} on without this screen; thalweg jobs list", file=sys.stderr)
    return int(code if code is not None else app.return_code or 0)
