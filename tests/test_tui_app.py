"""The terminal UI used with keys, against a daemon that tells."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from textual.widgets import Input
from tui_apps import NARROW, USUAL, WIDE, screen_text, until, used

from protocol import requests as r
from protocol.errors import InputError
from tui.commands import actions
from tui.keymap import shown
from tui.profiles import Config
from tui.screens.confirm import ConfirmScreen
from tui.screens.help import HelpScreen
from tui.screens.main import MainScreen
from tui.screens.pick import PickScreen
from tui.screens.welcome import WelcomeScreen
from tui.state import Job
from tui.widgets.lines import Lines

ROOT = Path(__file__).parent.parent


def named(daemon, kind):
    return [q for q in daemon.asked if isinstance(q, kind)]


@pytest.mark.parametrize("command", actions(), ids=[c.id for c in actions()])
def test_every_row_of_the_table_answers_to_its_key(command):
    """Enabled or not: it does something or says why not, and the app goes on."""

    async def use(app, pilot, _daemon):
        app.main.sidebar.choose("job", app.store.choice("surface", next(iter(app.store.surfaces))).job)
        await pilot.pause()
        done: list[str] = []
        deed = getattr(app.deeds, f"do_{command.action}")
        if command.action in ("open_window", "picture", "new_run", "new_plane", "new_surface", "import_file", "export"):
            deed = lambda: None  # noqa: E731 - of other files: that the key leads there is what counts
        setattr(app.deeds, f"do_{command.action}", lambda: (done.append("done"), deed())[1])
        told: list[str] = []
        app.tell = lambda text, severity="information": told.append(text)
        if command.key:
            await pilot.press(command.key.split(",")[0])
        else:
            app.do(command.id)
        await pilot.pause()
        if command.id == "quit":
            assert app.return_value == 0
            return
        assert done or told or command.id == "choose"
        assert app.is_running

    used(use)


def test_the_list_shows_states_in_glyph_and_word():
    async def use(app, pilot, _daemon):
        await until(pilot, lambda: "✓ done" in screen_text(app))
        text = screen_text(app)
        assert "● filling" in text
        assert "● running" in text
        assert "● live" in text

    used(use)


def test_rows_that_come_are_on_the_screen():
    async def use(app, pilot, daemon):
        surface = next(iter(app.store.surfaces))
        app.main.sidebar.choose("surface", surface)
        await pilot.press("3")
        await until(
            pilot, lambda: app.store.surface_details.get(surface) and app.store.surface_details[surface].shape[0]
        )
        daemon._do(lambda: [daemon.row() for _ in range(10)])
        await until(pilot, lambda: "lowest" in screen_text(app), "the lowest point")
        assert app.store.surface_details[surface].rows_measured == 5

    used(use)


def test_moving_in_the_list_chooses_for_every_tab():
    async def use(app, pilot, _daemon):
        first = app.choice.run
        await pilot.press("down")
        assert app.choice.run not in ("", first)
        await until(pilot, lambda: app.store.run_details.get(app.choice.run), "the run's epochs")
        await until(pilot, lambda: "epoch 4 of 4" in screen_text(app))
        await pilot.press("4")
        assert app.main.tab == "Analysis"
        assert "[Analysis]" in screen_text(app)

    used(use)


def test_many_runs_can_be_filtered_and_left_again():
    async def use(app, pilot, _daemon):
        await pilot.press("slash")
        await pilot.press(*"run-00042")
        sidebar = app.main.sidebar
        found = lambda: [app.store.runs[i].name for k, i in sidebar.nodes if k == "run" and i]  # noqa: E731
        await until(pilot, lambda: found() == ["run-00042"], "the one run")
        await pilot.press("escape")
        assert not sidebar.words
        assert app.focused is sidebar

    used(use, runs=1500)


def test_a_megabyte_pasted_into_the_filter_is_survived():
    async def use(app, pilot, _daemon):
        await pilot.press("slash")
        app.main.query_one("#filter", Input).value = "x y\x1b[2J" * 200_000
        await pilot.pause()
        await pilot.press("escape")
        assert app.main.sidebar.nodes

    used(use)


def test_pause_and_resume_with_the_same_key():
    async def use(app, pilot, daemon):
        app.main.sidebar.choose("job", daemon.job)
        await pilot.press("space")
        await until(pilot, lambda: app.store.jobs[daemon.job].state == "paused")
        assert "resume" in screen_text(app)
        await pilot.press("space")
        await until(pilot, lambda: app.store.jobs[daemon.job].state == "running")
        assert named(daemon, r.JobPause)
        assert named(daemon, r.JobResume)

    used(use)


def test_enter_at_a_question_does_nothing_destructive():
    async def use(app, pilot, daemon):
        app.main.sidebar.choose("job", daemon.job)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MainScreen))
        assert not named(daemon, r.JobCancel)
        await pilot.press("x")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("right", "enter")
        await until(pilot, lambda: named(daemon, r.JobCancel))
        assert named(daemon, r.JobCancel)[0].when == "boundary"

    used(use)


def test_deleting_asks_and_the_thing_leaves_the_list():
    async def use(app, pilot, daemon):
        run = app.choice.run
        await pilot.press("delete")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("right", "enter")
        await until(pilot, lambda: run not in app.store.runs)
        assert [q.run for q in named(daemon, r.RunDelete)] == [run]

    used(use)


def test_what_the_daemon_refuses_is_told_in_its_own_sentence():
    async def use(app, pilot, daemon):
        def refuse(q, _):
            raise InputError("job: it is done; 'pause' needs a job that is running", code="wrong_state")

        daemon.behaviour[r.JobPause] = refuse
        told = []
        app.tell = lambda text, severity="information": told.append((severity, text))
        app.main.sidebar.choose("job", daemon.job)
        await pilot.press("space")
        await until(pilot, lambda: told)
        assert told == [("error", "job: it is done; 'pause' needs a job that is running")]

    used(use)


def test_the_demo_is_one_submission():
    async def use(app, pilot, daemon):
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, PickScreen))
        await pilot.press("enter")
        await until(pilot, lambda: named(daemon, r.JobSubmit))
        (asked,) = named(daemon, r.JobSubmit)
        assert [type(j.spec).__name__ for j in asked.jobs] == [
            "TrainSpec", "PlaneSpec", "SurfaceSpec", "PlaneSpec", "SurfaceSpec",
        ]  # fmt: skip

    used(use)


def empty(daemon):
    daemon.behaviour |= {
        r.RunList: lambda q, _: r.ThingPage(items=()), r.PlaneList: lambda q, _: r.ThingPage(items=()),
        r.SurfaceList: lambda q, _: r.ThingPage(items=()), r.JobList: lambda q, _: r.JobPage(jobs=()),
    }  # fmt: skip


def test_an_empty_workspace_offers_the_demo_in_one_key():
    async def use(app, pilot, daemon):
        await until(pilot, lambda: isinstance(app.screen, WelcomeScreen))
        await pilot.press("enter")
        await until(pilot, lambda: named(daemon, r.JobSubmit))
        assert isinstance(app.screen, MainScreen)

    used(use, prepare=empty)


def test_empty_tabs_say_what_to_do_next():
    async def use(app, pilot, _daemon):
        await until(pilot, lambda: isinstance(app.screen, WelcomeScreen))
        await pilot.press("escape")
        for key, word in (("1", "n trains"), ("2", "p cuts"), ("3", "s measures"), ("6", "Choose a job")):
            await pilot.press(key)
            await until(pilot, lambda word=word: word in screen_text(app), word)

    used(use, prepare=empty)


def test_a_daemon_that_goes_is_said_and_one_that_comes_back_is_taken_up():
    async def use(app, pilot, daemon):
        daemon.silent = True
        await until(pilot, lambda: app.store.link.state == "stale", "stale")
        await until(pilot, lambda: "no word from the daemon" in screen_text(app))
        await pilot.press("space")
        assert not named(daemon, r.JobPause)
        daemon.silent = False
        await until(pilot, lambda: app.store.link.state == "live", "live again")
        await until(pilot, lambda: "no word" not in screen_text(app))

    used(use)


def test_another_boot_is_read_from_the_beginning():
    async def use(app, pilot, daemon):
        daemon.runs = 5
        daemon.restart()
        await until(pilot, lambda: len(app.store.runs) == 5, "the new runs")

    used(use)


def test_data_is_never_read_as_markup():
    async def use(app, pilot, daemon):
        def listed(q, _):
            from busy_daemon import run

            return r.ThingPage(items=({**run(1), "name": "[bold]x[/bold] [link=a]"},))

        daemon.behaviour[r.RunList] = listed
        await app.hub.reload()
        await until(pilot, lambda: "[bold]x[/bold]" in screen_text(app))
        app.tell("[red]not red[/red]", "error")
        await pilot.pause()
        assert app.is_running

    used(use, WIDE)


@pytest.mark.parametrize("size", [(20, 5), (1, 1), (40, 10), (39, 30), NARROW, USUAL, WIDE, (300, 80)])
def test_any_size_of_screen_is_survived(size):
    async def use(app, pilot, _daemon):
        for key in "123456":
            await pilot.press(key)
        for width, height in ((20, 5), (80, 24), size):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
        assert app.is_running
        if size == (20, 5):
            assert "live" in screen_text(app)

    used(use, size)


def test_a_size_that_changed_under_another_screen_is_kept_to():
    async def use(app, pilot, _daemon):
        await pilot.press("question_mark")
        await until(pilot, lambda: app.screen is not app._main)
        await pilot.resize_terminal(20, 5)
        app._main.set_class(False, "-flat")  # as when the size comes while one screen gives way to another
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app._main and app._main.has_class("-flat"))

    used(use, USUAL)


def test_one_pane_has_the_list_as_a_tab():
    async def use(app, pilot, _daemon):
        assert "Runs" in screen_text(app)
        await pilot.press("enter")
        await until(pilot, lambda: "[Train]" in screen_text(app))
        assert "Runs" not in screen_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: "Runs" in screen_text(app))

    used(use, NARROW)


def test_a_users_key_does_what_the_tables_did():
    async def use(app, pilot, _daemon):
        await pilot.press("f2")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        assert "F2" in screen_text(app)

    used(use, config=Config(keys={"help": "f2"}))


def test_copying_offers_the_command_that_asks_for_the_same():
    async def use(app, pilot, daemon):
        app.main.sidebar.choose("surface", daemon.surface)
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, PickScreen))
        await pilot.press("enter")
        await until(pilot, lambda: app.clipped == daemon.surface)
        assert any("thalweg surface" in text for _, text in app.deeds.copies())

    used(use)


def test_the_log_is_shown_and_followed():
    async def use(app, pilot, daemon):
        app.main.sidebar.choose("job", daemon.job)
        await pilot.press("l")
        await until(pilot, lambda: "began" in screen_text(app), "the log")
        assert "slow" in screen_text(app)

    used(use)


def test_marked_runs_are_drawn_together():
    async def use(app, pilot, _daemon):
        first = app.choice.run
        await pilot.press("m", "down")
        assert app.compared == (first,)
        await until(pilot, lambda: len(app.store.run_details) >= 2, "both runs")
        await until(pilot, lambda: screen_text(app).count("run-0000") >= 4, "both names in the title")

    used(use, WIDE)


def test_the_palette_finds_rows_and_things():
    async def use(app, pilot, _daemon):
        await pilot.press("ctrl+p")
        await pilot.pause()
        await pilot.press(*"run-00001")
        await until(pilot, lambda: "run run-00001" in screen_text(app))
        await pilot.press("escape")

    used(use)


def test_first_paint_needs_no_numbers():
    """What is imported before the first frame: no torch or OpenGL, and neither numpy nor the daemon's sockets."""
    code = (
        "import sys, tui.app\n"
        "heavy = ['torch', 'moderngl', 'glfw', 'PIL', 'scipy', 'numpy', 'zmq', 'textual_plot', 'compute', 'renderer']\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_a_demo_is_followed_from_its_curves_to_its_surface_until_a_person_goes_elsewhere():
    async def use(app, pilot, daemon):
        app.main.sidebar.choose("run", next(iter(app.store.runs)))
        job = app.store.jobs[daemon.job]
        job.state, job.started = "waiting", ""
        app.lead("T", daemon.job)
        app.store.jobs["T"] = Job("T", "train", state="running", run=next(iter(app.store.runs)))
        app.flush()
        assert app.main.tab == "Train"
        job.state = "running"
        app.flush()
        await until(pilot, lambda: app.main.tab == "Surface" and app.choice.surface == daemon.surface)
        assert app.main.sidebar.at == ("surface", daemon.surface)
        await pilot.press("up", "1")
        app.flush()
        assert app.main.tab == "Train"
        assert not app.led

    used(use)


def test_tab_goes_through_the_panes_and_back_and_the_footer_says_where_to():
    async def use(app, pilot, daemon):
        app.main.sidebar.choose("surface", daemon.surface)
        app.main.show_tab("Surface")
        await until(pilot, lambda: "tab → " in screen_text(app), "the footer's word")
        await until(pilot, lambda: len(app.main._stops()) > 1, "another pane")
        places = [app.main.place()]
        for _ in app.main._stops():
            await pilot.press("tab")
            await pilot.pause()
            places.append(app.main.place())
        assert places[0] == places[-1] == "list"
        assert "picture" in places
        await pilot.press("shift+tab")
        assert app.main.place() == "picture"
        await until(pilot, lambda: "tab → list" in screen_text(app), "the way back")

    used(use)


def test_an_arrow_after_enter_still_moves_where_the_panel_has_nothing_to_move():
    async def use(app, pilot, _daemon):
        first = app.choice.run
        await pilot.press("enter")
        await pilot.pause()
        await pilot.press("down")
        assert app.main.sidebar.has_focus
        assert app.choice.run not in ("", first)

    used(use)


def test_left_goes_to_the_group_before_it_folds_it():
    async def use(app, pilot, _daemon):
        sidebar = app.main.sidebar
        await pilot.press("left")
        assert sidebar.at == ("run", "")
        assert "run" not in sidebar.folded
        await pilot.press("left")
        assert "run" in sidebar.folded

    used(use)


def test_good_news_stays_in_the_bottom_line_and_only_the_last_bad_news_is_at_the_corner():
    async def use(app, pilot, _daemon):
        for text, severity in (("all is well", "information"), ("not now", "warning")):
            app.tell(text, severity)
            await until(pilot, lambda text=text: text in screen_text(app))
            assert not len(app._notifications)
        app.tell("one is wrong", "error")
        await until(pilot, lambda: len(app._notifications))
        app.tell("another is wrong", "error")
        await until(pilot, lambda: [n.message for n in app._notifications] == ["! another is wrong"])

    used(use)


def test_the_help_names_every_key_and_fits_the_usual_screen():
    async def use(app, pilot, _daemon):
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen) and app.screen.query_one(Lines).lines)
        page = app.screen.query_one(Lines)
        await until(pilot, lambda: page.size.height)
        assert page.max_scroll_y == 0
        said = {text.strip() for line in page.lines for text, _ in line}
        for command in actions():
            key = shown(command.key) if command.key else ""
            assert command.id.startswith("tab ") or not key or any(key in t.split() for t in said), command.id
        assert "1-6" in said

    used(use)
