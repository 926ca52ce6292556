"""Replies that were given, by the id of the request: a retry gets the same one."""

from __future__ import annotations

import time

from .base import Base

DAY_S = 86400


class Requests(Base):
    """Request ids, the digest of their body, and the reply."""

    def get_request(self, id: str) -> tuple[bytes, bytes] | None:
        """The digest of the body that came under this id and the reply that it got, or None."""
        row = self.db.execute("SELECT digest, reply FROM requests WHERE id = ?", (id,)).fetchone()
        return None if row is None else (row[0], row[1])

    def put_request(self, id: str, digest: bytes, reply: bytes) -> None:
        """Keep a reply, in the transaction that does what was asked."""
        self.db.execute("INSERT INTO requests VALUES (?, ?, ?, ?)", (id, digest, reply, int(time.time())))

    def purge_requests(self, days: float = 7.0) -> int:
        """Forget the replies that are older than this; how many."""
        before = int(time.time() - days * DAY_S)
        return self.db.execute("DELETE FROM requests WHERE at < ?", (before,)).rowcount
