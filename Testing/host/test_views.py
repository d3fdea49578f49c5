"""Tools in the slice views: where a lesion is split, the click for a missed one, the editor."""

from __future__ import annotations

import pytest

from Testing.host.application import Host
from Testing.support.review_result import reviewable_result


def test_a_view_that_the_layout_hides_has_no_say_in_where_the_views_meet(host: Host) -> None:
    import slicer

    from CovidLesionSegLib.mrml.display import jumpTo
    from CovidLesionSegLib.mrml.review_views import crossingOfViews

    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(host.mrml.logic)
    logic.SetMRMLScene(host.scene)
    views = [host.scene.GetNthNodeByClass(index, "vtkMRMLSliceNode") for index in range(3)]
    hidden = logic.AddSliceNode("Slice4")
    hidden.SetOrientation("Axial")
    before = [view.IsMappedInLayout() for view in views]
    try:
        jumpTo(host.scene, (1.0, 2.0, 3.0))
        for view in views:
            view.SetMappedInLayout(1)
        hidden.SetMappedInLayout(0)
        hidden.SetSliceOffset(-50.0)
        assert crossingOfViews(host.scene) == pytest.approx((1.0, 2.0, 3.0), abs=1e-6)
    finally:
        host.scene.RemoveNode(hidden)
        for view, mapped in zip(views, before, strict=True):
            view.SetMappedInLayout(mapped)


def test_a_click_that_is_given_up_leaves_no_trace(host: Host) -> None:
    host.addCt(reviewable_result().ct)
    host.segment()
    interaction = host.mrml.logic.GetInteractionNode()
    host.ui.addButton.click()
    assert interaction.GetCurrentInteractionMode() == interaction.Place
    assert host.ui.reviewMessageLabel.text == "Click into the missed lesion in a slice view."
    # What Slicer does on Esc and on a right click.
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    host.rest(0.05)
    assert host.ui.reviewMessageLabel.text == ""
    assert host.scene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode") is None
    interaction.SetCurrentInteractionMode(interaction.Place)
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    host.rest(0.05)
    assert host.panel.review.session.log == []


def test_place_mode_that_ends_with_the_click_is_no_cancel(host: Host) -> None:
    host.addCt(reviewable_result().ct)
    host.segment()
    session = host.panel.review.session
    point = session.pointOf(2)
    session.reject(2)
    host.ui.addButton.click()
    marks = host.scene.GetFirstNodeByClass("vtkMRMLMarkupsFiducialNode")
    interaction = host.mrml.logic.GetInteractionNode()
    interaction.SetCurrentInteractionMode(interaction.ViewTransform)
    marks.AddControlPointWorld(point)
    host.wait(lambda: session.log[-1].action.startswith("add"), 2.0)


def test_an_unloaded_panel_lets_go_of_the_editor(host: Host) -> None:
    host.addCt(reviewable_result().ct)
    host.segment()
    assert host.ui.segmentEditor._node is not None
    host.panel.close()
    assert host.ui.segmentEditor._node is None
