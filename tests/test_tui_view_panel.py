"""The View tab: every setting of a view, applied to what is steered, and pictures saved on this machine."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("textual")

from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Static
from tui_apps import until, used

from protocol.errors import InputError
from protocol.view import PRESETS, View, fields, override, preset
from protocol.windows import (
    RecordDone,
    Screenshot,
    ShotReply,
    Show,
    ViewReply,
    ViewSet,
    WindowChanged,
    WindowWatch,
)
from tui.app import ThalwegApp
from tui.state import Choice, Store
from tui.widgets import view_panel
from tui.widgets.controls import Line
from tui.widgets.view_panel import HIDDEN, ViewPanel, view_fields

PNG = b"a picture"


class FakeWindow:
    """A window's client that keeps a view."""

    def __init__(self) -> None:
        self.view, self.requests = View(), []
        self.refuse: InputError | None = None
        self.pushed: asyncio.Queue[Any] = asyncio.Queue()

    async def call(self, request: Any, arrays: Any = None, *, timeout_s: float = 1.0) -> tuple[Any, Any]:
        self.requests.append(request)
        if self.refuse is not None:
            error, self.refuse = self.refuse, None
            raise error
        if isinstance(request, ViewSet):
            self.view = override(self.view, request.view)
        if isinstance(request, Screenshot):
            sha = hashlib.sha256(PNG).hexdigest()
            return ShotReply(picture="0" * 26, total=len(PNG), sha256=sha, width=2560, height=1600), {}
        return ViewReply(window="W", view=self.view), {}

    async def request(self, request: Any, *, timeout_s: float = 1.0) -> Any:
        return (await self.call(request))[0]

    async def __aiter__(self) -> AsyncIterator[tuple[Any, Any]]:
        while True:
            yield await self.pushed.get(), {}

    async def picture(self, shot: ShotReply, first: Any = None, *, timeout_s: float = 1.0) -> bytes:
        return PNG


def steered(what: Any, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int] = (120, 36)) -> FakeWindow:
    """The View tab over a window; it."""
    window = FakeWindow()

    async def client(_: ViewPanel) -> FakeWindow:
        return window

    monkeypatch.setattr(ViewPanel, "client", client)

    async def use(app: ThalwegApp, pilot: Pilot[Any], _daemon: Any) -> None:
        app.main.show_tab("View", focus=True)
        await until(pilot, lambda: app.main.query(ViewPanel) and app.main.query_one(ViewPanel).state, "the view")
        await what(app, pilot, app.main.query_one(ViewPanel))

    used(use, size)
    return window


def test_every_setting_of_a_view_has_a_control_that_reads_what_it_shows() -> None:
    asked = {f.path: f for f in view_fields()}
    assert set(asked) | set(HIDDEN) >= set(fields())
    for name in PRESETS:
        view = preset(name)
        for path, value in fields(view).items():
            if path in asked:
                got = asked[path].read(asked[path].show(value))
                assert override(view, {path: got}) == view, path
    grouped = [f.group for f in view_fields()]
    assert grouped == sorted(grouped, key=list(dict.fromkeys(grouped)).index)


def test_a_setting_is_applied_as_it_is_typed_and_a_wrong_one_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], panel: ViewPanel) -> None:
        row = panel.rows["height"]
        assert isinstance(row.control, Line)
        row.control.focus()
        row.control.value = "0.5"
        await until(pilot, lambda: panel.state and panel.state.view.height == 0.5)
        row.control.value = "99"
        await until(pilot, lambda: row.wrong == "expected a number from 0 to 10, got '99'")
        assert panel.state.view.height == 0.5

    window = steered(use, monkeypatch)
    assert {"height": 0.5} in [r.view for r in window.requests if isinstance(r, ViewSet)]


def test_what_the_window_does_by_itself_is_shown_while_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ViewPanel, "target", lambda _: "W")

    async def use(app: ThalwegApp, pilot: Pilot[Any], panel: ViewPanel) -> None:
        window: Any = await panel.client()

        def watched() -> list[bool]:
            return [r.on for r in window.requests if isinstance(r, WindowWatch)]

        await until(pilot, lambda: watched() == [True], "the watch")
        turned = override(preset("mesh"), {"camera.azimuth": 12.5})
        window.pushed.put_nowait(WindowChanged(state=ViewReply(window="W", view=turned, recording=True)))
        await until(pilot, lambda: panel.rows["layers.mesh"].control.on)  # type: ignore[union-attr]  # a switch
        azimuth = panel.rows["camera.azimuth"].control
        assert isinstance(azimuth, Line)
        assert float(azimuth.value) == 12.5
        assert panel.recording
        window.pushed.put_nowait(RecordDone(error="disk: it is full"))
        await until(pilot, lambda: not panel.recording)
        app.main.show_tab("Train")
        await until(pilot, lambda: watched() == [True, False], "the end of the watch")
        app.main.show_tab("View")
        await until(pilot, lambda: watched() == [True, False, True], "the watch again")
        assert [r.view for r in window.requests if isinstance(r, ViewSet)] == []  # what is shown is not sent back

    steered(use, monkeypatch)


