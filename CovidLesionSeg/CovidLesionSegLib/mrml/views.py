"""The views of a scene that is made outside the application."""

from __future__ import annotations

from typing import Any

import slicer

from .headless import HeadlessApplication

_VIEW_SIZE_PX = 400
"""Only the proportion of field of view to size matters: the application resizes the views."""


def addViews(application: HeadlessApplication, ctNode: Any, tableNode: Any) -> None:
    """Add the views that Slicer shows when it opens the scene.

    Axial, coronal and sagittal slices that fit the CT, the 3D view, and the table below them:
    Slicer's layout "Four-Up Table".

    Args:
        application: Application without windows.
        ctNode: vtkMRMLScalarVolumeNode.
        tableNode: vtkMRMLTableNode.
    """
    scene = application.scene
    layoutLogic = slicer.vtkMRMLLayoutLogic()
    layoutLogic.SetMRMLApplicationLogic(application.logic)
    layoutLogic.SetMRMLScene(scene)
    layout = layoutLogic.GetLayoutNode()
    layout.SetViewArrangement(layout.SlicerLayoutFourUpTableView)
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        _fit(application, scene.GetNthNodeByClass(index, "vtkMRMLSliceNode"), ctNode)
    tableView = scene.GetFirstNodeByClass("vtkMRMLTableViewNode")
    tableView.SetTableNodeID(tableNode.GetID())
    application.logic.GetSelectionNode().SetActiveTableID(tableNode.GetID())


def _fit(application: HeadlessApplication, sliceNode: Any, ctNode: Any) -> None:
    composite = slicer.vtkMRMLSliceCompositeNode()
    composite.SetLayoutName(sliceNode.GetLayoutName())
    application.scene.AddNode(composite)
    composite.SetBackgroundVolumeID(ctNode.GetID())
    # One opacity slider for all three views.
    composite.SetLinkedControl(True)
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(application.logic)
    logic.SetMRMLScene(application.scene)
    logic.SetSliceNode(sliceNode)
    sliceNode.SetDimensions(_VIEW_SIZE_PX, _VIEW_SIZE_PX, 1)
    logic.FitSliceToBackground(_VIEW_SIZE_PX, _VIEW_SIZE_PX)
