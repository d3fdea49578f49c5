"""Until when the workers of a batch may keep their cases."""

from __future__ import annotations

import time


class Deadlines:
    """The time limits of running cases; the clock on the wall does not matter.

    Args:
        timeout_s: Seconds for a case; None for no limit.
    """

    def __init__(self, timeout_s: float | None) -> None:
        self._timeout_s = timeout_s
        self._ends: dict[int, float] = {}

    def start(self, worker: int) -> None:
        """A worker got a case."""
        if self._timeout_s is not None:
            self._ends[worker] = time.monotonic() + self._timeout_s

    def end(self, worker: int) -> None:
        """A worker has none any more."""
        self._ends.pop(worker, None)

    def seconds_left(self) -> float | None:
        """Return how long nobody will be overdue; None for ever."""
        if not self._ends:
            return None
        return max(min(self._ends.values()) - time.monotonic(), 0.0)

    def overdue(self) -> int | None:
        """Return a worker whose time is over; None when there is none."""
        now = time.monotonic()
        return next((worker for worker, end in self._ends.items() if end <= now), None)
