"""A CT from the scene into the engine."""

from __future__ import annotations

from typing import Any

import slicer

from CovidLesionSegLib.engine.guards import checked_volume
from CovidLesionSegLib.engine.volume import CtVolume, Provenance
from CovidLesionSegLib.errors import InputError

from .volume_node import affineLpsFromNode, arrayFromNode


def ct_from_volume_node(node: Any, grid: Any = None) -> CtVolume:
    """Make a `CtVolume` from a scalar volume node, through all guards.

    A parent transform is left aside: results go under the same transform, so that they lie on
    the voxels they were computed from.

    Args:
        node: vtkMRMLScalarVolumeNode.
        grid: vtkMRMLScalarVolumeNode that says where the voxels lie; by default the same.

    Raises:
        InputError: ``input-no-volume`` without voxels or for another kind of node,
            ``input-not-linear`` under a warping transform, and the codes of
            `checked_volume`.
    """
    checkVolumeNode(node)
    affine = affineLpsFromNode(node if grid is None else grid)
    return checked_volume(arrayFromNode(node), affine, provenanceOfNode(node))


def provenanceOfNode(node: Any) -> Provenance:
    """Return where the CT of a volume node came from."""
    series = _series(node)
    return Provenance(
        source="mrml",
        # The name of a DICOM node may come from the patient's record; a file name is chosen.
        name="DICOM series" if series else node.GetName(),
        series_instance_uid=series,
    )


def checkVolumeNode(node: Any) -> None:
    """Refuse what can't be a CT; looks at no voxel, so it is done in no time.

    Args:
        node: vtkMRMLScalarVolumeNode.

    Raises:
        InputError: ``input-no-volume`` or ``input-not-linear``.
    """
    if node is None or not node.IsA("vtkMRMLScalarVolumeNode"):
        raise InputError("input-no-volume", "There is no CT to work on.", "Choose a loaded CT.")
    image = node.GetImageData()
    if image is None or not image.GetPointData().GetScalars() or 0 in image.GetDimensions():
        raise InputError(
            "input-no-volume", f"{node.GetName()} has no voxels.", "Load the CT again."
        )
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(
            "input-no-volume",
            f"{node.GetName()} is a label map, not a CT.",
            "Choose the CT it was drawn on.",
        )
    transform = node.GetParentTransformNode()
    if transform is not None and not transform.IsTransformToWorldLinear():
        raise InputError(
            "input-not-linear",
            f"{node.GetName()} lies under a transform that warps it.",
            "Take it out of the transform, or harden the transform first.",
        )


def _series(node: Any) -> str:
    """Return the DICOM series that the node was loaded from, empty for other sources."""
    scene = node.GetScene()
    if scene is None:
        return ""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(node)
    if item == hierarchy.GetInvalidItemID():
        return ""
    return str(hierarchy.GetItemUID(item, "DICOM") or "")
