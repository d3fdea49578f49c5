"""What a reader sees when a result is opened."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.engine.volume import CtVolume

LUNG_WINDOW_HU = 1500.0
LUNG_LEVEL_HU = -600.0


def setLungWindow(ctNode: Any) -> None:
    """Show a CT in grey at window 1500 HU, level -600 HU.

    Args:
        ctNode: vtkMRMLScalarVolumeNode; gets a display node when it has none.
    """
    if ctNode.GetDisplayNode() is None:
        ctNode.CreateDefaultDisplayNodes()
    display = ctNode.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(LUNG_WINDOW_HU, LUNG_LEVEL_HU)


def showInSliceViews(
    scene: Any, ctNode: Any, mapNode: Any | None = None, mapOpacity: float = 0.0
) -> None:
    """Show the CT as background and a map as foreground in all slice views.

    Args:
        scene: vtkMRMLScene with slice composite nodes.
        ctNode: vtkMRMLScalarVolumeNode.
        mapNode: vtkMRMLScalarVolumeNode, or None for no foreground.
        mapOpacity: Opacity of the foreground, 0..1.
    """
    for composite in _compositesOf(scene):
        composite.SetBackgroundVolumeID(ctNode.GetID())
        composite.SetForegroundVolumeID(mapNode.GetID() if mapNode is not None else None)
        composite.SetForegroundOpacity(mapOpacity)


def setMapOpacity(scene: Any, mapNode: Any, mapOpacity: float) -> None:
    """Set how much of a map shows in the slice views that show it.

    Args:
        scene: vtkMRMLScene with slice composite nodes.
        mapNode: vtkMRMLScalarVolumeNode.
        mapOpacity: Opacity of the foreground, 0..1.
    """
    for composite in _compositesOf(scene):
        if composite.GetForegroundVolumeID() == mapNode.GetID():
            composite.SetForegroundOpacity(mapOpacity)


def hideMap(scene: Any, mapNode: Any) -> None:
    """Take a map, a vtkMRMLScalarVolumeNode, from the slice views that show it."""
    for composite in _compositesOf(scene):
        if composite.GetForegroundVolumeID() == mapNode.GetID():
            composite.SetForegroundVolumeID(None)
            composite.SetForegroundOpacity(0.0)


def _compositesOf(scene: Any) -> Iterator[Any]:
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        yield scene.GetNthNodeByClass(index, "vtkMRMLSliceCompositeNode")


def jumpTo(scene: Any, pointRas: tuple[float, float, float]) -> None:
    """Move every slice view to a point in world coordinates, in mm."""
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        scene.GetNthNodeByClass(index, "vtkMRMLSliceNode").JumpSliceByOffsetting(*pointRas)


def pointOfInterestRas(result: SegmentationResult, ctNode: Any) -> tuple[float, float, float]:
    """Return where to look first, in world coordinates, in mm.

    In the slice with the most infection the middle of it; without infection the middle of
    the lungs, without lungs of the CT.

    Args:
        result: The result.
        ctNode: vtkMRMLScalarVolumeNode of its CT, perhaps under a transform.
    """
    return pointRas(result.ct, indexOfInterest(result), ctNode)


def pointRas(
    ct: CtVolume, index_zyx: tuple[float, float, float], ctNode: Any
) -> tuple[float, float, float]:
    """Return where a voxel of a CT lies in world coordinates, in mm.

    Args:
        ct: The CT.
        index_zyx: Index of the voxel, in LPS axis order.
        ctNode: vtkMRMLScalarVolumeNode of the CT, perhaps under a transform.
    """
    x, y, z = (ct.affine_lps @ [*index_zyx[::-1], 1.0])[:3]
    world = [0.0, 0.0, 0.0]
    ctNode.TransformPointToWorld([-x, -y, z], world)
    return world[0], world[1], world[2]


def indexOfInterest(result: SegmentationResult) -> tuple[float, float, float]:
    """Return the index of the voxel to look at first; see `pointOfInterestRas`."""
    for mask in (result.infection, result.anatomy.lungs):
        areas = np.count_nonzero(mask, axis=(1, 2))
        if areas.any():
            fullest = int(areas.argmax())
            row, column = np.argwhere(mask[fullest]).mean(axis=0)
            return float(fullest), float(row), float(column)
    z, y, x = ((size - 1) / 2.0 for size in result.ct.shape_zyx)
    return z, y, x
