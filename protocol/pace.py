"""How fast work goes and when it ends, from what is done at which time. Pure: the caller brings the clock."""

from __future__ import annotations

from collections import deque

WINDOW_S = 20.0  # long enough to even out single slow rows, short enough to follow a busy machine
SETTLED_S = 0.3  # an estimate from less than this is noise


class Pace:
    """Rate over the last 20 s and the time left, in the caller's unit of work."""

    def __init__(self, total: float, now: float) -> None:
        self.total = total
        self._marks: deque[tuple[float, float]] = deque([(now, 0.0)])

    def mark(self, done: float, now: float) -> None:
        """Record that `done` units are finished at time `now` (seconds on a monotonic clock)."""
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[1][0] > WINDOW_S:
            self._marks.popleft()

    @property
    def rate(self) -> float | None:
        """Units a second; None until it is known."""
        (t0, d0), (t1, d1) = self._marks[0], self._marks[-1]
        if t1 - t0 < SETTLED_S or d1 <= d0:
            return None
        return (d1 - d0) / (t1 - t0)

    @property
    def eta_s(self) -> float | None:
        """Seconds until all of it is done; None until it is known."""
        rate = self.rate
        return None if rate is None else max(0.0, (self.total - self._marks[-1][1]) / rate)

    def left_s(self, now: float) -> float | None:
        """`eta_s` at time `now`, which may be a while after the last mark."""
        eta = self.eta_s
        return None if eta is None else max(0.0, eta - (now - self._marks[-1][0]))
