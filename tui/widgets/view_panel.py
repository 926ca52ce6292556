"""The View tab: every setting of a picture, applied live to the chosen window, or to the picture in this terminal."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Button, Static

from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.steering import AsyncWindowClient
from protocol.view import PRESETS, View, fields
from protocol.windows import (
    RecordDone,
    RecordStart,
    RecordStop,
    Screenshot,
    Show,
    Turntable,
    ViewGet,
    ViewReply,
    ViewSet,
    WindowChanged,
    WindowClose,
    WindowWatch,
)
from tui import words
from tui.fields import Field, of_struct
from tui.preview import pictures as folder
from tui.widgets.controls import Changed, Row, TooLong
from tui.widgets.panel import Panel

if TYPE_CHECKING:
    from tui.widgets.preview_pane import PreviewPane

HIDDEN = ("preset", "camera.target", "camera.pivot")  # buttons; what a hand sets
GROUPS = {
    "Picture": ("mode", "metric", "theme", "title", "height", "light", "smoothing", "arrange", "shared_scale"),
    "Scale": ("clip", "clip_mode", "normalise", "log_height", "log_color"),
    "Colours": ("colormap", "reverse", "path_colormap", "path_width"),
}
BUTTONS = (("contours-2d", "contours-3d"), ("contours-air", "mesh", "solid"), ("heat", "compare"))
PICTURE_SIZE, PICTURE_SCALE = (1280, 800), 2.0
LONG_S = 120.0


def view_fields() -> list[Field]:
    """A field for every setting of protocol.view, in groups."""
    made = {f.path: f for f in of_struct(View) if f.path not in HIDDEN}
    out = [made.pop(name).but(group=group) for group, names in GROUPS.items() for name in names if name in made]
    for path, asked in made.items():
        head = path.partition(".")[0]
        group = head.capitalize() if "." in path else "Picture"
        out.append(asked.but(group=group))
    order = list(dict.fromkeys(f.group for f in out))
    return sorted(out, key=lambda f: order.index(f.group))


class ViewPanel(Panel):
    """The settings of what is steered."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f7", "shot", "Screenshot", show=False),
        Binding("f8", "turntable", "Turntable", show=False),
        Binding("f9", "record", "Record", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
    ]
    DEFAULT_CSS = """
    ViewPanel { layout: vertical; }
    ViewPanel > Static { height: auto; }
    ViewPanel #view-said { color: $text-muted; max-height: 2; }
    ViewPanel .buttons { height: 1; }
    ViewPanel Button { min-width: 4; margin-right: 1; }
    ViewPanel VerticalScroll { height: 1fr; scrollbar-size: 1 1; }
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asked = {f.path: f for f in view_fields()}
        self.rows: dict[str, Row] = {}
        self.state: ViewReply | None = None
        self.recording = False
        self._pending: dict[str, Any] = {}
        self._clients: dict[str, AsyncWindowClient] = {}
        self._of = ""  # the window that `state` is of
        self._follows = False  # whether it is heard
        self._locked = asyncio.Lock()

    def compose(self) -> ComposeResult:
        """What is steered, buttons, settings."""
        yield Static("", id="view-of", markup=False)
        for names in BUTTONS:
            with Horizontal(classes="buttons"):
                for name in names:
                    yield Button(name, id="compare" if name == "compare" else f"preset-{name}", compact=True)
        with Horizontal(classes="buttons"):
            yield Button("F7 save", id="shot", compact=True, variant="primary")
            yield Button("F8 turn", id="turntable", compact=True)
            yield Button("F9 record", id="record", compact=True)
            yield Button("close", id="close", compact=True)
        yield Static("", id="view-said", markup=False)
        with VerticalScroll(can_focus=False):
            group = ""
            start = fields()
            for path, asked in self.asked.items():
                heading = asked.group if asked.group != group else ""
                group = asked.group
                self.rows[path] = Row(asked, asked.show(start[path]), heading)
                yield self.rows[path]

    def on_mount(self) -> None:
        """The keys go to it, where it was opened to be used: its controls are there only now."""
        self.call_after_refresh(self._take_focus)

    def _take_focus(self) -> None:
        if not getattr(self.screen, "on_list", True) and not self.has_focus_within and self.is_on_screen:
            self.query(Button).first().focus()

    def areas(self) -> tuple[str, ...]:
        """The windows there are, what is chosen, and how the picture in this terminal is drawn."""
        return ("windows", f"surface/{self.choice.surface}", "picture")

    def draw(self) -> None:
        """Say what is steered; ask it how it is, where that is another than before."""
        if not self.rows:
            return
        for row in self.rows.values():
            row.set_class(self.size.width < 60, "-tight")
        self._head()
        if self._of != self.target() or self.state is None or not self._follows:
            self._ask()
        pane = None if self.target() else self._pane()
        if pane is not None and pane.preview.view not in (None, self.state):
            self.take(pane.preview.view)

    def on_hide(self) -> None:
        """Nobody looks: the window need not tell what happens to it."""
        self._follows = False
        self.workers.cancel_group(self, "view-ask")

    def target(self) -> str:
        """The id of the window that is steered; "" for the picture in this terminal."""
        window = self.choice.window
        return window if window in self.store.windows else ""

    def _head(self) -> None:
        window = self.store.windows.get(self.target())
        what = f"window {window.title} {words.short(window.id)}" if window else "the picture in this terminal"
        self.query_one("#close").display = window is not None
        self.query_one("#view-of", Static).update(words.plain(f"Settings of {what}"))

    def _say(self, text: str) -> None:
        self.query_one("#view-said", Static).update(words.plain(text))

    # ------------------------------------------------------------ what is steered

    async def client(self) -> AsyncWindowClient:
        """A client of what is steered. Raises InputError where there is none."""
        id = self.target()
        if id:
            known = self._clients.get(id)
            if known is None:
                window = self.store.windows[id]
                hub = self.thalweg.hub
                if window.endpoint.startswith("ipc://") and not Path(window.endpoint[6:]).exists():
                    way = "thalweg window set --ssh" if hub.profile.ssh is not None else "thalweg window set there"
                    raise InputError(f"this window is on another machine: steer it with {way}", code="unavailable")
                keys = hub.client.address.keys if hub.client else None
                known = self._clients[id] = await AsyncWindowClient.open(window.endpoint, keys=keys)
            return known
        pane = self._pane()
        if pane is not None and pane.preview.window is not None:
            return pane.preview.window
        raise InputError("no picture is up yet: look at a surface (3), or open a window (w)", code="unavailable")

    def _pane(self) -> PreviewPane | None:
        """The picture in this terminal, where it is up."""
        from tui.widgets.preview_pane import PreviewPane

        found = (pane for pane in self.screen.query(PreviewPane) if pane.preview.alive)
        return next(found, None)

    async def request(self, request: Any, timeout_s: float = 10.0) -> Any:
        """The reply of what is steered; its state is shown."""
        client = await self.client()
        reply = await client.request(request, timeout_s=timeout_s)
        if isinstance(reply, ViewReply):
            pane = None if self.target() else self._pane()
            if pane is not None:
                pane.preview.take(reply)
            self.take(reply)
        return reply

    def take(self, reply: ViewReply) -> None:
        """Show the settings as they are there."""
        self.state, self._of, self.recording = reply, self.target(), reply.recording
        now = fields(reply.view)
        for path, row in self.rows.items():
            if not row.control.has_focus and path not in self._pending and path in now:
                row.show(row.asked, row.asked.show(now[path]))
                row.say("")
        for name in PRESETS:
            self.query_one(f"#preset-{name}", Button).variant = "success" if name == reply.view.preset else "default"
        self._say("applied live" + (f" · recording to {folder()}" if self.recording else ""))

    @work(exclusive=True, group="view-ask")
    async def _ask(self) -> None:
        """How it is, and how it becomes: its own mouse and keys change it too."""
        target = self._of = self.target()
        self._follows = True
        try:
            await self.request(ViewGet(id=new_id()))
            if target:  # the picture in this terminal is heard by its pane
                await self._follow(await self.client(), target)
        except InputError as e:
            self._follows = False
            self._say(e.msg)

    async def _follow(self, client: AsyncWindowClient, target: str) -> None:
        await client.request(WindowWatch(id=new_id()))
        try:
            async for message, _ in client:
                if self.target() != target:
                    return
                if isinstance(message, WindowChanged):
                    if message.state != self.state:
                        self.take(message.state)
                elif isinstance(message, RecordDone):
                    self._recorded(message)
        finally:
            with suppress(InputError):
                await client.request(WindowWatch(id=new_id(), on=False), timeout_s=1.0)

    def _recorded(self, done: RecordDone) -> None:
        """A video ended, by hand or because its time was over."""
        self.recording = False
        if done.error is not None:
            self.thalweg.tell(f"no video: {done.error}", "error")
        elif done.shot is not None and done.shot.saved:
            self.thalweg.tell(f"recorded {done.shot.saved}")

    async def on_unmount(self) -> None:  # type: ignore[override]  # both are called
        """Let go of the windows; they stay."""
        for client in self._clients.values():
            await client.close(linger_ms=0)
        self._clients.clear()

    # ------------------------------------------------------------ settings

    def on_changed(self, event: Changed) -> None:
        """A setting was changed by hand: apply it, if it can be read."""
        event.stop()
        row = self.rows[event.path]
        try:
            value = row.asked.read(event.raw)
        except InputError as e:
            row.say(e.msg)
            return
        row.say("")
        self.apply({event.path: value})

    def on_too_long(self, event: TooLong) -> None:
        """A paste that no setting takes."""
        event.stop()
        self.rows[event.path].say(f"expected a setting, got {event.length:,} characters: nothing was pasted")

    def apply(self, changes: Mapping[str, Any]) -> None:
        """Change settings; what comes while an earlier change is on its way goes together."""
        if "preset" in changes:
            self._pending = {}
        self._pending.update(changes)
        self._send()

    @work(group="view-send")
    async def _send(self) -> None:
        async with self._locked:
            if not self._pending:
                return
            changes, self._pending = self._pending, {}
            try:
                await self.request(ViewSet(id=new_id(), view=changes))
            except InputError as e:
                path = (e.path or "").removeprefix("$.").removeprefix("view.")
                if path in self.rows:
                    self.rows[path].say(e.msg.partition(": ")[2] or e.msg)
                else:
                    self._say(e.msg)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A preset, or a deed."""
        event.stop()
        id = event.button.id or ""
        if id.startswith("preset-"):
            self.apply({"preset": id.removeprefix("preset-")})
            return
        {"shot": self.action_shot, "turntable": self.action_turntable, "record": self.action_record,
         "compare": self.action_compare, "close": self.action_close}[id]()  # fmt: skip

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The setting that has the focus is on the screen."""
        if event.widget.parent is not None and isinstance(event.widget.parent.parent, Row):
            event.widget.parent.parent.scroll_visible(animate=False)

    def action_page(self, by: int) -> None:
        """A page of settings."""
        holder = self.query_one(VerticalScroll)
        holder.scroll_relative(y=by * holder.size.height, animate=False)

    # ------------------------------------------------------------ pictures

    def _name_of(self) -> str:
        """A name for a picture, of the surface and the time."""
        shown = self.state.surfaces[0] if self.state and self.state.surfaces else self.choice.surface
        row = self.store.surfaces.get(shown)
        called = (row.name or f"{row.model}-{words.short(row.id)}") if row else "surface"
        stem = "".join(c if c.isalnum() else "-" for c in called)[:60]
        return f"{stem}-{time.strftime('%Y%m%d-%H%M%S')}"

    def action_shot(self) -> None:
        """Save the picture on this machine."""
        self.thalweg.work(self.shot())

    async def shot(self) -> Path:
        """The file that the picture was saved to. Raises InputError."""
        self._say("drawing ...")
        client = await self.client()
        (width, height), scale = PICTURE_SIZE, PICTURE_SCALE
        ask = Screenshot(id=new_id(), width=width, height=height, scale=scale)
        made, arrays = await client.call(ask, timeout_s=LONG_S)
        data = await client.picture(made, arrays, timeout_s=LONG_S)
        file = await asyncio.to_thread(_saved, folder() / f"{self._name_of()}.png", data)
        self._say(f"saved {file}")
        self.thalweg.tell(f"saved {file}, {made.width} x {made.height}")
        return file

    def action_turntable(self) -> None:
        """Once around."""
        self.thalweg.work(self.request(Turntable(id=new_id())))

    def action_record(self) -> None:
        """Record what is shown; again: end it."""
        self.thalweg.work(self._record())

    async def _record(self) -> None:
        if self.recording:
            self.recording = False
            made = await self.request(RecordStop(id=new_id()), LONG_S)
            self._say(f"recorded {made.saved}")
            self.thalweg.tell(f"recorded {made.saved}" if made.saved else "the recording has ended")
            return
        await self.request(RecordStart(id=new_id(), save=f"{self._name_of()}.mp4"))
        self.recording = True
        self._say("recording; F9 ends it")

    def action_close(self) -> None:
        """Close the window that is steered; jobs go on."""
        self.thalweg.work(self._close())

    async def _close(self) -> None:
        id = self.target()
        await self.request(WindowClose(id=new_id()))
        client = self._clients.pop(id, None)
        if client is not None:
            await client.close()
        self.thalweg.tell(f"window {words.short(id)} is closed")

    def action_compare(self) -> None:
        """Show a second surface beside the chosen one."""
        self.thalweg.work(self._compare())

    async def _compare(self) -> None:
        from tui.screens.pick import PickScreen

        mine = self.choice.surface
        others = [(s.id, f"{s.name or 'surface'} {words.short(s.id)}") for s in self.store.surfaces.values()]
        options = [("", "none: this one alone"), *((i, label) for i, label in others if i != mine)]
        picked = await self.thalweg.ask(PickScreen("Compare with", options))
        if picked is not None and mine:
            await self.request(Show(id=new_id(), surfaces=(mine, picked) if picked else (mine,)))


def _saved(file: Path, data: bytes) -> Path:
    from protocol.files import replacing

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InputError(f"{file.parent}: cannot make this folder ({e.strerror})") from e
    with replacing(file) as out:
        out.write(data)
    return file
