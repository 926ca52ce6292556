"""The form on the screen, with keys alone: at 80 x 24, wrong input, refusals, a paste that is too long."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import samples

from protocol.errors import InputError
from protocol.exchange import ClientError
from protocol.messages import PRESETS
from protocol.requests import EstimateReply, JobInfo, Submitted
from tui.forms import Form, form_of

pytest.importorskip("textual")

from pilots import awaited, until
from textual import events
from textual.app import App
from textual.pilot import Pilot

from tui.screens.form import FormScreen, begun, estimate_text, known_of, referred
from tui.widgets.controls import Changed, Line, Pick, PickList, Ticks, Toggle

SMALL, LARGE = (80, 24), (120, 36)


class Office:
    """A client that notes what it is asked."""

    def __init__(self, *refusals: InputError) -> None:
        self.refusals = list(refusals)
        self.submitted: list[tuple[Submitted, ...]] = []
        self.estimates: list[Any] = []

    async def request(self, request: Any, *, timeout_s: float = 1.0) -> EstimateReply:
        self.estimates.append(request)
        return EstimateReply(points=120, samples=1437, bytes=12_000_000, seconds=40.0, how="measured")

    async def submit(self, *jobs: Submitted) -> tuple[JobInfo, ...]:
        self.submitted.append(jobs)
        if self.refusals:
            raise self.refusals.pop(0)
        return tuple(JobInfo(job=j.job, kind="", name=j.name, state="queued", priority=0, spec={}) for j in jobs)

    async def upload(self, file: Any) -> str:
        return "01K000000000000000000UPLD1"


class Stage(App[None]):
    """An app with one form."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, form: Form, office: Office | None) -> None:
        super().__init__()
        self.screen_ = FormScreen(form.kind, form=form, client=office)
        self.result: Any = "open"

    def on_mount(self) -> None:
        self.push_screen(self.screen_, self._done)

    def _done(self, result: Any) -> None:
        self.result = result


def stage(kind: str, office: Office | None = None) -> Stage:
    return Stage(form_of(kind, samples.catalogue(), samples.workspace()), office)


def focus(app: Stage, path: str) -> Any:
    control = app.screen_.rows[path].control
    control.focus()
    return control


@awaited
async def test_a_training_is_submitted_with_keys_alone_at_80_by_24() -> None:
    office = Office()
    app = stage("train", office)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.screen_.rows and app.focused is not None)
        await pilot.press("down", "down", "down")  # start from, model, data set, epochs
        assert isinstance(app.focused, Line)
        await pilot.press("2", "5", "f5")  # what was there is selected on focus
        await until(pilot, lambda: app.result != "open")
    (jobs,) = office.submitted
    assert jobs[0].spec.recipe == msgspec.structs.replace(PRESETS["demo"], epochs=25)
    assert app.result[0].job == jobs[0].job


@awaited
async def test_every_field_is_reached_by_the_keyboard_and_is_seen_when_it_has_the_focus() -> None:
    app = stage("surface", Office())
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.focused is not None)
        await pilot.pause()
        for path, row in app.screen_.rows.items():
            assert app.focused is row.control, path
            await until(pilot, lambda row=row: app.screen.can_view_partial(row.control))
            await pilot.press("tab")


@awaited
async def test_wrong_input_is_said_at_the_field_and_is_not_submitted() -> None:
    office = Office()
    app = stage("train", office)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.focused is not None)
        focus(app, "recipe.lr")
        await pilot.pause()
        await pilot.press("0", "x")
        row = app.screen_.rows["recipe.lr"]
        await until(pilot, lambda: row.wrong == "expected a number over 0, got '0x'")
        focus(app, "preset")
        await pilot.press("f5")
        await until(pilot, lambda: app.focused is row.control)
        await pilot.press("backspace", "backspace", "1")
        await until(pilot, lambda: not row.wrong)
    assert not office.submitted


