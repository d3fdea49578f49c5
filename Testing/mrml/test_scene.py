"""Adding a result to a scene that is already in use, as the Slicer module does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import slicer
import vtk

from CovidLesionSegLib.mrml import scene as scene_module
from CovidLesionSegLib.mrml.display import pointOfInterestRas, showInSliceViews
from CovidLesionSegLib.mrml.hierarchy import addStudy, itemOfNode
from CovidLesionSegLib.mrml.scene import addResult
from CovidLesionSegLib.mrml.table_node import fillLobesTable
from CovidLesionSegLib.mrml.volume_node import addCtVolume
from Testing.mrml.reading import ijk_to_ras
from Testing.support.results import make_result

if TYPE_CHECKING:
    from CovidLesionSegLib.mrml.headless import HeadlessApplication

pytestmark = pytest.mark.mrml


def _ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def test_a_second_run_keeps_the_first(application: HeadlessApplication) -> None:
    result = make_result()
    scene = application.scene
    ct = addCtVolume(scene, result.ct)

    first = addResult(scene, result, ct)
    second = addResult(scene, result, ct)

    assert not {node.GetID() for node in first.made} & {node.GetID() for node in second.made}
    assert first.segmentation.GetName() != second.segmentation.GetName()


def test_a_failure_leaves_the_scene_as_it_was(
    application: HeadlessApplication, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = make_result()
    scene = application.scene
    ct = addCtVolume(scene, result.ct)
    before = _ids(scene)

    def fail(*_arguments: Any) -> None:
        raise MemoryError("no room for the map")

    monkeypatch.setattr(scene_module, "addAgreementMap", fail)
    with pytest.raises(MemoryError):
        addResult(scene, result, ct)

    assert _ids(scene) == before


def test_maps_lie_on_the_ct_and_below_its_transform(application: HeadlessApplication) -> None:
    result = make_result(degrees=12.0)
    agreement = (1.0 - result.prediction.infection).astype(np.float16)
    result = replace(result, prediction=replace(result.prediction, agreement=agreement))
    scene = application.scene
    ct = addCtVolume(scene, result.ct)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    ct.SetAndObserveTransformNodeID(transform.GetID())

    nodes = addResult(scene, result, ct)

    for node in (nodes.boundaryMap, nodes.agreementMap):
        assert node is not None
        np.testing.assert_array_equal(ijk_to_ras(node), ijk_to_ras(ct))
        assert node.GetTransformNodeID() == transform.GetID()
        display = node.GetDisplayNode()
        assert (display.GetWindow(), display.GetLevel()) == (1.0, 0.5)
        assert display.GetApplyThreshold()
    assert nodes.boundaryMap is not None
    colors = nodes.boundaryMap.GetDisplayNode().GetColorNode()
    lightness = []
    for index in range(0, 256, 51):
        rgba = [0.0] * 4
        colors.GetColor(index, rgba)
        lightness.append(0.2126 * rgba[0] + 0.7152 * rgba[1] + 0.0722 * rgba[2])
    assert lightness == sorted(lightness), "the map must read in greyscale"


def test_nodes_join_the_study_of_the_ct(application: HeadlessApplication) -> None:
    result = make_result()
    scene = application.scene
    ct = addCtVolume(scene, result.ct)
    addStudy(scene, "Follow-up", ct)

    nodes = addResult(scene, result, ct)

    hierarchy = scene.GetSubjectHierarchyNode()
    study = hierarchy.GetItemByName("Follow-up")
    for node in nodes.made:
        assert hierarchy.GetItemParent(itemOfNode(scene, node)) == study


def test_new_numbers_replace_the_old_ones(application: HeadlessApplication) -> None:
    result = make_result()
    scene = application.scene
    table = addResult(scene, result, addCtVolume(scene, result.ct)).table

    fillLobesTable(table, make_result("severe").quantification)

    column = table.GetTable().GetColumnByName("infected_percent")
    expected = make_result("severe").quantification.row("total").measures["infected_percent"]
    assert column.GetValue(7) == pytest.approx(expected.value)
    assert table.GetNumberOfRows() == 8
    assert table.GetLocked()
    assert "sum of five lobes" in table.GetDescription()


def test_the_point_of_interest_follows_the_transform(application: HeadlessApplication) -> None:
    result = make_result()
    scene = application.scene
    ct = addCtVolume(scene, result.ct)
    before = pointOfInterestRas(result, ct)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    moved = vtk.vtkTransform()
    moved.Translate(0.0, 0.0, 40.0)
    transform.SetMatrixTransformToParent(moved.GetMatrix())
    ct.SetAndObserveTransformNodeID(transform.GetID())

    assert pointOfInterestRas(result, ct) == pytest.approx((before[0], before[1], before[2] + 40.0))


def test_without_lesions_the_lungs_are_of_interest(application: HeadlessApplication) -> None:
    result = make_result("none")
    ct = addCtVolume(application.scene, result.ct)

    right, anterior, superior = pointOfInterestRas(result, ct)

    lungs = np.argwhere(result.anatomy.lungs)
    z = (superior - result.ct.affine_lps[2, 3]) / result.ct.spacing_mm_zyx[0]
    assert lungs[:, 0].min() <= z <= lungs[:, 0].max()
    assert abs(right) < 50.0
    assert abs(anterior) < 80.0


def test_the_map_is_one_toggle_away(application: HeadlessApplication) -> None:
    result = make_result()
    scene = application.scene
    ct = addCtVolume(scene, result.ct)
    nodes = addResult(scene, result, ct)
    composite = slicer.vtkMRMLSliceCompositeNode()
    composite.SetLayoutName("Red")
    scene.AddNode(composite)

    assert nodes.boundaryMap is not None
    showInSliceViews(scene, ct, nodes.boundaryMap, 0.5)
    assert composite.GetForegroundVolumeID() == nodes.boundaryMap.GetID()
    assert composite.GetForegroundOpacity() == 0.5

    showInSliceViews(scene, ct)
    assert composite.GetBackgroundVolumeID() == ct.GetID()
    assert not composite.GetForegroundVolumeID()
