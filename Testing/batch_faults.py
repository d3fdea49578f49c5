"""Kill batches and look what is left: the fault test of ``covid-lesion-seg batch``.

``python -m Testing.batch_faults --cases 100 --kills 5`` writes a cohort with seven planted faults,
kills the batch so often at random moments, resumes it, counts, and prints a table;
``--engine ray`` runs it on Ray, ``--worker-kills`` kills workers under a running batch, and
``--json FILE`` keeps the figures.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from CovidLesionSegLib.engine.phantom import make_phantom
from CovidLesionSegLib.engine.volume import CtVolume
from Testing.support.cohort import PHANTOM, Cohort, small_chest, write_cohort

_WORKER_NAMES = ("spawn_main", "ray::CaseRunner")
_POLL_S = 0.05


@dataclass
class Report:
    """What came out.

    Attributes:
        engine: ``local`` or ``ray``.
        cases: Number of cases in the cohort, faults included.
        done_at_kill: Complete cases that were found after each kill of the whole batch.
        worker_kills: Workers killed under a running batch.
        rows: Rows of the summary.
        distinct: Distinct cases among them.
        results: Rows with a result.
        reasons: Failed rows by code.
        redone: Cases that were complete at a kill and were written again later.
        unfinished: Left-over temporary folders.
        survivors: Processes of a killed batch that did not end.
        seconds: Wall clock.
    """

    engine: str
    cases: int
    done_at_kill: list[int] = field(default_factory=list)
    worker_kills: int = 0
    rows: int = 0
    distinct: int = 0
    results: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    redone: int = 0
    unfinished: int = 0
    survivors: int = 0
    seconds: float = 0.0


def complete_cases(folder: Path) -> dict[str, int]:
    """Return inode by name of every complete case."""
    cases = folder / "cases"
    found = cases.iterdir() if cases.is_dir() else ()
    return {path.name: path.stat().st_ino for path in found if not path.name.startswith(".")}


def start(cohort: Cohort, folder: Path, engine: str, resume: bool) -> subprocess.Popen[str]:
    """Start the batch as a user does."""
    command = [sys.executable, "-m", "CovidLesionSegLib.cli", "batch", str(cohort.folder)]
    command += ["-o", str(folder), "--engine", engine, *(["--resume"] if resume else [])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        # Ray's workers are polite to every other process, which on a busy machine is for ever.
        "RAY_worker_niceness": "0",
    }
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def kill_whole(process: subprocess.Popen[str], report: Report) -> None:
    """Kill the batch alone, and see that its workers notice."""
    workers = workers_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(workers, timeout=30)
    report.survivors += len(alive)


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the processes that run cases for a batch."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if any(name in " ".join(process.cmdline()) for name in _WORKER_NAMES):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_for_progress(
    process: subprocess.Popen[str], folder: Path, count: int, rng: random.Random
) -> bool:
    """Wait until so many cases are complete and a random moment more; False when it ended."""
    while len(complete_cases(folder)) < count:
        if process.poll() is not None:
            return False
        time.sleep(_POLL_S)
    time.sleep(rng.uniform(0.0, 1.5))
    return process.poll() is None


def run(
    folder: Path,
    chest: CtVolume,
    *,
    cases: int,
    kills: int,
    worker_kills: int = 0,
    engine: str = "local",
    seed: int = 0,
) -> Report:
    """Write a cohort, run, kill, resume and count.

    Args:
        folder: Where to; new.
        chest: What every CT of the cohort is made from.
        cases: Number of cases, seven faults among them.
        kills: How often the whole batch is killed.
        worker_kills: How often a worker is killed under the last run.
        engine: ``local`` or ``ray``.
        seed: Seed of the moments; the machine's own timing adds to them.
    """
    rng = random.Random(seed)
    cohort = write_cohort(folder / "in", chest, cases, seed)
    out = folder / "out"
    report = Report(engine, cases)
    started = time.monotonic()
    complete: dict[str, int] = {}
    for number in range(kills):
        process = start(cohort, out, engine, resume=number > 0)
        goal = round(cases * (number + rng.random()) / (kills + 1))
        if not wait_for_progress(process, out, max(goal, len(complete)), rng):
            raise RuntimeError(f"ended before its kill: {process.communicate()[1]}")
        kill_whole(process, report)
        now = complete_cases(out)
        report.redone += sum(now.get(name) != inode for name, inode in complete.items())
        report.done_at_kill.append(len(now))
        complete = now
    process = start(cohort, out, engine, resume=kills > 0)
    for number in range(worker_kills):
        goal = len(complete) + round((cases - len(complete)) * (number + 1) / (worker_kills + 1))
        if wait_for_progress(process, out, goal, rng) and (workers := workers_of(process.pid)):
            rng.choice(workers).kill()
            report.worker_kills += 1
    errors = process.communicate()[1]
    if process.returncode:
        raise RuntimeError(errors)
    now = complete_cases(out)
    report.redone += sum(now.get(name) != inode for name, inode in complete.items())
    report.seconds = round(time.monotonic() - started, 1)
    count(out, report)
    return report


def count(out: Path, report: Report) -> None:
    """Count the rows of the summary."""
    with (out / "summary.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    report.rows, report.distinct = len(rows), len({row["case"] for row in rows})
    report.results = sum(row["status"] == "done" for row in rows)
    report.reasons = dict(Counter(row["code"] for row in rows if row["status"] == "failed"))
    report.unfinished = len(list((out / "cases").glob(".*")))


def main() -> int:
    """Run from the command line; 1 when a row is lost, doubled or redone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--worker-kills", type=int, default=0)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = run(
            Path(folder),
            small_chest(make_phantom(PHANTOM)),
            cases=args.cases,
            kills=args.kills,
            worker_kills=args.worker_kills,
            engine=args.engine,
            seed=args.seed,
        )
    values = asdict(report)
    print("\n".join(f"| {name} | {value} |" for name, value in values.items()))
    if args.json:
        args.json.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    wrong = report.redone + report.unfinished + report.survivors
    complete = report.rows == report.distinct == report.cases == report.results + 7
    return 0 if complete and not wrong and sum(report.reasons.values()) == 7 else 1


if __name__ == "__main__":
    sys.exit(main())
