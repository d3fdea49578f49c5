"""The result of a worker into the scene, all of it or nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.engine.review import LesionBook
from CovidLesionSegLib.engine.review_values import ReviewContext
from CovidLesionSegLib.engine.steps import Steps
from CovidLesionSegLib.jobs.exchange import RESULT_FILE, read_result_steps

from .run_nodes import addRunNodesSteps
from .scene import ResultNodes, addResultSteps, allOrNothing


@dataclass(frozen=True, eq=False)
class ImportedRun:
    """A result in the scene, ready for its review.

    Attributes:
        result: The result.
        nodes: Its nodes.
        context: What stays the same in the review.
        book: Its lesions.
    """

    result: SegmentationResult
    nodes: ResultNodes
    context: ReviewContext
    book: LesionBook


def importSteps(scene: Any, folder: Path, ctNode: Any, timeText: str) -> Steps[ImportedRun]:
    """Read what a worker wrote and add it beside its CT, in steps of less than a second.

    Until the last step is done, the scene is as it was as soon as the steps are closed.

    Args:
        scene: vtkMRMLScene.
        folder: The folder of the job.
        ctNode: vtkMRMLScalarVolumeNode that the job was made from.
        timeText: When it was made, for the name: "CT infection (model, time)".

    Raises:
        CovidLesionSegError: ``result-unreadable``; the scene is as it was.
    """
    result = yield from read_result_steps(folder)
    facts = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
    title = f"{ctNode.GetName()} infection ({result.run.model_id}, {timeText})"
    return (yield from allOrNothing(scene, _add(scene, result, ctNode, title, facts)))


def _add(
    scene: Any, result: SegmentationResult, ctNode: Any, title: str, facts: dict[str, Any]
) -> Steps[ImportedRun]:
    nodes = yield from addResultSteps(scene, result, ctNode, title)
    yield
    yield from addRunNodesSteps(scene, result, nodes, facts)
    yield
    context = ReviewContext(result.ct, result.anatomy, result.prediction, result.infection)
    book = LesionBook(context, result.infection)
    return ImportedRun(result, nodes, context, book)
