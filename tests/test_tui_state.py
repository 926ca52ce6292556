"""The terminal UI's store: the latest wins, and every change is seen in the version of its area."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protocol import messages as m
from protocol.requests import JobInfo
from tui import words
from tui.enabling import CONDITIONS, why_not
from tui.state import AREAS, KINDS, STEPS_KEPT, Choice, Job, Store

RUN, JOB, PLANE, SURFACE = "01R" + "A" * 23, "01J" + "A" * 23, "01P" + "A" * 23, "01S" + "A" * 23
HASH = "ab" * 32


def run_item(id: str = RUN, **more):
    return {
        "id": id, "name": "", "recipe": {"model": "resnet20", "dataset": "digits", "epochs": 3}, "epochs_done": 1,
        "metrics": {"train_loss": 2.0, "test_loss": 1.5, "test_accuracy": 0.5}, "created": "", "job": JOB, **more,
    }  # fmt: skip


def plane_item(**more):
    meta = {"kind": "pca", "origin": f"{RUN}@last", "explained_variance_ratio": [0.8, 0.1]}
    return {"id": PLANE, "hash": HASH, "meta": meta, "name": "", **more}


def surface_item(**more):
    return {"id": SURFACE, "plane": HASH, "width": 3, "height": 2, "meta": {"model": "resnet20"}, "file": None, **more}


def job_info(state: str = "running", **more) -> JobInfo:
    given = {"job": JOB, "kind": "train", "name": "", "priority": 0, "spec": {"kind": "train", "recipe": {}}, **more}
    return JobInfo(state=state, **given)


def surface_store() -> Store:
    """A store that looks at a surface of 2 x 3 points without rows yet."""
    store = Store()
    arrays = {"alpha": np.arange(3.0), "beta": np.arange(2.0), "n": np.zeros((2, 3), dtype="<i8")}
    store.restore(f"surface/{SURFACE}/", surface_item(), arrays)
    return store


def test_every_kind_of_event_is_taken_without_anything_being_known():
    store = Store()
    events = [
        m.JobStateEvent(job=JOB, state="running"), m.RunStep(run=RUN, step=1, loss=1.0),
        m.AnalysisDone(surface=SURFACE, analysis="critical", summary={}), m.WindowState(window="w", endpoint="ipc://x"),
        m.WorkerState(worker="w", state="idle"), m.RunEpoch(run=RUN, epoch=1, step=2, metrics={}),
        m.CheckpointSaved(run=RUN, step=1, epoch=1.0, file="f", sha256="s"),
        m.PlaneDone(plane=HASH, meta=m.PlaneMeta()),
        m.SurfaceBegin(surface=SURFACE, meta=m.SurfaceMeta(), passes=1),
        m.SurfaceRow(surface=SURFACE, i=0, pass_=0, n=1), m.PathDone(surface=SURFACE, losses=True),
        m.SurfaceDone(surface=SURFACE, file="f"),
        m.JobProgress(job="other", done=1, total=2), m.LogLine(job=JOB, level="error", text="it broke"),
    ]  # fmt: skip
    for event in events:
        store.apply(event, {})
    assert store.jobs[JOB].state == "running"
    assert store.windows["w"].endpoint == "ipc://x"


def test_a_thousand_rows_change_one_version_and_the_latest_value_stays():
    store = surface_store()
    before = store.version((f"surface/{SURFACE}",))
    for k in range(1000):
        loss = np.full(3, k, dtype="<f4")
        store.apply(m.SurfaceRow(surface=SURFACE, i=1, pass_=0, n=k + 1), {"loss": loss})
    detail = store.surface_details[SURFACE]
    assert store.version((f"surface/{SURFACE}",)) != before
    assert detail.values["loss"][1].tolist() == [999.0] * 3
    assert np.isnan(detail.values["loss"][0]).all()
    assert detail.values["n"].tolist() == [[0] * 3, [1000] * 3]
    assert detail.rows_measured == 1


def test_row_versions_tell_a_picture_which_rows_to_repaint():
    store = surface_store()
    detail = store.surface_details[SURFACE]
    seen = detail.version
    store.apply(m.SurfaceRow(surface=SURFACE, i=1, pass_=0, n=1), {"loss": np.zeros(3, dtype="<f4")})
    assert np.flatnonzero(detail.row_version > seen).tolist() == [1]


@pytest.mark.parametrize("i", [-1, 2, 10**9])
def test_a_row_that_is_not_on_the_grid_changes_nothing(i):
    store = surface_store()
    store.apply(m.SurfaceRow(surface=SURFACE, i=i, pass_=0, n=1), {"loss": np.zeros(3, dtype="<f4")})
    assert store.surface_details[SURFACE].rows_measured == 0


def test_a_row_of_another_width_is_left_out():
    store = surface_store()
    store.apply(m.SurfaceRow(surface=SURFACE, i=0, pass_=0, n=1), {"loss": np.zeros(7, dtype="<f4")})
    assert "loss" not in store.surface_details[SURFACE].values


def test_changes_are_told_once_each_and_lists_only_where_something_came_or_went():
    told = []
    store = Store(lambda: told.append(1))
    store.put_run(run_item())
    lists = store.versions["list/run"]
    store.put_run(run_item(epochs_done=2))
    assert store.versions["list/run"] == lists
    assert store.runs[RUN].epochs_done == 2
    store.forget("run", RUN)
    assert store.versions["list/run"] > lists
    assert told


def test_an_epoch_moves_the_run_in_the_list_and_its_curves():
    store = Store()
    store.put_run(run_item(epochs=[]))
    store.apply(m.RunEpoch(run=RUN, epoch=2, step=24, metrics={"test_loss": 0.5, "test_accuracy": 0.75}), {})
    assert (store.runs[RUN].epochs_done, store.runs[RUN].loss, store.runs[RUN].accuracy) == (2, 0.5, 0.75)
    assert store.run_details[RUN].epochs[2]["step"] == 24
    assert "epoch 2" in store.latest[1]


def test_step_losses_are_bounded():
    store = Store()
    store.run_detail(RUN)
    for step in range(STEPS_KEPT + 10):
        store.apply(m.RunStep(run=RUN, step=step, loss=1.0), {})
    assert len(store.run_details[RUN].steps) == STEPS_KEPT
    assert store.run_details[RUN].steps[-1][0] == STEPS_KEPT + 9


def test_the_word_of_a_run_is_its_jobs_then_its_epochs():
    store = Store()
    store.put_run(run_item())
    assert store.run_state(store.runs[RUN]) == "kept"
    store.put_job(job_info("paused", run=RUN))
    assert store.run_state(store.runs[RUN]) == "paused"
    store.put_job(job_info("failed", run=RUN))
    assert store.run_state(store.runs[RUN]) == "failed"
    store.put_run(run_item(epochs_done=3))
    assert store.run_state(store.runs[RUN]) == "done"
    store.put_run(run_item(metrics={"test_loss": float("nan")}))
    assert store.run_state(store.runs[RUN]) == "diverged"


def test_the_end_of_a_job_is_told_once():
    store = Store()
    store.put_job(job_info("running"))
    store.apply(m.JobStateEvent(job=JOB, state="done"), {})
    store.apply(m.JobStateEvent(job=JOB, state="done"), {})
    assert [j.id for j in store.ended] == [JOB]


def test_jobs_that_had_ended_before_are_not_told():
    store = Store()
    store.put_job(job_info("done"))
    store.restore(
        f"job/{JOB}/", {"job": JOB, "kind": "train", "name": "", "state": "done", "priority": 0, "spec": {}}, {}
    )
    assert not store.ended


def test_a_choice_brings_what_belongs_to_it():
    store = Store()
    store.put_run(run_item())
    store.put_plane(plane_item())
    store.put_surface(surface_item())
    assert store.choice("surface", SURFACE) == Choice("surface", SURFACE, RUN, PLANE, SURFACE, "", "")
    assert store.choice("run", RUN).surface == SURFACE
    assert store.choice("plane", PLANE).run == RUN


def test_what_is_not_in_a_whole_list_is_gone():
    store = Store()
    store.put_run(run_item())
    store.keep_only("run", [])
    assert RUN not in store.runs
    assert "run" in store.loaded


def test_another_daemon_is_met_with_an_empty_store():
    store = Store()
    store.put_run(run_item())
    versions = dict(store.versions)
    store.clear()
    assert not any(store.table(kind) for kind in KINDS)
    assert all(store.versions[area] > versions.get(area, 0) for area in AREAS.values())


def test_names_are_made_safe_to_draw():
    store = Store()
    store.put_run(run_item(name="a\x1b[31mred\n[b]"))
    assert store.runs[RUN].name == "a·[31mred [b]"


def test_log_lines_are_read_with_their_level():
    store = Store()
    store.log_tail(JOB, "2026-11-24T09:00:00.000000+00:00 error: it broke: badly\nplain words\n")
    (level, text), (other, plain) = store.logs[JOB].lines
    assert level == "error"
    assert text.endswith("it broke: badly")
    assert (other, plain) == ("info", "plain words")


@pytest.mark.parametrize("word", list(CONDITIONS))
def test_nothing_that_needs_something_can_be_done_with_nothing(word):
    assert why_not(word, Store(), Choice())


def test_the_first_thing_that_is_missing_is_told():
    store = Store()
    store.set_link("live", 0.0)
    assert why_not("live", store, Choice()) == ""
    assert "run" in why_not("live run", store, Choice())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.6134, ".6134"), (-0.5, "-.5"), (2e10, "2e+10"), (float("nan"), "nan"), (None, "-"), (float("-inf"), "-inf")],
)
def test_numbers_in_four_figures(value, text):
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-1.0, "-1"), (0.25, ".25"), (5.743e-05, "6e-5"), (-12345.6, "-1e4"), (9.75, "9.75")],
)
def test_coordinates_are_short(value, text):
    assert words.coordinate(value) == text


@pytest.mark.parametrize("value", list(np.geomspace(1e-9, 1e9, 97)) + list(-np.geomspace(1e-9, 1e9, 97)))
def test_no_coordinate_is_longer_than_its_column(value):
    assert len(words.coordinate(value)) <= 7
    assert float(words.coordinate(value)) == pytest.approx(value, rel=0.5)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.8, "0.8 s"), (42.4, "42 s"), (190, "3 min 10 s"), (7500, "2 h 5 min"), (None, "-")]
)
def test_durations(seconds, text):
    assert words.duration(seconds) == text


def test_a_bar_has_its_width_whatever_the_share():
    for share in np.linspace(-0.5, 1.5, 101):
        assert len(words.bar(float(share), 17)) == 17
    assert words.bar(1.0, 4) == "████"
    assert words.bar(0.0, 4) == "░░░░"


def test_the_store_is_light_and_knows_no_screen():
    code = "import sys, tui.state; print(sorted(set(sys.modules) & {'textual', 'numpy', 'zmq', 'torch'}))"
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "[]"


def test_a_training_job_brings_the_surface_of_its_run_and_a_waiting_surface_its_plane():
    store = Store()
    store.put_run(run_item())
    store.put_plane(plane_item())
    store.put_surface(surface_item())
    store.jobs["T"] = Job("T", "train", run=RUN, state="done")
    store.jobs["P"] = Job("P", "plane", plane=PLANE, state="done")
    store.jobs["S"] = Job("S", "surface", state="waiting", spec={"plane": "job:P"})
    assert store.choice("job", "T").surface == SURFACE
    assert store.choice("job", "T").plane == PLANE
    assert (store.choice("job", "S").plane, store.choice("job", "S").surface) == (PLANE, "")


def test_where_nothing_is_chosen_the_surface_in_work_is_shown_else_the_newest():
    store = Store()
    newer = "Z" + SURFACE[1:]
    store.put_surface(surface_item())
    store.put_surface({**surface_item(), "id": newer})
    assert store.choice(None, "").surface == newer
    store.jobs["S"] = Job("S", "surface", state="running", surface=SURFACE)
    assert store.choice(None, "").surface == SURFACE
