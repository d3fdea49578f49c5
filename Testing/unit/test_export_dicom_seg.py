"""DICOM SEG: other programs find the same voxels at the same place, and whose they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.engine.volume import Provenance
from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.export.dicom_seg import write_dicom_seg
from CovidLesionSegLib.export.dicom_source import dicom_obstacle
from CovidLesionSegLib.export.job import ExportJob
from Testing.support.commands import dciodvfy_errors, dciodvfy_remarks
from Testing.support.dicom_job import (
    IDENTITY,
    ORIENTATIONS,
    dicom_job,
    identified_series,
    result_on,
    without_infection,
)
from Testing.support.dicom_series import enhanced
from Testing.support.seg_decoding import decoded_by_dcmqi, decoded_by_highdicom, masks_of

hd = pytest.importorskip("highdicom", reason="DICOM export needs highdicom")
pydicom = pytest.importorskip("pydicom")


@pytest.mark.parametrize(
    ("orientation", "backwards"),
    [*((name, False) for name in ORIENTATIONS), ("axial", True), ("oblique", True)],
)
def test_other_programs_find_the_same_voxels(
    orientation: str, backwards: bool, tmp_path: Path
) -> None:
    job = dicom_job(tmp_path / "ct", identified_series(orientation, backwards=backwards))
    (path,) = write_dicom_seg(job, tmp_path / "x.seg.dcm")
    expected = masks_of(job.result)
    assert set(expected) >= {"Infection", "Consolidation", "Right lung", "Left lower lobe"}
    for masks in (
        decoded_by_highdicom(path, job.result.ct),
        decoded_by_dcmqi(path, job.result.ct, tmp_path / "decoded"),
    ):
        assert masks.keys() == expected.keys()
        for name, mask in expected.items():
            np.testing.assert_array_equal(masks[name], mask, err_msg=name)


def test_an_enhanced_ct_is_a_source_too(tmp_path: Path) -> None:
    dataset = enhanced(identified_series("oblique"))
    (tmp_path / "ct").mkdir()
    dataset.save_as(tmp_path / "ct" / "enhanced.dcm", enforce_file_format=True)
    job = ExportJob(result_on(read_ct(tmp_path / "ct")))
    (path,) = write_dicom_seg(job, tmp_path / "x.seg.dcm")
    masks = decoded_by_highdicom(path, job.result.ct)
    for name, mask in masks_of(job.result).items():
        np.testing.assert_array_equal(masks[name], mask, err_msg=name)
    frame = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence[0]
    (item,) = frame.DerivationImageSequence[0].SourceImageSequence
    positions = dataset.PerFrameFunctionalGroupsSequence[item.ReferencedFrameNumber - 1]
    np.testing.assert_allclose(
        frame.PlanePositionSequence[0].ImagePositionPatient,
        positions.PlanePositionSequence[0].ImagePositionPatient,
    )


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ExportJob:
    return dicom_job(tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def path(job: ExportJob, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The anonymous segmentation of the job."""
    return write_dicom_seg(job, tmp_path_factory.mktemp("seg") / "x.seg.dcm")[0]


def read(job: ExportJob, folder: Path) -> Any:
    (path,) = write_dicom_seg(job, folder / "x.seg.dcm")
    return pydicom.dcmread(path)


def test_it_refers_to_every_slice_and_to_the_study(job: ExportJob, path: Path) -> None:
    seg = pydicom.dcmread(path)
    sources = [pydicom.dcmread(name) for name in job.result.ct.provenance.files]
    (series,) = seg.ReferencedSeriesSequence
    referred = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert referred == {source.SOPInstanceUID for source in sources}
    assert series.SeriesInstanceUID == sources[0].SeriesInstanceUID
    assert seg.StudyInstanceUID == sources[0].StudyInstanceUID
    assert seg.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (item,) = frame.DerivationImageSequence[0].SourceImageSequence
        (source,) = (s for s in sources if s.SOPInstanceUID == item.ReferencedSOPInstanceUID)
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(position, source.ImagePositionPatient)


def test_codes_algorithm_and_colour(path: Path) -> None:
    segments = {item.SegmentLabel: item for item in pydicom.dcmread(path).SegmentSequence}
    infection = segments["Infection"]
    kind = infection.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodingSchemeDesignator, kind.CodeValue) == ("SCT", "47351003")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "840539006"
    assert infection.AnatomicRegionSequence[0].CodeValue == "39607008"
    assert infection.SegmentAlgorithmType == "AUTOMATIC"
    algorithm = infection.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmName == "CovidLesionSeg inf-net-lite"
    assert algorithm.AlgorithmVersion == "0.1.0"
    assert "0123456789abcdef" in algorithm.AlgorithmParameters
    lobe = segments["Left lower lobe"].SegmentedPropertyTypeCodeSequence[0]
    assert lobe.CodeValue == "90572001"
    assert lobe.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "7771000"
    color = hd.color.CIELabColor.from_dicom_value(infection.RecommendedDisplayCIELabValue)
    np.testing.assert_allclose(color.to_rgb(), (238, 119, 51), atol=1)


