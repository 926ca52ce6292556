"""Planes, by their id or by the hash of their contents."""

from __future__ import annotations

from . import columns
from .events import Events
from .records import PlaneRecord


class Planes(Events):
    """Plane records. Two of the same contents share a file."""

    def put_plane(self, plane: PlaneRecord) -> None:
        """Insert a plane, or replace the record of the one with this id."""
        self.keep(plane.file)
        columns.insert(self.db, "planes", plane, key="id")

    def get_plane(self, plane: str) -> PlaneRecord | None:
        """A plane by its id, or the newest of this hash."""
        return self.one(PlaneRecord, "planes", "id", plane) or self.one(PlaneRecord, "planes", "hash", plane)

    def list_planes(self, limit: int = 50, cursor: str | None = None) -> tuple[list[PlaneRecord], str | None]:
        """Planes, newest first, and the cursor of the next page."""
        return self.page(PlaneRecord, "planes", limit, cursor)

    def delete_plane(self, plane: str) -> list[str]:
        """Delete a plane; its file goes once this is committed, unless another plane has the same contents."""
        found = self.get_plane(plane)
        if found is None:
            return []
        self.db.execute("DELETE FROM planes WHERE id = ?", (found.id,))
        self.forget_events(f"plane/{found.id}/")
        if self.db.execute("SELECT 1 FROM planes WHERE file = ?", (found.file,)).fetchone():
            return []
        self.discard(found.file)
        return [found.file]