@awaited
async def test_what_the_daemon_refuses_is_shown_at_its_field_until_that_is_changed() -> None:
    office = Office(InputError("epochs: expected fewer", path="$.jobs[0].spec.recipe.epochs"))
    app = stage("train", office)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.focused is not None)
        await pilot.press("f5")
        row = app.screen_.rows["recipe.epochs"]
        await until(pilot, lambda: row.wrong == "expected fewer" and app.focused is row.control)
        await pilot.press("3", "f5")
        await until(pilot, lambda: app.result != "open")


@awaited
async def test_after_a_lost_answer_the_same_jobs_are_sent_again() -> None:
    office = Office(ClientError("daemon: no answer within 10 s", retryable=True))
    app = stage("train", office)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.focused is not None)
        await pilot.press("f5")
        await until(pilot, lambda: office.submitted and not app.screen_._busy)
        await pilot.press("f5")
        await until(pilot, lambda: app.result != "open")
    first, second = office.submitted
    assert [j.job for j in first] == [j.job for j in second]


@awaited
async def test_a_megabyte_that_is_pasted_is_refused_at_once() -> None:
    app = stage("train", Office())
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.focused is not None)
        line = focus(app, "job.name")
        await pilot.pause()
        began = time.monotonic()
        line.post_message(events.Paste("a" * 2**20))
        row = app.screen_.rows["job.name"]
        await until(pilot, lambda: "got 1,048,576: nothing was pasted" in row.wrong)
        assert time.monotonic() - began < 2
        assert line.value == ""
        line.post_message(events.Paste("a name\nanother"))
        await until(pilot, lambda: line.value == "a name")


@awaited
async def test_a_letter_opens_the_list_with_its_filter() -> None:
    app = stage("train", Office())
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.focused is not None)
        focus(app, "recipe.model")
        await pilot.pause()
        await pilot.press("v", "g", "g")
        await until(pilot, lambda: isinstance(app.screen, PickList) and len(app.screen.found) == 1)
        await pilot.press("enter")
        await until(pilot, lambda: app.screen is app.screen_)
        assert app.screen_.form.raw["recipe.model"] == "vgg11"
        await until(pilot, lambda: "type 32" in app.screen_.rows["recipe.image_size"].wrong)


@awaited
async def test_rows_follow_what_was_chosen() -> None:
    app = stage("plane", Office())
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.focused is not None)
        assert "options.centre" in app.screen_.rows
        pick = focus(app, "direction")
        assert isinstance(pick, Pick)
        await pilot.press("right")
        await until(pilot, lambda: "options.normalize" in app.screen_.rows)
        assert "options.centre" not in app.screen_.rows
        paths = [r.asked.path for r in app.screen.query("Row").results() if r.is_attached]  # type: ignore[attr-defined]
        assert paths == [f.path for f in app.screen_.form.fields()]
        assert app.focused is app.screen_.rows["direction"].control


@awaited
async def test_switches_and_ticks_work_by_key_and_mouse() -> None:
    app = stage("surface", Office())
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: app.focused is not None)
        ticks = focus(app, "metrics")
        assert isinstance(ticks, Ticks)
        await pilot.press("right", "space")
        await until(pilot, lambda: app.screen_.form.value("metrics") == ("loss",))
        await pilot.click(ticks, offset=(11, 0))
        await until(pilot, lambda: app.screen_.form.value("metrics") == ("loss", "accuracy"))
    app = stage("train", Office())
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: app.focused is not None)
        toggle = focus(app, "recipe.nesterov")
        assert isinstance(toggle, Toggle)
        await pilot.press("space")
        await until(pilot, lambda: app.screen_.form.spec().recipe.nesterov is False)


@awaited
async def test_one_estimate_is_asked_when_typing_pauses() -> None:
    office = Office()
    app = stage("surface", office)
    async with app.run_test(size=LARGE) as pilot:
        await until(pilot, lambda: app.focused is not None)
        await until(pilot, lambda: office.estimates)  # of the form as it opened
        row = app.screen_.rows["grid.alpha.count"]
        for raw in ("5", "51", "512"):
            row.post_message(Changed(row.asked.path, raw))
        await until(pilot, lambda: len(office.estimates) > 1)
        assert [e.spec.grid.alpha.count for e in office.estimates] == [25, 512]
        said = app.screen_.query_one("#estimate")
        await until(pilot, lambda: "120 points · each over 1,437 images · 12.0 MB" in str(said.render()))


