"""The worker as a process: with what Slicer's Python has and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from CovidLesionSegLib.engine.volume import Provenance
from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.jobs.exchange import Job, read_job, read_result, write_job, write_result
from CovidLesionSegLib.jobs.protocol import Event
from Testing.support.review_result import reviewable_result

PACKAGE_FOLDER = Path(__file__).resolve().parents[2] / "CovidLesionSeg"
# PythonSlicer has numpy, scipy, SimpleITK and pydicom; torch comes through its extension.
ABSENT = ("matplotlib", "nrrd", "rich", "platformdirs", "safetensors", "slicer", "vtk", "qt")
BLOCKED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError("absent in Slicer: " + name, name=name)
sys.meta_path.insert(0, Absent())
from CovidLesionSegLib.worker import main
sys.exit(main(sys.argv[1:]))
"""


def run_worker(job: Path, names: tuple[str, ...] = ABSENT) -> tuple[int, list[Event], str]:
    # Standard input stays open until the end: a closed one means cancel.
    with subprocess.Popen(
        [sys.executable, "-c", BLOCKED.format(names=set(names)), str(job)],
        cwd=PACKAGE_FOLDER,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        output = process.stdout.read()
        stderr = process.stderr.read()
    events = [Event.from_line(line) for line in output.splitlines()]
    return process.returncode, [event for event in events if event is not None], stderr


@pytest.fixture
def job(tmp_path: Path) -> Path:
    ct = reviewable_result().ct
    voxels = ct.to_input_grid(ct.hu)
    return write_job(tmp_path, Job(voxels, ct.input_affine_lps, Provenance("mrml", "CT")))


def test_a_job_survives_the_folder(job: Path) -> None:
    again = read_job(job)
    ct = reviewable_result().ct
    assert np.array_equal(again.voxels_kji, ct.to_input_grid(ct.hu))
    assert np.array_equal(again.affine_lps, ct.input_affine_lps)
    assert again.provenance == Provenance("mrml", "CT")


def test_a_result_survives_the_folder(tmp_path: Path) -> None:
    result = reviewable_result(consensus=True)
    write_result(tmp_path, result)
    again = read_result(tmp_path)
    assert again.ct.digest() == result.ct.digest()
    for name in ("infection", "opacity"):
        assert np.array_equal(getattr(again, name), getattr(result, name))
    assert np.array_equal(again.anatomy.lobes, result.anatomy.lobes)
    assert again.anatomy.flags == result.anatomy.flags
    assert np.array_equal(again.prediction.agreement, result.prediction.agreement)
    assert again.run == result.run
    assert [lesion.id for lesion in again.lesions] == [lesion.id for lesion in result.lesions]
    for row, other in zip(again.quantification.rows, result.quantification.rows, strict=True):
        for name, measure in row.measures.items():
            expected = other.measures[name].value
            assert measure.value == (
                None if expected is None else pytest.approx(expected, rel=1e-5)
            )
            assert measure.reason == other.measures[name].reason


def test_what_cant_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        read_job(tmp_path / "job.json")
    with pytest.raises(CovidLesionSegError, match="could not be read"):
        read_result(tmp_path)


def test_a_broken_job_fails_with_a_code(tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text("{}", encoding="utf-8")
    code, events, _ = run_worker(path)
    assert code == 2
    assert events[-1].kind == "failed"
    assert events[-1].values["code"] == "job-unreadable"


def test_what_is_no_ct_fails_with_a_code(tmp_path: Path) -> None:
    voxels = np.zeros((20, 40, 40), dtype=np.uint8)
    path = write_job(tmp_path, Job(voxels, np.diag([5.0, 5.0, 5.0, 1.0]), Provenance("mrml", "x")))
    code, events, _ = run_worker(path)
    assert code == 2
    assert events[0].values["stage"] == "read"
    assert events[-1].values["code"].startswith("input-")
    assert events[-1].values["hint"]


def test_an_unknown_model_needs_only_what_slicer_has(job: Path) -> None:
    values = json.loads(job.read_text(encoding="utf-8"))
    values["options"] = {"model": "no-such-model", "device": "cpu"}
    job.write_text(json.dumps(values), encoding="utf-8")
    code, events, stderr = run_worker(job)
    assert "ModuleNotFoundError" not in stderr
    assert (code, events[-1].values["code"]) == (2, "model-unknown"), events[-1].values
    assert not (job.parent / "result.json").exists()


def test_closing_standard_input_ends_the_worker(job: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED.format(names=set(ABSENT)), str(job)],
        cwd=PACKAGE_FOLDER,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130
    assert not (job.parent / "result.json").exists()
