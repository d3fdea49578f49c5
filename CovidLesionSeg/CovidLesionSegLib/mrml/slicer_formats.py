"""The formats a review in the scene can be exported in."""

from __future__ import annotations

import shutil
import tempfile
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

from .scene_bundle import is_complete_bundle
from .slicer_surfaces import surfaceFormats

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

    def writeScene(_job: ExportJob, path: Path) -> list[Path]:
        writeSceneBundle(segmentationNode.GetScene(), path)
        return [path]

    possible = dict(FORMATS)
    if pdf_obstacle() is not None:
        del possible["report-pdf"]
    return {
        **possible,
        "seg-nrrd": ExportFormat(usual.title, usual.suffix, writeSegmentation),
        "review": ExportFormat("Lesion list and review log (CSV)", _LESIONS, _writeReview),
        "mrb": ExportFormat("Whole scene (MRB)", ".mrb", writeScene, _sceneObstacle),
        **surfaceFormats(segmentationNode),
    }


def _sceneObstacle(job: ExportJob) -> str | None:
    if job.identified:
        return None
    return (
        "A scene keeps whatever is loaded, the patient's name too. Tick that the patient may be "
        "named to write it."
    )


def writeSceneBundle(scene: Any, path: Path) -> None:
    """Write a scene as one file.

    Args:
        scene: vtkMRMLScene.
        path: File to write, ending in ``.mrb``.

    Raises:
        CovidLesionSegError: ``scene-not-written``.
    """
    # MRML writes nothing where a folder has brackets in its name: give it a plain one.
    with tempfile.TemporaryDirectory(prefix="scene-") as folder:
        bundle = Path(folder) / path.name
        if not scene.WriteToMRB(str(bundle)) or not is_complete_bundle(bundle):
            raise CovidLesionSegError(
                "scene-not-written",
                "The scene could not be written.",
                "Look whether the disk is full, or save the scene with File > Save Data.",
            )
        shutil.move(bundle, path)


def _writeReview(job: ExportJob, path: Path) -> list[Path]:
    log = path.with_name(path.name.removesuffix(_LESIONS) + ".review-log.csv")
    review = job.review
    write_lesions_csv(path, review.lesions if review is not None else job.result.lesions)
    names = [item.name for item in fields(LogEntry)]
    entries = review.log if review is not None else ()
    write_rows_csv(log, names, [list(asdict(entry).values()) for entry in entries])
    return [path, log]