def test_an_edited_segment_says_so(job: ExportJob, tmp_path: Path) -> None:
    seg = read(replace(job, edited_layers=frozenset({"infection"})), tmp_path)
    types = {item.SegmentLabel: item.SegmentAlgorithmType for item in seg.SegmentSequence}
    assert types["Infection"] == types["Consolidation"] == "SEMIAUTOMATIC"
    assert types["Right lung"] == types["Left lower lobe"] == "AUTOMATIC"


def test_without_lesions_the_lungs_remain(job: ExportJob, tmp_path: Path) -> None:
    seg = read(without_infection(job), tmp_path)
    labels = {item.SegmentLabel for item in seg.SegmentSequence}
    assert "Infection" not in labels
    assert {"Right lung", "Left lung"} <= labels


def test_the_same_content_is_the_same_object(job: ExportJob, path: Path, tmp_path: Path) -> None:
    uid = pydicom.dcmread(path).SOPInstanceUID
    assert read(job, tmp_path).SOPInstanceUID == uid
    assert read(without_infection(job), tmp_path).SOPInstanceUID != uid
    assert read(replace(job, identified=True), tmp_path).SOPInstanceUID != uid
    run = replace(job.result.run, threshold=0.123)
    other = replace(job, result=replace(job.result, run=run))
    assert read(other, tmp_path).SOPInstanceUID != uid


def test_the_validator_finds_no_error(job: ExportJob, path: Path, tmp_path: Path) -> None:
    (named,) = write_dicom_seg(replace(job, identified=True), tmp_path / "x.seg.dcm")
    for written in (path, named):
        assert "Segmentation" in dciodvfy_remarks(written)
        assert dciodvfy_errors(written) == []
    seg = pydicom.dcmread(named)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "AccessionNumber", "StudyDate"):
        assert str(seg[keyword].value) == IDENTITY[keyword]
    assert "PatientIdentityRemoved" not in seg


def test_pydicom_finds_every_value_valid(path: Path) -> None:
    settings = pydicom.config.settings
    before = settings.reading_validation_mode
    settings.reading_validation_mode = pydicom.config.RAISE
    try:
        dataset = pydicom.dcmread(path)
        assert sum(1 for element in dataset.iterall() if element.value is not None) > 100
    finally:
        settings.reading_validation_mode = before


def test_anonymous_says_so(path: Path) -> None:
    seg = pydicom.dcmread(path)
    assert seg.PatientName == seg.PatientID == seg.StudyDate == seg.AccessionNumber == ""
    assert seg.PatientIdentityRemoved == "YES"
    assert seg.ContentDate == "19700101"


def refused(job: ExportJob, folder: Path) -> str:
    with pytest.raises(CovidLesionSegError) as caught:
        write_dicom_seg(job, folder / "x.seg.dcm")
    assert not (folder / "x.seg.dcm").exists()
    return caught.value.code


def test_a_gap_is_refused(tmp_path: Path) -> None:
    job = dicom_job(tmp_path / "ct")
    files = job.result.ct.provenance.files
    provenance = replace(job.result.ct.provenance, files=(*files[:5], *files[6:]))
    gapped = replace(
        job, result=replace(job.result, ct=replace(job.result.ct, provenance=provenance))
    )
    assert refused(gapped, tmp_path) == "input-slice-gap"
    Path(files[5]).unlink()
    assert refused(job, tmp_path) == "input-not-found"


def test_another_grid_is_refused(job: ExportJob, tmp_path: Path) -> None:
    affine = job.result.ct.affine_lps.copy()
    affine[2, 3] += 1.0
    moved = replace(job, result=replace(job.result, ct=replace(job.result.ct, affine_lps=affine)))
    assert refused(moved, tmp_path) == "dicom-source-grid"


def test_a_date_in_a_uid_is_refused_when_anonymous(tmp_path: Path) -> None:
    series = identified_series()
    for index, dataset in enumerate(series.datasets):
        uid = f"1.2.840.{IDENTITY['StudyDate']}.{index}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    job = dicom_job(tmp_path / "ct", series)
    with pytest.raises(InputError) as caught:
        write_dicom_seg(job, tmp_path / "x.seg.dcm")
    assert caught.value.code == "dicom-uids-identify"
    assert IDENTITY["StudyDate"] not in str(caught.value)
    write_dicom_seg(replace(job, identified=True), tmp_path / "x.seg.dcm")


def test_a_series_without_frame_of_reference_is_refused(tmp_path: Path) -> None:
    series = identified_series()
    for dataset in series.datasets:
        del dataset.FrameOfReferenceUID
    assert refused(dicom_job(tmp_path / "ct", series), tmp_path) == "dicom-source-incomplete"


def test_a_ct_without_dicom_is_explained(job: ExportJob) -> None:
    assert dicom_obstacle(job) is None
    for provenance, word in (
        (Provenance("nifti", "chest", files=("chest.nii.gz",)), "NIfTI"),
        (Provenance("dicom", "DICOM series", "1.2.3"), "--ct"),
    ):
        ct = replace(job.result.ct, provenance=provenance)
        reason = dicom_obstacle(replace(job, result=replace(job.result, ct=ct)))
        assert reason is not None
        assert word in reason
