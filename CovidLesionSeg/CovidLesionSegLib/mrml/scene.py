"""A whole result into a scene: for the scene file and for the Slicer module alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.engine.steps import Result, Steps, finish
from CovidLesionSegLib.errors import CovidLesionSegError

from .attributes import provenanceAttributes, setAttributes
from .hierarchy import placeBesideCt
from .map_node import addAgreementMap, addBoundaryMap
from .segmentation_node import addSegmentationSteps
from .table_node import addLobesChart, addLobesTable

_NEEDED = (
    "vtkMRMLSegmentationNode",
    "vtkMRMLScalarVolumeNode",
    "vtkMRMLTableNode",
    "vtkMRMLPlotChartNode",
)
"""Classes of a result's own nodes; what Slicer adds to them, it may take away as well."""


@dataclass(frozen=True)
class ResultNodes:
    """The nodes of one result.

    Attributes:
        ct: vtkMRMLScalarVolumeNode.
        segmentation: vtkMRMLSegmentationNode.
        table: vtkMRMLTableNode.
        chart: vtkMRMLPlotChartNode.
        boundaryMap: vtkMRMLScalarVolumeNode; None for a model without boundary.
        agreementMap: vtkMRMLScalarVolumeNode; None for a single model.
    """

    ct: Any
    segmentation: Any
    table: Any
    chart: Any
    boundaryMap: Any | None
    agreementMap: Any | None

    @property
    def made(self) -> list[Any]:
        """All nodes that were added for the result, the CT excluded."""
        optional = [self.boundaryMap, self.agreementMap]
        return [self.segmentation, *filter(None, optional), self.table, self.chart]


def addResult(
    scene: Any, result: SegmentationResult, ctNode: Any, name: str | None = None
) -> ResultNodes:
    """Add a result beside its CT: same grid, same parent transform, same study.

    Nothing that is in the scene is changed. When a step fails, the nodes already added are
    removed before the error goes on.

    Args:
        scene: vtkMRMLScene.
        result: The result.
        ctNode: vtkMRMLScalarVolumeNode that the result was computed from.
        name: Name of the segmentation; by default "Infection" with the model.
    """
    title = name or f"Infection ({result.run.model_id})"
    return finish(allOrNothing(scene, addResultSteps(scene, result, ctNode, title)))


def addResultSteps(
    scene: Any, result: SegmentationResult, ctNode: Any, title: str
) -> Steps[ResultNodes]:
    """Add a result beside its CT in steps; see `addResult`."""
    table = addLobesTable(scene, result.quantification, f"{title} per lobe")
    chart = addLobesChart(scene, table, f"{title} chart")
    yield
    segmentation = yield from addSegmentationSteps(scene, result, ctNode, title)
    yield
    boundaryMap = addBoundaryMap(scene, result, ctNode)
    yield
    agreementMap = addAgreementMap(scene, result, ctNode)
    yield
    nodes = ResultNodes(ctNode, segmentation, table, chart, boundaryMap, agreementMap)
    _describe(nodes, result)
    placeBesideCt(scene, ctNode, nodes.made)
    return nodes


def allOrNothing(scene: Any, steps: Steps[Result]) -> Steps[Result]:
    """Do steps that add nodes; when one fails, or they are given up, remove what they added.

    What others add between the steps stays.

    Raises:
        CovidLesionSegError: ``result-removed`` when somebody deletes a node between the steps.
    """
    added: set[str] = set()
    try:
        while True:
            _checkPresent(scene, added)
            before = _ids(scene)
            try:
                next(steps)
            except StopIteration as end:
                value: Result = end.value
                return value
            finally:
                added |= _ids(scene) - before
            yield
    except BaseException:
        for nodeId in added:
            node = scene.GetNodeByID(nodeId)
            if node is not None:
                scene.RemoveNode(node)
        raise


def _checkPresent(scene: Any, ids: set[str]) -> None:
    """Refuse to go on with half a result."""
    if any(scene.GetNodeByID(each) is None for each in ids if each.startswith(_NEEDED)):
        raise CovidLesionSegError(
            "result-removed",
            "A part of the result was deleted while it was being added to the scene.",
            "Start the segmentation again.",
        )


def _ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}


def _describe(nodes: ResultNodes, result: SegmentationResult) -> None:
    attributes = provenanceAttributes(result)
    roles = {
        "segmentation": nodes.segmentation,
        "table": nodes.table,
        "chart": nodes.chart,
        "boundary-map": nodes.boundaryMap,
        "agreement-map": nodes.agreementMap,
    }
    for role, node in roles.items():
        if node is not None:
            setAttributes(node, attributes, role)
