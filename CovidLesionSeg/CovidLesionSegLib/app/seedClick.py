"""One click into a view, handed on as a point."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

_NAME = "Missed lesion"


class SeedClick:
    """Lets the user place one point with Slicer's own place mode.

    Args:
        onPoint: Called with the point in world coordinates, in mm.
        onCancelled: Called when the user leaves place mode without a point, for example with Esc.
    """

    def __init__(
        self,
        onPoint: Callable[[tuple[float, float, float]], None],
        onCancelled: Callable[[], None],
    ) -> None:
        self._onPoint, self._onCancelled = onPoint, onCancelled
        self._node: Any = None
        self._modeTag = 0

    def start(self) -> None:
        """Wait for a click."""
        self.stop()
        scene = slicer.mrmlScene
        self._node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", _NAME)
        self._node.SetSaveWithScene(False)
        self._node.AddObserver(self._node.PointPositionDefinedEvent, self._onDefined)
        selection = slicer.app.applicationLogic().GetSelectionNode()
        selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
        selection.SetActivePlaceNodeID(self._node.GetID())
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        interaction.SetPlaceModePersistence(0)
        interaction.SetCurrentInteractionMode(interaction.Place)
        self._modeTag = interaction.AddObserver(
            interaction.InteractionModeChangedEvent, self._onModeChanged
        )

    def stop(self) -> None:
        """Stop waiting and leave no trace."""
        node, self._node = self._node, None
        if node is None:
            return
        interaction = slicer.app.applicationLogic().GetInteractionNode()
        interaction.RemoveObserver(self._modeTag)
        if node.GetScene() is None:
            return
        interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        node.GetScene().RemoveNode(node)

    def _onModeChanged(self, interaction: Any, _event: str) -> None:
        if interaction.GetCurrentInteractionMode() != interaction.Place:
            # Also a click ends place mode, before or after its point is defined.
            qt.QTimer.singleShot(0, self._cancelWithoutPoint)

    def _cancelWithoutPoint(self) -> None:
        if self._node is not None and not self._node.GetNumberOfDefinedControlPoints():
            self.stop()
            self._onCancelled()

    def _onDefined(self, *_args: Any) -> None:
        point = [0.0, 0.0, 0.0]
        self._node.GetNthControlPointPositionWorld(0, point)
        # The node can't be removed while it tells of its own change.
        qt.QTimer.singleShot(0, lambda: self._finish((point[0], point[1], point[2])))

    def _finish(self, point: tuple[float, float, float]) -> None:
        self.stop()
        self._onPoint(point)