@awaited
async def test_a_form_without_a_connection_can_be_copied_and_says_that_it_cannot_be_submitted() -> None:
    app = stage("train", None)
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.focused is not None)
        await pilot.press("f6")
        await until(pilot, lambda: app.clipboard == "thalweg train --preset demo")
        await pilot.press("f5")
        said = app.screen_.query_one("#estimate")
        await until(pilot, lambda: "nothing was submitted" in str(said.render()))
        await pilot.press("escape")
        await until(pilot, lambda: app.result is None)


def test_an_estimate_says_what_is_not_known() -> None:
    assert estimate_text(EstimateReply(points=625), "surface") == "625 points · time unknown"
    assert "another size" in estimate_text(EstimateReply(points=1, seconds=1, how="similar"), "train")


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x36"])
@pytest.mark.parametrize("kind", ["train", "surface"])
def test_form_looks_as_it_did(kind: str, size: tuple[int, int], snap_compare: Any) -> None:
    async def settle(pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: pilot.app.focused is not None)
        if kind == "train":
            line = focus(pilot.app, "recipe.momentum")
            line.cursor_blink = False
            await until(pilot, lambda: line.selection.end == 3)
            await pilot.press("1", "0", "0")
        said = pilot.app.screen_.query_one("#estimate")
        end = "got '100'" if kind == "train" else "about 40 s"
        await until(pilot, lambda: end in str(said.render()))

    assert snap_compare(stage(kind, Office()), terminal_size=size, run_before=settle)


# ---------------------------------------------------------------- in the app


def record(**fields: Any) -> Any:
    """A row of the app's store."""
    return SimpleNamespace(**fields)


def test_what_there_is_to_choose_comes_from_the_store_newest_first() -> None:
    old, new = samples.RUN, samples.RUN2
    runs = {
        id: record(id=id, name="", model="vgg11", dataset="digits", epochs=3, epochs_done=2, loss=None, created=when)
        for id, when in ((old, "2026-01-01"), (new, "2026-01-02"))
    }
    plane = record(id="p", hash=samples.PCA, name="mine", kind="pca", run=old, created="")
    surface = record(id=samples.SURFACE, name="s", model="vgg11", data="digits", created="")
    there = record(runs=runs, planes={"p": plane}, surfaces={"s": surface}, passes="grow")
    found = known_of(there)
    assert [c.value for c in found.runs] == [new, old]
    assert found.runs[0].note == "2 of 3 epochs"
    assert found.kinds == {samples.PCA: "pca"}
    assert found.names == {samples.SURFACE: "s"}
    assert found.passes == "grow"


def test_a_duplicate_refers_to_what_an_earlier_job_gave() -> None:
    job = record(run=samples.RUN, plane=samples.PCA, surface="")
    spec = {"kind": "plane", "direction": "random", "trajectory": "job:J", "origin": "job:J@last"}
    found = referred(spec, {"J": job})
    assert (found["trajectory"], found["origin"]) == (samples.RUN, f"{samples.RUN}@last")
    assert referred({"plane": "job:gone"}, {}) == {"plane": "job:gone"}


def test_a_form_opens_filled_with_as_much_of_a_spec_as_there_is() -> None:
    made = begun("surface", {"plane": samples.RANDOM}, samples.catalogue(), samples.workspace())
    assert made.value("plane") == samples.RANDOM
    made = begun("plane", {"direction": "pca", "trajectory": "9" * 26}, samples.catalogue(), samples.workspace())
    assert made.spec().trajectory == "9" * 26  # an old run, which is not in the list
    assert (
        begun("export", {"format": "npz"}, samples.catalogue(), samples.workspace()).value("target") == samples.SURFACE
    )
