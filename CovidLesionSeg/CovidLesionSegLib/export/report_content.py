"""What a report says about one result."""

from __future__ import annotations

from datetime import datetime, timezone

from CovidLesionSegLib.version import __version__

from .job import ExportJob
from .report_figures import chart_section, map_section, slice_section
from .report_findings import finding_section, lobe_section
from .report_model import Facts, Report, Section
from .report_provenance import definition_section, limit_section, provenance_section
from .report_review import review_section, review_sentence

TITLE = "Chest CT: quantification of COVID-19 lesions"
_RESEARCH = "For research; not a medical device."
_FOOTER = f"CovidLesionSeg {__version__}. {_RESEARCH}"
_SHOWN_DIGITS = 12
"""So much of the CT's digest tells reports apart without naming anybody."""


def report_content(job: ExportJob, made: datetime | None = None) -> Report:
    """Return the report of a result as it is now, after all edits.

    Anonymous unless the job is identified: then it holds no name, number or date of the
    patient and of the study, no name of the CT's file and no DICOM identifier.

    Args:
        job: The result and its review.
        made: Time that the report shows; now by default.
    """
    time = (made or datetime.now(timezone.utc)).astimezone(timezone.utc)
    sections = (
        *_patient_sections(job),
        finding_section(job),
        lobe_section(job),
        chart_section(job),
        slice_section(job),
        *map_section(job),
        review_section(job),
        limit_section(job),
        provenance_section(job),
        definition_section(job),
    )
    subtitle = f"CT {job.result.ct.digest()[:_SHOWN_DIGITS]}, report of {time:%Y-%m-%d %H:%M} UTC"
    notice = f"{review_sentence(job)} {_RESEARCH}"
    return Report(TITLE, subtitle, notice, _FOOTER, sections)


def _patient_sections(job: ExportJob) -> tuple[Section, ...]:
    if not job.identified:
        return ()
    patient = job.patient
    pairs = [("CT", job.result.ct.provenance.name)]
    if patient is not None:
        pairs = [
            ("Name", patient.name),
            ("Patient ID", patient.id),
            ("Date of birth", patient.birth_date),
            ("Sex", patient.sex),
            ("Date of study", patient.study_date),
            ("Study", patient.study_description),
            ("Accession number", patient.accession_number),
            *pairs,
        ]
    known = tuple((name, value) for name, value in pairs if value)
    return (Section("Patient", (Facts(known),)),)
