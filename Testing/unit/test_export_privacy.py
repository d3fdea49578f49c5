"""Nothing that is exported names the patient, unless that is asked for."""

from __future__ import annotations

import gzip
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from CovidLesionSegLib.engine.volume import Provenance
from CovidLesionSegLib.export.formats import FORMATS
from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.export.publish import export_files
from Testing.support.dicom_job import SECRETS, dicom_job
from Testing.support.secrets import leaks

pytest.importorskip("highdicom", reason="DICOM export needs highdicom")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ExportJob:
    """A result on a series whose folder, files and tags all name the patient."""
    return dicom_job(tmp_path_factory.mktemp("Mustermann^Erika 19430517"))


def test_the_scan_finds_what_is_there(job: ExportJob, tmp_path: Path) -> None:
    for name in job.result.ct.provenance.files[:1]:
        found = "\n".join(leaks([Path(name)], SECRETS))
        assert all(secret in found for secret in SECRETS[:8])
    hidden = tmp_path / "hidden.bin"
    hidden.write_bytes(b"....." + gzip.compress(b"a" * 40 + b"PID8374651") + b"...")
    assert leaks([hidden], SECRETS)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside.txt", "born 1943-05-17")
    assert leaks([tmp_path / "x.zip"], SECRETS)
    (tmp_path / "mustermann.txt").write_text("")
    assert leaks([tmp_path / "mustermann.txt"], SECRETS)


@pytest.mark.parametrize("name", FORMATS)
def test_anonymous_files_hold_nothing_of_the_patient(
    name: str, job: ExportJob, tmp_path: Path
) -> None:
    reason = FORMATS[name].unavailable(job)
    if reason is not None:
        pytest.skip(reason)
    (paths,) = export_files(job, {name: FORMATS[name]}, tmp_path).values()
    assert paths
    assert all(path.stat().st_size > 0 for path in paths)
    assert leaks(paths, SECRETS) == []


@pytest.mark.parametrize("name", FORMATS)
def test_the_name_of_the_file_is_left_out_too(name: str, job: ExportJob, tmp_path: Path) -> None:
    provenance = Provenance("nifti", "Mustermann^Erika", files=("Mustermann^Erika.nii.gz",))
    ct = replace(job.result.ct, provenance=provenance)
    from_file = replace(job, result=replace(job.result, ct=ct))
    if FORMATS[name].unavailable(from_file) is not None:
        pytest.skip(str(FORMATS[name].unavailable(from_file)))
    (paths,) = export_files(from_file, {name: FORMATS[name]}, tmp_path).values()
    assert leaks(paths, SECRETS) == []


def test_warnings_lose_the_name_and_keep_their_words(job: ExportJob, tmp_path: Path) -> None:
    """The job has its plain name by then, so that the report alone can't know the real one."""
    ct = replace(job.result.ct, provenance=Provenance("nifti", "Mustermann^Erika"))
    warnings = ("Mustermann^Erika was cropped.", "The CT was cropped.")
    warned = replace(job, result=replace(job.result, ct=ct, warnings=warnings))
    (paths,) = export_files(warned, {"report": FORMATS["report"]}, tmp_path).values()
    assert leaks(paths, SECRETS) == []
    page = paths[0].read_text(encoding="utf-8")
    assert "[name removed] was cropped." in page
    assert "The CT was cropped." in page


@pytest.mark.parametrize("name", ["dicom-seg", "dicom-sr"])
def test_identified_dicom_names_the_patient_and_no_more(
    name: str, job: ExportJob, tmp_path: Path
) -> None:
    named = replace(job, identified=True)
    (paths,) = export_files(named, {name: FORMATS[name]}, tmp_path).values()
    found = "\n".join(leaks(paths, SECRETS))
    for secret in ("Mustermann", "PID8374651", "19430517", "ACC5528193", "20200331"):
        assert secret in found
    # Neither free text nor private tags of the source are copied.
    for secret in ("Musterstadt", "OLD998877", "20200402"):
        assert secret not in found
    assert not any("name of" in line for line in found.splitlines())


def test_nothing_is_printed_or_logged_about_the_patient(
    job: ExportJob,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    caplog.set_level("DEBUG")
    both = {name: FORMATS[name] for name in ("dicom-seg", "dicom-sr")}
    export_files(replace(job, identified=True), both, tmp_path)
    captured = capfd.readouterr()
    warned = " ".join(str(one.message) for one in recwarn)
    text = captured.out + captured.err + caplog.text + warned
    assert [secret for secret in SECRETS if secret in text] == []


def test_the_patient_is_told_only_when_asked(job: ExportJob) -> None:
    assert job.patient is None
    patient = replace(job, identified=True).patient
    assert patient is not None
    assert patient.name == "Mustermann, Erika, Roswitha"
    assert patient.birth_date == "1943-05-17"
    assert patient.id == "PID8374651"
