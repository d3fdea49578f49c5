"""Speaks the worker's protocol without any network: python stand_in_worker.py MODE JOB."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "CovidLesionSeg")]

from CovidLesionSegLib.engine.lobes import find_lobes  # noqa: E402
from CovidLesionSegLib.engine.lungs import LungMask  # noqa: E402
from CovidLesionSegLib.engine.quantify import quantify  # noqa: E402
from CovidLesionSegLib.engine.result import SegmentationResult  # noqa: E402
from CovidLesionSegLib.errors import CovidLesionSegError  # noqa: E402
from CovidLesionSegLib.jobs.exchange import read_job, with_scene_lobes, write_result  # noqa: E402
from CovidLesionSegLib.jobs.protocol import Event, failed, progress  # noqa: E402
from Testing.support.review_result import reviewable_result  # noqa: E402

STAGES = ("read", "lungs", "lobes", "infection", "lesions", "numbers", "write")


def say(event: Event) -> None:
    sys.stdout.write(event.to_line())
    sys.stdout.flush()


def with_lobes_of(result: SegmentationResult, path: Path) -> SegmentationResult:
    """Read lobes as the pipeline does, and measure with them."""
    lungs = LungMask(result.anatomy.lungs, ())
    anatomy = find_lobes(result.ct, lungs, path)
    numbers = quantify(result.ct, result.infection, anatomy, result.prediction, result.lesions)
    return with_scene_lobes(replace(result, anatomy=anatomy, quantification=numbers))


def main() -> int:
    mode, job_file = sys.argv[1], Path(sys.argv[2])
    ended = threading.Event()

    def watch() -> None:
        sys.stdin.read()
        ended.set()

    if mode != "deaf":
        threading.Thread(target=watch, daemon=True).start()
    job = read_job(job_file)
    if mode == "die":
        sys.stderr.write("Killed by the memory\n")
        return 9
    if mode == "oom" and job.options.get("device") != "cpu":
        say(failed(CovidLesionSegError("out-of-memory", "No memory on cuda:0.", "Use the CPU.")))
        return 3
    if mode == "fail":
        say(failed(CovidLesionSegError("input-not-hu", "This is no CT in HU.", "Load it again.")))
        return 2
    for number, stage in enumerate(STAGES):
        say(progress(stage, number / len(STAGES)))
        sys.stdout.write("a stranger's line\n")
        stop_here = mode in ("silent", "deaf") or mode == f"stop-{stage}"
        if stop_here and ended.wait(60.0):
            say(Event("cancelled", {}))
            return 130
        time.sleep(0.01)
    result = reviewable_result(mode == "consensus")
    if job.lobes_file:
        result = with_lobes_of(result, job_file.parent / job.lobes_file)
    write_result(job_file.parent, result)
    if mode == "damaged":
        (job_file.parent / "infection.npy").write_bytes(b"nonsense")
    say(Event("done", {"result": "result.json", "warnings": []}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
