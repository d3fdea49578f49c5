"""Whether a review is finished, as it stands on the node and on its segments."""

from __future__ import annotations

from typing import Any

import slicer

from CovidLesionSegLib.export.segments import segment_definitions

from .attributes import PREFIX
from .review_nodes import nowUtc

FINISHED = PREFIX + "ReviewFinished"
_REVIEWED = ("infection", "opacity")


def isFinished(segmentationNode: Any) -> bool:
    """Return whether the review of a result is finished."""
    return segmentationNode.GetAttribute(FINISHED) is not None


def setFinished(segmentationNode: Any, edited: bool) -> None:
    """Mark a review as finished.

    Args:
        segmentationNode: vtkMRMLSegmentationNode of a result.
        edited: Whether a person changed the infection: then its algorithm is semi-automatic.
    """
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    for segment in _segments(segmentationNode):
        logic.SetSegmentStatus(segment, logic.Completed)
        if edited:
            segment.SetTag("DICOM.SegmentAlgorithmType", "SEMIAUTOMATIC")
    segmentationNode.SetAttribute(FINISHED, nowUtc())


def setReopened(segmentationNode: Any) -> None:
    """Mark a finished review as under way again."""
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    for segment in _segments(segmentationNode):
        logic.SetSegmentStatus(segment, logic.InProgress)
    segmentationNode.RemoveAttribute(FINISHED)


def _segments(segmentationNode: Any) -> list[Any]:
    segmentation = segmentationNode.GetSegmentation()
    found = [
        segmentation.GetSegment(item.id)
        for item in segment_definitions()
        if item.layer in _REVIEWED
    ]
    return [segment for segment in found if segment is not None]
