"""Where nodes appear in the data tree."""

from __future__ import annotations

from typing import Any

import slicer


def itemOfNode(scene: Any, node: Any) -> int:
    """Return the node's subject hierarchy item, made when there is none.

    In the application Slicer makes the item when a node enters the scene; without its
    plug-ins nobody does.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(node)
    if item == hierarchy.GetInvalidItemID():
        item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    return int(item)


def addStudy(scene: Any, name: str, ctNode: Any) -> None:
    """Put a CT that stands alone into a study of its own."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), name)
    hierarchy.SetItemParent(itemOfNode(scene, ctNode), study)


def placeBesideCt(scene: Any, ctNode: Any, nodes: list[Any]) -> None:
    """Put nodes where the CT is: into its study when it has one.

    Args:
        scene: vtkMRMLScene.
        ctNode: vtkMRMLScalarVolumeNode.
        nodes: Nodes in the order in which the tree shows them.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    parent = hierarchy.GetItemParent(itemOfNode(scene, ctNode))
    for node in nodes:
        hierarchy.SetItemParent(itemOfNode(scene, node), parent)
