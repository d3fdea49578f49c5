"""The formats that need VTK or Slicer's classes name nobody either, and never break a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from CovidLesionSegLib.commands.export import all_formats
from CovidLesionSegLib.export.formats import FORMATS
from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.export.publish import export_files
from Testing.support.dicom_job import SECRETS, dicom_job
from Testing.support.secrets import leaks

pytest.importorskip("highdicom", reason="the job comes from DICOM")
OURS = {name: made for name, made in all_formats().items() if name not in FORMATS}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ExportJob:
    made = dicom_job(tmp_path_factory.mktemp("Mustermann^Erika 19430517"))
    provenance = replace(made.result.ct.provenance, name="Mustermann^Erika")
    return replace(
        made, result=replace(made.result, ct=replace(made.result.ct, provenance=provenance))
    )


def test_all_formats_are_named() -> None:
    assert set(OURS) == {"mrb", "stl", "obj"}


@pytest.mark.parametrize("name", OURS)
def test_files_hold_nothing_of_the_patient(name: str, job: ExportJob, tmp_path: Path) -> None:
    assert OURS[name].unavailable(job) is None
    (paths,) = export_files(job, {name: OURS[name]}, tmp_path).values()
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert leaks(paths, SECRETS) == []
