"""Workers as processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from .cases import Case
from .deadlines import Deadlines
from .runner import CASE_TIMEOUT, WORKER_DIED, CaseRunner, CaseSettings, Reply, Verdict

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

_SPAWN = multiprocessing.get_context("spawn")
"""Neither torch's threads nor CUDA survive a fork."""

_GRACE_S = 2.0


@dataclass(frozen=True)
class _Worker:
    process: SpawnProcess
    connection: Connection

    def end(self) -> None:
        """End it, in whatever it is."""
        self.connection.close()
        self.process.terminate()
        self.process.join(_GRACE_S)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()


class ProcessWorkers:
    """Some processes, each with its own model; a context manager that leaves none behind.

    Args:
        settings: What every case is run with.
        count: Number of processes, one by default; they share the cores evenly.
    """

    def __init__(self, settings: CaseSettings, count: int | None = None) -> None:
        self.count = count or 1
        self._settings = settings
        self._workers: dict[int, _Worker] = {}
        self._busy: set[int] = set()
        self._deadlines = Deadlines(settings.timeout_s)

    def __enter__(self) -> ProcessWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.end()

    def submit(self, worker: int, case: Case, upcoming: Case | None) -> None:
        """Let an idle worker run a case and read the next one meanwhile."""
        if worker not in self._workers:
            self._workers[worker] = self._start(worker)
        self._busy.add(worker)
        self._deadlines.start(worker)
        try:
            self._workers[worker].connection.send((case, upcoming))
        except OSError:  # died while idle; `wait` will see it
            return

    def wait(self) -> tuple[int, Reply]:
        """Wait until some worker ends its case, dies or is overdue."""
        # One that dies idle is noticed when it gets its next case.
        numbers = {self._workers[number].connection: number for number in self._busy}
        while not (ready := wait(list(numbers), self._deadlines.seconds_left())):
            late = self._deadlines.overdue()
            if late is not None:
                self._free(late)
                return late, Reply(Verdict.OVERDUE, CASE_TIMEOUT)
        number = numbers[ready[0]]  # type: ignore[index]
        self._free(number)
        try:
            reply: Reply = self._workers[number].connection.recv()
        except (EOFError, OSError):
            return number, Reply(Verdict.SUSPECT, WORKER_DIED)
        return number, reply

    def _free(self, worker: int) -> None:
        self._busy.remove(worker)
        self._deadlines.end(worker)

    def replace(self, worker: int) -> None:
        """End a worker; the next case for it starts a fresh process."""
        self._workers.pop(worker).end()

    def _start(self, number: int) -> _Worker:
        ours, theirs = _SPAWN.Pipe()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        threads = max((cores or 1) // self.count, 1)
        process = _SPAWN.Process(
            target=_serve, args=(theirs, self._settings, number, threads), daemon=True
        )
        process.start()
        # Only the child holds its end now, so that its death closes the pipe.
        theirs.close()
        return _Worker(process, ours)


def _serve(connection: Connection, settings: CaseSettings, number: int, threads: int) -> None:
    """Run cases until the parent lets go."""
    # Ctrl-C reaches the whole group; the parent alone decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read when torch is imported
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runner = CaseRunner(settings, number)
    while True:
        try:
            case, upcoming = connection.recv()
        except EOFError:
            return
        connection.send(runner.run(case, upcoming))


def _end_with_parent() -> None:
    """A killed parent can't end its children; they see it go and end themselves."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
