"""The picture in the terminal: frames where there are some, else the rows with a cursor that reads points."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("textual")

from textual.pilot import Pilot
from textual.widgets import Static
from tui_apps import until, used

from protocol.view import PRESETS, View, preset
from protocol.windows import CameraOrbit, CameraPreset, CameraSet, CameraZoom, Pick, PickReply, ViewReply
from tui.app import ThalwegApp
from tui.preview import Preview
from tui.widgets.halfblock import HalfBlock
from tui.widgets.heat import Heat
from tui.widgets.preview_pane import Live, PreviewPane


class FakePreview(Preview):
    """A process that sends a frame for each change, without one."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []
        self.events: list[str] = []
        self.up = False
        self.grey = 0

    @property
    def alive(self) -> bool:
        return self.up

    async def open(self, environment: Any = None) -> None:
        self.events.append("open")
        self.up = True

    async def close(self) -> None:
        self.up = False

    async def show(self, *surfaces: str) -> None:
        self.events.append(f"show {' '.join(surfaces)}")
        self.view = ViewReply(window="W", view=View(), surfaces=surfaces)

    async def stream(self, width: int, height: int, fps: float) -> None:
        self.events.append(f"stream {width}x{height}")

    async def still(self) -> None:
        self.events.append("still")

    async def ask(self, request: Any) -> Any:
        self.asked.append(request)
        if isinstance(request, Pick):
            right, low = request.x > 0.5, request.y > 0.5
            here = {"surface": self.view.surfaces[0], "i": 2 * low, "j": 3, "alpha": 0.1, "beta": 0.2}
            return PickReply(hit=right, **here if right else {})
        self.grey += 40
        return self.view

    async def set(self, changes: Any) -> None:
        self.view = ViewReply(window="W", view=preset(changes["preset"]))

    async def frames(self, gate: Any = lambda: True) -> AsyncIterator[tuple[Any, bool]]:
        sent = -1
        while self.up:
            if self.grey != sent and gate():
                sent = self.grey
                yield np.full((20, 40, 3), sent, np.uint8), True
            await asyncio.sleep(0.005)


def shown(what: Any, monkeypatch: pytest.MonkeyPatch, *, frames: bool) -> None:
    """The Surface tab with its picture, the keys going to that."""

    async def use(app: ThalwegApp, pilot: Pilot[Any], daemon: Any) -> None:
        surface = daemon.surface
        app.choose("surface", surface)
        app.main.show_tab("Surface", focus=True)
        await until(pilot, lambda: app.main.query(PreviewPane))
        pane = app.main.query_one(PreviewPane)
        await until(pilot, lambda: pane.detail.shape[0], "the surface")
        daemon._do(lambda: [daemon.row() for _ in range(3)])
        await until(pilot, lambda: pane.detail.rows_measured == 3, "the rows")
        await what(app, pilot, pane)

    if frames:
        monkeypatch.setattr("tui.widgets.preview_pane.Preview", FakePreview)
    used(use, (120, 36))


def text(pane: PreviewPane, id: str) -> str:
    return str(pane.query_one(id, Static).render())


def test_without_a_picture_the_rows_are_shown_and_why(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], pane: PreviewPane) -> None:
        heat = pane.query_one(Heat)
        await until(pilot, lambda: heat.display and heat.values.size)
        assert not pane.query_one(HalfBlock).display
        await until(pilot, lambda: "there is none in this test" in text(pane, "#picture-head"))
        heat.focus()
        await pilot.press("right", "up")
        await until(pilot, lambda: app.cursor is not None)
        await until(pilot, lambda: text(pane, "#picture-said").startswith("α "))
        i, j = app.cursor
        if pane.detail.values["n"][i, j]:
            assert "loss" in text(pane, "#picture-said") or "diverged" in text(pane, "#picture-said")
        else:
            assert "not measured yet" in text(pane, "#picture-said")

    shown(use, monkeypatch, frames=False)