def test_a_preset_shows_in_every_control(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], panel: ViewPanel) -> None:
        await pilot.click("#preset-mesh")
        await until(pilot, lambda: panel.rows["layers.mesh"].control.on)  # type: ignore[union-attr]  # a switch
        assert not panel.rows["layers.surface"].control.on  # type: ignore[union-attr]
        assert panel.query_one("#preset-mesh").variant == "success"  # type: ignore[attr-defined]

    steered(use, monkeypatch)


def test_what_the_window_refuses_is_said_at_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], panel: ViewPanel) -> None:
        window: Any = await panel.client()
        window.refuse = InputError("view.light: expected something else", path="$.view.light")
        panel.apply({"light": 0.1})
        await until(pilot, lambda: panel.rows["light"].wrong == "expected something else")
        window.refuse = InputError("window: it has gone")
        panel.apply({"light": 0.2})
        await until(pilot, lambda: "it has gone" in str(panel.query_one("#view-said", Static).render()))

    steered(use, monkeypatch)


def test_settings_that_change_while_one_is_on_its_way_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], panel: ViewPanel) -> None:
        for k in range(20):
            panel.apply({"height": k / 10, "light": k / 20})
        await until(pilot, lambda: panel.state and panel.state.view.height == 1.9)

    window = steered(use, monkeypatch)
    assert len([r for r in window.requests if isinstance(r, ViewSet)]) <= 3


def test_a_picture_is_saved_on_this_machine_and_said_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(view_panel, "folder", lambda: tmp_path / "pictures")

    async def use(app: ThalwegApp, pilot: Pilot[Any], panel: ViewPanel) -> None:
        await pilot.press("f7")
        said = panel.query_one("#view-said", Static)
        await until(pilot, lambda: str(said.render()).startswith("saved "))
        (file,) = (tmp_path / "pictures").iterdir()
        assert file.read_bytes() == PNG
        assert file.suffix == ".png"
        assert str(file) in str(said.render())

    steered(use, monkeypatch)


def test_a_second_surface_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], panel: ViewPanel) -> None:
        first = next(iter(app.store.surfaces))
        app.store.surfaces["other"] = dataclasses.replace(app.store.surfaces[first], id="other")
        app.choose("surface", first)
        panel.action_compare()
        await until(pilot, lambda: app.screen is not app.main)
        await pilot.press("down", "enter")
        window: Any = await panel.client()
        await until(pilot, lambda: any(isinstance(r, Show) for r in window.requests))
        (show,) = [r for r in window.requests if isinstance(r, Show)]
        assert show.surfaces[0] == first
        assert show.surfaces == (first, "other")

    steered(use, monkeypatch)


def test_without_anything_to_steer_the_tab_says_what_to_do() -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], _daemon: Any) -> None:
        app.main.show_tab("View", focus=True)
        await until(pilot, lambda: app.main.query(ViewPanel) and app.main.query_one(ViewPanel).rows)
        said = app.main.query_one(ViewPanel).query_one("#view-said", Static)
        await until(pilot, lambda: "look at a surface" in str(said.render()))

    used(use)


def test_a_window_that_only_another_machine_reaches_is_said_so_at_once() -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], _daemon: Any) -> None:
        app.store.put_window("W", "ipc:///nowhere/window-W", "on the laptop")
        app.choose("window", "W")
        app.main.show_tab("View", focus=True)
        await until(pilot, lambda: app.main.query(ViewPanel) and app.main.query_one(ViewPanel).rows)
        said = app.main.query_one(ViewPanel).query_one("#view-said", Static)
        await until(pilot, lambda: str(said.render()).startswith("this window is on another machine"))

    used(use)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
def test_every_setting_is_reached_by_the_keyboard(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(app: ThalwegApp, pilot: Pilot[Any], panel: ViewPanel) -> None:
        rows = list(panel.rows.values())
        rows[0].control.focus()
        for row in rows[:12]:
            await until(pilot, lambda row=row: app.focused is row.control)
            assert app.screen.can_view_partial(row.control)
            await pilot.press("down")

    steered(use, monkeypatch, size)


class Alone(App[None]):
    """The panel by itself, with as much of the app as it asks for."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self) -> None:
        super().__init__()
        self.panels: set[Any] = set()
        self.store, self.choice = Store(), Choice()

    def compose(self) -> ComposeResult:
        yield ViewPanel()


@pytest.mark.parametrize("size", [(80, 24), (120, 36)], ids=["80x24", "120x36"])
def test_the_tab_looks_as_it_did(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch, snap_compare: Any) -> None:
    window = FakeWindow()

    async def client(_: ViewPanel) -> FakeWindow:
        return window

    monkeypatch.setattr(ViewPanel, "client", client)

    async def settle(pilot: Pilot[Any]) -> None:
        panel = pilot.app.query_one(ViewPanel)
        await until(pilot, lambda: panel.state)
        panel.rows["theme"].control.focus()
        panel.rows["height"].say("expected a number from 0 to 10, got '99'")
        await pilot.pause()

    assert snap_compare(Alone(), terminal_size=size, run_before=settle)
