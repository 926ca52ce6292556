"""The daemon's figures: ping beside a surface, rows a second, restart, late subscribers, memory, what it adds, ETA.

    python benchmarks/daemon.py [ping rows restart replay memory overhead eta]

Without a name: all of them. Rows a second are those of a worker that only sends (tests/fake_worker.py), so that the
daemon alone is measured; `ping`, `overhead` and `eta` run real jobs on one thread.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import numpy as np
import zmq
from daemons import Daemon, done, info, made_of, submit, submitted, until, workspace
from store import grouped
from stored import ACCURACY, LOSS, sums, ulid

from compute.store import RunRecord, Store, SurfaceRecord, Tables
from protocol import requests as r
from protocol.client import Client
from protocol.exchange import new_id
from protocol.files import SurfaceMeta
from protocol.grid import AxisSpec, GridSpec
from protocol.messages import Recipe, SurfaceSpec
from protocol.requests import JobInfo
from protocol.shares import Share
from protocol.snapshots import Restored

SIDE = 1001
RECIPE = Recipe(model="resnet20", dataset="digits", epochs=1, batch_size=256)
SPEC: dict[str, Any] = {"limit": 256, "grid": GridSpec(alpha=AxisSpec(count=9), beta=AxisSpec(count=25))}


def say(what: str, value: str, wanted: str = "") -> None:
    """A line of the table."""
    print(f"{what:58} {value:>18}   {wanted}", flush=True)


def ping() -> None:
    """Round trips over ipc while a real worker measures a surface on one thread."""
    with workspace() as folder, Daemon(folder) as daemon:
        client = daemon.client()
        _, plane = made_of(client, RECIPE)
        (job,) = submit(client, SurfaceSpec(plane=plane, **SPEC))
        until(lambda: info(client, job).done, "a row")
        times = []
        while info(client, job).state == "running" and len(times) < 3000:
            for _ in range(20):
                began = time.perf_counter()
                client.request(r.Ping(id=new_id()))
                times.append(1e3 * (time.perf_counter() - began))
                time.sleep(0.002)  # a flood would be told to wait
        times.sort()
        say("ping over ipc while a surface is computed, p50", f"{times[len(times) // 2]:.2f} ms", "< 0.3 ms")
        say("                                           p99", f"{times[len(times) * 99 // 100]:.2f} ms", "< 2 ms")
        say("                                           n", str(len(times)))


LISTENER = """
import sys, zmq
sub = zmq.Context().socket(zmq.SUB)
sub.setsockopt(zmq.SUBSCRIBE, b"surface/")
sub.setsockopt(zmq.SUBSCRIBE, b"hb/")
sub.connect(sys.argv[1])
sub.recv_multipart()
print("ready", flush=True)
while True:
    sub.recv_multipart()
