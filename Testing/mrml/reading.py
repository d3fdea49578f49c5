"""How the tests look at nodes: with MRML's own functions, not with the code under test."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util.numpy_support import vtk_to_numpy


def matrix(vtk_matrix: Any) -> NDArray[np.float64]:
    """A vtkMatrix4x4 as array."""
    return np.array([vtk_matrix.GetElement(i, j) for i in range(4) for j in range(4)]).reshape(4, 4)


def ijk_to_ras(node: Any) -> NDArray[np.float64]:
    """Geometry of a volume node."""
    result = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(result)
    return matrix(result)


def image_array(image: Any) -> NDArray[Any]:
    """Voxels ``[k, j, i]`` of an image's extent."""
    shape = image.GetDimensions()[::-1]
    array: NDArray[Any] = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(shape)
    return array


def segment_mask(
    node: Any, segment_id: str, shape_kji: tuple[int, ...]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """A segment on a grid of the given shape from index 0, and its index-to-RAS matrix."""
    image = slicer.vtkOrientedImageData()
    assert node.GetBinaryLabelmapRepresentation(segment_id, image)
    mask = np.zeros(shape_kji, bool)
    geometry = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(geometry)
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    if i0 <= i1:
        mask[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = image_array(image) != 0
    return mask, matrix(geometry)


def nodes_of(scene: Any, class_name: str) -> list[Any]:
    """All nodes of exactly this class, the ones without a name left out."""
    count = scene.GetNumberOfNodesByClass(class_name)
    nodes = [scene.GetNthNodeByClass(index, class_name) for index in range(count)]
    return [node for node in nodes if node.GetClassName() == class_name]
