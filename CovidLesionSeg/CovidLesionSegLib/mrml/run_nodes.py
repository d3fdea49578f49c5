"""What a review needs of a run, kept in the scene: probability, the mask as computed, facts.

These nodes are hidden: they are for the module, not for the reader. With them a scene that was
saved can be reviewed further in another session.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.flags import CT_MOVED, EDITED_ANATOMY, EDITED_CLASSES
from CovidLesionSegLib.engine.result import (
    Anatomy,
    LobeSource,
    Prediction,
    SegmentationResult,
    missing_lobes,
)
from CovidLesionSegLib.engine.review_values import ReviewContext
from CovidLesionSegLib.engine.steps import Steps, finish
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.export.segments import segment_definitions

from .attributes import PREFIX
from .hierarchy import placeBesideCt
from .run_place import gridNode, liesElsewhere
from .scene import ResultNodes
from .segment_voxels import labelsOfSegments
from .segmentation_node import BINARY_LABELMAP
from .volume_input import ct_from_volume_node
from .volume_node import addVolume, arrayFromNode

PROBABILITY_SCALE = 65535
"""Probabilities are stored as 16-bit integers: half the size, and exact above 1/32."""

FACTS = PREFIX + "Result"
ANATOMY_EDITED = PREFIX + "AnatomyEdited"
CLASSES_EDITED = PREFIX + "ClassesEdited"
_ROLES = {
    "ct": "Ct",
    "table": "Table",
    "chart": "Chart",
    "boundary": "BoundaryMap",
    "agreement": "AgreementMap",
    "probability": "Probability",
    "computed": "Computed",
}


def addRunNodes(
    scene: Any, result: SegmentationResult, nodes: ResultNodes, facts: dict[str, Any]
) -> None:
    """Add the hidden nodes of a run, and tie all of its nodes to the segmentation.

    Args:
        scene: vtkMRMLScene.
        result: The result.
        nodes: What `addResult` added for it.
        facts: Its parsed `result.json`.
    """
    finish(addRunNodesSteps(scene, result, nodes, facts))


def addRunNodesSteps(
    scene: Any, result: SegmentationResult, nodes: ResultNodes, facts: dict[str, Any]
) -> Steps[None]:
    """Add the hidden nodes of a run in steps; see `addRunNodes`."""
    title = nodes.segmentation.GetName()
    probability = result.prediction.infection.astype(np.float32)
    probability *= PROBABILITY_SCALE
    np.rint(probability, out=probability)
    yield
    scaled = probability.astype(np.uint16)
    hidden = {"probability": _hiddenVolume(scene, f"{title} probability", scaled, result)}
    yield
    hidden["computed"] = _hiddenVolume(scene, f"{title} as computed", result.infection, result)
    for role, node in hidden.items():
        node.SetAndObserveTransformNodeID(nodes.ct.GetTransformNodeID())
        node.SetAttribute(PREFIX + "Role", role)
    placeBesideCt(scene, nodes.ct, list(hidden.values()))
    tied = {
        "ct": nodes.ct,
        "table": nodes.table,
        "chart": nodes.chart,
        "boundary": nodes.boundaryMap,
        "agreement": nodes.agreementMap,
        **hidden,
    }
    for role, node in tied.items():
        setNodeOfRun(nodes.segmentation, role, node)
    nodes.segmentation.SetAttribute(FACTS, json.dumps(facts))


def setNodeOfRun(segmentationNode: Any, role: str, node: Any | None) -> None:
    """Tie a node to a run by a node reference, which saving and copying keep up."""
    reference = PREFIX + _ROLES.get(role, role)
    segmentationNode.SetNodeReferenceID(reference, node.GetID() if node is not None else None)


def nodeOfRun(segmentationNode: Any, role: str) -> Any | None:
    """Return a node of a run: ``"ct"``, ``"table"``, ``"boundary"``, ...; None without it."""
    return segmentationNode.GetNodeReference(PREFIX + _ROLES.get(role, role))


def isResult(segmentationNode: Any) -> bool:
    """Return whether a segmentation node is a result of ours that can be reviewed."""
    return bool(segmentationNode is not None and segmentationNode.GetAttribute(FACTS))


def factsOfRun(segmentationNode: Any) -> dict[str, Any]:
    """Return the run's `result.json`.

    Raises:
        InputError: ``not-a-result``.
    """
    if not isResult(segmentationNode):
        raise InputError(
            "not-a-result",
            "This segmentation was not made by CovidLesionSeg.",
            "Choose a result of Segment infection.",
        )
    facts: dict[str, Any] = json.loads(segmentationNode.GetAttribute(FACTS))
    return facts


def contextOfRun(segmentationNode: Any) -> ReviewContext:
    """Return what a review needs, read from the scene alone.

    Raises:
        InputError: ``not-a-result``; ``result-incomplete`` when nodes were deleted.
    """
    facts = factsOfRun(segmentationNode)
    probability = nodeOfRun(segmentationNode, "probability")
    computed = nodeOfRun(segmentationNode, "computed")
    ctNode = nodeOfRun(segmentationNode, "ct")
    if probability is None or computed is None or ctNode is None:
        raise InputError(
            "result-incomplete",
            "The CT or the maps of this result were deleted from the scene.",
            "Load the CT again and segment it again; the segmentation itself stays.",
        )
    ct = ct_from_volume_node(ctNode, gridNode(segmentationNode, ctNode, probability))
    return ReviewContext(
        ct=ct,
        anatomy=_anatomy(segmentationNode, facts["anatomy"], ct),
        prediction=Prediction(
            _scaled(probability, ct, 1.0 / PROBABILITY_SCALE),
            None,
            mapOfRun(segmentationNode, "agreement", ct),
        ),
        ai_infection=ct.orientation.to_lps(arrayFromNode(computed).astype(np.uint8)),
    )


def mapOfRun(segmentationNode: Any, role: str, ct: CtVolume) -> NDArray[np.float16] | None:
    """Return a map of a run: ``"boundary"`` or ``"agreement"``, 0..1; None without it.

    Args:
        segmentationNode: vtkMRMLSegmentationNode of a result.
        role: Which one.
        ct: Its CT.

    Returns:
        float16 ``[z, y, x]`` in LPS axis order.
    """
    node = nodeOfRun(segmentationNode, role)
    return None if node is None else _scaled(node, ct, 1.0)


def _hiddenVolume(
    scene: Any, name: str, array_zyx: NDArray[Any], result: SegmentationResult
) -> Any:
    node = addVolume(scene, name, result.ct.to_input_grid(array_zyx), result.ct.input_affine_lps)
    node.SetHideFromEditors(True)
    return node


def layerTime(segmentationNode: Any, *layers: str) -> int:
    """Return a number that grows whenever somebody changes the segments of some layers."""
    segmentation = segmentationNode.GetSegmentation()
    segments = [
        segmentation.GetSegment(item.id) for item in segment_definitions() if item.layer in layers
    ]
    images = [segment.GetRepresentation(BINARY_LABELMAP) for segment in segments if segment]
    return max((image.GetMTime() for image in images if image is not None), default=0)


def flagsOfRun(segmentationNode: Any) -> tuple[str, ...]:
    """Return what a reader must know of a result, as flags."""
    facts = factsOfRun(segmentationNode)
    flags = (*facts["ct"]["flags"], *_anatomyFlags(segmentationNode, facts["anatomy"]))
    if segmentationNode.GetAttribute(CLASSES_EDITED) is not None:
        flags = (*flags, EDITED_CLASSES)
    ctNode, probability = (nodeOfRun(segmentationNode, role) for role in ("ct", "probability"))
    if liesElsewhere(segmentationNode, ctNode, probability):
        flags = (*flags, CT_MOVED)
    return tuple(dict.fromkeys(flags))


def _anatomyFlags(segmentationNode: Any, facts: dict[str, Any]) -> tuple[str, ...]:
    edited = segmentationNode.GetAttribute(ANATOMY_EDITED) is not None
    return (*facts["flags"], *((EDITED_ANATOMY,) if edited else ()))


def layerOfRun(segmentationNode: Any, name: str, ct: CtVolume) -> NDArray[np.uint8] | None:
    """Return the label map of a layer as it is in the scene; None without its segments.

    Args:
        segmentationNode: vtkMRMLSegmentationNode of a result.
        name: ``"opacity"``, ``"lungs"`` or ``"lobes"``.
        ct: Its CT.

    Returns:
        uint8 ``[z, y, x]`` in LPS axis order.
    """
    ids = {item.id: item.label for item in segment_definitions() if item.layer == name}
    return labelsOfSegments(segmentationNode, ids, ct)


def _anatomy(segmentationNode: Any, facts: dict[str, Any], ct: CtVolume) -> Anatomy:
    lungs = layerOfRun(segmentationNode, "lungs", ct)
    lobes = layerOfRun(segmentationNode, "lobes", ct)
    return Anatomy(
        lungs=np.zeros(ct.shape_zyx, dtype=np.uint8) if lungs is None else lungs,
        lobes=lobes,
        lobe_source=LobeSource(facts["lobe_source"]),
        missing=missing_lobes(lobes),
        flags=_anatomyFlags(segmentationNode, facts),
        lobe_uncertainty_mm=facts["lobe_uncertainty_mm"],
    )


def _scaled(node: Any, ct: CtVolume, scale: float) -> NDArray[np.float16]:
    values = arrayFromNode(node).astype(np.float32) * np.float32(scale)
    return ct.orientation.to_lps(values.astype(np.float16))
