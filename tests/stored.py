"""Small things to store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from compute.store import JobRecord, Store, SurfaceRecord, Tables
from protocol.files import SurfaceMeta
from protocol.messages import TrainSpec
from protocol.shares import MetricDecl, Share, Value

LOSS = MetricDecl(
    name="loss",
    sums={"loss_sum": "<f8", "loss_sq_sum": "<f8"},
    values={"loss": Value("mean", "loss_sum"), "sem": Value("sem", "loss_sum", "loss_sq_sum")},
)
ACCURACY = MetricDecl(name="accuracy", sums={"correct": "<i4"}, values={"accuracy": Value("mean", "correct")})
SHARES = (Share(0, 512), Share(512, 1024))


def ulid(k: int) -> str:
    """An id; greater for greater k."""
    return f"{k:026d}"


def surface_record(id: str = ulid(1), width: int = 7, height: int = 5, **more: Any) -> SurfaceRecord:
    return SurfaceRecord(
        id=id,
        meta=SurfaceMeta(id=id, model="mlp"),
        width=width,
        height=height,
        metrics=(LOSS, ACCURACY),
        shares=SHARES,
        **more,
    )


def put_surface(tables: Tables, record: SurfaceRecord) -> None:
    tables.put_surface(record, np.arange(record.width, dtype="<f8").tobytes(), np.zeros(record.height).tobytes())


def sums(i: int, pass_: int, width: int = 7) -> dict[str, bytes]:
    """The sums of a row, different for each (i, pass)."""
    rng = np.random.default_rng((i, pass_))
    loss = rng.random(width) * 512
    return {
        "loss_sum": loss.tobytes(),
        "loss_sq_sum": (loss * loss / 256).tobytes(),
        "correct": rng.integers(0, 512, width, dtype=np.int32).tobytes(),
    }


def job(k: int = 1, **more: Any) -> JobRecord:
    return JobRecord(id=ulid(k), number=k, kind="train", spec=TrainSpec(), **more)


class Told:
    """What `done` was told, in order; `wait` runs the store's callbacks until so many came."""

    def __init__(self) -> None:
        self.woken = threading.Event()
        self.all: list[tuple[Any, Exception | None]] = []

    def done(self, result: Any, error: Exception | None) -> None:
        self.all.append((result, error))

    def wait(self, store: Store, count: int, seconds: float = 10.0) -> list[tuple[Any, Exception | None]]:
        stop = time.monotonic() + seconds
        while len(self.all) < count:
            assert time.monotonic() < stop, self.all
            self.woken.wait(0.05)
            self.woken.clear()
            store.completed()
        return self.all


def hold(store: Store) -> Callable[[], None]:
    """Keep the store's thread busy until the returned function is called, so that what is queued becomes one group."""
    held, go = threading.Event(), threading.Event()

    def fn(_: Tables) -> None:
        held.set()
        go.wait(10)

    store.read(fn, lambda *_: None)
    held.wait(10)
    return go.set


def trip(folder: Path, fn: Callable[[Tables], Any]) -> Any:
    """Open a store, run `fn`, close it."""
    store = Store.open(folder)
    try:
        return store.call(fn)
    finally:
        store.close()
