"""Lungs and lobes that somebody corrects, now or while nobody was looking."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.corrections import corrected
from CovidLesionSegLib.engine.result import Anatomy
from CovidLesionSegLib.engine.result_json import layer_digests
from CovidLesionSegLib.engine.review_values import ReviewContext
from CovidLesionSegLib.engine.volume import CtVolume

from .attributes import PREFIX
from .run_nodes import ANATOMY_EDITED, factsOfRun, layerOfRun

RECORDED = PREFIX + "RecordedAnatomy"
"""SHA-256 of lungs and lobes as they were measured last; without it they are as computed."""


def anatomyOf(segmentationNode: Any, before: Anatomy, ct: CtVolume) -> Anatomy | None:
    """Return lungs and lobes as they are in the scene; None when nobody has changed them.

    Args:
        segmentationNode: vtkMRMLSegmentationNode of a result.
        before: What was known of them.
        ct: Its CT.
    """
    lungs = layerOfRun(segmentationNode, "lungs", ct)
    lobes = layerOfRun(segmentationNode, "lobes", ct)
    if lungs is None:
        lungs = np.zeros(ct.shape_zyx, dtype=np.uint8)
    if np.array_equal(lungs, before.lungs) and _equal(lobes, before.lobes):
        return None
    return _recorded(segmentationNode, replace(before, lungs=lungs, lobes=lobes))


def followedElsewhere(segmentationNode: Any, context: ReviewContext) -> ReviewContext | None:
    """Return what a review needs if lungs or lobes are not those that were measured last.

    Args:
        segmentationNode: vtkMRMLSegmentationNode of a result.
        context: As it was read from the scene.

    Returns:
        The context, whose anatomy says that it was edited; None when nobody has changed it.
    """
    text = segmentationNode.GetAttribute(RECORDED)
    if not text and segmentationNode.GetAttribute(ANATOMY_EDITED) is not None:
        # Corrected and measured by a version that recorded no digests of it.
        segmentationNode.SetAttribute(RECORDED, json.dumps(_digests(context.anatomy)))
        return None
    digests = json.loads(text) if text else factsOfRun(segmentationNode).get("segmentation_sha256")
    # Results of versions that recorded nothing.
    if not digests:
        return None
    anatomy = context.anatomy
    if _digests(anatomy) == {key: digests[key] for key in ("lungs", "lobes") if key in digests}:
        return None
    return replace(context, anatomy=_recorded(segmentationNode, anatomy))


def _recorded(segmentationNode: Any, anatomy: Anatomy) -> Anatomy:
    """Note that lungs or lobes were edited, and what they are now."""
    segmentationNode.SetAttribute(ANATOMY_EDITED, "true")
    segmentationNode.SetAttribute(RECORDED, json.dumps(_digests(anatomy)))
    return corrected(anatomy)


def _digests(anatomy: Anatomy) -> dict[str, str]:
    return layer_digests({"lungs": anatomy.lungs, "lobes": anatomy.lobes})


def _equal(one: NDArray[np.uint8] | None, other: NDArray[np.uint8] | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)
