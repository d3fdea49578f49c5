"""Telling a listener how far a run is, and finding out whether to stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from CovidLesionSegLib.errors import CancelledError

STAGE_WEIGHTS = {
    "read": 0.08,
    "lungs": 0.22,
    "lobes": 0.08,
    "infection": 0.42,
    "lesions": 0.06,
    "numbers": 0.04,
    "write": 0.10,
}
"""The stages in order with their typical share of the time, measured on a 2-core laptop;
only the progress bar depends on them."""

Listener = Callable[[str, float], None]
"""Called with the stage's name and the fraction of the whole run done, 0..1."""


def _nothing(stage: str, fraction: float) -> None:
    pass


def _never() -> bool:
    return False


@dataclass
class Reporter:
    """Follows one run: stages, progress, cancel and seconds by stage.

    Attributes:
        listener: Called at every step of progress.
        is_cancelled: Asked at every step of progress; True ends the run.
        timings_s: Seconds by stage, filled while running.
    """

    listener: Listener = _nothing
    is_cancelled: Callable[[], bool] = _never
    timings_s: dict[str, float] = field(default_factory=dict)
    _stage: str = ""

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and announce its beginning and end."""
        start = time.perf_counter()
        self._stage = name
        self.advance(0, 1)
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self.timings_s[name] = round(self.timings_s.get(name, 0.0) + seconds, 3)
        self.advance(1, 1)

    def advance(self, done: int, total: int) -> None:
        """Report progress inside the current stage.

        Raises:
            CancelledError: When the user asked to stop.
        """
        if self.is_cancelled():
            raise CancelledError(f"cancelled in stage {self._stage!r}")
        before = 0.0
        for name, weight in STAGE_WEIGHTS.items():
            if name == self._stage:
                before += weight * (done / max(total, 1))
                break
            before += weight
        self.listener(self._stage, min(before, 1.0))
