"""Arrays in LPS to scalar volume nodes in RAS, on the same grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from numpy.typing import DTypeLike, NDArray
from vtk.util import numpy_support

from CovidLesionSegLib.engine.geometry import Affine
from CovidLesionSegLib.engine.volume import CtVolume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def matrixFromArray(array: NDArray[np.float64]) -> Any:
    """Return a 4 x 4 array as vtkMatrix4x4."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(array.ravel().tolist())
    return matrix


def arrayFromMatrix(matrix: Any) -> NDArray[np.float64]:
    """Return a vtkMatrix4x4 as 4 x 4 array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def fillImage(image: Any, array_kji: NDArray[Any], dtype: DTypeLike | None = None) -> None:
    """Allocate the scalars of a vtkImageData of the right extent, and copy an array into them.

    Copying keeps the image valid when the array goes out of scope.

    Args:
        image: Image whose extent has the shape of the array.
        array_kji: Voxels ``[k, j, i]``.
        dtype: Type of the scalars, one that VTK has; by default the array's.
    """
    kind = np.dtype(dtype or array_kji.dtype)
    image.AllocateScalars(numpy_support.get_vtk_array_type(kind), 1)
    scalars = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    scalars.reshape(array_kji.shape)[:] = array_kji


def addVolume(
    scene: Any,
    name: str,
    array_kji: NDArray[Any],
    affine_lps: Affine,
    dtype: DTypeLike | None = None,
) -> Any:
    """Add a scalar volume node without display.

    Args:
        scene: vtkMRMLScene.
        name: Node name; made unique.
        array_kji: Voxels ``[k, j, i]``.
        affine_lps: 4 x 4, index ``(i, j, k)`` to LPS in mm.
        dtype: Type of the voxels in the scene; by default the array's.

    Returns:
        vtkMRMLScalarVolumeNode.
    """
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(name))
    image = vtk.vtkImageData()
    image.SetDimensions(*array_kji.shape[::-1])
    fillImage(image, array_kji, dtype)
    node.SetIJKToRASMatrix(matrixFromArray(LPS_TO_RAS @ affine_lps))
    node.SetAndObserveImageData(image)
    return node


def addCtVolume(scene: Any, ct: CtVolume) -> Any:
    """Add the CT on the grid of its input; returns vtkMRMLScalarVolumeNode."""
    name = ct.provenance.name or "CT"
    return addVolume(scene, name, ct.to_input_grid(ct.hu), ct.input_affine_lps)


def affineLpsFromNode(node: Any) -> Affine:
    """Return the 4 x 4 index-to-LPS affine of a volume node, without its parent transform."""
    ijkToRas = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(ijkToRas)
    return LPS_TO_RAS @ arrayFromMatrix(ijkToRas)


def arrayFromNode(node: Any) -> NDArray[Any]:
    """Return the voxels ``[k, j, i]`` of a scalar volume node as a copy.

    A volume of several components has a fourth axis.
    """
    image = node.GetImageData()
    columns, rows, slices = image.GetDimensions()
    scalars = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    return np.array(scalars.reshape((slices, rows, columns, *scalars.shape[1:])))
