"""A batch goes on only with what it was begun with: settings, and what lies behind their names."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.batch.batch import KEY, SETTINGS, BatchOptions, run_batch
from CovidLesionSegLib.batch.case_files import CASES, write_failure
from CovidLesionSegLib.batch.table import file_stamp, read_key
from CovidLesionSegLib.engine.models import DEFAULT_MODEL, LUNG_MODEL
from CovidLesionSegLib.engine.pipeline import SegmentOptions
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.resources import resources_dir
from CovidLesionSegLib.weights.store import default_store

WEIGHTS = resources_dir() / "Weights"


class _StartedError(Exception):
    """The batch was about to start its workers."""


def _start(*_: Any) -> Any:
    raise _StartedError


def _run(folder: Path, options: SegmentOptions, *, resume: bool = True) -> None:
    """Run a batch of one CT to the point where its settings are accepted."""
    with pytest.raises(_StartedError):
        run_batch(
            [folder.parent / "ct.nii.gz"], folder, BatchOptions(options, resume=resume), _start
        )


def _refused(folder: Path, options: SegmentOptions) -> InputError:
    with pytest.raises(InputError) as caught:
        run_batch([folder.parent / "ct.nii.gz"], folder, BatchOptions(options, resume=True), _start)
    return caught.value


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("COVID_LESION_SEG_MODELS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "out"


def test_a_weights_file_with_other_content_is_refused(out: Path, tmp_path: Path) -> None:
    weights = Path(shutil.copy(WEIGHTS / "inf-net-lite.safetensors", tmp_path / "w.safetensors"))
    options = SegmentOptions(weights=weights)
    _run(out, options, resume=False)
    _run(out, options)
    shutil.copy(WEIGHTS / "bsnet-lite.safetensors", weights)
    error = _refused(out, options)
    assert error.code == "batch-differs"
    assert "weights_sha256" in error.message


@pytest.mark.parametrize("model", [DEFAULT_MODEL, f"{DEFAULT_MODEL}+bsnet-lite", "consensus"])
@pytest.mark.parametrize("replaced", [DEFAULT_MODEL, LUNG_MODEL])
def test_a_model_that_a_shelf_replaces_is_refused(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, replaced: str
) -> None:
    _run(out, SegmentOptions(model=model), resume=False)
    _run(out, SegmentOptions(model=model))
    shelf = tmp_path / "shelf"
    (shelf / "Weights").mkdir(parents=True)
    catalogue = json.loads((resources_dir() / "models.json").read_text(encoding="utf-8"))
    entry = next(entry for entry in catalogue["models"] if entry["id"] == replaced)
    entry["sha256"] = "0" * 64
    (shelf / "models.json").write_text(json.dumps({**catalogue, "models": [entry]}))
    monkeypatch.setenv("COVID_LESION_SEG_MODELS", str(shelf))
    assert _refused(out, SegmentOptions(model=model)).code == "batch-differs"


def test_the_settings_name_every_network_by_its_digest(out: Path) -> None:
    _run(out, SegmentOptions(), resume=False)
    noted = json.loads((out / SETTINGS).read_text(encoding="utf-8"))["weights_sha256"]
    store = default_store()
    assert noted == {name: store.find(name).entry.sha256 for name in (DEFAULT_MODEL, LUNG_MODEL)}


@pytest.fixture
def two_cases(out: Path, tmp_path: Path) -> Path:
    """A table of two CTs, and a batch in which both have ended."""
    for name in ("a.nii", "b.nii"):
        (tmp_path / name).write_text(name)
    table = tmp_path / "cases.csv"
    table.write_text("case,path\nP1,a.nii\nP2,b.nii\n")
    with pytest.raises(_StartedError):
        run_batch([table], out, BatchOptions(), _start)
    for case_id in ("P1", "P2"):
        write_failure(out / CASES, case_id, InputError("input-gap", "There is a gap.", ""))
    return table


def _open_cases(table: Path, out: Path) -> int:
    """Return how many cases of a batch have yet to run."""
    told: list[int] = []
    with contextlib.suppress(_StartedError):
        run_batch(
            [table],
            out,
            BatchOptions(resume=True),
            _start,
            lambda progress: told.append(progress.total - progress.ended),
        )
    return told[0]


def test_a_name_never_passes_to_another_patient(two_cases: Path, out: Path) -> None:
    assert _open_cases(two_cases, out) == 0
    two_cases.write_text("case,path\nP1,b.nii\nP2,a.nii\n")
    with pytest.raises(InputError, match="'P1' was another file") as caught:
        run_batch([two_cases], out, BatchOptions(resume=True), _start)
    assert caught.value.code == "batch-case-moved"
    key = read_key(out / KEY)
    assert key["P1"].path.name == "a.nii"


def test_a_replaced_file_is_segmented_again(two_cases: Path, out: Path) -> None:
    (two_cases.parent / "b.nii").write_text("another CT")
    assert _open_cases(two_cases, out) == 1
    assert [folder.name for folder in (out / CASES).iterdir()] == ["P1"]
    assert _open_cases(two_cases, out) == 1, "also when the first try was interrupted"


def test_a_file_that_is_away_for_a_while_keeps_its_result(two_cases: Path, out: Path) -> None:
    file = two_cases.parent / "b.nii"
    away = file.rename(two_cases.parent / "archive")
    assert _open_cases(two_cases, out) == 0
    away.rename(file)
    assert _open_cases(two_cases, out) == 0
    file.write_text("another CT")
    assert _open_cases(two_cases, out) == 1, "what it was is still known"


def test_a_reviewed_case_is_never_removed(two_cases: Path, out: Path) -> None:
    review = out / CASES / "P2" / "x.lesions.csv"
    review.write_text("a person's work")
    for name in ("a.nii", "b.nii"):
        (two_cases.parent / name).write_text("another CT")
    with pytest.raises(InputError) as caught:
        run_batch([two_cases], out, BatchOptions(resume=True), _start)
    assert caught.value.code == "output-reviewed"
    assert review.is_file()
    assert (out / CASES / "P1").is_dir(), "nothing goes before everything was looked at"


def test_a_header_is_replaced_with_its_voxels(tmp_path: Path) -> None:
    header, voxels = tmp_path / "x.mhd", tmp_path / "x.raw"
    header.write_text("header")
    voxels.write_text("voxels")
    before = file_stamp(header)
    voxels.write_text("other voxels")
    assert file_stamp(header) != before


def test_the_same_cohort_is_not_named_twice(out: Path) -> None:
    _run(out, SegmentOptions(), resume=False)
    with pytest.raises(InputError, match="keep_names") as caught:
        run_batch(
            [out.parent / "ct.nii.gz"], out, BatchOptions(resume=True, keep_names=True), _start
        )
    assert caught.value.code == "batch-differs"


def test_weights_that_are_no_file_are_refused(out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    assert _refused(out, SegmentOptions(weights=folder)).code == "weights-unreadable"
