"""The segmentation node: every voxel, code and colour, under any grid and transform."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import slicer
import vtk

from CovidLesionSegLib.engine.result import Lung
from CovidLesionSegLib.export.segments import segment_definition, segment_layers
from CovidLesionSegLib.mrml.segmentation_node import addSegmentation
from CovidLesionSegLib.mrml.volume_node import addCtVolume
from Testing.mrml.reading import ijk_to_ras, image_array, segment_mask
from Testing.support.grids import GRIDS
from Testing.support.results import make_result

if TYPE_CHECKING:
    from CovidLesionSegLib.mrml.headless import HeadlessApplication

pytestmark = pytest.mark.mrml


def _ids(node: Any) -> list[str]:
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]


@pytest.mark.parametrize("grid", GRIDS)
def test_every_segment_has_the_voxels_of_the_result(
    application: HeadlessApplication, grid: str
) -> None:
    result = make_result(**GRIDS[grid])
    ct = addCtVolume(application.scene, result.ct)
    node = addSegmentation(application.scene, result, ct, "Infection")

    expected = {
        definition.id: result.ct.to_input_grid(layer.labels) == definition.label
        for layer in segment_layers(result)
        for definition in layer.segments
    }
    assert _ids(node) == list(expected)
    for segment_id, mask in expected.items():
        found, geometry = segment_mask(node, segment_id, mask.shape)
        np.testing.assert_array_equal(found, mask, segment_id)
        np.testing.assert_allclose(geometry, ijk_to_ras(ct), atol=1e-9)


def test_a_transform_moves_ct_and_segments_once(application: HeadlessApplication) -> None:
    result = make_result(degrees=12.0)
    scene = application.scene
    ct = addCtVolume(scene, result.ct)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    to_parent = vtk.vtkTransform()
    to_parent.Translate(50.0, -20.0, 7.0)
    to_parent.RotateZ(30.0)
    transform.SetMatrixTransformToParent(to_parent.GetMatrix())
    ct.SetAndObserveTransformNodeID(transform.GetID())

    node = addSegmentation(scene, result, ct, "Infection")

    # Slicer's own export resamples through world coordinates into the CT's grid.
    label = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    ids = vtk.vtkStringArray()
    ids.InsertNextValue("infection")
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.ExportSegmentsToLabelmapNode(node, ids, label, ct)
    assert label.GetTransformNodeID() == transform.GetID()
    np.testing.assert_array_equal(image_array(label.GetImageData()), result.infection)


def test_segments_carry_codes_colours_and_visibility(application: HeadlessApplication) -> None:
    result = make_result()
    node = addSegmentation(
        application.scene, result, addCtVolume(application.scene, result.ct), "Infection"
    )

    display = node.GetDisplayNode()
    for segment_id in _ids(node):
        definition = segment_definition(segment_id)
        segment = node.GetSegmentation().GetSegment(segment_id)
        assert segment.GetName() == definition.name
        assert segment.GetColor() == pytest.approx(definition.color)
        tag = vtk.reference("")
        assert segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), tag)
        assert str(tag) == definition.terminology_entry
        assert display.GetSegmentVisibility(segment_id) == (segment_id == "infection")
    assert node.GetSegmentation().GetNumberOfLayers() == 4


def test_no_infection_leaves_an_empty_segment_to_draw_into(
    application: HeadlessApplication,
) -> None:
    result = make_result("none")
    node = addSegmentation(
        application.scene, result, addCtVolume(application.scene, result.ct), "Infection"
    )

    mask, _ = segment_mask(node, "infection", result.ct.shape_zyx)
    assert not mask.any()


def test_a_missing_lung_and_missing_lobes_have_no_segment(
    application: HeadlessApplication,
) -> None:
    result = make_result(with_lobes=False, with_opacity=False)
    lungs = np.where(result.anatomy.lungs == Lung.LEFT, result.anatomy.lungs, 0)
    result = replace(result, anatomy=replace(result.anatomy, lungs=lungs))

    node = addSegmentation(
        application.scene, result, addCtVolume(application.scene, result.ct), "Infection"
    )

    assert _ids(node) == ["infection", "left-lung"]
