"""The job table: what a command gives, by values alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute import jobs, references
from compute.jobs import Resolve, Save, Table, Tell
from compute.store.records import ENDS, JobRecord
from protocol.errors import InputError
from protocol.messages import AnalysisSpec, Done, Execution, PlaneSpec, Recipe, Spec, SurfaceSpec, TrainSpec
from protocol.requests import Submitted

NUMBERS = itertools.count()
NOW = "2026-01-01T00:00:00+00:00"


def ulid() -> str:
    return f"{next(NUMBERS):026d}"


def submitted(spec: Spec | None = None, **how: object) -> Submitted:
    return Submitted(job=ulid(), spec=spec or TrainSpec(recipe=Recipe(seed=next(NUMBERS))), **how)  # type: ignore[arg-type]


def queued(*several: Submitted) -> Table:
    """A table in which these are queued, as far as their inputs exist."""
    table, effects = jobs.submit(Table(), several, {}, NOW)
    for e in effects:
        if isinstance(e, Resolve):
            table, _ = jobs.ready(table, e.job.id, e.job.spec, f"hash of {e.job.id}", None, NOW)
    return table


def in_lane(lane: jobs.Lane) -> Callable[[JobRecord], bool]:
    return lambda job: jobs.LANES[job.kind] == lane


def saved(effects: list[jobs.Effect]) -> dict[str, JobRecord]:
    return {e.job.id: e.job for e in effects if isinstance(e, Save)}


def test_train_plane_surface_in_one_submission_run_in_turn() -> None:
    a = submitted()
    b = submitted(PlaneSpec(direction="pca", trajectory=f"job:{a.job}"))
    c = submitted(SurfaceSpec(plane=f"job:{b.job}"))
    table = queued(a, b, c)
    assert [table.get(s.job).state for s in (a, b, c)] == ["queued", "waiting", "waiting"]
    table, _ = jobs.started(table, a.job, NOW, run="R")
    table, effects = jobs.finished(table, a.job, Done(run="R"), NOW)
    assert a.job not in table.jobs
    assert [e.job.id for e in effects if isinstance(e, Resolve)] == [b.job]
    spec = references.resolved(b.spec, {a.job: Done(run="R")})
    assert spec == PlaneSpec(direction="pca", trajectory="R")
    table, _ = jobs.ready(table, b.job, spec, "h", None, NOW)
    assert table.get(b.job).state == "queued"
    assert table.get(c.job).state == "waiting"


def test_a_failure_fails_what_waits_for_it_and_names_it() -> None:
    a = submitted(name="my training")
    b = submitted(PlaneSpec(trajectory=f"job:{a.job}"))
    c = submitted(SurfaceSpec(plane=f"job:{b.job}"))
    other = submitted()
    table = queued(a, b, c, other)
    table, _ = jobs.started(table, a.job, NOW)
    table, effects = jobs.failed(table, a.job, "internal", "it broke", NOW)
    records = saved(effects)
    assert {records[s.job].state for s in (a, b, c)} == {"failed"}
    assert "'my training'" in (records[b.job].error or "")
    assert list(table.jobs) == [other.job]


def test_the_same_question_gets_the_result_it_already_has() -> None:
    old = JobRecord(id=ulid(), number=1, kind="train", spec=TrainSpec(), state="done", result=Done(run="R"))
    for policy, state in (("existing", "done"), ("new", "queued"), ("error", "failed")):
        s = submitted(on_conflict=policy)
        table, _ = jobs.submit(Table(), [s], {}, NOW)
        table, effects = jobs.ready(table, s.job, s.spec, "h", old, NOW)
        record = saved(effects)[s.job]
        assert record.state == state, policy
        assert (record.result == old.result) is (policy == "existing")


def test_what_waits_for_a_job_that_was_answered_at_once_goes_on() -> None:
    old = JobRecord(id=ulid(), number=1, kind="train", spec=TrainSpec(), state="done", result=Done(run="R"))
    a = submitted()
    b = submitted(PlaneSpec(trajectory=f"job:{a.job}"))
    table, _ = jobs.submit(Table(), [a, b], {}, NOW)
    table, effects = jobs.ready(table, a.job, a.spec, "h", old, NOW)
    assert [e.job.id for e in effects if isinstance(e, Resolve)] == [b.job]


def test_priority_then_first_come() -> None:
    several = [submitted(priority=p) for p in (0, 5, 5, -1)]
    table = queued(*several)
    order = []
    while (job := jobs.next_job(table, in_lane("device"))) is not None:
        order.append([s.job for s in several].index(job.id))
        table, _ = jobs.started(table, job.id, NOW)
    assert order == [1, 2, 0, 3]


def test_light_jobs_have_a_lane_of_their_own() -> None:
    s = submitted(AnalysisSpec(target="S"))
    table = queued(s)
    assert jobs.next_job(table, in_lane("device")) is None
    assert jobs.next_job(table, in_lane("light")) is not None


def test_pause_and_cancel_at_once_without_a_worker_else_it_is_told() -> None:
    a, b = submitted(), submitted()
    table = queued(a, b)
    paused, effects = jobs.pause(table, a.job)
    assert paused.get(a.job).state == "paused"
    assert not any(isinstance(e, Tell) for e in effects)
    table, _ = jobs.started(table, b.job, NOW)
    table, effects = jobs.pause(table, b.job)
    assert table.get(b.job).state == "pausing"
    assert Tell(b.job, "pause") in effects
    table, _ = jobs.released(table, b.job, NOW)
    assert table.get(b.job).state == "paused"
    table, _ = jobs.resume(table, b.job)
    table, _ = jobs.started(table, b.job, NOW)
    table, effects = jobs.cancel(table, b.job, "boundary", NOW)
    assert Tell(b.job, "cancel", "boundary") in effects
    table, effects = jobs.released(table, b.job, NOW)
    assert saved(effects)[b.job].state == "cancelled"


def test_a_worker_that_dies_gives_the_job_back_three_times() -> None:
    s = submitted()
    table = queued(s)
    for k in range(jobs.MAX_TRIES):
        table, _ = jobs.started(table, s.job, NOW, run="R")
        assert table.get(s.job).run == "R"
        table, effects = jobs.lost(table, s.job, "by SIGKILL", NOW)
        assert saved(effects)[s.job].state == ("queued" if k + 1 < jobs.MAX_TRIES else "failed")
    assert s.job not in table.jobs


def test_a_restart_queues_what_ran_and_keeps_what_was_asked() -> None:
    states = {
        "running": "queued",
        "pausing": "paused",
        "cancelling": "cancelled",
        "queued": "queued",
        "paused": "paused",
    }
    for state, after in states.items():
        record = JobRecord(id=ulid(), number=1, kind="train", spec=TrainSpec(), state=state, identity="h")  # type: ignore[arg-type]
        table, effects = jobs.loaded([record], 1)
        found = table.jobs.get(record.id) or saved(effects)[record.id]
        assert found.state == after


def test_execution_is_fixed_once_and_kept() -> None:
    s = submitted()
    table = queued(s)
    table, _ = jobs.started(table, s.job, NOW)
    fixed = Execution(device="cpu", threads=2, batch_size=64, channels_last=True)
    table, effects = jobs.begun(table, s.job, fixed, 100)
    assert saved(effects)[s.job].execution == fixed
    table, _ = jobs.lost(table, s.job, "", NOW)
    assert table.get(s.job).execution == fixed


def test_a_retry_forgets_the_error_and_keeps_what_it_works_on() -> None:
    record = JobRecord(
        id=ulid(), number=1, kind="surface", spec=SurfaceSpec(plane="p"), state="failed", identity="h", surface="S",
        error="no", code="internal", tries=3,
    )  # fmt: skip
    table, _ = jobs.retry(Table(), record)
    again = table.get(record.id)
    assert (again.state, again.surface, again.error, again.tries) == ("queued", "S", None, 0)
    with pytest.raises(InputError, match="done"):
        jobs.retry(Table(), msgspec.structs.replace(record, state="done"))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (lambda a: [submitted(after=("nobody",))], "known job"),
        (lambda a: [a, msgspec.structs.replace(submitted(), job=a.job)], "in use"),
        (lambda a: [submitted(PlaneSpec(trajectory=f"job:{a.job}")), a], "earlier"),
    ],
)
def test_a_submission_is_taken_whole_or_not_at_all(wrong: object, why: str) -> None:
    table = Table()
    with pytest.raises(InputError, match=why):
        jobs.submit(table, wrong(submitted()), {}, NOW)  # type: ignore[operator]
    assert table == Table()


def test_waiting_for_a_job_that_failed_is_refused() -> None:
    bad = JobRecord(id=ulid(), number=1, kind="train", spec=TrainSpec(), state="failed")
    with pytest.raises(InputError, match="retry it first"):
        jobs.submit(Table(), [submitted(after=(bad.id,))], {bad.id: bad}, NOW)


def test_identity_leaves_out_who_asked_and_how_it_runs() -> None:
    content = {"plane": "p1"}.get
    spec = SurfaceSpec(plane="x")

    def identity(spec: Spec, numerics: int = 1) -> str | None:
        return references.identity(spec, lambda what, _: content(what, "c"), numerics)

    assert identity(spec) == identity(SurfaceSpec(plane="another name of it"))
    assert identity(spec) != identity(SurfaceSpec(plane="x", seed=1))
    assert identity(spec) != identity(spec, numerics=2)


def test_a_result_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(InputError, match="expected a job that gives a plane"):
        references.resolved(SurfaceSpec(plane="job:X"), {"X": Done(run="R")})
    assert references.resolved(PlaneSpec(origin="job:X@last"), {"X": Done(run="R")}) == PlaneSpec(origin="R@last")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_sequence_of_commands_leaves_a_sound_table(data: st.DataObject) -> None:
    """Whatever comes: an illegal command changes nothing; ended jobs leave the table; nothing waits for ever."""
    several: list[Submitted] = []
    for _ in range(4):
        after = (data.draw(st.sampled_from(several)).job,) if several and data.draw(st.booleans()) else ()
        several.append(submitted(after=after))
    table = queued(*several)
    for _ in range(25):
        if not table.jobs:
            break
        job = data.draw(st.sampled_from(sorted(table.jobs)))
        command = data.draw(
            st.sampled_from(
                [
                    lambda t, j: jobs.started(t, j, NOW),
                    lambda t, j: jobs.finished(t, j, Done(), NOW),
                    lambda t, j: jobs.failed(t, j, "internal", "no", NOW),
                    lambda t, j: jobs.released(t, j, NOW),
                    lambda t, j: jobs.lost(t, j, "", NOW),
                    lambda t, j: jobs.cancel(t, j, "now", NOW),
                    jobs.pause,
                    jobs.resume,
                ]
            )
        )
        try:
            table, effects = command(table, job)
        except InputError as e:
            assert e.code == "wrong_state"  # noqa: PT017 - either it is obeyed or refused so
            continue
        for e in effects:
            if isinstance(e, Resolve):
                table, _ = jobs.ready(table, e.job.id, e.job.spec, "h" + e.job.id, None, NOW)
        assert not [r for r in table.jobs.values() if r.state in ENDS]
        for record in table.jobs.values():
            if record.state == "waiting":
                assert any(other in table.jobs for other in record.after)
