"""Workers as Ray actors, on this machine or on a cluster.

Every actor opens its model once, as a process of `processes` does; where the cluster has GPUs,
each actor gets one. The folder of the batch and the CTs must be reachable under the same path
from every node.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from CovidLesionSegLib.errors import CovidLesionSegError, InputError

from .cases import Case
from .runner import WORKER_DIED, CaseRunner, CaseSettings, Reply, Verdict


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
        resources = self._ray.cluster_resources()
        gpus = 0 if settings.options.device == "cpu" else int(resources.get("GPU", 0))
        self.count = count or max(gpus, 1)
        self._share = {
            "num_cpus": max(int(resources.get("CPU", 1)) // self.count, 1),
            "num_gpus": min(gpus / self.count, 1),
        }
        self._actors: dict[int, Any] = {}
        self._running: dict[Any, int] = {}

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

    def wait(self) -> tuple[int, Reply]:
        """Wait until some actor ends its case or dies."""
        (ready,), _ = self._ray.wait(list(self._running), num_returns=1)
        worker = self._running.pop(ready)
        try:
            reply: Reply = self._ray.get(ready)
        except self._ray.exceptions.RayError as error:
            return worker, Reply(Verdict.SUSPECT, WORKER_DIED, type(error).__name__)
        return worker, reply

    def replace(self, worker: int) -> None:
        """End an actor; the next case for it starts a fresh one."""
        self._ray.kill(self._actors.pop(worker))


def _connected(address: str | None) -> Any:
    # Nothing is sent anywhere, and that holds for Ray as well.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
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
            "Check the address, and that it runs the same Ray and Python versions.",
        ) from error
    return ray
