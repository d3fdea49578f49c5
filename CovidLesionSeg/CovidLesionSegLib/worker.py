"""The worker process: reads one job from a folder, works, speaks JSON lines.

``python -m CovidLesionSegLib.worker job.json`` segments a CT; the job and its result are
described in `jobs.exchange`. ``... export.json`` writes files of a result, see
`export.handover`. The lines are described in `jobs.protocol`. It ends when the job is done, when
it is killed, or when standard input closes, which is how a host lets go of it, dead or alive.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from .engine.memory import memory_told
from .errors import CancelledError, CovidLesionSegError
from .jobs.protocol import Event, alive, failed, progress

GRACE_S = 0.4
"""A cancelled run may end by itself for this long; networks can't be interrupted inside a
slice, so after that the process ends without asking."""

_BEAT_S = 5.0
_SAYING = threading.Lock()


def main(
    argv: Sequence[str] | None = None,
    stdin: TextIO | None = None,
    end: Callable[[int], Any] = os._exit,
) -> int:
    """Run one job and return the exit code of its outcome.

    Args:
        argv: Path of the job; by default from the command line.
        stdin: Closed by the host to cancel.
        end: Ends the process when a cancelled run does not; replaced in tests.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    cancelled, finished = threading.Event(), threading.Event()
    for target, values in (
        (_watch, (stdin or sys.stdin, cancelled, finished, end)),
        (_beat, (finished,)),
    ):
        threading.Thread(target=target, args=values, daemon=True).start()
    try:
        with memory_told():
            event, code = _work(Path(arguments[0]), cancelled), 0
    except CancelledError as error:
        event, code = Event("cancelled", {}), error.exit_code
    except CovidLesionSegError as error:
        event, code = failed(error), error.exit_code
    except Exception as error:  # the host must hear of every failure in its own words
        unexpected = CovidLesionSegError(
            "unexpected-failure", f"The run failed ({type(error).__name__}: {error})."
        )
        event, code = failed(unexpected), unexpected.exit_code
    finished.set()
    _say(event)
    return code


def _watch(
    stream: TextIO,
    cancelled: threading.Event,
    finished: threading.Event,
    end: Callable[[int], Any],
) -> None:
    """Stop the run when the host closes its end of standard input."""
    while stream.readline():
        pass
    cancelled.set()
    if not finished.wait(GRACE_S):
        end(CancelledError.exit_code)


def _beat(finished: threading.Event) -> None:
    """Say now and then that the process lives, also in long stages."""
    while not finished.wait(_BEAT_S):
        _say(alive())


def _work(job_file: Path, cancelled: threading.Event) -> Event:
    from .jobs.exchange import EXPORT_FILE

    if job_file.name == EXPORT_FILE:
        return _export(job_file)
    return _segment(job_file, cancelled)


def _export(job_file: Path) -> Event:
    from .export.handover import read_order, write_order

    order = read_order(job_file)
    names = write_order(order, lambda key, fraction: _say(progress(key, fraction)))
    return Event("done", {"files": names})


def _segment(job_file: Path, cancelled: threading.Event) -> Event:
    from .engine.guards import checked_volume
    from .engine.pipeline import segment
    from .engine.progress import Reporter
    from .jobs.exchange import read_job, with_scene_lobes, write_result

    job = read_job(job_file)
    options = dict(job.options)
    if options.get("weights"):
        options["weights"] = Path(options["weights"])
    if job.lobes_file:
        options["lobes"] = job_file.parent / job.lobes_file
    reporter = Reporter(lambda stage, fraction: _say(progress(stage, fraction)), cancelled.is_set)
    with reporter.stage("read"):
        ct = checked_volume(job.voxels_kji, job.affine_lps, job.provenance)
    result = segment(ct, reporter=reporter, **options)
    if job.lobes_file:
        result = with_scene_lobes(result)
    with reporter.stage("write"):
        path = write_result(job_file.parent, result)
    return Event("done", {"result": path.name, "warnings": list(result.warnings)})


def _say(event: Event) -> None:
    with _SAYING:
        sys.stdout.write(event.to_line())
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
