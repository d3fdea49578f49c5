"""Own stand-ins for `slicer.ScriptedLoadableModule` and `slicer.i18n`."""

from __future__ import annotations

import sys
import types
import unittest
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtWidgets


class ScriptedLoadableModule:
    """Base of the module class."""

    def __init__(self, parent: Any) -> None:
        self.parent = parent
        self.moduleName = type(self).__name__


class ScriptedLoadableModuleWidget:
    """Base of the widget class."""

    def __init__(self, parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = parent
        self.layout = QtWidgets.QWidget.layout(parent)

    def setup(self) -> None:
        """Make the developer section; the host has none."""

    def onReload(self) -> None:
        """Reload the module file; the host does not."""

    def resourcePath(self, name: str) -> str:
        """Return the path of a file in Resources."""
        module = sys.modules[type(self).__module__]
        return str(Path(str(module.__file__)).parent / "Resources" / name)


class ScriptedLoadableModuleLogic:
    """Base of the logic class."""

    def __init__(self, _parent: Any = None) -> None:
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> Any:
        """Return the module's parameter node, made when there is none."""
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag(self.moduleName)
            node.SetModuleName(self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Base of the test class."""

    def __init__(self, methodName: str = "runTest") -> None:
        super().__init__(methodName)

    def delayDisplay(self, message: str) -> None:
        """Show a message for a while; nobody watches here."""


def install() -> None:
    """Put the stand-ins where the module imports them from."""
    from . import parameter_node

    base = types.ModuleType("slicer.ScriptedLoadableModule")
    for cls in (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    ):
        setattr(base, cls.__name__, cls)
    i18n = types.ModuleType("slicer.i18n")
    i18n.tr = lambda text: text  # type: ignore[attr-defined]
    i18n.translate = lambda _context, text: text  # type: ignore[attr-defined]
    sys.modules["slicer.ScriptedLoadableModule"] = base
    sys.modules["slicer.i18n"] = i18n
    sys.modules["slicer.parameterNodeWrapper"] = parameter_node.module()
