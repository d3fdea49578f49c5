"""Boundary map and agreement map as scalar volumes with their own colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.export.palette import BOUNDARY_RAMP_RGB, RampRgb, ramp_color

from .volume_node import addVolume

_COLORS = 256
BOUNDARY_SHOWN_FROM = 0.1
"""Below this probability the map is transparent, so that the CT stays readable."""


def addBoundaryMap(scene: Any, result: SegmentationResult, ctNode: Any) -> Any | None:
    """Add the lesion boundary probability, 0..1, as float volume.

    Args:
        scene: vtkMRMLScene.
        result: The result.
        ctNode: vtkMRMLScalarVolumeNode of its CT.

    Returns:
        vtkMRMLScalarVolumeNode; None when the model has no boundary.
    """
    if result.prediction.boundary is None:
        return None
    node = _addMap(scene, result, ctNode, "Lesion boundary", result.prediction.boundary)
    _display(scene, node, "Lesion boundary colors", BOUNDARY_RAMP_RGB)
    node.GetDisplayNode().SetThreshold(BOUNDARY_SHOWN_FROM, 1.0)
    return node


def addAgreementMap(scene: Any, result: SegmentationResult, ctNode: Any) -> Any | None:
    """Add the agreement of the models, 0..1, as float volume; bright where they disagree.

    Full agreement is transparent.

    Args:
        scene: vtkMRMLScene.
        result: The result.
        ctNode: vtkMRMLScalarVolumeNode of its CT.

    Returns:
        vtkMRMLScalarVolumeNode; None when a single model made the result.
    """
    if result.prediction.agreement is None:
        return None
    node = _addMap(scene, result, ctNode, "Model agreement", result.prediction.agreement)
    _display(scene, node, "Model agreement colors", BOUNDARY_RAMP_RGB[::-1])
    node.GetDisplayNode().SetThreshold(0.0, 0.95)
    return node


def _addMap(
    scene: Any, result: SegmentationResult, ctNode: Any, name: str, array_zyx: NDArray[np.float16]
) -> Any:
    array_kji, affine = result.ct.to_input_grid(array_zyx), result.ct.input_affine_lps
    # VTK has no 16-bit float.
    node = addVolume(scene, name, array_kji, affine, np.float32)
    node.SetAndObserveTransformNodeID(ctNode.GetTransformNodeID())
    return node


def _display(scene: Any, node: Any, colorName: str, ramp: RampRgb) -> None:
    # The default one would look for a window in all voxels, which takes a second.
    display = scene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    display.SetAndObserveColorNodeID(_colorNode(scene, colorName, ramp).GetID())
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(1.0, 0.5)
    display.SetAutoThreshold(False)
    display.SetApplyThreshold(True)
    display.SetInterpolate(True)
    node.SetAndObserveDisplayNodeID(display.GetID())


def _colorNode(scene: Any, name: str, ramp: RampRgb) -> Any:
    """Return the colour table of this name, made when the scene has none."""
    existing = scene.GetFirstNode(name, "vtkMRMLColorTableNode")
    if existing is not None:
        return existing
    node = scene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    node.SetTypeToUser()
    node.SetNumberOfColors(_COLORS)
    for index in range(_COLORS):
        position = index / (_COLORS - 1)
        node.SetColor(index, f"{position:.3f}", *ramp_color(ramp, position), 1.0)
    node.SetAllColorsDefined()
    node.AddDefaultStorageNode()
    return node
