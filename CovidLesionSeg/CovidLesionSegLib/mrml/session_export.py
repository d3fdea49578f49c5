"""Files from a review: segmentation, tables, corrected case."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import slicer

from CovidLesionSegLib.engine.result_reading import run_from_dict
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export.review_files import (
    write_lesions_csv,
    write_rows_csv,
    write_training_case,
)
from CovidLesionSegLib.export.tables import write_lobes_csv

from .review_session import ReviewSession
from .run_nodes import factsOfRun


def exportReview(session: ReviewSession, folder: Path) -> list[Path]:
    """Write segmentation, per-lobe table, lesion list and audit log into a folder.

    Args:
        session: The review, whose numbers are those of the last edit.
        folder: An existing folder; files of the same names are replaced.

    Returns:
        What was written.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    session.refresh()
    session.settle()
    facts = factsOfRun(session.node)
    names = ("segmentation.seg.nrrd", "lobes.csv", "lesions.csv", "review-log.csv")
    paths = [folder / name for name in names]
    storage = slicer.vtkMRMLSegmentationStorageNode()
    storage.SetFileName(str(paths[0]))
    if not storage.WriteData(session.node):
        raise CovidLesionSegError(
            "output-not-written",
            f"{paths[0].name} could not be written.",
            "Choose another folder, or look whether the disk is full.",
        )
    write_lobes_csv(
        paths[1], session.quantification, run_from_dict(facts["run"], facts["timings_s"])
    )
    write_lesions_csv(paths[2], session.lesions)
    entries = [asdict(entry) for entry in session.log]
    header = list(entries[0]) if entries else ["time_utc", "action"]
    write_rows_csv(paths[3], header, [list(entry.values()) for entry in entries])
    return paths


def saveTrainingCase(session: ReviewSession, folder: Path) -> str:
    """Write CT and corrected masks without names or dates; returns the case's key.

    Raises:
        InputError: ``output-not-writable``.
    """
    session.refresh()
    context = session.context
    return write_training_case(folder, context.ct, session.book.infection, context.anatomy.lungs)
