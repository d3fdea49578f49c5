"""The process that writes ``scene.mrb``: reads a result from standard input."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from CovidLesionSegLib.engine.result import SegmentationResult

from .display import jumpTo, pointOfInterestRas, setLungWindow, showInSliceViews
from .headless import HeadlessApplication
from .hierarchy import addStudy
from .scene import ResultNodes, addResult
from .views import addViews
from .volume_node import addCtVolume


def buildScene(application: HeadlessApplication, result: SegmentationResult) -> ResultNodes:
    """Fill an empty scene with a result and with views that show it.

    Args:
        application: An application without windows.
        result: The result.
    """
    scene = application.scene
    ctNode = addCtVolume(scene, result.ct)
    setLungWindow(ctNode)
    addStudy(scene, "Chest CT", ctNode)
    nodes = addResult(scene, result, ctNode)
    addViews(application, ctNode, nodes.table)
    showInSliceViews(scene, ctNode, nodes.boundaryMap)
    jumpTo(scene, pointOfInterestRas(result, ctNode))
    return nodes


def main() -> None:
    """Write the result on standard input to the path on the command line."""
    # The pipe comes from `scene_file`, never from a file: nobody else can fill it.
    result: SegmentationResult = pickle.load(sys.stdin.buffer)
    application = HeadlessApplication.start()
    buildScene(application, result)
    application.save(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
