"""Voxels of a segment as an array on the CT's grid, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util import numpy_support

from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.export.seg_nrrd import TERMINOLOGY_TAG
from CovidLesionSegLib.export.segments import segment_definition

from .segmentation_node import BINARY_LABELMAP, addSegment, orientedLabelmap
from .volume_node import LPS_TO_RAS, arrayFromMatrix, matrixFromArray

SAME_PLACE_MM = 1e-3


def maskOfSegment(segmentationNode: Any, segmentId: str, ct: CtVolume) -> NDArray[np.uint8]:
    """Return the voxels of a segment.

    Milliseconds when the segment lies on the CT's grid, which it does unless somebody gave
    the segmentation another geometry; then the nearest voxels count.

    Args:
        segmentationNode: vtkMRMLSegmentationNode.
        segmentId: Id of the segment; a missing segment is an empty one.
        ct: The CT.

    Returns:
        uint8 ``[z, y, x]`` in LPS axis order, 1 inside.
    """
    return _labelsOf(segmentationNode, {segmentId: 1}, ct)


def labelsOfSegments(
    segmentationNode: Any, labels: dict[str, int], ct: CtVolume
) -> NDArray[np.uint8] | None:
    """Return several segments in one label map; None when the node has none of them.

    Args:
        segmentationNode: vtkMRMLSegmentationNode.
        labels: Label by segment id.
        ct: The CT.
    """
    segmentation = segmentationNode.GetSegmentation()
    present = {key: label for key, label in labels.items() if segmentation.GetSegment(key)}
    return _labelsOf(segmentationNode, present, ct) if present else None


def setMaskOfSegment(
    segmentationNode: Any, segmentId: str, mask_zyx: NDArray[np.uint8], ct: CtVolume
) -> None:
    """Replace the voxels of a segment; one of ours that was removed comes back.

    Args:
        segmentationNode: vtkMRMLSegmentationNode.
        segmentId: Id of the segment.
        mask_zyx: uint8 ``[z, y, x]`` in LPS axis order, non-zero inside.
        ct: The CT.

    Raises:
        KeyError: The segment is neither there nor one of ours.
    """
    segmentation = segmentationNode.GetSegmentation()
    if segmentation.GetSegment(segmentId) is None:
        definition = segment_definition(segmentId)
        label = (mask_zyx > 0).astype(np.uint8) * np.uint8(definition.label)
        image = orientedLabelmap(ct.to_input_grid(label), ct.input_affine_lps)
        tags = {TERMINOLOGY_TAG: definition.terminology_entry}
        addSegment(segmentation, definition, image, tags)
        return
    image = orientedLabelmap(ct.to_input_grid(mask_zyx), ct.input_affine_lps)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    logic.SetBinaryLabelmapToSegment(image, segmentationNode, segmentId, logic.MODE_REPLACE)


def _labelsOf(segmentationNode: Any, labels: dict[str, int], ct: CtVolume) -> NDArray[np.uint8]:
    found = np.zeros(ct.orientation.from_lps(ct.hu).shape, dtype=np.uint8)
    for segmentId, label in labels.items():
        segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
        image = segment.GetRepresentation(BINARY_LABELMAP) if segment is not None else None
        if image is not None and image.GetPointData().GetScalars() is not None:
            _paste(found, label, image, segment.GetLabelValue(), ct)
    return ct.orientation.to_lps(found)


def _paste(found: NDArray[np.uint8], label: int, image: Any, value: int, ct: CtVolume) -> None:
    """Write a label where an oriented image has a value."""
    imageToWorld = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(imageToWorld)
    grid = LPS_TO_RAS @ ct.input_affine_lps
    if not np.allclose(arrayFromMatrix(imageToWorld), grid, atol=SAME_PLACE_MM):
        image = _resampled(image, grid, found.shape)
    extent = image.GetExtent()
    scalars = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    shape = tuple(extent[2 * axis + 1] - extent[2 * axis] + 1 for axis in (2, 1, 0))
    if 0 in shape:
        return
    inside, source = [], []
    for axis, size in zip((2, 1, 0), found.shape, strict=True):
        first, last = extent[2 * axis], extent[2 * axis + 1]
        start, stop = max(first, 0), min(last + 1, size)
        if start >= stop:
            return
        inside.append(slice(start, stop))
        source.append(slice(start - first, stop - first))
    found[tuple(inside)][scalars.reshape(shape)[tuple(source)] == value] = label


def _resampled(image: Any, grid: NDArray[np.float64], shape: tuple[int, ...]) -> Any:
    reference = slicer.vtkOrientedImageData()
    reference.SetImageToWorldMatrix(matrixFromArray(grid))
    reference.SetExtent(0, shape[2] - 1, 0, shape[1] - 1, 0, shape[0] - 1)
    result = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, reference, result, False
    )
    return result
