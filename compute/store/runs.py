"""Runs with their epochs and checkpoints."""

from __future__ import annotations

from . import columns
from .events import Events
from .records import CheckpointRecord, EpochRecord, RunRecord


class Runs(Events):
    """Run records; epochs and checkpoints by their run."""

    def put_run(self, run: RunRecord) -> None:
        """Insert a run, or replace the record of the one with this id."""
        columns.insert(self.db, "runs", run, key="id")

    def get_run(self, run: str) -> RunRecord | None:
        """A run by its id."""
        return self.one(RunRecord, "runs", "id", run)

    def list_runs(self, limit: int = 50, cursor: str | None = None) -> tuple[list[RunRecord], str | None]:
        """Runs, newest first, and the cursor of the next page."""
        return self.page(RunRecord, "runs", limit, cursor)

    def delete_run(self, run: str) -> list[str]:
        """Delete a run with its epochs, checkpoints and events; the files that go once this is committed."""
        files = [c.file for c in self.checkpoints(run)]
        for file in (*files, f"runs/{run}"):
            self.discard(file)
        self.db.execute("DELETE FROM runs WHERE id = ?", (run,))
        self.forget_events(f"run/{run}/")
        return files

    def add_epoch(self, run: str, epoch: int, step: int, metrics: dict[str, float]) -> bool:
        """Store an epoch; False when it is there already (a resumed training tells it again)."""
        row = (run, epoch, step, columns.pack(metrics))
        return self.db.execute("INSERT OR IGNORE INTO epochs VALUES (?, ?, ?, ?)", row).rowcount == 1

    def epochs(self, run: str) -> list[EpochRecord]:
        """The epochs of a run, first to last."""
        rows = self.db.execute("SELECT epoch, step, metrics FROM epochs WHERE run = ? ORDER BY epoch", (run,))
        return [columns.record(EpochRecord, row) for row in rows]

    def add_checkpoint(self, run: str, step: int, epoch: float, file: str, sha256: str, bytes: int) -> bool:
        """Store that a checkpoint's file is durable; False when it is there already with this hash."""
        self.keep(file)
        changed = self.db.execute(
            "INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, 0) ON CONFLICT (run, step) DO UPDATE SET "
            "epoch = excluded.epoch, file = excluded.file, sha256 = excluded.sha256, bytes = excluded.bytes, "
            "missing = 0 WHERE sha256 <> excluded.sha256 OR missing",
            (run, step, epoch, file, sha256, bytes),
        )
        return changed.rowcount == 1

    def checkpoints(self, run: str) -> list[CheckpointRecord]:
        """The checkpoints of a run, first to last."""
        rows = self.db.execute(
            f"SELECT {columns.select(CheckpointRecord)} FROM checkpoints WHERE run = ? ORDER BY step", (run,)
        )
        return [columns.record(CheckpointRecord, row) for row in rows]

    def list_checkpoints(
        self, run: str, limit: int = 50, cursor: str | None = None
    ) -> tuple[list[CheckpointRecord], str | None]:
        """A page of a run's checkpoints, first to last, and the cursor of the next one."""
        after = int(cursor) if cursor and cursor.isdecimal() else -1
        rows = [c for c in self.checkpoints(run) if c.step > after]
        return rows[:limit], str(rows[limit - 1].step) if len(rows) > limit else None
