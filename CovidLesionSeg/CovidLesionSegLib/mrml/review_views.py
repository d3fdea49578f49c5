"""Looking at one lesion in all slice views."""

from __future__ import annotations

from typing import Any

import numpy as np

from .display import jumpTo

_CONTEXT = 3.0
"""The view shows this many times the lesion, so that its surroundings are seen."""

_SMALLEST_VIEW_MM = 80.0


def lookAt(scene: Any, pointRas: tuple[float, float, float], extent_mm: float) -> None:
    """Move all slice views to a point and frame what is around it.

    Args:
        scene: vtkMRMLScene.
        pointRas: World coordinates in mm.
        extent_mm: Size of what is to be seen.
    """
    jumpTo(scene, pointRas)
    wanted = max(extent_mm * _CONTEXT, _SMALLEST_VIEW_MM)
    for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        node = scene.GetNthNodeByClass(index, "vtkMRMLSliceNode")
        width, height, depth = node.GetFieldOfView()
        scale = wanted / max(min(width, height), 1e-6)
        node.SetFieldOfView(width * scale, height * scale, depth)
        # The views jump to their middle only when it is set.
        node.JumpSliceByCentering(*pointRas)


def crossingOfViews(scene: Any) -> tuple[float, float, float]:
    """Return where the planes of the slice views meet, in world coordinates, in mm.

    With more or with tilted planes: the point nearest to all of them. Views that the layout
    hides don't count, unless it hides all.

    Args:
        scene: vtkMRMLScene with slice nodes.
    """
    nodes = [
        scene.GetNthNodeByClass(index, "vtkMRMLSliceNode")
        for index in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceNode"))
    ]
    normals, distances = [], []
    for node in [each for each in nodes if each.IsMappedInLayout()] or nodes:
        toRas = node.GetSliceToRAS()
        normal = np.array([toRas.GetElement(row, 2) for row in range(3)])
        origin = np.array([toRas.GetElement(row, 3) for row in range(3)])
        normals.append(normal)
        distances.append(normal @ origin)
    if not normals:
        return 0.0, 0.0, 0.0
    x, y, z = np.linalg.lstsq(np.array(normals), np.array(distances), rcond=None)[0]
    return float(x), float(y), float(z)
