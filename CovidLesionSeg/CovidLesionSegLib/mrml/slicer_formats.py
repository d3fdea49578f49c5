"""The formats a review in the scene can be exported in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import slicer

from CovidLesionSegLib.engine.review_values import LogEntry
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export.formats import FORMATS, ExportFormat
from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.export.report_pdf import pdf_obstacle
from CovidLesionSegLib.export.review_files import write_lesions_csv, write_rows_csv

from .surface_models import OBJ_FORMAT, STL_FORMAT

_LESIONS = ".lesions.csv"


def formatsOfReview(segmentationNode: Any) -> Mapping[str, ExportFormat]:
    """Return every format a review can be exported in, by name.

    Those of `export.formats` and surface models. The segmentation file is written by Slicer
    itself, which keeps segments that the user added; lesion list and review log join them. The
    PDF is left out where its packages are missing, as in Slicer: nothing is installed for it.

    Args:
        segmentationNode: vtkMRMLSegmentationNode of the result.
    """
    usual = FORMATS["seg-nrrd"]

    def writeSegmentation(_job: ExportJob, path: Path) -> list[Path]:
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetFileName(str(path))
        if not storage.WriteData(segmentationNode):
            raise CovidLesionSegError(
                "output-not-written",
                f"{path.name} could not be written.",
                "Choose another folder, or look whether the disk is full.",
            )
        return [path]

    possible = dict(FORMATS)
    if pdf_obstacle() is not None:
        del possible["report-pdf"]
    return {
        **possible,
        "seg-nrrd": ExportFormat(usual.title, usual.suffix, writeSegmentation),
        "review": ExportFormat("Lesion list and review log (CSV)", _LESIONS, _writeReview),
        "stl": STL_FORMAT,
        "obj": OBJ_FORMAT,
    }


def _writeReview(job: ExportJob, path: Path) -> list[Path]:
    log = path.with_name(path.name.removesuffix(_LESIONS) + ".review-log.csv")
    review = job.review
    write_lesions_csv(path, review.lesions if review is not None else job.result.lesions)
    names = [item.name for item in fields(LogEntry)]
    entries = review.log if review is not None else ()
    write_rows_csv(log, names, [list(asdict(entry).values()) for entry in entries])
    return [path, log]
