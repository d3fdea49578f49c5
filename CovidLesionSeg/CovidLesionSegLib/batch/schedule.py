"""Hand cases to workers, and survive what happens to them.

A worker that dies takes down what it had in hand: the case it computed and the one it read
ahead. Neither is known to be the culprit, so both are tried once more at the end, one at a time
and with the machine to themselves. Who kills a worker there as well is a failed case. A case that
takes too long has failed at once: here the culprit is known, and what its worker read ahead goes
back into the queue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from CovidLesionSegLib.errors import CovidLesionSegError

from .cases import Case
from .runner import WORKER_DIED, Reply, Verdict

MOST_DEATHS = 20
"""So many dead workers in a row, without a case between them that ended, are no accident."""

Listener = Callable[[Case, Reply], None]
"""Called with every case whose outcome is known, ``DONE`` or ``FAILED``."""


class Workers(Protocol):
    """Processes that each run one case at a time.

    Attributes:
        count: How many; they are numbered from 0.
    """

    count: int

    def submit(self, worker: int, case: Case, upcoming: Case | None) -> None:
        """Let an idle worker run a case and read the next one meanwhile."""

    def wait(self) -> tuple[int, Reply]:
        """Wait until some worker ends its case, dies (``SUSPECT``) or is ``OVERDUE``."""

    def replace(self, worker: int) -> None:
        """Put a fresh process in the place of a worker."""


class Schedule:
    """One pass over the cases of a batch.

    Args:
        cases: What to run.
        workers: Who runs it.
        listener: Hears of every outcome.
        record_failure: Writes the folder of a case that failed for good.
    """

    def __init__(
        self,
        cases: Iterable[Case],
        workers: Workers,
        listener: Listener,
        record_failure: Callable[[Case, Reply], None],
    ) -> None:
        self._queue = deque(cases)
        self._suspects: deque[Case] = deque()
        self._workers = workers
        self._listener = listener
        self._record_failure = record_failure
        self._running: dict[int, Case] = {}
        self._ahead: dict[int, Case] = {}
        self._deaths = 0

    def run(self) -> None:
        """Run every case to its outcome.

        Raises:
            CovidLesionSegError: What stops the whole batch: the output can't be written, the
                model can't be opened, or ``batch-workers-die``.
        """
        while self._fill():
            worker, reply = self._workers.wait()
            case = self._running.pop(worker)
            if reply.verdict is Verdict.STOP and reply.error is not None:
                raise reply.error
            if reply.verdict is Verdict.SUSPECT:
                self._lost(worker, case)
                continue
            self._deaths = 0
            if reply.verdict is Verdict.OVERDUE:
                self._requeue_ahead(worker)
                reply = self._fail(worker, case, reply)
            self._listener(case, reply)
        while self._suspects:
            self._run_alone(self._suspects.popleft())

    def _fill(self) -> bool:
        """Give every idle worker a case; tell whether any is at work."""
        for worker in range(self._workers.count):
            if worker in self._running:
                continue
            case = self._ahead.pop(worker, None) or self._next()
            if case is None:
                continue
            self._running[worker] = case
            upcoming = self._next()
            if upcoming is not None:
                self._ahead[worker] = upcoming
            self._workers.submit(worker, case, upcoming)
        return bool(self._running)

    def _next(self) -> Case | None:
        return self._queue.popleft() if self._queue else None

    def _lost(self, worker: int, case: Case) -> None:
        self._deaths += 1
        if self._deaths >= MOST_DEATHS:
            raise CovidLesionSegError(
                "batch-workers-die",
                f"{self._deaths} worker processes died one after another.",
                "Look for what is short on this machine (memory, GPU), then go on with --resume.",
            )
        ahead = self._ahead.pop(worker, None)
        self._suspects.extend((case,) if ahead is None else (case, ahead))
        self._workers.replace(worker)

    def _requeue_ahead(self, worker: int) -> None:
        ahead = self._ahead.pop(worker, None)
        if ahead is not None:
            self._queue.appendleft(ahead)

    def _fail(self, worker: int, case: Case, reply: Reply) -> Reply:
        """End a worker, and record the failure of the case that it had."""
        # First the end, so that nobody writes into the case's folder any more.
        self._workers.replace(worker)
        failure = Reply(Verdict.FAILED, reply.error or WORKER_DIED, reply.details)
        self._record_failure(case, failure)
        return failure

    def _run_alone(self, case: Case) -> None:
        self._workers.submit(0, case, None)
        _, reply = self._workers.wait()
        if reply.verdict is Verdict.STOP and reply.error is not None:
            raise reply.error
        if reply.verdict in (Verdict.SUSPECT, Verdict.OVERDUE):
            reply = self._fail(0, case, reply)
        self._listener(case, reply)
