"""Where the slice views meet, which is where a lesion is split."""

from __future__ import annotations

import pytest

from Testing.host.application import Host


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
