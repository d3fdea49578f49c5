"""Where a result lies, when its CT or its segmentation was moved after the run."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray

from CovidLesionSegLib.engine.geometry import Affine
from CovidLesionSegLib.export.segments import segment_definitions

from .segment_voxels import SAME_PLACE_MM
from .segmentation_node import BINARY_LABELMAP
from .volume_node import LPS_TO_RAS, affineLpsFromNode, arrayFromMatrix


def gridNode(segmentationNode: Any, ctNode: Any, probability: Any) -> Any:
    """Return the node whose grid is that of the segments: the CT, or a map of the run.

    They differ once a transform of the CT was hardened. When the segmentation's was as well, the
    CT's grid is that of the segments again.

    Args:
        segmentationNode: vtkMRMLSegmentationNode of a result.
        ctNode: vtkMRMLScalarVolumeNode.
        probability: vtkMRMLScalarVolumeNode, which nobody moves because it is hidden.
    """
    place = _affineLps(segmentationNode)
    if place is None or _isSame(place, affineLpsFromNode(ctNode)):
        return ctNode
    return probability if _isSame(place, affineLpsFromNode(probability)) else ctNode


def liesElsewhere(segmentationNode: Any, ctNode: Any, probability: Any) -> bool:
    """Return whether the CT is seen at another place than the segmentation.

    Args:
        segmentationNode: vtkMRMLSegmentationNode of a result.
        ctNode: vtkMRMLScalarVolumeNode; None when it was deleted.
        probability: As for `gridNode`.
    """
    place = _affineLps(segmentationNode)
    if ctNode is None or probability is None or place is None:
        return False
    # Somebody gave the segmentation another geometry: that is no other place.
    if not any(_isSame(place, affineLpsFromNode(node)) for node in (ctNode, probability)):
        return False
    parents = [node.GetParentTransformNode() for node in (segmentationNode, ctNode)]
    if parents[0] is not parents[1]:
        if any(node is not None and not node.IsTransformToWorldLinear() for node in parents):
            return True
        return not _isSame(
            _toWorld(parents[0]) @ LPS_TO_RAS @ place,
            _toWorld(parents[1]) @ LPS_TO_RAS @ affineLpsFromNode(ctNode),
        )
    return not _isSame(place, affineLpsFromNode(ctNode))


def _affineLps(segmentationNode: Any) -> Affine | None:
    """Return the grid of the segments, index to LPS, without the node's transform."""
    segmentation = segmentationNode.GetSegmentation()
    for definition in segment_definitions():
        segment = segmentation.GetSegment(definition.id)
        image = segment.GetRepresentation(BINARY_LABELMAP) if segment is not None else None
        if image is not None:
            imageToRas = vtk.vtkMatrix4x4()
            image.GetImageToWorldMatrix(imageToRas)
            return LPS_TO_RAS @ arrayFromMatrix(imageToRas)
    return None


def _toWorld(transformNode: Any) -> NDArray[np.float64]:
    matrix = vtk.vtkMatrix4x4()
    if transformNode is not None:
        transformNode.GetMatrixTransformToWorld(matrix)
    return arrayFromMatrix(matrix)


def _isSame(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    return np.allclose(one, other, atol=SAME_PLACE_MM)
