"""DICOM SR: another reader finds the numbers of the table, tied to the segments of the SEG."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.engine.quantify import quantify
from CovidLesionSegLib.engine.result import Anatomy, LobeSource
from CovidLesionSegLib.export.dicom_codes import measure_code
from CovidLesionSegLib.export.dicom_seg import write_dicom_seg
from CovidLesionSegLib.export.dicom_sr import write_dicom_sr
from CovidLesionSegLib.export.job import ExportJob
from Testing.support.commands import command, dciodvfy_errors, dciodvfy_remarks
from Testing.support.dicom_job import IDENTITY, dicom_job, without_infection

hd = pytest.importorskip("highdicom", reason="DICOM export needs highdicom")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ExportJob:
    return dicom_job(tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def path(job: ExportJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The anonymous report of the job."""
    return write_dicom_sr(job, tmp_path_factory.mktemp("sr") / "x.sr.dcm")[0]


def groups_of(path: Path) -> dict[str, Any]:
    """Return the groups of measurements by their label."""
    content = hd.sr.srread(path).content
    groups = [
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
    ]
    return {group.tracking_identifier: group for group in groups}


def compare(group: Any, measures: Any) -> int:
    """Compare a group with a row of the table; returns how many numbers were compared."""
    found = {
        (item.name.value, item.derivation.value if item.derivation else ""): item
        for item in group.get_measurements()
    }
    unknown = {item.name.value for item in group.get_qualitative_evaluations()}
    numbers = 0
    for name, measure in measures.items():
        code = measure_code(name, measure.unit)
        if measure.value is None:
            assert code.value in unknown
            continue
        (item,) = (
            value
            for (key, derivation), value in found.items()
            if key == code.value
            and (derivation == "") == (name not in ("hu_p10", "hu_p90"))
            and (name != "hu_p10" or derivation == "371890005")
            and (name != "hu_p90" or derivation == "371887004")
        )
        assert item.value == pytest.approx(measure.value, rel=1e-9)
        numbers += 1
    assert numbers == len(found)
    return numbers


def test_the_version_of_the_definitions_is_that_of_the_numbers(
    job: ExportJob, tmp_path: Path
) -> None:
    older = replace(job.result.quantification, definitions="1")
    result = replace(job.result, quantification=older)
    (path,) = write_dicom_sr(replace(job, result=result), tmp_path / "x.sr.dcm")
    report = hd.sr.srread(path)
    (scheme,) = report.CodingSchemeIdentificationSequence
    assert scheme.CodingSchemeVersion == "1"
    assert "definitions 1" in str(report)


def test_highdicom_reads_the_numbers_of_the_table(job: ExportJob, path: Path) -> None:
    groups = groups_of(path)
    table = job.result.quantification
    numbers = 0
    for row in table.rows:
        scores = table.scores if row.region == "total" else {}
        numbers += compare(groups[row.label], {**row.measures, **scores})
    assert numbers > 80
    assert len(groups) == len(table.rows) + 1


def test_intervals_stand_beside_their_values(job: ExportJob, path: Path) -> None:
    percent = job.result.quantification.row("LLL").measures["infected_percent"]
    assert percent.value is not None
    assert percent.low is not None
    assert percent.high is not None
    (item,) = (
        item
        for item in groups_of(path)["left lower lobe"].get_measurements()
        if item.name.value == "infected_percent"
    )
    assert item.unit.value == "%"
    distances = sorted(
        float(child.MeasuredValueSequence[0].NumericValue)
        for child in item[0].ContentSequence
        if child.ValueType == "NUM"
    )
    expected = sorted((percent.high - percent.value, percent.value - percent.low))
    assert distances == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_it_refers_to_the_seg_of_the_same_result(
    job: ExportJob, path: Path, tmp_path: Path
) -> None:
    (seg_path,) = write_dicom_seg(job, tmp_path / "x.seg.dcm")
    seg = hd.seg.segread(seg_path)
    groups = groups_of(path)
    for label in ("infection", "right lung", "left lower lobe"):
        reference = groups[label].referenced_segment
        assert reference.referenced_sop_instance_uid == seg.SOPInstanceUID
        (number,) = reference.referenced_segment_numbers
        assert seg.get_segment_description(number).segment_label.lower() == label
        assert seg.get_segment_description(number).tracking_uid == groups[label].tracking_uid
    evidence = hd.sr.srread(path).CurrentRequestedProcedureEvidenceSequence
    referred = {
        item.ReferencedSOPInstanceUID
        for study in evidence
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }
    assert seg.SOPInstanceUID in referred
    assert len(referred) == 1 + len(job.result.ct.provenance.files)


def test_other_numbers_of_the_same_masks_are_another_object(
    job: ExportJob, path: Path, tmp_path: Path
) -> None:
    (again,) = write_dicom_sr(job, tmp_path / "again.sr.dcm")
    table = job.result.quantification
    fewer = replace(table, scores=dict(list(table.scores.items())[1:]))
    changed = replace(job, result=replace(job.result, quantification=fewer))
    (other,) = write_dicom_sr(changed, tmp_path / "other.sr.dcm")
    first = hd.sr.srread(path)
    assert hd.sr.srread(again).SOPInstanceUID == first.SOPInstanceUID
    assert hd.sr.srread(other).SOPInstanceUID != first.SOPInstanceUID


def test_finding_sites_name_lobe_and_side(path: Path) -> None:
    (site,) = groups_of(path)["left lower lobe"].finding_sites
    assert site.value.value == "90572001"
    assert site.laterality.value == "7771000"


def test_what_is_absent_is_unknown_and_not_zero(job: ExportJob, tmp_path: Path) -> None:
    result = job.result
    anatomy = Anatomy(result.anatomy.lungs, None, LobeSource.NONE)
    numbers = quantify(result.ct, result.infection, anatomy, result.prediction, result.lesions)
    without_lobes = replace(result, anatomy=anatomy, quantification=numbers)
    for made in (replace(job, result=without_lobes), without_infection(job)):
        (written,) = write_dicom_sr(made, tmp_path / "x.sr.dcm")
        groups = groups_of(written)
        table = made.result.quantification
        for row in table.rows:
            scores = table.scores if row.region == "total" else {}
            compare(groups[row.label], {**row.measures, **scores})


def test_the_validator_finds_no_error(job: ExportJob, path: Path, tmp_path: Path) -> None:
    (named,) = write_dicom_sr(replace(job, identified=True), tmp_path / "x.sr.dcm")
    for written in (path, named):
        assert "Comprehensive3DSR" in dciodvfy_remarks(written)
        assert dciodvfy_errors(written) == []
    report = hd.sr.srread(named)
    assert str(report.PatientID) == IDENTITY["PatientID"]
    assert report.StudyInstanceUID == "1.2.826.0.1.3680043.2.1125.7.8"


def test_dcmqi_reads_it_as_tid_1500(path: Path, tmp_path: Path) -> None:
    metadata = tmp_path / "sr.json"
    subprocess.run(
        [command("tid1500reader"), "--inputDICOM", path, "--outputMetadata", metadata],
        check=True,
        capture_output=True,
    )
    text = metadata.read_text()
    assert "left lower lobe" in text
    assert "infected_percent" in text
