"""The patient and the study in a DICOM object: taken over on request, else left empty.

What is taken over is put right where files break the standard's rules, because the libraries
that write DICOM refuse to repeat it; a value that means nothing is left empty.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from CovidLesionSegLib.errors import InputError

NO_DATE, NO_TIME = "19700101", "000000"
"""Written where DICOM demands a date and the export is anonymous: PS3.15 asks for a dummy, and
today is often the day of the scan."""

_REQUIRED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber"),
    *("StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
_OPTIONAL = ("IssuerOfPatientID", "StudyDescription")
_DATES = ("SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate")
_TELLING = ("PatientID", "PatientBirthDate", "AccessionNumber", "StudyDate", *_DATES)
_SHORTEST_TELLING = 6
_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
_METHOD = "Patient and study attributes left empty, UIDs retained"

IDENTITY_KEYWORDS = (*_REQUIRED, *_OPTIONAL, *_DATES, "SpecificCharacterSet")
"""What has to be read of a source for `take_over` and `check_uids`."""


def take_over(image: Any, identified: bool) -> None:
    """Leave in a source data set the patient and the study, valid and in UTF-8, or neither.

    Args:
        image: pydicom data set; changed.
        identified: Whether they may be named.
    """
    texts = {keyword: str(image.get(keyword) or "").strip() for keyword in (*_REQUIRED, *_OPTIONAL)}
    for keyword in IDENTITY_KEYWORDS:
        if keyword in image:
            delattr(image, keyword)
    for keyword, text in texts.items():
        value = _valid(keyword, text) if identified else ""
        if value or keyword in _REQUIRED:
            setattr(image, keyword, value)
    if identified and not all(text.isascii() for text in texts.values()):
        image.SpecificCharacterSet = "ISO_IR 192"


def check_uids(images: Sequence[Any]) -> None:
    """Refuse UIDs in which a date or a number of the patient can be read.

    Raises:
        InputError: ``dicom-uids-identify``.
    """
    telling = {
        text
        for keyword in _TELLING
        if len(text := str(images[0].get(keyword) or "").strip()) >= _SHORTEST_TELLING
    }
    uids = " ".join(str(image.get(keyword)) for image in images for keyword in _UIDS)
    if any(text in uids for text in telling):
        raise InputError(
            "dicom-uids-identify",
            "The scanner wrote a date or a number of the patient into the identifiers of these "
            "DICOM files, and a DICOM object has to repeat them: it can't be anonymous.",
            "De-identify the CT first, or export it with the patient's identity (--identified).",
        )


def mark_anonymous(dataset: Any) -> Any:
    """Say in a data set that the identity was left out, and take out today's date."""
    for keyword in ("InstanceCreationDate", "InstanceCreationTime"):
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = _METHOD
    dataset.LongitudinalTemporalInformationModified = "REMOVED"
    return dataset


def _valid(keyword: str, text: str) -> str:
    if keyword == "PatientSex":
        return text.upper() if text.upper() in ("M", "F", "O") else ""
    if keyword.endswith("Date"):
        digits = text.replace(".", "")
        return digits if re.fullmatch(r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])", digits) else ""
    if keyword.endswith("Time"):
        digits = text.replace(":", "")
        pattern = r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?"
        return digits if re.fullmatch(pattern, digits) else ""
    return text
