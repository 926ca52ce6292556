"""What the terminal UI looks like, as SVG: `pytest --snapshot-update` writes them anew; look at each that changed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from busy_daemon import BusyDaemon
from test_tui_app import empty
from tui_apps import NARROW, USUAL, WIDE, all_there, no_picture, until

from tui.app import ThalwegApp
from tui.profiles import Config, Profile


@pytest.fixture
def daemon() -> Iterator[BusyDaemon]:
    """One whose surface has three rows."""
    with tempfile.TemporaryDirectory(prefix="thw-") as folder, BusyDaemon(Path(folder), 4, 5) as daemon:
        yield daemon


@pytest.fixture
def snap(snap_compare, daemon, monkeypatch):
    """Compare after these keys, once everything is there."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr("tui.preview.Preview.open", no_picture)

    def compare(size: tuple[int, int], *keys: str, rows: int = 0, wait: str = "") -> bool:
        app = ThalwegApp(Profile(workspace=daemon.folder), Config(), start=False)
        app.frame_s = 0.02
        app.animation_level = "none"

        async def before(pilot) -> None:
            await until(pilot, lambda: all_there(app), "the lists")
            for key in keys:
                await pilot.press(key)
                await pilot.pause()
            if rows:
                surface = daemon.surface
                await until(pilot, lambda: (d := app.store.surface_details.get(surface)) and d.shape[0], "the surface")
                daemon._do(lambda: [daemon.row() for _ in range(rows)])
                await until(pilot, lambda: app.store.surface_details[surface].rows_measured == rows, "the rows")
            if app.choice.run and not daemon.empty:
                await until(pilot, lambda: (d := app.store.run_details.get(app.choice.run)) and d.epochs, "the epochs")
            await until(pilot, lambda: app.store.link.ping_s is not None, "a ping")
            app.store.link.ping_s = 0.002
            app.flush(force=True)
            await pilot.pause(0.1)
            app.flush(force=True)
            await pilot.pause()

        return snap_compare(app, terminal_size=size, run_before=before)

    daemon.empty = False
    return compare


@pytest.mark.parametrize("size", [WIDE, USUAL, NARROW], ids=["120x36", "80x24", "44x12"])
def test_main(snap, size):
    assert snap(size)


def test_main_without_colour(snap, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert snap(USUAL)


@pytest.mark.parametrize("key", ["2", "6"], ids=["plane", "log"])
def test_tab(snap, key):
    assert snap(USUAL, key)


@pytest.mark.parametrize("size", [WIDE, USUAL, NARROW], ids=["120x36", "80x24", "44x12"])
def test_surface(snap, size):
    assert snap(size, "3", rows=3)


@pytest.mark.parametrize("size", [WIDE, USUAL], ids=["120x36", "80x24"])
def test_help(snap, size):
    assert snap(size, "question_mark")


def test_question(snap, daemon):
    assert snap(USUAL, "delete")


@pytest.mark.parametrize("size", [WIDE, USUAL], ids=["120x36", "80x24"])
def test_welcome(snap, daemon, size):
    empty(daemon)
    daemon.empty = True
    assert snap(size)
