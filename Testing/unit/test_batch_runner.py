"""What a worker does with a case, with the segmentation itself left out."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.batch import runner as runner_module
from CovidLesionSegLib.batch.case_files import FAILURE_FILE, RESULT_FILE
from CovidLesionSegLib.batch.cases import Case, make_case
from CovidLesionSegLib.batch.runner import CaseRunner, CaseSettings, Verdict
from CovidLesionSegLib.engine.pipeline import SegmentOptions
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from Testing.support.results import make_result

WAIT_S = 20.0


class Pipeline:
    """Stands for reading, opening and segmenting; does as told."""

    def __init__(self) -> None:
        self.result = make_result()
        self.read: list[str] = []
        self.opened = 0
        self.error: Exception | None = None
        self.wait_for_reading = 0
        self._reading = threading.Condition()

    def read_ct(self, path: Path, _uid: str | None) -> Any:
        with self._reading:
            self.read.append(path.name)
            self._reading.notify_all()
        if "broken" in path.name:
            raise InputError("input-truncated", f"{path.name} can't be read.", "Copy it again.")
        return self.result.ct

    def open_networks(self, _options: SegmentOptions) -> Any:
        self.opened += 1
        return object()

    def segment(self, ct: Any, _options: SegmentOptions, *, networks: Any) -> SegmentationResult:
        assert networks is not None
        with self._reading:
            ready = self._reading.wait_for(
                lambda: len(self.read) >= self.wait_for_reading, timeout=WAIT_S
            )
        assert ready, "the next case was not read meanwhile"
        if self.error is not None:
            raise self.error
        return replace(self.result, ct=ct)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    stand_in = Pipeline()
    for name in ("read_ct", "open_networks", "segment"):
        monkeypatch.setattr(runner_module, name, getattr(stand_in, name))
    return stand_in


@pytest.fixture
def runner(tmp_path: Path) -> CaseRunner:
    return CaseRunner(CaseSettings(tmp_path, SegmentOptions(device="cpu"), ("table",)))


def case(name: str) -> Case:
    return make_case(Path("/data/Doe^Jane") / f"{name}.nii")


def written(folder: Path, it: Case) -> dict[str, Any]:
    found = [folder / it.id / name for name in (RESULT_FILE, FAILURE_FILE)]
    values = [json.loads(path.read_text()) for path in found if path.exists()]
    assert len(values) == 1
    result: dict[str, Any] = values[0]
    return result


def test_the_next_case_and_no_more_is_read_while_this_one_is_computed(
    pipeline: Pipeline, runner: CaseRunner
) -> None:
    a, b, c = (case(name) for name in "abc")
    pipeline.wait_for_reading = 2
    assert runner.run(a, b).verdict is Verdict.DONE
    assert pipeline.read == ["a.nii", "b.nii"]
    pipeline.wait_for_reading = 3
    assert runner.run(b, c).verdict is Verdict.DONE
    assert runner.run(c).verdict is Verdict.DONE
    assert pipeline.read == ["a.nii", "b.nii", "c.nii"]
    assert pipeline.opened == 1


@pytest.mark.usefixtures("pipeline")
def test_a_case_other_than_the_announced_one_is_read_as_well(
    runner: CaseRunner, tmp_path: Path
) -> None:
    a, b, c = (case(name) for name in "abc")
    runner.run(a, b)
    assert runner.run(c).verdict is Verdict.DONE
    assert written(tmp_path, c)["ct"]["name"] == c.id


def test_the_result_names_the_case_and_nothing_else(
    pipeline: Pipeline, runner: CaseRunner, tmp_path: Path
) -> None:
    provenance = replace(pipeline.result.ct.provenance, name="Doe", series_instance_uid="1.2.3")
    pipeline.result = replace(
        pipeline.result, ct=replace(pipeline.result.ct, provenance=provenance)
    )
    runner.run(case("a"))
    values = written(tmp_path, case("a"))["ct"]
    assert (values["name"], values["series_instance_uid"]) == (case("a").id, "")
    named = replace(case("b"), anonymous=False)
    runner.run(named)
    assert written(tmp_path, named)["ct"]["series_instance_uid"] == "1.2.3"


@pytest.mark.usefixtures("pipeline")
def test_a_broken_file_that_was_read_ahead_fails_in_its_turn(
    runner: CaseRunner, tmp_path: Path
) -> None:
    a, broken = case("a"), case("broken")
    assert runner.run(a, broken).verdict is Verdict.DONE
    assert runner.run(broken).verdict is Verdict.FAILED
    assert written(tmp_path, broken)["code"] == "input-truncated"
    assert "broken" not in json.dumps(written(tmp_path, broken))


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (CovidLesionSegError("lungs-not-found", "No lungs."), Verdict.FAILED),
        (CovidLesionSegError("out-of-memory", "Full."), Verdict.SUSPECT),
        (MemoryError(), Verdict.SUSPECT),
        (RuntimeError("CUDA error: device lost, /data/Doe^Jane/a.nii"), Verdict.SUSPECT),
        (InputError("device-missing", "No GPU."), Verdict.STOP),
        (InputError("model-unknown", "No model."), Verdict.STOP),
        (CovidLesionSegError("output-not-written", "Full."), Verdict.STOP),
    ],
)
def test_whose_fault_it_was(
    error: Exception, verdict: Verdict, pipeline: Pipeline, runner: CaseRunner, tmp_path: Path
) -> None:
    pipeline.error = error
    reply = runner.run(case("a"))
    assert reply.verdict is verdict
    assert reply.error is not None
    assert "Doe" not in f"{reply.error}{reply.details}"
    assert [path.name for path in tmp_path.iterdir()] == (
        [case("a").id] if verdict is Verdict.FAILED else []
    )


def test_any_error_on_a_full_disk_is_the_disk(
    pipeline: Pipeline, runner: CaseRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    pipeline.error = RuntimeError("ITK could not write")
    monkeypatch.setattr(Path, "write_bytes", full)
    reply = runner.run(case("a"))
    assert reply.verdict is Verdict.STOP
    assert reply.error is not None
    assert reply.error.code == "output-full"
