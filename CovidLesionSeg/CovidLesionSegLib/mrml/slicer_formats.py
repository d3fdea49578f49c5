"""The formats that need Slicer's own classes: its segmentation file and surface models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
import vtk

from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export.formats import FORMATS, ExportFormat
from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.export.segments import segment_definition, segment_layers

_INFECTION = segment_definition("infection").name


def formatsOfReview(segmentationNode: Any) -> Mapping[str, ExportFormat]:
    """Return every format a review can be exported in, by name.

    Those of `export.formats`; the segmentation file is written by Slicer, which keeps segments
    that the user added, and surface models of the segments join them.

    Args:
        segmentationNode: vtkMRMLSegmentationNode of the result.
    """
    segmentation = FORMATS["seg-nrrd"]

    def writeSegmentation(_job: ExportJob, path: Path) -> list[Path]:
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetFileName(str(path))
        if not storage.WriteData(segmentationNode):
            raise _notWritten(path.name)
        return [path]

    def writeStl(job: ExportJob, path: Path) -> list[Path]:
        return _writeSurfaces(segmentationNode, job, path, f"_{_INFECTION}.stl")

    def writeObj(job: ExportJob, path: Path) -> list[Path]:
        return _writeSurfaces(segmentationNode, job, path, ".obj")

    return {
        **FORMATS,
        "seg-nrrd": ExportFormat(segmentation.title, segmentation.suffix, writeSegmentation),
        "stl": ExportFormat(
            "Surface model of each segment (STL)", f"_{_INFECTION}.stl", writeStl, _noSurface
        ),
        "obj": ExportFormat("Surface models with colours (OBJ)", ".obj", writeObj, _noSurface),
    }


def _noSurface(job: ExportJob) -> str | None:
    return None if job.result.infection.any() else "There is no infection to make a surface of."


def _writeSurfaces(segmentationNode: Any, job: ExportJob, path: Path, suffix: str) -> list[Path]:
    """Let Slicer write surfaces in LPS and mm, the one of the path first.

    Slicer makes the surfaces in passing: the node itself gets none.
    """
    ids = vtk.vtkStringArray()
    for layer in segment_layers(job.result):
        for definition in layer.segments:
            if (layer.labels == definition.label).any():
                ids.InsertNextValue(definition.id)
    before = set(path.parent.iterdir())
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    with _named(segmentationNode, path.name.removesuffix(suffix)):
        logic.ExportSegmentsClosedSurfaceRepresentationToFiles(
            str(path.parent), segmentationNode, ids, path.suffix[1:].upper()
        )
    # What it returns is true whatever happens.
    made = sorted(set(path.parent.iterdir()) - before)
    if path not in made:
        raise _notWritten(path.name)
    made.remove(path)
    return [path, *made]


@contextmanager
def _named(node: Any, name: str) -> Iterator[None]:
    """Give a node another name for a while: Slicer makes file names from it."""
    usual = node.GetName()
    wasModifying = node.StartModify()
    node.SetName(name)
    try:
        yield
    finally:
        node.SetName(usual)
        node.EndModify(wasModifying)


def _notWritten(what: str) -> CovidLesionSegError:
    return CovidLesionSegError(
        "output-not-written",
        f"{what} could not be written.",
        "Choose another folder, or look whether the disk is full.",
    )
