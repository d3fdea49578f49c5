"""The process that makes the scene of ``scene.mrb``: reads an outline from standard input."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import vtk

from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.export.seg_nrrd import REFERENCE_GEOMETRY

from .display import jumpTo, pointRas, setLungWindow, showInSliceViews
from .headless import HeadlessApplication
from .hierarchy import addStudy
from .scene import ResultNodes, addResult
from .scene_outline import SceneOutline
from .views import addViews
from .volume_node import addCtVolume


def buildScene(
    application: HeadlessApplication,
    result: SegmentationResult,
    interest_zyx: tuple[float, float, float],
) -> ResultNodes:
    """Fill an empty scene with a result and with views that show it.

    Args:
        application: An application without windows.
        result: The result.
        interest_zyx: Index of the voxel that the views open at.
    """
    scene = application.scene
    ctNode = addCtVolume(scene, result.ct)
    setLungWindow(ctNode)
    addStudy(scene, "Chest CT", ctNode)
    nodes = addResult(scene, result, ctNode)
    addViews(application, ctNode, nodes.table)
    showInSliceViews(scene, ctNode, nodes.boundaryMap)
    jumpTo(scene, pointRas(result.ct, interest_zyx, ctNode))
    return nodes


def dropVoxels(nodes: ResultNodes) -> None:
    """Leave next to nothing of CT and segmentation, so that saving them takes no time."""
    image = vtk.vtkImageData()
    image.SetDimensions(1, 1, 1)
    image.AllocateScalars(nodes.ct.GetImageData().GetScalarType(), 1)
    image.GetPointData().GetScalars().Fill(0)
    nodes.ct.SetAndObserveImageData(image)
    # It would be saved in the size of the CT; `segmentation_header` says what it was.
    segmentation = nodes.segmentation.GetSegmentation()
    segmentation.SetConversionParameter(REFERENCE_GEOMETRY, "")


def main() -> None:
    """Write the outline on standard input to the path on the command line."""
    # The pipe comes from `scene_file`, never from a file: nobody else can fill it.
    outline: SceneOutline = pickle.load(sys.stdin.buffer)
    application = HeadlessApplication.start()
    nodes = buildScene(application, outline.stand_in(), outline.interest_zyx)
    dropVoxels(nodes)
    application.save(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
