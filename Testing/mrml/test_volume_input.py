"""A CT out of the scene into the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import vtk

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.mrml.hierarchy import itemOfNode
from CovidLesionSegLib.mrml.volume_input import ct_from_volume_node
from CovidLesionSegLib.mrml.volume_node import addCtVolume, addVolume
from Testing.support.grids import GRIDS
from Testing.support.results import make_result

if TYPE_CHECKING:
    from CovidLesionSegLib.mrml.headless import HeadlessApplication

pytestmark = pytest.mark.mrml


@pytest.mark.parametrize("grid", GRIDS)
def test_a_ct_comes_back_from_its_node(application: HeadlessApplication, grid: str) -> None:
    ct = make_result(**GRIDS[grid]).ct
    node = addCtVolume(application.scene, ct)

    found = ct_from_volume_node(node)

    np.testing.assert_array_equal(found.hu, ct.hu)
    np.testing.assert_allclose(found.input_affine_lps, ct.input_affine_lps, atol=1e-9)
    assert found.digest() == ct.digest()
    assert (found.provenance.source, found.provenance.name) == ("mrml", "chest")


def test_float_voxels_become_hu(application: HeadlessApplication) -> None:
    ct = make_result().ct
    node = addVolume(application.scene, "CT", ct.hu.astype(np.float32) + 0.2, ct.input_affine_lps)

    np.testing.assert_array_equal(ct_from_volume_node(node).hu, ct.hu)


def test_a_dicom_volume_keeps_its_series_and_loses_its_name(
    application: HeadlessApplication,
) -> None:
    node = addCtVolume(application.scene, make_result().ct)
    node.SetName("Doe^Jane")
    hierarchy = application.scene.GetSubjectHierarchyNode()
    hierarchy.SetItemUID(itemOfNode(application.scene, node), "DICOM", "1.2.3")

    provenance = ct_from_volume_node(node).provenance

    assert provenance.series_instance_uid == "1.2.3"
    assert provenance.name == "DICOM series"


def test_a_linear_transform_changes_nothing(application: HeadlessApplication) -> None:
    ct = make_result().ct
    node = addCtVolume(application.scene, ct)
    transform = application.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    moved = vtk.vtkTransform()
    moved.Translate(1.0, 2.0, 3.0)
    transform.SetMatrixTransformToParent(moved.GetMatrix())
    node.SetAndObserveTransformNodeID(transform.GetID())

    assert ct_from_volume_node(node).digest() == ct.digest()


def _warped(scene: Any) -> Any:
    node = addCtVolume(scene, make_result().ct)
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode")
    warp = vtk.vtkThinPlateSplineTransform()
    warp.SetBasisToR()
    points = vtk.vtkPoints()
    moved = vtk.vtkPoints()
    for corner in ((0, 0, 0), (50, 0, 0), (0, 50, 0), (0, 0, 50), (50, 50, 50)):
        points.InsertNextPoint(corner)
        moved.InsertNextPoint(corner[0] + 3.0, corner[1] * 1.1, corner[2])
    warp.SetSourceLandmarks(points)
    warp.SetTargetLandmarks(moved)
    transform.SetAndObserveTransformToParent(warp)
    node.SetAndObserveTransformNodeID(transform.GetID())
    return node


def _colour(scene: Any) -> Any:
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Photo")
    image = vtk.vtkImageData()
    image.SetDimensions(20, 20, 20)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    image.GetPointData().GetScalars().Fill(0)
    node.SetAndObserveImageData(image)
    return node


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda _scene: None, "input-no-volume"),
        (lambda scene: scene.AddNewNodeByClass("vtkMRMLTableNode"), "input-no-volume"),
        (lambda scene: scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"), "input-no-volume"),
        (lambda scene: scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode"), "input-no-volume"),
        (_warped, "input-not-linear"),
        (_colour, "input-not-scalar"),
    ],
    ids=["none", "table", "empty", "label map", "warped", "colour"],
)
def test_what_is_no_ct_is_refused(application: HeadlessApplication, make: Any, code: str) -> None:
    with pytest.raises(InputError) as caught:
        ct_from_volume_node(make(application.scene))

    assert caught.value.code == code
    assert caught.value.hint
