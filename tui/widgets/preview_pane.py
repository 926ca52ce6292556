"""The picture of the chosen surface: what a window would show, in half blocks; keys and mouse turn it.

A window without a screen draws it (tui/preview.py). Until that is up, where there is no OpenGL, and at `h`, the rows
themselves are shown as a heat map, with a cursor that reads points.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import Any, ClassVar

import numpy as np
from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.view import PRESETS
from protocol.windows import CameraPreset, PickReply
from tui import words
from tui.preview import Hand, Preview
from tui.state import SurfaceDetail
from tui.widgets.halfblock import HalfBlock
from tui.widgets.heat import Heat, legend
from tui.widgets.panel import Panel

TURN, TILT, SHIFT, CLOSER = 10.0, 6.0, 0.1, 1.2
DRAG = 3.0  # degrees a character


class Live(HalfBlock, can_focus=True):
    """The frames; says what hands do to them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", f"turn({-TURN},0)", "Turn", show=False),
        Binding("right", f"turn({TURN},0)", "Turn", show=False),
        Binding("up", f"turn(0,{TILT})", "Tilt", show=False),
        Binding("down", f"turn(0,{-TILT})", "Tilt", show=False),
        Binding("plus,equals_sign", f"zoom({CLOSER})", "Closer", show=False),
        Binding("minus", f"zoom({1 / CLOSER})", "Away", show=False),
        Binding("shift+left", f"shift({SHIFT},0)", "Shift", show=False),
        Binding("shift+right", f"shift({-SHIFT},0)", "Shift", show=False),
        Binding("shift+up", f"shift(0,{-SHIFT})", "Shift", show=False),
        Binding("shift+down", f"shift(0,{SHIFT})", "Shift", show=False),
        Binding("home,0", "place('fit')", "Whole", show=False),
        Binding("t", "place('top')", "From above", show=False),
        Binding("i", "place('iso')", "From a corner", show=False),
        Binding("full_stop", "preset(1)", "Next way", show=False),
        Binding("comma", "preset(-1)", "Way before", show=False),
        Binding("k", "read", "Read points", show=False),
    ]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cross: tuple[int, int] | None = None  # column and row of the cursor, while the arrows move it
        self.place: tuple[float, float] | None = None  # what is pointed at, in shares of the picture

    class Pointed(Message):
        """At a place of the picture, in shares; None: at nothing any more."""

        def __init__(self, place: tuple[float, float] | None) -> None:
            super().__init__()
            self.place = place

    class Turned(Message):
        """By degrees."""

        def __init__(self, azimuth: float, elevation: float) -> None:
            super().__init__()
            self.azimuth, self.elevation = azimuth, elevation

    class Zoomed(Message):
        """By a factor, at a place in shares."""

        def __init__(self, factor: float, x: float = 0.5, y: float = 0.5) -> None:
            super().__init__()
            self.factor, self.x, self.y = factor, x, y

    class Shifted(Message):
        """By shares of half the plot."""

        def __init__(self, x: float, y: float) -> None:
            super().__init__()
            self.x, self.y = x, y

    class Placed(Message):
        """To a named place."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    class Stepped(Message):
        """To the next preset, or the one before."""

        def __init__(self, by: int) -> None:
            super().__init__()
            self.by = by

    def action_turn(self, azimuth: float, elevation: float) -> None:
        if self.cross is None:
            self.post_message(self.Turned(azimuth, elevation))
        else:
            sign = (azimuth > 0) - (azimuth < 0), (elevation < 0) - (elevation > 0)
            self.put_cross((self.cross[0] + sign[0], self.cross[1] + sign[1]))

    def action_zoom(self, factor: float) -> None:
        self.post_message(self.Zoomed(factor) if self.place is None else self.Zoomed(factor, *self.place))

    def action_read(self) -> None:
        """Let the arrows move a cursor, or the picture again."""
        self.put_cross(None if self.cross is not None else (self.size.width // 2, self.size.height // 2))

    def put_cross(self, at: tuple[int, int] | None) -> None:
        """Put the cursor at a character, within the picture; None takes it away."""
        if at is not None:
            at = min(max(at[0], 0), self.size.width - 1), min(max(at[1], 0), self.size.height - 1)
        self.cross = at
        self.mark({} if at is None else {at: "┼"})
        self.point(None if at is None else self._share(*at))

    def point(self, place: tuple[float, float] | None) -> None:
        """Point at a place."""
        self.place = place
        self.post_message(self.Pointed(place))

    def action_shift(self, x: float, y: float) -> None:
        self.post_message(self.Shifted(x, y))

    def action_place(self, name: str) -> None:
        self.post_message(self.Placed(name))

    def action_preset(self, by: int) -> None:
        self.post_message(self.Stepped(by))

    def _share(self, x: int, y: int) -> tuple[float, float]:
        width, height = max(1, self.size.width), max(1, self.size.height)
        return min(1.0, max(0.0, (x + 0.5) / width)), min(1.0, max(0.0, (y + 0.5) / height))

    def on_mouse_down(self) -> None:
        self.capture_mouse()

    def on_mouse_up(self) -> None:
        self.release_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if event.button and event.shift:
            self.post_message(self.Shifted(-event.delta_x * 2 / max(1, self.size.width), event.delta_y * 0.04))
        elif event.button:
            self.post_message(self.Turned(-event.delta_x * DRAG, event.delta_y * DRAG))
        elif self.cross is None:
            self.point(self._share(event.x, event.y))

    def on_leave(self) -> None:
        if self.cross is None and self.place is not None:
            self.point(None)

    def on_resize(self) -> None:
        if self.cross is not None:
            self.put_cross(self.cross)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.post_message(self.Zoomed(CLOSER, *self._share(event.x, event.y)))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.post_message(self.Zoomed(1 / CLOSER, *self._share(event.x, event.y)))


class PreviewPane(Panel):
    """What shows the chosen surface."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("h", "other", "Rows or picture", show=False)]
    DEFAULT_CSS = """
    PreviewPane { layout: vertical; }
    PreviewPane > Static { height: 1; max-height: 3; color: $text-muted; padding: 0 1; }
    PreviewPane > Blocks { height: 1fr; width: 1fr; }
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.preview = Preview()
        self.preview.told = self._looks
        self.hand = Hand(self.preview, self._picked)
        self.hit: PickReply | None = None  # what is drawn where is pointed at
        self.wanted = "picture"  # or rows
        self.up = False  # whether frames come
        self.problem = ""
        self._shown = ""  # the surface whose stream runs or begins

    def compose(self) -> ComposeResult:
        """A line over the picture, the picture, a line under it."""
        yield Static(id="picture-head", markup=False)
        yield Live(id="live")
        yield Heat(id="heat")
        yield Static(id="picture-said", markup=False)

    def areas(self) -> tuple[str, ...]:
        """The chosen surface, and how it is drawn."""
        return ("link", f"surface/{self.choice.surface}", "picture")

    def _looks(self) -> None:
        """The picture is drawn another way: the tab of its settings shows it too."""
        if self.is_mounted:
            self.store.touch("picture")

    @property
    def detail(self) -> SurfaceDetail:
        """What is known of the chosen surface."""
        return self.store.surface_details.get(self.choice.surface) or SurfaceDetail()

    # ------------------------------------------------------------ what is seen

    def draw(self) -> None:
        """Show the picture or the rows; begin or end the stream."""
        if not self.query("#live"):
            return
        surface = self.choice.surface
        live = self.wanted == "picture" and self.up and bool(surface)
        self.query_one("#live").display = live
        self.query_one("#heat").display = not live
        if surface != self._shown:
            self.problem = ""
            self._end()
        if surface and self.wanted == "picture" and not self._shown and not self.problem and self.thalweg.hub.live:
            self._shown = surface
            self._begin()
        if not live:
            self._rows()
        self._say(live)

    def _rows(self) -> None:
        heat = self.query_one(Heat)
        values, n = self.detail.values.get("loss"), self.detail.values.get("n")
        if values is None or n is None:
            heat.clear()
            return
        heat.at = self.thalweg.cursor
        heat.show(values, np.asarray(n) > 0)

    def _say(self, live: bool) -> None:
        head, said = self.query_one("#picture-head", Static), self.query_one("#picture-said", Static)
        if not self.choice.surface:
            head.update("picture")
            said.update("no surface is chosen: s measures one")
            return
        view = self.preview.view
        if live:
            head.styles.height = 1
            how = view.view.preset if view else ""
            arrows = "read" if self.query_one(Live).cross is not None else "turn"
            said_all = f"{how} · arrows {arrows} · +- zoom · ,. kind"
            head.update(said_all if len(said_all) + 2 <= self.size.width else said_all.rpartition(" · ")[0])
        else:
            heat = self.query_one(Heat)
            head.styles.height = "auto" if self.problem else 1
            start = "the picture is coming · " if self.wanted == "picture" and not self.problem else ""
            scale = f"loss {legend(heat.scale)}" if heat.measured.any() else "no row yet"
            head.update(words.plain(f"no picture: {self.problem}" if self.problem else f"{start}rows · {scale}"))
        if live:
            said.update(self.picked_out() or "k: a cursor that reads points · h: rows")
        else:
            said.update(self.read_out() or "arrows read points")

    def picked_out(self) -> str:
        """What is drawn in the picture where is pointed at."""
        hit = self.hit
        if hit is None:
            return ""
        if not hit.hit or hit.alpha is None or hit.beta is None:
            return "nothing is drawn there"
        if hit.surface == self.choice.surface and (said := self.read_out()):
            return said
        place = f"α {words.number(hit.alpha)} β {words.number(hit.beta)}"
        return place + _valued(hit.n, hit.loss, hit.sem)

    def _picked(self, hit: PickReply) -> None:
        if not self.is_mounted or self.query_one(Live).place is None:
            return
        self.hit = hit
        here = hit.hit and hit.surface == self.choice.surface and hit.i is not None and hit.j is not None
        self.thalweg.put_cursor((hit.i, hit.j) if here else None)  # type: ignore[arg-type]  # looked at above
        self._say(self.up)

    def on_live_pointed(self, event: Live.Pointed) -> None:
        """Ask what is drawn there."""
        event.stop()
        if event.place is None:
            self.hit = None
            self._say(self.up)
        elif self.up:
            self.hand.point(*event.place)

    def read_out(self) -> str:
        """The point under the cursor: alpha, beta, loss and how sure it is."""
        at, detail = self.thalweg.cursor, self.detail
        loss = detail.values.get("loss")
        if at is None or loss is None or detail.alpha is None or detail.beta is None:
            return ""
        i, j = at
        if i >= loss.shape[0] or j >= loss.shape[1]:
            return ""
        sem = float(detail.values["sem"][i, j]) if "sem" in detail.values else None
        place = f"α {words.number(detail.alpha[j])} β {words.number(detail.beta[i])}"
        return place + _valued(int(detail.values["n"][i, j]), float(loss[i, j]), sem)

    def on_heat_pointed(self, event: Heat.Pointed) -> None:
        """The cursor moved."""
        event.stop()
        self.thalweg.put_cursor(event.at)
        self._say(False)

    def action_other(self) -> None:
        """Rows instead of the picture, or back."""
        had = self.has_focus_within
        self.wanted = "rows" if self.wanted == "picture" else "picture"
        self.problem = ""
        if self.wanted == "rows":
            self._end()
        self.draw()
        if had:
            self.query_one("#live" if self.query_one("#live").display else "#heat").focus()

    # ------------------------------------------------------------ the stream

    def source(self) -> tuple[str, ...]:
        """The flags that show the window this daemon."""
        hub = self.thalweg.hub
        if hub.root is not None:
            return ("--workspace", str(hub.root))
        if hub.client is None:
            return ()
        address = hub.client.address
        flags = ["--daemon", address.cmd, address.evt]
        if address.server_key:
            flags += ["--server-key", address.server_key.decode()]
        if hub.profile.key is not None:
            flags += ["--key", str(hub.profile.key.expanduser())]
        return tuple(flags)

    def _room(self) -> tuple[int, int]:
        room = self.content_size  # not a child's: one that was just shown has no size yet, and no frames were asked for
        return room.width, 2 * (room.height - 2)

    @work(exclusive=True, group="preview")
    async def _begin(self) -> None:
        preview = self.preview
        try:
            source = self.source()
            if preview.alive and source != preview.source:  # another daemon
                await preview.close()
            preview.source = source
            await preview.open()
            await preview.show(self._shown)
            await self._stream()
            async for pixels, still in preview.frames(self.thalweg.gate.open):
                if not self.up:
                    self.up = True
                    had = self.has_focus_within
                    self.draw()
                    if had:
                        self.query_one("#live").focus()
                live = self.query_one(Live)
                live.show(pixels)
                if still and live.place is not None:  # another point is drawn there now
                    self.hand.point(*live.place)
            raise InputError("picture: its process has ended; h and h again starts it anew", code="unavailable")
        except InputError as e:
            self.up, self.problem = False, e.msg.removeprefix("picture: ")
            self.draw()

    async def _stream(self) -> None:
        width, height = self._room()
        if width > 0 and height > 0:
            await self.preview.stream(width, height, 1 / self.thalweg.frame_s)

    def _end(self) -> None:
        """No frames: nobody looks."""
        self.workers.cancel_group(self, "preview")
        self.up, self._shown = False, ""
        if self.preview.alive:
            self._quiet(self.preview.still())

    def on_hide(self) -> None:
        """Nobody looks."""
        self._end()

    def on_resize(self) -> None:
        """Another room, other frames."""
        if self.up:
            self._quiet(self._stream())

    async def on_unmount(self) -> None:  # type: ignore[override]  # both are called
        """The window goes with the pane."""
        await self.preview.close()

    def _quiet(self, doing: Any) -> None:
        async def done() -> None:
            with suppress(InputError):
                await doing

        task = asyncio.create_task(done())
        task.add_done_callback(lambda t: t.cancelled() or t.exception())

    # ------------------------------------------------------------ hands

    def on_live_turned(self, event: Live.Turned) -> None:
        event.stop()
        self.hand.orbit(event.azimuth, event.elevation)

    def on_live_zoomed(self, event: Live.Zoomed) -> None:
        event.stop()
        self.hand.zoom(event.factor, event.x, event.y)

    def on_live_shifted(self, event: Live.Shifted) -> None:
        event.stop()
        self.hand.pan(event.x, event.y)

    def on_live_placed(self, event: Live.Placed) -> None:
        event.stop()
        self._quiet(self.preview.ask(CameraPreset(id=new_id(), name=event.name)))  # type: ignore[arg-type]  # of ours

    def on_live_stepped(self, event: Live.Stepped) -> None:
        event.stop()
        names = list(PRESETS)
        now = self.preview.view.view.preset if self.preview.view else names[0]
        self._quiet(self._set({"preset": names[(names.index(now) + event.by) % len(names)]}))

    async def _set(self, changes: dict[str, Any]) -> None:
        await self.preview.set(changes)
        self._say(self.up)


def _valued(n: int, loss: float | None, sem: float | None) -> str:
    """A point's loss and how sure it is, behind its place."""
    if not n or loss is None:
        return " not measured yet"
    if not math.isfinite(loss):
        return " diverged"
    return f" loss {words.number(loss)}" + (f" ± {words.number(sem)}" if sem is not None and math.isfinite(sem) else "")
