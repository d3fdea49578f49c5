"""The output folder: all or nothing, and nothing of an earlier run among the new."""

from __future__ import annotations

from pathlib import Path

import pytest

from CovidLesionSegLib.commands.outputs import require_writable, staging_folder
from CovidLesionSegLib.errors import InputError


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


def test_the_trial_leaves_no_trace(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError) as caught:
        require_writable(tmp_path / "file" / "out")
    assert caught.value.code == "output-not-writable"
