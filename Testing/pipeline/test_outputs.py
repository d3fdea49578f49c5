"""The output folder: all or nothing, and nothing of an earlier run among the new."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from CovidLesionSegLib.commands import outputs
from CovidLesionSegLib.commands.outputs import require_writable, staging_folder
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.export.packed import PackedResult
from CovidLesionSegLib.mrml import scene_file
from Testing.support.results import make_result


def test_files_arrive_together(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with staging_folder(folder) as staging:
        (staging / "lobes.csv").write_text("table")
        (staging / "result.json").write_text("{}")
        assert [path.name for path in folder.iterdir()] == [staging.name]
    assert {path.name for path in folder.iterdir()} == {"lobes.csv", "result.json"}


def test_a_failure_leaves_the_earlier_run_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "lobes.csv").write_text("old")

    def interrupted() -> None:
        with staging_folder(tmp_path) as staging:
            (staging / "lobes.csv").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["lobes.csv"]
    assert (tmp_path / "lobes.csv").read_text() == "old"


def test_what_the_new_run_lacks_goes_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    for name in ("boundary.nii.gz", "result.json", "notes.txt"):
        (tmp_path / name).write_text("old")
    with staging_folder(tmp_path) as staging:
        (staging / "result.json").write_text("new")
    assert {path.name for path in tmp_path.iterdir()} == {"result.json", "notes.txt"}
    assert (tmp_path / "result.json").read_text() == "new"


def test_what_was_made_from_the_old_result_goes_with_it(tmp_path: Path) -> None:
    for name in ("classes.csv", "classes.seg.nrrd"):
        (tmp_path / name).write_text("old")
    with staging_folder(tmp_path) as staging:
        (staging / "result.json").write_text("new")
    assert {path.name for path in tmp_path.iterdir()} == {"result.json"}


def test_the_trial_leaves_no_trace(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError) as caught:
        require_writable(tmp_path / "file" / "out")
    assert caught.value.code == "output-not-writable"


def test_an_interrupt_ends_the_writer_of_the_scene_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    def slow_scene(
        _path: Path, _result: SegmentationResult, stop: threading.Event, **_packed: object
    ) -> None:
        told.append(stop.wait(30))
        raise CovidLesionSegError("scene-not-written", "It was stopped.")

    def interrupted(_path: Path, _result: SegmentationResult, _packed: PackedResult) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(scene_file, "write_scene", slow_scene)
    monkeypatch.setattr(outputs, "_WRITERS", {"table": ("lobes.csv", interrupted)})
    with pytest.raises(KeyboardInterrupt):
        outputs.write_outputs(make_result(), tmp_path / "out")
    assert told == [True]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("code", ["mrml-extra-missing", "scene-not-written", "output-not-written"])
def test_only_a_scene_that_may_be_missing_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    def failing_scene(
        _path: Path, _result: SegmentationResult, stop: threading.Event, **_packed: object
    ) -> None:
        assert not stop.is_set()
        raise CovidLesionSegError(code, "No scene.")

    monkeypatch.setattr(scene_file, "write_scene", failing_scene)
    monkeypatch.setattr(outputs, "_WRITERS", {})
    if code == "output-not-written":
        with pytest.raises(CovidLesionSegError, match="No scene"):
            outputs.write_outputs(make_result(), tmp_path)
        return
    result, paths = outputs.write_outputs(make_result(), tmp_path)
    assert set(paths) == {"result"}
    assert any("No scene" in warning for warning in result.warnings)
