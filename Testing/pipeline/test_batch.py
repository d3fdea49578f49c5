"""Whole batches as a user runs them, and what may happen to them."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.batch.batch import BatchOptions, run_batch
from CovidLesionSegLib.batch.cases import Case, make_case
from CovidLesionSegLib.batch.deadlines import Deadlines
from CovidLesionSegLib.batch.processes import ProcessWorkers
from CovidLesionSegLib.batch.runner import CaseSettings
from CovidLesionSegLib.batch.schedule import Schedule
from CovidLesionSegLib.cli import main
from CovidLesionSegLib.commands.batch import outcome
from CovidLesionSegLib.engine.phantom import make_phantom
from CovidLesionSegLib.engine.volume import CtVolume
from Testing import batch_faults
from Testing.support.cohort import PHANTOM, Cohort, small_chest, write_cohort

posix = pytest.mark.skipif(os.name == "nt", reason="uses POSIX signals and limits")


@pytest.fixture(scope="module")
def chest() -> CtVolume:
    return small_chest(make_phantom(PHANTOM))


@pytest.fixture(scope="module")
def cohort(chest: CtVolume, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    return write_cohort(tmp_path_factory.mktemp("cohort") / "Doe^Jane", chest, 9)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@posix
@pytest.mark.slow
def test_killed_batches_lose_and_double_nothing(chest: CtVolume, tmp_path: Path) -> None:
    report = batch_faults.run(tmp_path, chest, cases=10, kills=2, worker_kills=1)
    assert report.rows == report.distinct == 10
    assert report.results == 3
    assert sum(report.reasons.values()) == 7
    assert "worker-died" not in report.reasons
    assert len(report.done_at_kill) == 2
    assert (report.redone, report.unfinished, report.survivors) == (0, 0, 0)


def test_a_batch_tells_what_it_did_and_names_nobody(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["batch", str(cohort.folder), "-o", str(out), "--maps"]) == 0
    told = capsys.readouterr()
    assert f"{cohort.good} of 9 cases have a result." in told.out
    assert sorted(row["code"] for row in rows(out) if row["code"]) == sorted(cohort.faults.values())
    good = [row for row in rows(out) if row["status"] == "done"]
    assert all(5 < float(row["infected_percent"]) < 40 for row in good)
    assert len({row["ct_sha256"] for row in good}) == cohort.good
    named = [
        path
        for path in out.rglob("*")
        if path.is_file()
        and path.name != "key.csv"
        and any(word in path.read_bytes() for word in (b"Doe", b"Secret", b"patient-0"))
    ]
    assert named == []
    case = out / "cases" / good[0]["case"]
    assert main(["export", str(case), "--format", "nifti", "-o", str(tmp_path / "exported")]) == 0
    # A second time nothing is left to do, and without --resume it is refused.
    before = batch_faults.complete_cases(out)
    for index, path in enumerate(sorted(out.rglob("*"))):  # a clock that was set back and forth
        os.utime(path, (index % 2 * 4e9, index % 2 * 4e9))
    assert main(["batch", str(cohort.folder), "-o", str(out), "--maps", "--resume", "--quiet"]) == 0
    assert batch_faults.complete_cases(out) == before
    assert main(["batch", str(cohort.folder), "-o", str(out), "--quiet"]) == 2
    assert "--resume" in capsys.readouterr().err
    changed = ["--maps", "--resume", "--threshold", "0.3", "--quiet"]
    assert main(["batch", str(cohort.folder), "-o", str(out), *changed]) == 2
    assert "threshold" in capsys.readouterr().err


_LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
from CovidLesionSegLib.cli import main
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@posix
def test_a_full_disk_stops_the_batch_and_blames_no_case(cohort: Cohort, tmp_path: Path) -> None:
    script = tmp_path / "limited.py"
    script.write_text(_LIMITED)
    out, good = tmp_path / "out", cohort.folder / "patient-000"
    done = subprocess.run(
        [sys.executable, str(script), "batch", str(good), "-o", str(out)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    assert done.returncode in (2, 3), done.stderr
    assert "Traceback" not in done.stderr
    assert rows(out) == []
    assert list((out / "cases").iterdir()) == []


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_keeps_what_is_done(
    number: signal.Signals, chest: CtVolume, tmp_path: Path
) -> None:
    # Enough cases that the batch is still at work when the first of them is complete.
    cohort = write_cohort(tmp_path / "cohort", chest, 17)
    out = tmp_path / "out"
    process = batch_faults.start(cohort, out, "local", resume=False)
    deadline = time.monotonic() + 120
    while not batch_faults.complete_cases(out) and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = batch_faults.workers_of(process.pid)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "--resume" in told
    assert "Traceback" not in told
    assert not any(worker.is_running() for worker in workers)
    assert {row["case"] for row in rows(out)} == set(batch_faults.complete_cases(out))
    assert not list((out / "cases").glob(".*"))


@posix
@pytest.mark.slow
def test_ray_survives_a_killed_worker(chest: CtVolume, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")
    report = batch_faults.run(tmp_path, chest, cases=9, kills=0, worker_kills=1, engine="ray")
    assert report.rows == report.distinct == 9
    assert report.results == 2
    assert sum(report.reasons.values()) == 7
    assert report.worker_kills == 1
    assert "worker-died" not in report.reasons


@dataclass(frozen=True)
class Poison(Case):
    """A case that kills every worker which only takes it into its hands."""

    def __reduce__(self) -> tuple[Callable[[int], Any], tuple[int]]:
        return os._exit, (1,)


def test_a_case_that_kills_its_worker_fails_alone(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.nii" for number in range(4)]
    for path in paths:
        path.write_text("no image")
    cases = [make_case(path) for path in paths]
    cases[2] = Poison(cases[2].id, cases[2].path)
    outcomes: dict[str, str] = {}
    recorded: list[str] = []
    folder = tmp_path / "cases"
    folder.mkdir()
    with ProcessWorkers(CaseSettings(folder)) as workers:
        Schedule(
            cases,
            workers,
            lambda case, reply: outcomes.update({case.id: reply.error.code if reply.error else ""}),
            lambda case, _: recorded.append(case.id),
        ).run()
    assert recorded == [cases[2].id]
    assert outcomes.pop(cases[2].id) == "worker-died"
    assert set(outcomes) == {case.id for case in cases if not isinstance(case, Poison)}
    assert set(outcomes.values()) == {"input-truncated"}


@dataclass(frozen=True)
class Stuck(Case):
    """A case that never ends in the hands of a worker."""

    def __reduce__(self) -> tuple[Callable[[float], None], tuple[float]]:
        return time.sleep, (3600.0,)


class WorkersThatStick(ProcessWorkers):
    """Get stuck with one of the files; the others have all the time a busy machine needs."""

    def submit(self, worker: int, case: Case, upcoming: Case | None) -> None:
        sticks = case.path.name == "stuck.nii"
        self._deadlines = Deadlines(1.0 if sticks else 120.0)
        super().submit(worker, Stuck(case.id, case.path) if sticks else case, upcoming)


def test_a_stuck_case_gives_a_row_with_its_reason(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    paths = [folder / name for name in ("stuck.nii", "broken.nii")]
    for path in paths:
        path.write_text(path.name)
    out = tmp_path / "out"

    run_batch(paths, out, BatchOptions(case_timeout_s=1.0), WorkersThatStick)

    stuck, broken = sorted(rows(out), key=lambda row: "time limit" not in row["reason"])
    assert "longer than the time limit" in stuck["reason"]
    assert "time limit" not in broken["reason"]
    assert {stuck["status"], broken["status"]} == {"failed"}
    failure = json.loads((out / "cases" / stuck["case"] / "failure.json").read_text())
    assert failure["code"] == "case-timeout"
    assert not list((out / "cases").glob(".*"))
    assert multiprocessing.active_children() == []


def test_a_time_limit_is_a_number_of_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("0", "-3", "nan", "inf", "soon"):
        with pytest.raises(SystemExit):
            main(["batch", "ct.nii", "-o", "out", "--case-timeout", text])
    assert "--case-timeout" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"no picture", b""])
def test_a_failed_case_is_told_with_its_whole_reason_and_where_its_file_stands(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, out = tmp_path / "broken.nii.gz", tmp_path / "out"
    broken.write_bytes(content)
    assert main(["batch", str(broken), "-o", str(out)]) != 0
    told, row = capsys.readouterr(), rows(out)[0]
    line = f"{row['case']}: {row['reason']}"
    assert f"[1/1] {line}\n" in told.err
    assert f"  {line}\nWhich file is which: {out / 'key.csv'}\n" in told.out
    assert f"{row['case']},{broken}" in (out / "key.csv").read_text(encoding="utf-8")


def test_a_trace_of_infection_is_not_rounded_up() -> None:
    assert outcome({"infected_percent": "0.098", "seconds": "3"}) == "< 0.1 % infected, 3 s"
