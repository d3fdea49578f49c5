"""Runs the worker and waits for it: for scripts, which have no event loop."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from CovidLesionSegLib.errors import CovidLesionSegError

from .protocol import Event

_PACKAGE_FOLDER = Path(__file__).resolve().parents[2]


def run_and_wait(
    command: Sequence[str],
    job_file: Path,
    listener: Callable[[str, float], None] = lambda _stage, _fraction: None,
) -> None:
    """Run one job to its end.

    Args:
        command: The worker's command without the job.
        job_file: Path of the `job.json`.
        listener: Called with stage and fraction 0..1.

    Raises:
        CovidLesionSegError: What the worker reported, or ``worker-died``.
    """
    outcome: Event | None = None
    with subprocess.Popen(
        [*command, str(job_file)],
        cwd=_PACKAGE_FOLDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        if process.stdout is None:
            raise ValueError("the worker has no standard output")
        for line in process.stdout:
            event = Event.from_line(line)
            if event is not None and event.kind == "progress":
                listener(event.values["stage"], event.values["fraction"])
            elif event is not None and event.kind != "alive":
                outcome = event
    if outcome is None or outcome.kind == "cancelled":
        raise CovidLesionSegError(
            "worker-died",
            f"The calculation ended unexpectedly (code {process.returncode}).",
            "Often memory ran out: close other programs and try again.",
        )
    if outcome.kind == "failed":
        values = outcome.values
        raise CovidLesionSegError(values["code"], values["message"], values["hint"])