"""


def rows() -> None:
    """Rows stored and published, from a worker that only sends, beside those of the store alone, in turns. An event
    that nobody subscribed to is not sent, so there is one subscriber; without it, the line below."""
    found: dict[str, list[float]] = {"alone": [], "heard": [], "unheard": []}
    with workspace() as folder, Daemon(folder, odd={"fake": True}) as daemon:
        client = daemon.client()
        _, plane = made_of(client, RECIPE)
        (folder / "fake.json").write_text(json.dumps({"constant": True}))
        woken = threading.Event()
        alone = Store.open(folder / "alone", woken.set)
        for seed in range(5):
            found["alone"].append(SIDE / grouped(alone, woken, SIDE))
            found["unheard"].append(rows_a_second(client, plane, 2 * seed))
            listener = subprocess.Popen(
                [sys.executable, "-c", LISTENER, f"ipc://{folder / 'evt'}"], stdout=subprocess.PIPE
            )
            assert listener.stdout is not None
            listener.stdout.readline()
            found["heard"].append(rows_a_second(client, plane, 2 * seed + 1))
            listener.kill()
            listener.wait()
        alone.close()
    medians = {what: statistics.median(rates) for what, rates in found.items()}
    ratio = statistics.median(b / a for a, b in zip(found["alone"], found["heard"]))
    say(f"rows of {SIDE} points stored and published, median of 5", f"{medians['heard']:.0f} rows/s", "5,000 rows/s")
    say("   lowest, highest", f"{min(found['heard']):.0f}, {max(found['heard']):.0f}")
    say("   with nobody subscribed", f"{medians['unheard']:.0f} rows/s")
    say("   by the store alone, in turns with them", f"{medians['alone']:.0f} rows/s")
    say("   through the daemon, to the store alone", f"{ratio:.2f}")


def rows_a_second(client: Client, plane: str, seed: int) -> float:
    """Of one surface of 4004 rows, without its beginning and its end."""
    grid = GridSpec(alpha=AxisSpec(count=SIDE), beta=AxisSpec(count=4 * SIDE))
    (job,) = submit(client, SurfaceSpec(plane=plane, grid=grid, limit=256, seed=seed))

    def so_far(least: int) -> tuple[int, float]:
        return until(lambda: (n, time.monotonic()) if (n := info(client, job).done) >= least else None)

    (a, began), (b, ended) = so_far(SIDE // 2), so_far(3 * SIDE)
    done(client, job)
    return (b - a) / (ended - began)


def restart() -> None:
    """From the start of the process to the first answer, with 100 runs of 11 checkpoints and 10 epochs."""
    with workspace() as folder:
        fill(folder, 100)
        times: dict[str, list[float]] = {"after an orderly end": [], "after kill -9, checked": []}
        with Daemon(folder) as daemon:
            for _ in range(5):
                daemon.stop()
                daemon.start()
                times["after an orderly end"].append(daemon.serving_s)
                daemon.kill()
                daemon.start()
                times["after kill -9, checked"].append(daemon.serving_s)
        for what, found in times.items():
            say(f"serving with 100 runs {what}, median of 5", f"{statistics.median(found):.2f} s", "< 1 s")


def fill(folder: Path, runs: int) -> None:
    """Runs with their files in the store."""

    def put(t: Tables) -> None:
        for k in range(runs):
            run = ulid(k + 1)
            t.put_run(RunRecord(id=run, recipe=RECIPE))
            (folder / "runs" / run).mkdir(parents=True)
            for step in range(11):
                file = folder / "runs" / run / f"step-{step:08d}.safetensors"
                file.write_bytes(bytes(1000))
                t.add_checkpoint(run, step, float(step), f"runs/{run}/{file.name}", "0" * 64, 1000)
                if step:
                    t.add_epoch(run, step, step, {"loss": 1.0, "accuracy": 0.5})

    store = Store.open(folder)
    store.call(put)
    store.close()


def replay() -> None:
    """A whole surface to a subscriber that comes late: its rows of one pass in the database, and a sealed file."""
    with workspace() as folder:
        record = SurfaceRecord(
            id=ulid(1), meta=SurfaceMeta(id=ulid(1)), width=SIDE, height=SIDE, metrics=(LOSS, ACCURACY),
            shares=(Share(0, 512),),
        )  # fmt: skip

        def put(t: Tables) -> None:
            axis = np.linspace(-1, 1, SIDE).tobytes()
            t.put_surface(record, axis, axis)
            for i in range(SIDE):
                t.append_row(record.id, i, 0, 512, sums(i, 0, SIDE))

        store = Store.open(folder)
        store.call(put)
        store.close()
        with Daemon(folder, odd={"fake": True}) as daemon:
            client = daemon.client()
            _, plane = made_of(client, RECIPE)
            side = AxisSpec(count=SIDE)
            (job,) = submit(client, SurfaceSpec(plane=plane, grid=GridSpec(alpha=side, beta=side), limit=256))
            sealed = done(client, job).result.surface  # type: ignore[union-attr]
            for what, surface in (("of one pass", ulid(1)), ("sealed", sealed)):
                times = [late(folder, f"surface/{surface}/") for _ in range(7)]
                wanted = "< 250 ms"
                say(
                    f"{SIDE} x {SIDE} surface, {what}, to the first late subscriber", f"{1e3 * times[0]:.0f} ms", wanted
                )
                say("   to the next six, median", f"{1e3 * statistics.median(times[1:]):.0f} ms", wanted)


def late(folder: Path, topic: str) -> float:
    """Seconds from the subscription to the whole state."""
    with Client.connect(folder) as client:
        began = time.perf_counter()
        with client.subscribe(topic) as following:
            while True:
                for event, _ in following.poll(1.0):
                    if isinstance(event, Restored):
                        assert event.arrays["loss"].shape == (SIDE, SIDE)
                        return time.perf_counter() - began


def memory() -> None:
    """An idle daemon's resident memory, files that it has mapped included."""
    with workspace() as folder, Daemon(folder) as daemon:
        client = daemon.client()
        client.request(r.Status(id=new_id()))
        time.sleep(1.5)  # a beat or two
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        torch = "libtorch" in Path(f"/proc/{daemon.pid}/maps").read_text()
        say("idle daemon, resident", f"{resident / 1024:.0f} MB", "< 80 MB")
        say("torch is loaded in it", "yes" if torch else "no", "no")