def test_frames_are_shown_and_keys_steer_them(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], pane: PreviewPane) -> None:
        await until(pilot, lambda: pane.up and pane.query_one(HalfBlock).display, "a frame")
        fake: Any = pane.preview
        live = pane.query_one(HalfBlock)
        assert fake.events[:2] == ["open", f"show {app.choice.surface}"]
        assert fake.events[2].startswith("stream ")
        live.focus()
        await pilot.press("left", "plus", "shift+up", "home")
        wanted = (CameraOrbit, CameraZoom, CameraSet, CameraPreset)
        await until(pilot, lambda: {type(r) for r in fake.asked} >= set(wanted), "every move")
        assert next(r for r in fake.asked if isinstance(r, CameraOrbit)).azimuth == -10
        names = list(PRESETS)
        await pilot.press("full_stop")
        after = names[(names.index("contours-3d") + 1) % len(names)]
        await until(pilot, lambda: text(pane, "#picture-head").startswith(after))

    shown(use, monkeypatch, frames=True)


def test_a_cursor_in_the_picture_reads_what_is_drawn_there(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], pane: PreviewPane) -> None:
        await until(pilot, lambda: pane.up, "a frame")
        fake: Any = pane.preview
        live = pane.query_one(Live)
        live.focus()
        await pilot.press("k", "right", "down")
        assert live.cross == (live.size.width // 2 + 1, live.size.height // 2 + 1)
        await until(pilot, lambda: app.cursor == (2, 3), "the point there")
        assert text(pane, "#picture-said") == pane.read_out() != ""
        assert all(r.stream for r in fake.asked)
        assert not any(isinstance(r, CameraOrbit) for r in fake.asked)  # the arrows moved the cursor alone
        await pilot.press("plus")
        await until(pilot, lambda: any(isinstance(r, CameraZoom) for r in fake.asked))
        zoomed = next(r for r in fake.asked if isinstance(r, CameraZoom))
        assert (zoomed.x, zoomed.y) == live.place
        await pilot.press("left", "left", "left")
        await until(pilot, lambda: text(pane, "#picture-said") == "nothing is drawn there" and app.cursor is None)
        await pilot.press("k", "left")
        await until(pilot, lambda: any(isinstance(r, CameraOrbit) for r in fake.asked), "a turn again")
        assert "k: a cursor" in text(pane, "#picture-said")

    shown(use, monkeypatch, frames=True)


def test_the_mouse_reads_points_without_a_button(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], pane: PreviewPane) -> None:
        await until(pilot, lambda: pane.up, "a frame")
        live = pane.query_one(Live)
        await pilot.hover(Live, offset=(live.size.width - 2, 1))
        await until(pilot, lambda: app.cursor == (0, 3), "the point there")
        await pilot.hover("#sidebar")
        await until(pilot, lambda: "k: a cursor" in text(pane, "#picture-said"))

    shown(use, monkeypatch, frames=True)


def test_rows_and_picture_change_places_and_the_focus_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], pane: PreviewPane) -> None:
        await until(pilot, lambda: pane.up, "a frame")
        pane.query_one(HalfBlock).focus()
        await pilot.press("h")
        await until(pilot, lambda: app.focused is pane.query_one(Heat))
        fake: Any = pane.preview
        await until(pilot, lambda: "still" in fake.events)
        await pilot.press("h")
        await until(pilot, lambda: pane.up and app.focused is pane.query_one(HalfBlock))

    shown(use, monkeypatch, frames=True)


def test_where_nobody_looks_no_frame_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], pane: PreviewPane) -> None:
        await until(pilot, lambda: pane.up, "a frame")
        fake: Any = pane.preview
        pane.display = False
        await until(pilot, lambda: fake.events[-1] == "still" and not pane.up)
        pane.display = True
        await until(pilot, lambda: pane.up, "a frame again")

    shown(use, monkeypatch, frames=True)


def test_a_process_that_ends_leaves_the_rows_and_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], pane: PreviewPane) -> None:
        await until(pilot, lambda: pane.up, "a frame")
        fake: Any = pane.preview
        fake.up = False
        await until(pilot, lambda: pane.query_one(Heat).display)
        await until(pilot, lambda: "has ended" in text(pane, "#picture-head"))

    shown(use, monkeypatch, frames=True)


def test_frames_are_asked_for_although_what_shows_them_has_no_size_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that came just after another surface was chosen hid the picture and left the stream unasked for."""

    async def use(app: ThalwegApp, pilot: Pilot[Any], pane: PreviewPane) -> None:
        await until(pilot, lambda: pane.up, "a frame")
        room = pane._room()
        await pane.query_one("#heat").remove()
        heat = Heat(id="heat")
        pane.mount(heat, after="#live")
        pane.query_one("#live").display = False
        assert heat.size.width == 0
        assert pane._room() == room
        assert min(room) > 0

    shown(use, monkeypatch, frames=True)
