"""Events as bars, lines and JSON; pace and words."""

import json
import math

import numpy as np
import pytest
from rich.console import Console

from protocol.messages import JobProgress, LogLine, RunEpoch, SurfaceRow
from protocol.pace import Pace
from tui.progress import Bars, JsonLines, Lines, display, json_text, metrics_text, seconds_text, short_metrics
from tui.tables import lines

EPOCH = RunEpoch(
    run="r", epoch=2, step=20, metrics={"train_loss": 0.5, "train_accuracy": 0.8, "test_loss": math.nan, "lr": 0.1}
)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (59, "59 s"), (61, "1 min 01 s"), (3600, "1 h 00 min"), (7980, "2 h 13 min")]
)
def test_durations_in_words(seconds, words):
    assert seconds_text(seconds) == words


def test_metrics_in_words_tell_nan():
    assert metrics_text(EPOCH.metrics) == "train loss 0.5, 80.0 %   test loss nan"
    assert short_metrics(EPOCH.metrics) == "test loss nan"
    assert short_metrics({"train_loss": 1.0}) == "train loss 1"


def test_json_has_nan_and_infinities_as_text():
    assert json.loads(json_text({"a": math.nan, "b": [math.inf, -math.inf, 1.5]})) == {
        "a": "nan",
        "b": ["inf", "-inf", 1.5],
    }


def test_json_lines_are_the_events_with_their_arrays(capsys):
    show = JsonLines()
    show.start("x")
    show.event(SurfaceRow(surface="s", i=1, pass_=0, n=9), {"loss": np.array([1, np.nan], "<f4")})
    show.event(EPOCH, {})
    show.done("x")
    row, epoch = map(json.loads, capsys.readouterr().out.splitlines())
    assert (row["t"], row["i"], row["loss"]) == ("surface.row", 1, [1.0, "nan"])
    assert epoch["metrics"]["test_loss"] == "nan"


def test_plain_lines_tell_epochs_and_the_end(capsys):
    with Lines() as show:
        show.start("train mlp")
        show.event(JobProgress(job="j", done=1, total=10), {})  # too soon for a line
        show.event(EPOCH, {})
        show.event(LogLine(job="j", level="info", text="a [b] line"), {})
        show.done("fine")
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "train mlp ..."
    assert said[1] == "train mlp: epoch 2  train loss 0.5, 80.0 %   test loss nan"
    assert said[2] == "a [b] line"
    assert said[3].startswith("train mlp: fine (")
    assert all("\x1b" not in line for line in said)


@pytest.mark.parametrize("width", [44, 60, 80, 120])
def test_bars_fit_the_terminal_and_markup_in_data_is_text(width):
    console = Console(width=width, height=20, force_terminal=True, record=True, color_system=None)
    with Bars(console) as show:
        show.start("train mlp")
        show.event(JobProgress(job="j", done=5, total=10, eta_s=75.0), {})
        show.event(EPOCH, {})
        show.say("a [red]line")
        show.done("fine")
    assert "a [red]line" in console.export_text()
    still = Console(width=width, record=True, color_system=None)  # without the control codes of a live display
    still.print(show._progress.get_renderable())
    text = still.export_text()
    assert "100%" in text
    assert "train mlp" in text
    assert ("fine" in text) == (width >= 76)
    assert all(len(line) <= width for line in text.splitlines())


def test_display_fits_where_it_goes():
    assert isinstance(display(as_json=True), JsonLines)
    assert isinstance(display(as_json=False, console=Console(force_terminal=False)), Lines)
    assert isinstance(display(as_json=False, console=Console(force_terminal=True)), Bars)


def test_pace_is_unknown_then_steady_and_ends_at_zero():
    pace = Pace(100, now=0.0)
    assert pace.rate is None
    assert pace.eta_s is None
    for t in range(1, 11):
        pace.mark(10 * t, now=float(t))
    assert pace.rate == pytest.approx(10)
    assert pace.eta_s == 0
    pace = Pace(1000, now=0.0)
    for t in range(1, 101):  # five times as fast from second 50 on: the old rate is forgotten after 20 s
        pace.mark(t if t < 50 else 50 + 5 * (t - 50), now=float(t))
    assert pace.rate == pytest.approx(5, rel=0.01)
    assert pace.left_s(now=110.0) == pytest.approx((pace.eta_s or 0) - 10)


def test_tables_align_numbers_right_and_cut_only_the_end():
    out = lines(("name", "count"), [("a", "1"), ("long name", "1,000")], None)
    assert out == ["name       count", "a              1", "long name  1,000"]
    assert all(len(line) <= 10 for line in lines(("name", "count"), [("long name", "1,000")], 10))
