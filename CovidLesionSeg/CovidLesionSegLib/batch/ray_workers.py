"""Workers as Ray actors, on this machine or on a cluster.

Every actor opens its model once, as a process of `processes` does; where the cluster has GPUs,
each actor gets one. The folder of the batch and the CTs must be reachable under the same path
from every node.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from CovidLesionSegLib.errors import CovidLesionSegError, InputError

from .cases import Case
from .deadlines import Deadlines
from .runner import CASE_TIMEOUT, WORKER_DIED, CaseRunner, CaseSettings, Reply, Verdict


class RayWorkers:
    """Some actors; a context manager that leaves none behind.

    Args:
        settings: What every case is run with.
        count: Number of actors; by default one per GPU of the cluster, or one.
        address: Cluster to use; None starts Ray on this machine for this batch only.

    Raises:
        InputError: ``ray-missing``.
        CovidLesionSegError: ``ray-unreachable``.
    """

    def __init__(
        self, settings: CaseSettings, count: int | None = None, address: str | None = None
    ) -> None:
        self._ray = _connected(address)
        self._settings = settings
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        on_gpu = settings.options.device != "cpu" and any(node.get("GPU") for node in nodes)
        self._share = actor_share(nodes, count, "GPU" if on_gpu else "CPU")
        gpus = sum(node.get("GPU", 0.0) for node in nodes) if on_gpu else 0
        self.count = count or max(int(gpus), 1)
        self._actors: dict[int, Any] = {}
        self._running: dict[Any, int] = {}
        self._deadlines = Deadlines(settings.timeout_s)

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._ray.shutdown()

    def submit(self, worker: int, case: Case, upcoming: Case | None) -> None:
        """Let an idle actor run a case and read the next one meanwhile."""
        if worker not in self._actors:
            # Ray limits GPUs by what is visible, so the actor's own are numbered from 0.
            remote = self._ray.remote(CaseRunner).options(**self._share)
            self._actors[worker] = remote.remote(self._settings, 0)
        self._running[self._actors[worker].run.remote(case, upcoming)] = worker
        self._deadlines.start(worker)

    def wait(self) -> tuple[int, Reply]:
        """Wait until some actor ends its case, dies or is overdue."""
        while True:
            timeout = self._deadlines.seconds_left()
            ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=timeout)
            if ready:
                return self._reply(ready[0])
            late = self._deadlines.overdue()
            if late is not None:
                self._running = {task: own for task, own in self._running.items() if own != late}
                self._deadlines.end(late)
                return late, Reply(Verdict.OVERDUE, CASE_TIMEOUT)

    def _reply(self, task: Any) -> tuple[int, Reply]:
        worker = self._running.pop(task)
        self._deadlines.end(worker)
        try:
            reply: Reply = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            return worker, Reply(Verdict.SUSPECT, WORKER_DIED, type(error).__name__)
        return worker, reply

    def replace(self, worker: int) -> None:
        """End an actor; the next case for it starts a fresh one."""
        self._ray.kill(self._actors.pop(worker))


def actor_share(
    nodes: Sequence[Mapping[str, float]], count: int | None, scarce: str
) -> dict[str, float]:
    """Return the resources of one actor, such that all of them fit onto the nodes.

    Args:
        nodes: Resources by name, one entry per node.
        count: Number of actors; None for one per GPU, or one.
        scarce: ``"GPU"`` or ``"CPU"``: what the actors are spread by.

    Returns:
        ``num_cpus`` and ``num_gpus``. Ray lets an actor use that many threads, and waits for
        ever when no single node has so much.
    """
    usable = [node for node in nodes if node.get(scarce, 0.0) >= 1 and node.get("CPU", 0.0) >= 1]
    total = sum(node[scarce] for node in usable)
    if not usable:
        return {"num_cpus": 1, "num_gpus": 0}
    count = count or (int(total) if scarce == "GPU" else 1)
    cpus = min(node["CPU"] / math.ceil(count * node[scarce] / total) for node in usable)
    return {
        "num_cpus": math.floor(cpus) if cpus >= 1 else math.floor(100 * cpus) / 100,
        "num_gpus": 1 / math.ceil(count / total) if scarce == "GPU" else 0,
    }


def _connected(address: str | None) -> Any:
    # Nothing is sent anywhere, and that holds for Ray as well.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    on_termination = signal.getsignal(signal.SIGTERM)
    try:
        import ray
    except ImportError as error:
        raise InputError(
            "ray-missing",
            "The engine 'ray' needs Ray, which is not installed.",
            'Install it with: pip install "CovidLesionSegLib[ray]"',
        ) from error
    options: dict[str, Any] = {"include_dashboard": False} if address is None else {}
    try:
        # "local" keeps RAY_ADDRESS or a running cluster from being taken by surprise.
        ray.init(
            address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **options
        )
    except Exception as error:  # Ray has many, and no common base, for this
        raise CovidLesionSegError(
            "ray-unreachable",
            f"The Ray cluster can't be used: {error}.",
            "Check the address, that it runs the same Ray and Python versions, and that "
            "RAY_AUTH_TOKEN is the same here and there.",
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_termination)  # Ray has put its own in its place
    return ray
