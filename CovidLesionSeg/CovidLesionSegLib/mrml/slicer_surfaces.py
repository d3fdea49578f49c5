"""Surface models through the exporter of Slicer's Segmentations module, for the panel.

The command line, which has no scene, writes its own (`surface_models`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import slicer
import vtk

from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export.formats import ExportFormat
from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.export.segments import segment_definition, segment_layers

from .surface_models import OBJ_FORMAT, STL_FORMAT


def surfaceFormats(segmentationNode: Any) -> Mapping[str, ExportFormat]:
    """Return the formats ``stl`` (one file per segment) and ``obj`` (one file with colours).

    Args:
        segmentationNode: vtkMRMLSegmentationNode of the result.
    """
    # The exporter's own way to name the file of a segment.
    infection = f"_{segment_definition('infection').name}.stl"

    def writeStl(job: ExportJob, path: Path) -> list[Path]:
        return _write(segmentationNode, job, path, infection)

    def writeObj(job: ExportJob, path: Path) -> list[Path]:
        return _write(segmentationNode, job, path, OBJ_FORMAT.suffix)

    return {
        "stl": ExportFormat(STL_FORMAT.title, infection, writeStl, _noSurface),
        "obj": ExportFormat(OBJ_FORMAT.title, OBJ_FORMAT.suffix, writeObj, _noSurface),
    }


def _noSurface(job: ExportJob) -> str | None:
    return None if job.result.infection.any() else "There is no infection to make a surface of."


def _write(segmentationNode: Any, job: ExportJob, path: Path, suffix: str) -> list[Path]:
    """Let Slicer write surfaces in LPS and mm, the one of the path first."""
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
        raise CovidLesionSegError(
            "output-not-written",
            f"{path.name} could not be written.",
            "Choose another folder, or look whether the disk is full.",
        )
    made.remove(path)
    return [path, *made]


@contextmanager
def _named(node: Any, name: str) -> Iterator[None]:
    """Give a node another name for a while: the exporter makes file names from it."""
    usual = node.GetName()
    wasModifying = node.StartModify()
    node.SetName(name)
    try:
        yield
    finally:
        node.SetName(usual)
        node.EndModify(wasModifying)
