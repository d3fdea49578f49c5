"""Headers as hospitals write them: names in any script, values against the rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.export.dicom_identity import check_uids, take_over
from CovidLesionSegLib.export.dicom_seg import write_dicom_seg
from CovidLesionSegLib.export.dicom_source import writing_dicom
from CovidLesionSegLib.export.dicom_sr import write_dicom_sr
from Testing.support.dicom_job import dicom_job, identified_series
from Testing.support.seg_decoding import decoded_by_highdicom, masks_of


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("keyword", "written", "taken"),
    [
        ("PatientSex", "m", "M"),
        ("PatientSex", "W", ""),
        ("StudyDate", "2020.03.31", "20200331"),
        ("PatientBirthDate", "unknown", ""),
        ("PatientBirthDate", "19431332", ""),
        ("StudyTime", "11:33:55", "113355"),
        ("StudyTime", "113355.123456", "113355.123456"),
        ("StudyTime", "9999", ""),
        ("StudyID", "17", "17"),
    ],
)
def test_values_against_the_rules_are_put_right_or_left_empty(
    keyword: str, written: str, taken: str
) -> None:
    dataset = Dataset()
    setattr(dataset, keyword, written)
    take_over(dataset, identified=True)
    assert str(dataset[keyword].value) == taken


def test_what_is_missing_is_empty_and_what_is_not_needed_stays_out() -> None:
    dataset = Dataset()
    dataset.StudyDescription, dataset.SeriesDate = "Thorax", "20200401"
    take_over(dataset, identified=False)
    assert dataset.PatientID == dataset.PatientName == dataset.StudyDate == ""
    assert "StudyDescription" not in dataset
    assert "SeriesDate" not in dataset


def test_only_telling_uids_are_refused() -> None:
    dataset = Dataset()
    dataset.StudyDate, dataset.AcquisitionDate, dataset.PatientID = "20200331", "20200402", "17"
    dataset.SOPInstanceUID = "1.2.17.20200330"
    check_uids([dataset])
    dataset.SOPInstanceUID = "1.2.3.20200402113355"
    with pytest.raises(InputError) as caught:
        check_uids([dataset])
    assert caught.value.code == "dicom-uids-identify"


def _japanese(dataset: Dataset, _index: int) -> None:
    dataset.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
    dataset.PatientName = "Yamada^Tarou=山田^太郎"


def _untidy(dataset: Dataset, index: int) -> None:
    """Turn every second slice by a rounding error, and leave the thickness out."""
    dataset.ImageOrientationPatient = [1, 0, 1e-5 * (index % 2), 0, 1, 0]
    del dataset.SliceThickness


@pytest.mark.parametrize("change", [_japanese, _untidy])
def test_untidy_series_can_be_referred_to(
    change: Callable[[Dataset, int], None], tmp_path: Path
) -> None:
    hd = pytest.importorskip("highdicom", reason="DICOM export needs highdicom")
    series = identified_series()
    for index, dataset in enumerate(series.datasets):
        change(dataset, index)
    name = str(series.datasets[0].PatientName)
    job = dicom_job(tmp_path / "ct", series, identified=True)
    (seg,) = write_dicom_seg(job, tmp_path / "x.seg.dcm")
    (sr,) = write_dicom_sr(job, tmp_path / "x.sr.dcm")
    assert str(hd.seg.segread(seg).PatientName) == name
    assert str(hd.sr.srread(sr).PatientName) == name
    masks = decoded_by_highdicom(seg, job.result.ct)
    for segment, mask in masks_of(job.result).items():
        np.testing.assert_array_equal(masks[segment], mask, err_msg=segment)


def test_what_the_libraries_refuse_is_said_without_the_patient() -> None:
    with pytest.raises(CovidLesionSegError) as caught, writing_dicom():
        raise ValueError("'Mustermann' is no valid value")
    assert caught.value.code == "dicom-not-made"
    assert "Mustermann" not in str(caught.value)
