"""The worker process: reads one job from a file, works, speaks JSON lines.

``python -m CovidLesionSegLib.worker job.json``; the job names the CT, the output folder and
the options of `SegmentOptions`. It ends when the job is done, when it is killed, or when
standard input closes, which is how a host that died lets go of it.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from .errors import CancelledError, CovidLesionSegError, InputError
from .jobs.protocol import Event, failed, progress


def _read_job(path: Path) -> dict[str, Any]:
    try:
        job = json.loads(path.read_text(encoding="utf-8"))
        return {"ct": Path(job["ct"]), "output": Path(job["output"]), **job.get("options", {})}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "job-unreadable", f"The job {path.name} can't be read: {error}."
        ) from error


def _watch(stream: TextIO, cancelled: threading.Event) -> None:
    """Set the event when the host closes its end of standard input."""
    while stream.readline():
        pass
    cancelled.set()


def main(argv: Sequence[str] | None = None, stdin: TextIO | None = None) -> int:
    """Run one job and return the exit code of its outcome."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    cancelled = threading.Event()
    watcher = threading.Thread(target=_watch, args=(stdin or sys.stdin, cancelled), daemon=True)
    watcher.start()
    try:
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
    _say(event)
    return code


def _work(job_file: Path, cancelled: threading.Event) -> Event:
    from .commands.outputs import write_outputs
    from .engine.pipeline import segment
    from .engine.progress import Reporter

    job = _read_job(job_file)
    ct, output = job.pop("ct"), job.pop("output")
    for name in ("weights", "lobes"):
        if job.get(name):
            job[name] = Path(job[name])
    reporter = Reporter(lambda stage, fraction: _say(progress(stage, fraction)), cancelled.is_set)
    result, paths = write_outputs(segment(ct, reporter=reporter, **job), output, reporter)
    return Event(
        "done",
        {
            "files": {kind: path.name for kind, path in paths.items()},
            "warnings": list(result.warnings),
        },
    )


def _say(event: Event) -> None:
    sys.stdout.write(event.to_line())
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
