"""The tables: what goes in comes out, twice is once, and a topic counts without a gap whatever is forgotten."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from stored import ACCURACY, LOSS, job, put_surface, sums, surface_record, ulid

from compute.store import (
    Calibration,
    EpochRecord,
    JobRecord,
    PlaneRecord,
    RunRecord,
    Store,
    SurfaceRecord,
    Tables,
    database,
    schema,
)
from protocol import codec, events
from protocol.errors import InputError
from protocol.files import PATH_DTYPE, PlaneMeta, SurfaceMeta
from protocol.messages import (
    PRESETS,
    AnalysisSpec,
    Done,
    Event,
    Execution,
    JobStateEvent,
    PlaneSpec,
    RunEpoch,
    SurfaceRow,
    SurfaceSpec,
)
from protocol.shares import fold, values

SURFACE = ulid(1)
TOPIC = f"surface/{SURFACE}/"


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    """The tables of a fresh database, without the thread and without a transaction: each statement is its own."""
    db = database.open_database(tmp_path)
    db.execute("PRAGMA synchronous = OFF")
    yield Tables(db)
    db.close()


# ---------------------------------------------------------------- records


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"spec": PlaneSpec(direction="pca", trajectory=("a@1", "a@2")), "kind": "plane", "after": (ulid(7), ulid(8))},
        {"spec": SurfaceSpec(plane="job:" + ulid(2), passes="grow", until=0.01), "execution": Execution(threads=2)},
        {"spec": AnalysisSpec(target="x"), "result": Done(summary={"minima": 3, "noise": math.inf}), "state": "done"},
        {
            "state": "failed",
            "error": "it failed",
            "code": "internal",
            "identity": "a" * 64,
            "device": "cpu",
            "tries": 3,
        },
    ],
)
def test_a_job_comes_back_as_it_was_put(tables: Tables, more: dict[str, Any]) -> None:
    record = msgspec.structs.replace(job(), **more)
    tables.put_job(record)
    assert tables.get_job(record.id) == record
    later = msgspec.structs.replace(record, state="paused", done=3, total=9)
    tables.put_job(later)
    assert tables.get_job(record.id) == later


def test_every_field_of_a_record_is_a_column() -> None:
    """A field that is added to a record needs a migration: this is what reminds of it."""
    ddl = {s.split()[2]: s for step in schema.MIGRATIONS for s in step if s.startswith("CREATE TABLE")}
    for table, record in {
        "jobs": JobRecord,
        "runs": RunRecord,
        "planes": PlaneRecord,
        "surfaces": SurfaceRecord,
    }.items():
        for name in record.__struct_fields__:
            assert f"{name} " in ddl[table], f"{table}.{name}"


def test_runs_planes_and_surfaces_come_back_and_are_listed_newest_first(tables: Tables) -> None:
    for k in range(1, 6):
        tables.put_run(RunRecord(id=ulid(k), recipe=PRESETS["demo"], name=f"run {k}"))
        meta = PlaneMeta(kind="pca", explained_variance_ratio=(0.5, 0.25))
        tables.put_plane(PlaneRecord(id=ulid(k), hash=f"{k}" * 64, meta=meta, file=f"planes/{k}", sha256="0" * 64))
        put_surface(tables, surface_record(ulid(k)))
    assert tables.get_run(ulid(2)) == RunRecord(id=ulid(2), recipe=PRESETS["demo"], name="run 2")
    assert tables.get_surface(ulid(3)) == surface_record(ulid(3))
    assert tables.get_plane("4" * 64) == tables.get_plane(ulid(4))
    assert tables.get_plane("nothing") is None
    for listing in (tables.list_runs, tables.list_planes, tables.list_surfaces):
        seen, cursor = [], None
        while True:
            page, cursor = listing(2, cursor)  # type: ignore[operator]
            seen += [item.id for item in page]
            if cursor is None:
                break
        assert seen == [ulid(k) for k in (5, 4, 3, 2, 1)]
    assert tables.names("runs")[0] == (ulid(1), "run 1")


def test_jobs_are_listed_by_state_and_by_number(tables: Tables) -> None:
    for k in range(1, 8):
        tables.put_job(job(k, state="done" if k % 2 else "queued", identity="f" * 64))
    assert [j.number for j in tables.load_jobs()] == [2, 4, 6]
    page, cursor = tables.list_jobs(limit=5)
    assert [j.number for j in page] == [7, 6, 5, 4, 3]
    assert [j.number for j in tables.list_jobs(limit=5, cursor=cursor)[0]] == [2, 1]
    page, cursor = tables.list_jobs(("done",), 4)
    assert ([j.number for j in page], cursor) == ([7, 5, 3, 1], None)
    assert tables.job_by_identity("f" * 64) == ulid(7)
    assert tables.job_by_identity("0" * 64) is None
    assert tables.count_jobs() == {"done": 4, "queued": 3}
    assert tables.last_number() == 7
    with pytest.raises(InputError, match="cursor"):
        tables.list_jobs(cursor="'; DROP TABLE jobs")


def test_epochs_keep_nan_and_are_stored_once(tables: Tables) -> None:
    tables.put_run(RunRecord(id=ulid(1), recipe=PRESETS["demo"]))
    assert tables.add_epoch(ulid(1), 1, 12, {"loss": 0.1, "bad": math.nan, "worse": -math.inf})
    assert not tables.add_epoch(ulid(1), 1, 12, {"loss": 9.9})
    (epoch,) = tables.epochs(ulid(1))
    assert (epoch.epoch, epoch.step, epoch.metrics["loss"], epoch.metrics["worse"]) == (1, 12, 0.1, -math.inf)
    assert isinstance(epoch, EpochRecord)
    assert math.isnan(epoch.metrics["bad"])


def test_checkpoints_are_stored_once_and_replaced_by_another_hash(tables: Tables) -> None:
    tables.put_run(RunRecord(id=ulid(1), recipe=PRESETS["demo"]))
    for step in (0, 12, 24):
        assert tables.add_checkpoint(ulid(1), step, step / 12, f"runs/x/{step}", "a" * 64, 100)
    assert not tables.add_checkpoint(ulid(1), 12, 1.0, "runs/x/12", "a" * 64, 100)
    assert tables.add_checkpoint(ulid(1), 12, 1.0, "runs/x/12", "b" * 64, 100)
    assert [(c.step, c.sha256[0]) for c in tables.checkpoints(ulid(1))] == [(0, "a"), (12, "b"), (24, "a")]
    page, cursor = tables.list_checkpoints(ulid(1), limit=2)
    assert [c.step for c in page] == [0, 12]
    assert [c.step for c in tables.list_checkpoints(ulid(1), 2, cursor)[0]] == [24]


def test_replies_are_kept_and_purged(tables: Tables) -> None:
    tables.put_request("a", b"digest", b"reply")
    assert tables.get_request("a") == (b"digest", b"reply")
    assert tables.get_request("b") is None
    assert tables.purge_requests(days=1) == 0
    assert tables.purge_requests(days=-1) == 1
    assert tables.get_request("a") is None


def test_calibrations_are_found_by_key_and_by_its_beginning(tables: Tables) -> None:
    tables.put_calibration("mlp/digits/cpu/2", 1e-6, 512, 64)
    assert tables.get_calibration("mlp/digits/cpu/2") == Calibration(seconds=1e-6, samples=512, points=64)
    assert tables.get_calibration("mlp") is None
    assert tables.similar_calibration("mlp/digits/") is not None
    assert tables.similar_calibration("%") is None


# ---------------------------------------------------------------- rows and their events


def stored(tables: Tables, rows: list[tuple[int, int]]) -> list[int | None]:
    put_surface(tables, surface_record())
    return [tables.append_row(SURFACE, i, p, 512, sums(i, p)) for i, p in rows]


def test_a_row_is_stored_and_told_once(tables: Tables) -> None:
    assert stored(tables, [(0, 0), (2, 0), (0, 0), (0, 1)]) == [1, 2, None, 3]
    assert tables.heads([TOPIC, "run/none/"]) == {TOPIC: 3, "run/none/": 0}
    kind = f"{TOPIC.split('/')[0]}/"
    assert tables.heads_beneath(kind, 9) == {TOPIC: 3}
    assert tables.heads_beneath(kind, 0) == tables.heads_beneath("window/", 9) == {}
    assert tables.rows_there(SURFACE) == [(0, 0), (0, 1), (2, 0)]


def test_rows_stored_together_are_those_stored_one_by_one(tables: Tables) -> None:
    """Some are there already, one comes twice; more than fit one statement."""
    stored(tables, [(0, 0), (2, 0)])
    several = [(i, p) for p in range(2) for i in range(5)]
    given = [(i, p, 512, sums(i, p)) for i, p in [*several[:4], (3, 0), *several[4:], *several * 3]]
    got = tables.append_rows(SURFACE, given)
    assert [seq for seq in got if seq is not None] == list(range(3, 11))
    assert got[:5] == [None, 3, None, 4, None]
    assert tables.heads([TOPIC]) == {TOPIC: 10}
    assert [(row.i, row.pass_) for row in tables.rows_of(SURFACE)] == sorted(several)
    for row in tables.rows_of(SURFACE):
        assert {k: v.tobytes() for k, v in row.sums.items()} == sums(row.i, row.pass_)
    order = [(i, p) for seq, (i, p, _, _) in zip(got, given) if seq is not None]
    events: list[Any] = [codec.decode([e.header, *e.buffers], Event)[0] for e in tables.events_since(TOPIC, 2).events]
    assert [(e.seq, e.i, e.pass_) for e in events] == [(3 + k, i, p) for k, (i, p) in enumerate(order)]


def test_a_row_costs_no_more_when_there_are_many(tables: Tables) -> None:
    put_surface(tables, surface_record(height=3000))
    steps: list[int] = []
    same = sums(0, 0)
    for first in (0, 2900):
        if first:
            tables.append_rows(SURFACE, [(i, 0, 512, same) for i in range(10, first)])
        before = len(steps)
        tables.db.set_progress_handler(lambda: steps.append(0), 100)
        tables.append_rows(SURFACE, [(i, 0, 512, same) for i in range(first, first + 3)])
        tables.append_rows(SURFACE, [(i, 0, 512, same) for i in range(first + 2, first + 6)])  # one is there
        tables.db.set_progress_handler(None, 0)
        assert len(steps) - before < 30, "100 instructions each"


def test_the_pass_is_part_of_the_key(tables: Tables) -> None:
    """Without it the second pass's sums would be taken for a repetition of the first's."""
    stored(tables, [(0, 0), (0, 1)])
    first, second = tables.rows_of(SURFACE)
    for row, pass_ in ((first, 0), (second, 1)):
        assert {k: v.tobytes() for k, v in row.sums.items()} == sums(0, pass_)


def test_replayed_rows_are_those_that_were_published(tables: Tables) -> None:
    stored(tables, [(0, 0), (3, 0), (0, 1), (3, 1)])
    replay = tables.events_since(TOPIC, 0)
    assert [e.seq for e in replay.events] == [1, 2, 3, 4]
    rows = {(r.i, r.pass_): {**r.sums, "n": np.array(r.n)} for r in tables.rows_of(SURFACE)}
    for event, (i, pass_) in zip(replay.events, [(0, 0), (3, 0), (0, 1), (3, 1)]):
        message, arrays = codec.decode([event.header, *event.buffers], Event)
        assert message == SurfaceRow(seq=event.seq, surface=SURFACE, i=i, pass_=pass_, n=512 * (pass_ + 1))
        expected = values(fold(rows[i, p] for p in range(pass_ + 1)), (LOSS, ACCURACY))
        assert arrays.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_array_equal(arrays[name], value.astype("<f4"))
    later = tables.events_since(TOPIC, 3)
    assert [(e.seq, e.header, e.buffers) for e in later.events] == [
        (e.seq, e.header, e.buffers) for e in replay.events[3:]
    ]


def test_replay_is_cut_at_max_bytes_and_goes_on(tables: Tables) -> None:
    stored(tables, [(i, 0) for i in range(5)])
    seen, seq = [], 0
    while True:
        replay = tables.events_since(TOPIC, seq, max_bytes=500)
        seen += [e.seq for e in replay.events]
        assert 1 <= len(replay.events) < 5
        if replay.next is None:
            break
        seq = replay.next
    assert seen == [1, 2, 3, 4, 5]
    assert [e.seq for e in tables.events_since(TOPIC, 0, max_bytes=1).events] == [1]


def test_other_events_are_replayed_as_their_very_bytes(tables: Tables) -> None:
    topic = f"run/{ulid(1)}/"
    message = RunEpoch(run=ulid(1), epoch=1, step=12, metrics={"loss": math.nan})
    seq, frames = tables.append_message(topic, message)
    header = codec.encode(JobStateEvent(job=ulid(2), state="done"))[0]
    assert (seq, tables.append_event(topic, header, [b"x", b""])) == (1, 2)
    first, second = tables.events_since(topic, 0).events
    assert [first.header, *first.buffers] == frames
    assert second.buffers == [b"x", b""]
    assert events.read([second.header])[0] == JobStateEvent(seq=2, job=ulid(2), state="done")


@pytest.mark.parametrize(
    ("i", "pass_", "change"),
    [(5, 0, {}), (-1, 0, {}), (0, 2, {}), (0, 0, {"loss_sum": b"x"}), (0, 0, {"more": b""}), (0, 0, {"correct": None})],
)
def test_a_row_that_is_not_of_the_surface_is_refused(
    tables: Tables, i: int, pass_: int, change: dict[str, bytes | None]
) -> None:
    put_surface(tables, surface_record())
    given = {k: v for k, v in {**sums(0, 0), **change}.items() if v is not None}
    with pytest.raises(InputError):
        tables.append_row(SURFACE, i, pass_, 512, given)
    assert tables.rows_there(SURFACE) == []
    assert tables.heads([TOPIC]) == {TOPIC: 0}


def test_a_dropped_pass_is_gone_and_its_rows_come_again(tables: Tables) -> None:
    stored(tables, [(0, 0), (1, 0), (0, 1)])
    assert tables.drop_pass(SURFACE, 1) == 1
    assert tables.rows_there(SURFACE) == [(0, 0), (1, 0)]
    assert tables.events_since(TOPIC, 1).gone  # it drew a row that is void
    assert not tables.events_since(TOPIC, 3).gone
    assert tables.append_row(SURFACE, 0, 1, 512, sums(9, 1)) == 4
    assert [e.seq for e in tables.events_since(TOPIC, 3).events] == [4]


def test_sealing_keeps_the_head_and_answers_gone(tables: Tables) -> None:
    stored(tables, [(0, 0), (1, 0)])
    tables.append_message(TOPIC, JobStateEvent(job=ulid(2), state="done"))
    tables.seal(SURFACE, "surfaces/x.npz", "c" * 64, SurfaceMeta(id=SURFACE, passes_done=1))
    assert tables.rows_of(SURFACE) == []
    assert tables.heads([TOPIC]) == {TOPIC: 3}
    assert tables.events_since(TOPIC, 0).gone
    assert tables.events_since(TOPIC, 1).gone
    assert [e.seq for e in tables.events_since(TOPIC, 2).events] == [3]
    assert tables.append_event(TOPIC, codec.encode(JobStateEvent(job=ulid(2), state="done"))[0]) == 4
    sealed = tables.get_surface(SURFACE)
    assert sealed is not None
    assert (sealed.file, sealed.sha256, sealed.meta.passes_done) == ("surfaces/x.npz", "c" * 64, 1)
    with pytest.raises(InputError, match="sealed"):
        tables.append_row(SURFACE, 0, 1, 512, sums(0, 1))


def test_path_and_critical_points_are_kept_beside_the_axes(tables: Tables) -> None:
    put_surface(tables, surface_record())
    path = np.zeros(3, PATH_DTYPE)
    path["loss_true"] = np.nan
    tables.set_path(SURFACE, path.tobytes())
    tables.set_critical(SURFACE, b"points", {"minima": 2, "threshold": math.inf})
    arrays, record = tables.surface_arrays(SURFACE), tables.get_surface(SURFACE)
    assert arrays is not None
    assert record is not None
    assert np.frombuffer(arrays.path, PATH_DTYPE).tobytes() == path.tobytes()
    assert (arrays.critical, record.critical) == (b"points", {"minima": 2, "threshold": math.inf})
    put_surface(tables, surface_record(name="again"))
    again = tables.surface_arrays(SURFACE)
    assert again is not None
    assert again.path == path.tobytes()
    with pytest.raises(InputError, match="axes"):
        tables.put_surface(surface_record(), b"", b"")


def test_deleting_takes_rows_and_events_and_names_the_files(tables: Tables) -> None:
    stored(tables, [(0, 0)])
    tables.seal(SURFACE, "surfaces/x.npz", "c" * 64)
    assert tables.delete_surface(SURFACE) == ["surfaces/x.npz"]
    assert tables.delete_surface(SURFACE) == []
    for k, other in ((1, 2), (2, 1)):
        tables.put_plane(PlaneRecord(id=ulid(k), hash="d", meta=PlaneMeta(), file="planes/d", sha256=f"{other}"))
    assert tables.delete_plane(ulid(1)) == []  # the other one has the same contents
    assert tables.delete_plane(ulid(2)) == ["planes/d"]
    tables.put_run(RunRecord(id=ulid(1), recipe=PRESETS["demo"]))
    tables.add_checkpoint(ulid(1), 0, 0.0, f"runs/{ulid(1)}/step", "a" * 64, 1)
    assert tables.delete_run(ulid(1)) == [f"runs/{ulid(1)}/step"]
    assert tables.checkpoints(ulid(1)) == []
    assert set(tables.trash()) == {"surfaces/x.npz", "planes/d", f"runs/{ulid(1)}", f"runs/{ulid(1)}/step"}
    assert tables.heads([TOPIC]) == {TOPIC: 1}
    assert tables.events_since(TOPIC, 0).gone


def test_the_store_imports_no_torch() -> None:
    code = "import sys, compute.store, compute.store.sweep, compute.store.restore; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_a_store_keeps_its_id(tmp_path: Path) -> None:
    ids = set()
    for _ in range(2):
        store = Store.open(tmp_path)
        ids.add(store.call(lambda t: t.get_meta("store")))
        store.close()
    assert len(ids) == 1
    assert len(ids.pop() or "") == 26