LIBRARY = """
import json, sys, time
import torch
torch.set_num_threads(1)
from pathlib import Path
import msgspec
from compute import landscape, recipes
from compute.parameters import Layout
from compute.planes import load_plane
from protocol.grid import GridSpec
from protocol.messages import Recipe
asked = json.loads(sys.argv[1])
recipe = msgspec.convert(asked["recipe"], Recipe)
model = recipes.build_model(recipe)
plane = load_plane(Path(asked["plane"]), Layout.of(model))
data = recipes.load_data(recipe, "train")
times = []
landscape.measure(
    model, (data.images, data.targets), plane, msgspec.convert(asked["grid"], GridSpec), limit=asked["limit"],
    device="cpu", batch_size=256, on_row=lambda *_: times.append(time.monotonic()),
)
print((times[-1] - times[0]) / (len(times) - 1))
"""


def overhead() -> None:
    """Seconds a row, first to last, through daemon and worker and in the library, in turns on the same plane."""
    with workspace() as folder, Daemon(folder) as daemon:
        client = daemon.client()
        _, plane = made_of(client, RECIPE)
        file = folder / "planes" / f"{plane}.safetensors"
        grid = {"alpha": {"count": 9}, "beta": {"count": 25}}
        recipe = {"model": RECIPE.model, "dataset": RECIPE.dataset}
        asked = {"recipe": recipe, "plane": str(file), "grid": grid, "limit": SPEC["limit"]}
        through, library = [], []
        for _ in range(5):
            through.append(row_seconds(client, folder, SurfaceSpec(plane=plane, **SPEC)))
            found = subprocess.run(
                [sys.executable, "-c", LIBRARY, json.dumps(asked)], capture_output=True, text=True, check=True,
                env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
            )  # fmt: skip
            library.append(float(found.stdout))
        a, b = statistics.median(through), statistics.median(library)
        say("a row through daemon and worker, median of 5 surfaces", f"{1e3 * a:.1f} ms")
        say("the same row by the library's measure", f"{1e3 * b:.1f} ms")
        say("daemon and worker add", f"{100 * (a / b - 1):+.1f} %", "< 5 %")


def eta() -> None:
    """What a surface is said to take, before it and at a quarter and a half of it, to what it took. A smaller one of
    the same kind, measured before, is the calibration."""
    with workspace() as folder, Daemon(folder) as daemon:
        client = daemon.client()
        _, plane = made_of(client, RECIPE)
        short = GridSpec(alpha=AxisSpec(count=9), beta=AxisSpec(count=9))
        done(client, submit(client, SurfaceSpec(plane=plane, grid=short, limit=256))[0])
        found = [foretold(client, SurfaceSpec(plane=plane, seed=seed, **SPEC)) for seed in range(3)]
        took = [seconds for seconds, _ in found]
        off = {what: [ends[what] / seconds - 1 for seconds, ends in found] for what in found[0][1]}
        say("a surface of 9 x 25 points, median of 3", f"{statistics.median(took):.1f} s")
        for what, errors in off.items():
            text = ", ".join(f"{100 * e:+.0f} %" for e in errors)
            say(f"   the end foretold {what}, less what it was", text, "within 25 %")


def at_row(client: Client, job: str, row: float) -> JobInfo:
    """The job once so many rows are there."""
    return until(lambda: i if (i := info(client, job)).done >= row else None)


def foretold(client: Client, spec: SurfaceSpec) -> tuple[float, dict[str, float]]:
    """Seconds that a surface took, and those that it was said to take, by when."""
    ends = {"before it": client.request(r.JobEstimate(id=new_id(), spec=spec)).seconds or float("nan")}
    (job,) = submit(client, spec)
    began = until(lambda: time.monotonic() if info(client, job).state == "running" else None)
    for share in (0.25, 0.5):
        now = at_row(client, job, share * spec.grid.beta.count)
        left = float("nan") if now.eta_s is None else now.eta_s
        ends[f"at {100 * share:.0f} % of it"] = time.monotonic() - began + left
    done(client, job)
    return time.monotonic() - began, ends


def row_seconds(client: Client, folder: Path, spec: SurfaceSpec) -> float:
    """Between the events of the first and the last row, by their number less one."""
    context: zmq.Context[Any] = zmq.Context()
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.SUBSCRIBE, b"surface/")
    socket.setsockopt(zmq.SUBSCRIBE, b"hb/")
    socket.connect(f"ipc://{folder / 'evt'}")
    socket.recv_multipart()
    socket.setsockopt(zmq.UNSUBSCRIBE, b"hb/")
    submit(client, submitted(spec, on_conflict="new"))
    times: list[float] = []
    while len(times) < spec.grid.beta.count:
        if b"surface.row" in socket.recv_multipart()[1]:
            times.append(time.monotonic())
    socket.close(0)
    context.term()
    return (times[-1] - times[0]) / (len(times) - 1)


def main() -> None:
    """Print the table."""
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} at the start")
    known = {f.__name__: f for f in (ping, rows, restart, replay, memory, overhead, eta)}
    for name in sys.argv[1:] or known:
        known[name]()


if __name__ == "__main__":
    main()
