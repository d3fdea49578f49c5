"""Nodes that two results must not share, because a review writes into them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .hierarchy import placeBesideCt
from .run_nodes import nodeOfRun, setNodeOfRun
from .table_node import addLobesChart


def ownNodes(segmentationNode: Any, roles: Iterable[str]) -> bool:
    """Give a result copies of the nodes that another result refers to as well.

    Whoever copies a result in the data tree gets a segmentation that refers to the same nodes.

    Args:
        segmentationNode: vtkMRMLSegmentationNode of a result.
        roles: Which nodes, as for `nodeOfRun`.

    Returns:
        Whether there were any.
    """
    scene = segmentationNode.GetScene()
    count = scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode")
    every = [scene.GetNthNodeByClass(index, "vtkMRMLSegmentationNode") for index in range(count)]
    others = [node for node in every if node is not segmentationNode]
    shared = [
        (role, node)
        for role in roles
        if (node := nodeOfRun(segmentationNode, role)) is not None
        and any(nodeOfRun(other, role) is node for other in others)
    ]
    for role, node in shared:
        copy = _copied(scene, segmentationNode, node)
        setNodeOfRun(segmentationNode, role, copy)
        if role == "table" and nodeOfRun(segmentationNode, "chart") is not None:
            chart = addLobesChart(scene, copy, f"{segmentationNode.GetName()} chart")
            setNodeOfRun(segmentationNode, "chart", chart)
    return bool(shared)


def _copied(scene: Any, segmentationNode: Any, node: Any) -> Any:
    name = scene.GenerateUniqueName(f"{node.GetName()} copy")
    copy = scene.AddNewNodeByClass(node.GetClassName(), name)
    copy.CopyContent(node)
    for attribute in node.GetAttributeNames():
        copy.SetAttribute(attribute, node.GetAttribute(attribute))
    copy.SetHideFromEditors(node.GetHideFromEditors())
    if node.IsA("vtkMRMLVolumeNode"):
        copy.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    ctNode = nodeOfRun(segmentationNode, "ct")
    if ctNode is not None:
        placeBesideCt(scene, ctNode, [copy])
    return copy
