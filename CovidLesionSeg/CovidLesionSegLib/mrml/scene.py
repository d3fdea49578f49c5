"""A whole result into a scene: for the scene file and for the Slicer module alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from CovidLesionSegLib.engine.result import SegmentationResult

from .attributes import provenanceAttributes, setAttributes
from .hierarchy import placeBesideCt
from .map_node import addAgreementMap, addBoundaryMap
from .segmentation_node import addSegmentation
from .table_node import addLobesChart, addLobesTable


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
    before = {node.GetID() for node in _nodes(scene)}
    try:
        table = addLobesTable(scene, result.quantification, f"{title} per lobe")
        nodes = ResultNodes(
            ct=ctNode,
            segmentation=addSegmentation(scene, result, ctNode, title),
            table=table,
            chart=addLobesChart(scene, table, f"{title} chart"),
            boundaryMap=addBoundaryMap(scene, result, ctNode),
            agreementMap=addAgreementMap(scene, result, ctNode),
        )
        _describe(nodes, result)
        placeBesideCt(scene, ctNode, nodes.made)
    except BaseException:
        for node in _nodes(scene):
            if node.GetID() not in before:
                scene.RemoveNode(node)
        raise
    return nodes


def _nodes(scene: Any) -> list[Any]:
    return [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]


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
