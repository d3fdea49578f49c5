"""Stand-ins for the few qMRML widgets of the panel, over real MRML and the real logic."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtWidgets

from .pythonqt import Loader, raw, wrap


class _Widget(QtWidgets.QWidget):
    def setMRMLScene(self, scene: Any) -> None:
        for child in QtWidgets.QWidget.findChildren(self, QtWidgets.QWidget):
            if isinstance(child, _NodeComboBox | _SegmentEditor):
                child.setMRMLScene(scene)


class _NodeComboBox(QtWidgets.QComboBox):
    """Lists the nodes of some classes; selects nothing by itself."""

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._types: list[str] = []
        self._flags: dict[str, bool] = {}
        self._attributes: dict[str, str] = {}
        self._id = ""
        # As narrow as the panel needs it, whatever the nodes are called.
        policy = QtWidgets.QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        QtWidgets.QComboBox.setSizeAdjustPolicy(self, policy)
        raw(self, "currentIndexChanged").connect(lambda *_: self._changed())

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        for event in (scene.NodeRemovedEvent, scene.EndCloseEvent):
            scene.AddObserver(event, lambda *_: self._refill())
        scene.AddObserver(scene.NodeAddedEvent, self._onNodeAdded)
        self._refill()

    def addAttribute(self, nodeType: str, name: str) -> None:
        """List only nodes that have an attribute, whatever its value."""
        self._attributes[nodeType] = name
        self._refill()

    def sortFilterProxyModel(self) -> Any:
        """Return what decides which nodes are listed; ``invalidate`` looks at all of them anew."""
        return SimpleNamespace(invalidate=self._refill)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def _onNodeAdded(self, _scene: Any, _event: str, _node: Any) -> None:
        self._refill()

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._id) if self._scene and self._id else None

    def setCurrentNode(self, node: Any) -> None:
        self._refill()
        index = QtWidgets.QComboBox.findData(self, node.GetID() if node is not None else "")
        QtWidgets.QComboBox.setCurrentIndex(self, index)

    def _refill(self) -> None:
        keep = self._id
        QtCore.QObject.blockSignals(self, True)
        QtWidgets.QComboBox.clear(self)
        QtWidgets.QComboBox.addItem(self, "None", "")
        for name in self._types:
            for index in range(self._scene.GetNumberOfNodesByClass(name)):
                node = self._scene.GetNthNodeByClass(index, name)
                if node.GetClassName() == name and self._isListed(node):
                    QtWidgets.QComboBox.addItem(self, node.GetName(), node.GetID())
        QtWidgets.QComboBox.setCurrentIndex(self, max(0, QtWidgets.QComboBox.findData(self, keep)))
        QtCore.QObject.blockSignals(self, False)
        self._changed()

    def _isListed(self, node: Any) -> bool:
        wanted = self._attributes.get(node.GetClassName())
        hasIt = wanted is None or node.GetAttribute(wanted) is not None
        return hasIt and not node.GetHideFromEditors()

    def _changed(self, *_args: Any) -> None:
        chosen = QtWidgets.QComboBox.currentData(self) or ""
        if chosen != self._id:
            self._id = chosen
            self.currentNodeChanged.emit(self.currentNode())

    def _flag(name: str) -> Any:  # type: ignore[misc]
        def read(self: Any) -> bool:
            return bool(self._flags.get(name, True))

        def write(self: Any, value: bool) -> None:
            self._flags[name] = value

        return QtCore.Property(bool, read, write)

    def _getTypes(self) -> list[str]:
        return self._types

    def _setTypes(self, types: list[str]) -> None:
        self._types = list(types)

    nodeTypes = QtCore.Property("QStringList", _getTypes, _setTypes)
    addEnabled = _flag("addEnabled")
    removeEnabled = _flag("removeEnabled")
    noneEnabled = _flag("noneEnabled")
    showChildNodeTypes = _flag("showChildNodeTypes")


class _SegmentEditor(QtWidgets.QWidget):
    """The embedded editor without its buttons: its own logic, undo included."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._node: Any = None
        self._effect = ""
        self._readOnly = False

    def setReadOnly(self, readOnly: bool) -> None:
        self._readOnly = readOnly

    def _isReadOnly(self) -> bool:
        return self._readOnly

    readOnly = QtCore.Property(bool, _isReadOnly, setReadOnly)

    def setMRMLScene(self, scene: Any) -> None:
        self._logic.SetMRMLScene(scene)

    def setMRMLSegmentEditorNode(self, node: Any) -> None:
        self._node = node
        self._logic.SetSegmentEditorNode(node)

    def setSegmentationNode(self, node: Any) -> None:
        if node is not None and node.GetScene().IsBatchProcessing():
            raise AssertionError("the editor takes no node while the scene is being read")
        self._node.SetAndObserveSegmentationNode(node)
        self._logic.SetSegmentationNode(node)

    def setSourceVolumeNode(self, node: Any) -> None:
        self._logic.SetSourceVolumeNode(node)

    def setCurrentSegmentID(self, segmentId: str) -> None:
        self._logic.SetCurrentSegmentID(segmentId)

    def setActiveEffectByName(self, name: str) -> None:
        self._effect = name

    def setSegmentationNodeSelectorVisible(self, visible: bool) -> None:
        pass

    def setSourceVolumeNodeSelectorVisible(self, visible: bool) -> None:
        pass

    def saveStateForUndo(self) -> None:
        self._logic.SaveStateForUndo()

    def undo(self) -> None:
        self._logic.Undo()


for _cls, _name in (
    (_Widget, "qMRMLWidget"),
    (_NodeComboBox, "qMRMLNodeComboBox"),
    (_SegmentEditor, "qMRMLSegmentEditorWidget"),
):
    _cls.__name__ = _name
    Loader.classes[_name] = wrap(_cls)
