"""A daemon that is busy telling: many runs in its lists, rows of one surface as fast as asked. For tests and figures of
the terminal UI.

    python busy_daemon.py FOLDER RUNS ROWS_PER_S [SIDE]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from fake_daemon import FakeDaemon

from protocol import codec
from protocol import requests as r
from protocol.messages import JobProgress, SurfaceRow
from protocol.requests import JobInfo, ThingPage, ThingReply

PAGE = 100


def ulid(kind: str, k: int) -> str:
    """The k-th id of a kind; later ones sort later."""
    return f"{('01K' + kind * 13)[:16]}{k:010d}"


def run(k: int) -> dict[str, Any]:
    """A run's record."""
    epochs = [{"epoch": e, "step": 12 * e, "metrics": metrics(k, e)} for e in range(1, 5)]
    return {
        "id": ulid("R", k), "name": f"run-{k:05d}", "created": "2026-11-24T09:00:00+00:00", "note": "",
        "recipe": {"model": "resnet20", "dataset": "digits", "epochs": 4, "lr": 0.1, "schedule": "constant"},
        "job": None, "epochs_done": 4, "checkpoints": 5, "metrics": epochs[-1]["metrics"], "epochs": epochs,
    }  # fmt: skip


def metrics(k: int, epoch: int) -> dict[str, float]:
    """Of an epoch."""
    loss = 2.0 / (epoch + k % 3)
    return {
        "train_loss": loss, "test_loss": 1.1 * loss, "train_accuracy": 1 - loss / 3, "test_accuracy": 1 - loss / 2.5,
        "lr": 0.1, "seconds": 1.5,
    }  # fmt: skip


