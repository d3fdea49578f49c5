"""The patient and the study, for those who ask for it by an explicit option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from CovidLesionSegLib.errors import InputError

_KEYWORDS = {
    "name": "PatientName",
    "id": "PatientID",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "accession_number": "AccessionNumber",
    "study_date": "StudyDate",
    "study_description": "StudyDescription",
}


@dataclass(frozen=True)
class Patient:
    """Who was examined and when; empty where the files say nothing.

    Attributes:
        name: For people, for example ``"Doe, Jane"``.
        id: Patient ID of the hospital.
        birth_date, study_date: ISO 8601, ``"1957-03-02"``.
        sex: ``"F"``, ``"M"`` or ``"O"``.
        accession_number: Of the examination.
        study_description: As the scanner's operator chose it.
    """

    name: str = ""
    id: str = ""
    birth_date: str = ""
    sex: str = ""
    accession_number: str = ""
    study_date: str = ""
    study_description: str = ""


def patient_of(files: Sequence[str]) -> Patient | None:
    """Return the patient that the first of some DICOM files names; None without files.

    Args:
        files: Paths of the series.

    Raises:
        InputError: ``input-not-found`` when the file is gone.
    """
    if not files:
        return None
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        dataset = dcmread(files[0], stop_before_pixels=True, specific_tags=list(_KEYWORDS.values()))
    except (OSError, InvalidDicomError) as error:
        raise InputError(
            "input-not-found",
            "The DICOM files of the CT are not all there any more, and only they name the patient.",
            "Give the folder in which they are now, or export without the patient's identity.",
        ) from error
    texts = {
        field.name: str(dataset.get(_KEYWORDS[field.name]) or "").strip()
        for field in fields(Patient)
    }
    texts["name"] = ", ".join(part for part in texts["name"].split("=")[0].split("^") if part)
    for key in ("birth_date", "study_date"):
        if len(texts[key]) == 8:
            texts[key] = f"{texts[key][:4]}-{texts[key][4:6]}-{texts[key][6:]}"
    return Patient(**texts)
