"""A CT under a transform, and lobes that are in the scene already."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from CovidLesionSegLib.engine.result import Lobe, SegmentationResult
from CovidLesionSegLib.mrml.run_nodes import factsOfRun, nodeOfRun
from CovidLesionSegLib.mrml.segmentation_node import orientedLabelmap
from Testing.host.application import Host
from Testing.support.review_result import reviewable_result

MOVED_MM = (30.0, -20.0, 50.0)


@pytest.fixture(scope="module")
def expected() -> SegmentationResult:
    """What the stand-in worker answers."""
    return reviewable_result()


def under_transform(host: Host, node: Any, warped: bool = False) -> Any:
    """Put a node under a transform that shifts and turns it, or one that warps it."""
    import vtk

    transform = host.scene.AddNewNodeByClass("vtkMRMLTransformNode", "moved")
    if warped:
        spline = vtk.vtkThinPlateSplineTransform()
        for setter, shift in ((spline.SetSourceLandmarks, 0.0), (spline.SetTargetLandmarks, 5.0)):
            points = vtk.vtkPoints()
            for corner in ((0, 0, 0), (100, 0, 0), (0, 100, 0), (0, 0, 100 + shift)):
                points.InsertNextPoint(*corner)
            setter(points)
        spline.SetBasisToR()
        transform.SetAndObserveTransformToParent(spline)
    else:
        linear = vtk.vtkTransform()
        linear.RotateZ(10.0)
        linear.Translate(*MOVED_MM)
        transform.SetMatrixTransformToParent(linear.GetMatrix())
    node.SetAndObserveTransformNodeID(transform.GetID())
    return transform


def lobes_node(host: Host, result: SegmentationResult) -> Any:
    """A segmentation as another module leaves it: five segments with plain names."""
    import slicer

    node = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Lobes by another module")
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName("Binary labelmap")
    assert result.anatomy.lobes is not None
    for lobe in Lobe:
        mask = (result.anatomy.lobes == lobe).astype(np.uint8)
        image = orientedLabelmap(result.ct.to_input_grid(mask), result.ct.input_affine_lps)
        segment = slicer.vtkSegment()
        segment.SetName(lobe.long_name)
        segment.AddRepresentation("Binary labelmap", image)
        segmentation.AddSegment(segment)
    return node


def centre_of_infection(node: Any) -> list[float]:
    """World coordinates of the middle of the infection's extent."""
    image = node.GetSegmentation().GetSegment("infection").GetRepresentation("Binary labelmap")
    bounds = image.GetBounds()
    local = [(bounds[2 * axis] + bounds[2 * axis + 1]) / 2.0 for axis in range(3)]
    world = [0.0, 0.0, 0.0]
    node.TransformPointToWorld(local, world)
    return world


def test_a_moved_ct_moves_its_result_once(host: Host, expected: SegmentationResult) -> None:
    ct = host.addCt(expected.ct)
    resting = centre_of_infection(host.segment())
    transform = under_transform(host, ct)
    moved = host.segment()
    assert centre_of_infection(moved) == pytest.approx(
        list(transform.GetTransformToParent().TransformPoint(resting)), abs=1e-3
    )
    for role in ("boundary", "probability", "computed", "LesionMap"):
        assert nodeOfRun(moved, role).GetTransformNodeID() == transform.GetID()
    # A click in the moved picture finds the lesion that is seen there.
    session = host.panel.review.session
    for lesion in session.lesions:
        assert session.lesionAt(session.pointOf(lesion.id)) in (lesion.id, None)
    host.ui.lesionTable.selectRow(0)
    assert host.ui.acceptButton.enabled
    infected = session.quantification.row("total").measures["infected_ml"].value
    assert infected == pytest.approx(
        expected.quantification.row("total").measures["infected_ml"].value, rel=1e-4
    )


def test_a_warped_ct_is_refused_before_the_click(host: Host, expected: SegmentationResult) -> None:
    under_transform(host, host.addCt(expected.ct), warped=True)
    host.panel.update()
    assert not host.ui.segmentButton.enabled
    assert "lies under a transform that warps it" in host.ui.segmentButton.toolTip
    assert "harden" in host.ui.segmentButton.toolTip


@pytest.mark.parametrize("is_moved", [False, True])
def test_lobes_of_the_scene_are_used(
    host: Host, expected: SegmentationResult, is_moved: bool
) -> None:
    ct, lobes = host.addCt(expected.ct), lobes_node(host, expected)
    if is_moved:
        transform = under_transform(host, ct)
        lobes.SetAndObserveTransformNodeID(transform.GetID())
    host.ui.lobesSelector.setCurrentNode(lobes)
    node = host.segment()
    facts = factsOfRun(node)["anatomy"]
    assert facts["lobe_source"] == "scene"
    assert facts["missing_lobes"] == []
    assert "approximate" not in host.ui.remarksLabel.text
    rows = [host.ui.lobesTable.item(row, 0).text() for row in range(5)]
    assert rows == ["RUL", "RML", "RLL", "LUL", "LLL"]
    rul = expected.quantification.row("RUL").measures["volume_ml"].value
    assert rul is not None
    assert float(host.ui.lobesTable.item(0, 1).text()) == pytest.approx(rul, abs=0.51)


def test_lobes_that_lie_elsewhere_are_refused_in_words(
    host: Host, expected: SegmentationResult
) -> None:
    under_transform(host, host.addCt(expected.ct))
    host.ui.lobesSelector.setCurrentNode(lobes_node(host, expected))
    before = host.ids()
    host.ui.segmentButton.click()
    host.wait(lambda: not host.panel.run.isBusy)
    assert "lie under different transforms" in host.ui.statusLabel.text
    assert "Put both under the same transform" in host.ui.statusLabel.text
    assert host.ids() == before
