"""Rows a second that the store commits in groups, against a commit each; reading them back; opening with 100 runs.

    python benchmarks/store.py [folder]

A row is 1001 points with three sums (<f8, <f8, <i4: 20 kB). Both ways take turns over the same rows in one run, and the
median of the rounds counts. Beside them stands what the disk alone allows: appends of 20 kB with an fdatasync each. A
folder in memory (/dev/shm) shows what the code costs without a disk.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
from ulid import ULID

from compute.store import RunRecord, Store, SurfaceRecord, Tables
from protocol.files import SurfaceMeta
from protocol.messages import PRESETS, RunEpoch
from protocol.shares import MetricDecl, Share, Value

ROUNDS = 5
WIDTH = 1001
ROWS = 1001
SINGLES = 200
SHARES = tuple(Share(512 * k, 512 * (k + 1)) for k in range(5))  # a pass each
METRICS = (
    MetricDecl(
        name="loss",
        sums={"loss_sum": "<f8", "loss_sq_sum": "<f8"},
        values={"loss": Value("mean", "loss_sum"), "sem": Value("sem", "loss_sum", "loss_sq_sum")},
    ),
    MetricDecl(name="accuracy", sums={"correct": "<i4"}, values={"accuracy": Value("mean", "correct")}),
)


def begin(store: Store) -> str:
    """A new surface of 1001 x 1001 points; its id."""
    surface = str(ULID())
    record = SurfaceRecord(id=surface, meta=SurfaceMeta(), width=WIDTH, height=ROWS, metrics=METRICS, shares=SHARES)
    axis = np.linspace(-1, 1, WIDTH).tobytes()
    store.call(lambda t: t.put_surface(record, axis, axis))
    return surface


def sums() -> dict[str, bytes]:
    """The sums of a row, as bytes."""
    rng = np.random.default_rng(0)
    loss = rng.random(WIDTH) * 512
    return {
        "loss_sum": loss.tobytes(),
        "loss_sq_sum": (loss * loss).tobytes(),
        "correct": rng.integers(0, 512, WIDTH, dtype=np.int32).tobytes(),
    }


def grouped(store: Store, woken: threading.Event, count: int) -> float:
    """Seconds until `count` rows that were queued at once are committed and handed out."""
    surface, row, done = begin(store), sums(), 0

    def told(_: int | None, error: Exception | None) -> None:
        nonlocal done
        if error is not None:
            raise error
        done += 1

    began = time.perf_counter()
    for i in range(count):
        store.write(lambda t, i=i: t.append_row(surface, i % ROWS, i // ROWS, 512, row), told)
    while done < count:
        woken.wait()
        woken.clear()
        store.completed()
    seconds = time.perf_counter() - began
    store.call(lambda t: t.delete_surface(surface))
    return seconds


def single(store: Store, count: int) -> float:
    """Seconds for `count` rows, each committed before the next is given."""
    surface, row = begin(store), sums()
    began = time.perf_counter()
    for i in range(count):
        store.call(lambda t, i=i: t.append_row(surface, i, 0, 512, row))
    seconds = time.perf_counter() - began
    store.call(lambda t: t.delete_surface(surface))
    return seconds


def bare(folder: Path, count: int) -> float:
    """Seconds for `count` appends of 20 kB to a file, an fdatasync each."""
    piece = b"".join(sums().values())
    with open(folder / "bare", "wb", buffering=0) as out:
        began = time.perf_counter()
        for _ in range(count):
            out.write(piece)
            os.fdatasync(out.fileno())
        return time.perf_counter() - began


def fill(tables: Tables) -> None:
    """100 runs of 30 epochs with a checkpoint each."""
    for _ in range(100):
        run = str(ULID())
        tables.put_run(RunRecord(id=run, recipe=PRESETS["demo"]))
        for epoch in range(30):
            metrics = {"train_loss": 1.0, "test_loss": 1.0, "test_accuracy": 0.5}
            tables.add_epoch(run, epoch, epoch * 12, metrics)
            tables.append_message(f"run/{run}/", RunEpoch(run=run, epoch=epoch, step=epoch * 12, metrics=metrics))
            file = f"runs/{run}/step-{epoch * 12:08d}.safetensors"
            tables.add_checkpoint(run, epoch * 12, float(epoch), file, "0" * 64, 1_000_000)


def opening(folder: Path, *, clean: bool) -> float:
    """Seconds to open the store; `clean=False`: as after a kill, with the check of the database."""
    if not clean:
        with closing(sqlite3.connect(folder / "state.db", isolation_level=None)) as db:
            db.execute("UPDATE meta SET value = '0' WHERE name = 'clean'")
    began = time.perf_counter()
    store = Store.open(folder)
    seconds = time.perf_counter() - began
    store.close()
    return seconds


def median(measure: Callable[[], float]) -> float:
    """The median of the rounds."""
    return statistics.median(measure() for _ in range(ROUNDS))


def main() -> None:
    """Print the table."""
    folder = Path(tempfile.mkdtemp(prefix="thalweg-store-", dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        woken = threading.Event()
        store = Store.open(folder / "rows", woken.set)
        grouped(store, woken, 64)
        times = [(grouped(store, woken, ROWS), single(store, SINGLES), bare(folder, SINGLES)) for _ in range(ROUNDS)]
        group, one, disk = (statistics.median(t[k] for t in times) for k in range(3))
        print(f"a row: {WIDTH} points, 3 sums, {sum(map(len, sums().values()))} bytes; median of {ROUNDS} rounds")
        print(f"{'committed in groups':34} {ROWS / group:9.0f} rows/s")
        print(f"{'the same, 5 passes without a pause':34} {5 * ROWS / grouped(store, woken, 5 * ROWS):9.0f} rows/s")
        print(f"{'a commit each':34} {SINGLES / one:9.0f} rows/s")
        print(f"{'the disk alone, an fdatasync each':34} {SINGLES / disk:9.0f} writes/s")
        print(f"{'ratio, groups to single commits':34} {(ROWS / group) / (SINGLES / one):9.2f}")

        surface, row = begin(store), sums()
        store.call(lambda t: [t.append_row(surface, i, 0, 512, row) for i in range(ROWS)])

        def timed(fn: Callable[[Tables], object]) -> Callable[[], float]:
            def measure() -> float:
                began = time.perf_counter()
                store.call(fn)
                return time.perf_counter() - began

            return measure

        topic = f"surface/{surface}/"
        print(f"{'read 1001 rows of sums':34} {1e3 * median(timed(lambda t: t.rows_of(surface))):9.1f} ms")
        print(f"{'which rows are there':34} {1e3 * median(timed(lambda t: t.rows_there(surface))):9.1f} ms")
        replay = timed(lambda t: t.events_since(topic, 0, 1 << 30))
        print(f"{'1001 row events for a late client':34} {1e3 * median(replay):9.1f} ms")
        store.close()

        store = Store.open(folder / "runs")
        store.call(fill)
        store.close()
        for clean, what in ((True, "after a clean stop"), (False, "after a kill, checked")):
            seconds = median(lambda clean=clean: opening(folder / "runs", clean=clean))  # type: ignore[misc]
            print(f"{'open 100 runs, ' + what:34} {1e3 * seconds:9.1f} ms")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
