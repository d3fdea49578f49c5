"""The result of a worker into the scene, all of it or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.jobs.exchange import RESULT_FILE, read_result

from .run_nodes import addRunNodes
from .scene import ResultNodes, addResult


def importRun(
    scene: Any, folder: Path, ctNode: Any, timeText: str
) -> tuple[SegmentationResult, ResultNodes]:
    """Read what a worker wrote and add it beside its CT.

    Args:
        scene: vtkMRMLScene.
        folder: The folder of the job.
        ctNode: vtkMRMLScalarVolumeNode that the job was made from.
        timeText: When it was made, for the name: "CT infection (model, time)".

    Raises:
        CovidLesionSegError: ``result-unreadable``; the scene is as it was.
    """
    result = read_result(folder)
    name = f"{ctNode.GetName()} infection ({result.run.model_id}, {timeText})"
    before = _ids(scene)
    try:
        nodes = addResult(scene, result, ctNode, name)
        facts = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
        addRunNodes(scene, result, nodes, facts)
    except BaseException:
        for nodeId in _ids(scene) - before:
            node = scene.GetNodeByID(nodeId)
            if node is not None:
                scene.RemoveNode(node)
        raise
    return result, nodes


def _ids(scene: Any) -> set[str]:
    return {scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())}