class BusyDaemon(FakeDaemon):
    """`runs` runs, one plane through the newest, one surface of `side` x `side` points on it that one job fills."""

    def __init__(self, folder: Path, runs: int, side: int = 51, **more: Any) -> None:
        super().__init__(folder, **more)
        self.runs, self.side = runs, side
        self.job, self.surface, self.plane = ulid("J", 1), ulid("S", 1), ulid("P", 1)
        self.axis = np.linspace(-1, 1, side)
        self.topic = f"surface/{self.surface}/"
        self.topics[self.topic] = []
        self.seq = 0
        self.state = "running"
        self.gone: set[str] = set()  # runs that were deleted
        self.asked: list[r.Request] = []  # changes
        self.behaviour |= {
            r.JobPause: lambda q, _: self._change(q, "paused"), r.JobResume: lambda q, _: self._change(q, "running"),
            r.JobCancel: lambda q, _: self._change(q, "cancelled"), r.JobRetry: lambda q, _: self._change(q, "queued"),
            r.JobMove: lambda q, _: self._change(q, self.state), r.RunDelete: self._delete,
            r.JobSubmit: self._submit, r.LogTail: self._log,
            r.RunList: self._run_list, r.JobList: self._job_list, r.PlaneList: self._plane_list,
            r.SurfaceList: self._surface_list, r.RunGet: lambda q, _: ThingReply(item=run(int(q.run[16:]))),
            r.PlaneGet: lambda q, _: ThingReply(item=self._plane()),
            r.SurfaceGet: lambda q, _: ThingReply(item=self._surface()),
            r.JobGet: lambda q, _: r.JobReply(job=self._job()),
            r.WindowList: lambda q, _: r.WindowsReply(windows=()),
            r.Snapshot: self._snapshot,
            r.Heads: lambda q, _: r.HeadsReply(heads={t: self.seq if t == self.topic else 0 for t in q.topics}),
            r.Status: lambda q, _: r.StatusReply(
                boot=self.boot, pid=1, uptime_s=1.0, jobs={"running": 1}, workers=({"name": "w", "state": "busy",
                "device": "cpu"},), clients_refused=0, bad_frames=0, store={}),
        }  # fmt: skip

    def _change(self, q: Any, state: str) -> r.JobReply:
        self.asked.append(q)
        self.state = state
        return r.JobReply(job=self._job())

    def _delete(self, q: Any, _: Any) -> r.Nothing:
        self.asked.append(q)
        self.gone.add(q.run)
        return r.Nothing()

    def _submit(self, q: Any, _: Any) -> r.SubmitReply:
        self.asked.append(q)
        return r.SubmitReply(
            jobs=tuple(
                JobInfo(
                    job=j.job, kind=msgspec.to_builtins(j.spec)["kind"], name=j.name, state="queued", priority=0,
                    spec=msgspec.to_builtins(j.spec),
                )
                for j in q.jobs
            )
        )  # fmt: skip

    def _log(self, q: Any, _: Any) -> Any:
        text = b"2026-11-24T09:00:00.000000+00:00 info: began\n2026-11-24T09:00:01.000000+00:00 warning: slow\n"
        return r.LogReply(offset=0, total=len(text)), {"text": np.frombuffer(text, dtype="|u1")}

    def _run_list(self, q: Any, _: Any) -> ThingPage:
        last = int(q.cursor) if q.cursor else self.runs
        first = max(0, last - min(PAGE, q.limit))
        items = [run(k) for k in range(last - 1, first - 1, -1) if ulid("R", k) not in self.gone]
        for item in items:
            del item["epochs"]
        return ThingPage(items=tuple(items), next=str(first) if first else None)

    def _job(self) -> JobInfo:
        spec = {"kind": "surface", "plane": self.plane}
        return JobInfo(
            job=self.job, kind="surface", name="busy", state=self.state, priority=0, spec=spec, done=self.seq,  # type: ignore[arg-type]
            total=10_000_000, created="2026-11-24T09:00:00+00:00", started="2026-11-24T09:00:00+00:00",
            surface=self.surface,
        )  # fmt: skip

    def _job_list(self, q: Any, _: Any) -> r.JobPage:
        return r.JobPage(jobs=(self._job(),))

    def _plane(self) -> dict[str, Any]:
        meta = {
            "kind": "pca", "hash": "f" * 64, "origin": f"{ulid('R', self.runs - 1)}@last", "norms": [1.0, 1.0],
            "cosine": 0.0, "explained_variance_ratio": [0.8, 0.1], "random_walk_ratio": [0.6, 0.15],
        }  # fmt: skip
        return {"id": self.plane, "hash": "f" * 64, "name": "", "meta": meta, "created": "", "trajectory": []}

    def _plane_list(self, q: Any, _: Any) -> ThingPage:
        return ThingPage(items=(self._plane(),))

    def _surface(self) -> dict[str, Any]:
        return {
            "id": self.surface, "name": "busy", "width": self.side, "height": self.side, "plane": "f" * 64,
            "job": self.job, "created": "", "file": None, "critical": None,
            "meta": {"model": "resnet20", "data": "digits", "split": "train", "samples": 1437},
        }  # fmt: skip

    def _surface_list(self, q: Any, _: Any) -> ThingPage:
        return ThingPage(items=(self._surface(),))

    def _snapshot(self, q: Any, _: Any) -> Any:
        kind = q.topic.partition("/")[0]
        if kind == "run":
            return r.SnapshotReply(topic=q.topic, seq=0, state=run(int(q.topic[20:-1])))
        if kind == "job":
            return r.SnapshotReply(topic=q.topic, seq=0, state=msgspec.to_builtins(self._job()))
        arrays = {"alpha": self.axis, "beta": self.axis, "n": np.zeros((self.side, self.side), dtype="<i8")}
        reply = r.SnapshotReply(topic=q.topic, seq=self.seq, state=self._surface(), parts=dict.fromkeys(arrays, 0))
        return reply, arrays

    def _send_beat(self) -> None:
        self.topics[self.topic] = []  # no history: who misses a row asks and takes a snapshot
        super()._send_beat()

    def row(self) -> None:
        """Tell the next row. In the daemon's own thread."""
        self.seq += 1
        i = self.seq % self.side
        loss = np.hypot(self.axis, self.axis[i]).astype("<f4") + np.float32(0.001 * (self.seq % 97))
        event = SurfaceRow(surface=self.surface, i=i, pass_=0, n=256 + self.seq, seq=self.seq)
        frames = codec.encode(event, {"loss": loss, "sem": 0.01 * loss, "accuracy": 1 - loss / 3})
        self.evt.send_multipart([self.topic.encode(), *frames])
        if self.seq % 100 == 0:
            told = JobProgress(job=self.job, done=self.seq, total=10_000_000, rate=50.0, eta_s=1000.0)
            self.evt.send_multipart([f"job/{self.job}/".encode(), *codec.encode(told)])


def main() -> None:
    """Serve until killed."""
    folder, runs, rate = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    side = int(sys.argv[4]) if len(sys.argv) > 4 else 51
    with BusyDaemon(folder, runs, side, beat_s=1.0) as daemon:
        began, told = time.monotonic(), 0
        print("up", flush=True)
        while True:
            due = int((time.monotonic() - began) * rate) - told
            if due > 0:
                daemon._do(lambda due=due: [daemon.row() for _ in range(min(due, 200))])  # type: ignore[misc]
                told += min(due, 200)
            time.sleep(0.004 if rate else 1.0)


if __name__ == "__main__":
    main()
