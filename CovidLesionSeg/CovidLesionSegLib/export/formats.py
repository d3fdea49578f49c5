"""Every format a result can be exported in, by name: for the command line and the panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from .dicom_seg import write_dicom_seg
from .dicom_source import dicom_obstacle
from .dicom_sr import write_dicom_sr
from .job import ExportJob
from .labelmaps import write_labelmaps
from .report_content import report_content
from .report_html import write_report_html
from .report_pdf import pdf_obstacle, write_report_pdf
from .seg_nrrd import write_segmentation
from .tables import TableSource, write_lobes_csv, write_lobes_json

NO_CT = "It needs the CT that was segmented. Give it with --ct."


def _always(_job: ExportJob) -> str | None:
    return None


@dataclass(frozen=True)
class ExportFormat:
    """One way to write a result.

    Attributes:
        title: For people, a few words.
        suffix: End of the file name, with its dot.
        write: Writes a job to a path that ends in `suffix`, each file at once or not at all;
            returns what it wrote, the path itself first, others beside it with the same stem.
        obstacle: Why this job can't be written so, in one or two sentences; None if it can.
        needs_ct: Whether the voxels of the CT are needed.
    """

    title: str
    suffix: str
    write: Callable[[ExportJob, Path], Sequence[Path]]
    obstacle: Callable[[ExportJob], str | None] = _always
    needs_ct: bool = False

    def unavailable(self, job: ExportJob) -> str | None:
        """Return why this job can't be written so, for people; None if it can."""
        if self.needs_ct and not job.has_ct:
            return NO_CT
        return self.obstacle(job)


def _write_seg_nrrd(job: ExportJob, path: Path) -> list[Path]:
    write_segmentation(path, job.result)
    return [path]


def _write_csv(job: ExportJob, path: Path) -> list[Path]:
    result = job.result
    write_lobes_csv(path, result.quantification, result.run, TableSource.of(result))
    return [path]


def _write_json(job: ExportJob, path: Path) -> list[Path]:
    result = job.result
    write_lobes_json(path, result.quantification, result.run, TableSource.of(result))
    return [path]


def _write_report(job: ExportJob, path: Path) -> list[Path]:
    write_report_html(path, report_content(job))
    return [path]


def _write_report_pdf(job: ExportJob, path: Path) -> list[Path]:
    write_report_pdf(path, report_content(job))
    return [path]


FORMATS: Mapping[str, ExportFormat] = MappingProxyType(
    {
        "dicom-seg": ExportFormat(
            "DICOM segmentation", ".seg.dcm", write_dicom_seg, dicom_obstacle
        ),
        "dicom-sr": ExportFormat(
            "DICOM measurement report", ".sr.dcm", write_dicom_sr, dicom_obstacle
        ),
        "seg-nrrd": ExportFormat("Segmentation for 3D Slicer", ".seg.nrrd", _write_seg_nrrd),
        "nifti": ExportFormat("Label maps as NIfTI with a legend", ".nii.gz", write_labelmaps),
        "csv": ExportFormat("Table by lobe (CSV)", ".lobes.csv", _write_csv),
        "json": ExportFormat("Table by lobe (JSON)", ".lobes.json", _write_json),
        "report": ExportFormat("Report as a web page (HTML)", ".report.html", _write_report),
        "report-pdf": ExportFormat(
            "Report as PDF", ".report.pdf", _write_report_pdf, lambda _job: pdf_obstacle()
        ),
    }
)
"""The formats that need neither Slicer's classes nor Qt, in the order in which they are
listed."""
