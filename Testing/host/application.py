"""Starts the stand-in: scene, logics, slice views, `slicer.app`, and the module's panel."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
if sys.platform == "linux" and not os.environ.get("DISPLAY"):
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")

import slicer
from PySide6 import QtCore, QtWidgets

from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.mrml.headless import HeadlessApplication
from CovidLesionSegLib.mrml.volume_node import addCtVolume

from . import pythonqt, scripted_module

MODULE_FOLDER = Path(__file__).resolve().parents[2] / "CovidLesionSeg"


class App:
    """`slicer.app`, as far as the module uses it; anything else raises."""

    majorVersion = 5
    minorVersion = 12
    applicationVersion = "5.12.0-host"

    def __init__(self, logic: Any, folder: str) -> None:
        self._logic = logic
        self.temporaryPath = str(Path(folder) / "temporary")
        Path(self.temporaryPath).mkdir()
        self._settings = QtCore.QSettings(f"{folder}/host.ini", QtCore.QSettings.Format.IniFormat)
        self.started: list[Callable[[], None]] = []

    def connect(self, signature: str, slot: Callable[[], None]) -> bool:
        if signature != "startupCompleted()":
            raise ValueError(signature)
        self.started.append(slot)
        return True

    def applicationLogic(self) -> Any:
        return self._logic

    def layoutManager(self) -> None:
        return None

    def settings(self) -> QtCore.QSettings:
        return self._settings

    def processEvents(self) -> None:
        QtWidgets.QApplication.processEvents()

    def testingEnabled(self) -> bool:
        return True

    def topLevelWidgets(self) -> list[Any]:
        return []


class ModuleHandle:
    """An entry of `slicer.modules`."""

    def __init__(self, logic: Any = None, widget: Any = None) -> None:
        self._logic, self._widget = logic, widget

    def logic(self) -> Any:
        return self._logic

    def widgetRepresentation(self) -> Any:
        return types.SimpleNamespace(self=lambda: self._widget)


class Host:
    """One application with one panel.

    Attributes:
        asked: Texts that were shown or asked.
        answers: Answers to questions, taken from the front; no answer left is a failure.
        slotErrors: Exceptions in slots, which Qt does not raise.
        sliceLogics: Logics of the axial, sagittal and coronal slice view.
    """

    def __init__(self) -> None:
        self.qtApplication = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["host"])
        QtCore.qInstallMessageHandler(lambda *_: None)
        self.asked: list[str] = []
        self.answers: list[bool] = []
        self.slotErrors: list[str] = []
        sys.excepthook = self._onSlotError
        sys.modules["qt"], sys.modules["ctk"] = pythonqt.build()
        importlib.import_module("Testing.host.mrml_widgets")
        scripted_module.install()
        self.mrml = HeadlessApplication.start()
        self._bindSlicer()
        self.widget = self._loadModule()

    @property
    def ui(self) -> Any:
        """The panel's widgets."""
        return self.widget.ui

    @property
    def panel(self) -> Any:
        """The panel."""
        return self.widget.panel

    @property
    def scene(self) -> Any:
        """The scene."""
        return slicer.mrmlScene

    def wait(self, condition: Callable[[], bool], seconds: float = 30.0) -> float:
        """Let events run until something holds; returns how long that took."""
        start = time.monotonic()
        while not condition():
            if time.monotonic() - start > seconds:
                raise AssertionError(f"did not happen within {seconds} s")
            self.qtApplication.processEvents()
            time.sleep(0.005)
        return time.monotonic() - start

    def rest(self, seconds: float) -> None:
        """Let events run for a while."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end, seconds + 5.0)

    def ids(self) -> set[str]:
        """Ids of all nodes of the scene."""
        count = self.scene.GetNumberOfNodes()
        return {self.scene.GetNthNode(index).GetID() for index in range(count)}

    def grab(self, path: Path, width: int = 430) -> None:
        """Save a picture of the panel."""
        widget = self.ui.segmentButton.parentWidget()
        # Only a shown widget is laid out; the offscreen platform has no screen to show it on.
        QtWidgets.QWidget.show(widget)
        for _ in range(2):
            height = QtWidgets.QWidget.layout(widget).totalHeightForWidth(width)
            QtWidgets.QWidget.resize(widget, width, height)
            self.rest(0.1)
        QtWidgets.QWidget.grab(widget).save(str(path))

    def work(self, mode: str) -> None:
        """Choose what the worker does, see `stand_in_worker`; ``"real"`` takes the real one."""
        from CovidLesionSegLib.app.scripting import workerCommand

        script = Path(__file__).with_name("stand_in_worker.py")
        self.panel.run.command = (
            workerCommand() if mode == "real" else [sys.executable, str(script), mode]
        )

    def addCt(self, ct: CtVolume, name: str = "Chest CT") -> Any:
        """Add a CT to the scene and choose it in the panel."""
        node = addCtVolume(self.scene, ct)
        node.SetName(name)
        self.ui.inputSelector.setCurrentNode(node)
        return node

    def segment(self, mode: str = "plain") -> Any:
        """Press the button, wait for the result and return its segmentation node."""
        self.work(mode)
        self.ui.segmentButton.click()
        self.wait(lambda: not self.panel.run.isBusy)
        if self.panel.run.state.name != "DONE":
            raise AssertionError(self.ui.statusLabel.text)
        return self.panel.review.session.node

    def export(self) -> str:
        """Press the button, wait until it is done and return what the panel says."""
        self.ui.exportButton.click()
        return self.waitForExport()

    def waitForExport(self) -> str:
        """Wait until an export is done and return what the panel says."""
        self.wait(lambda: not self.panel.export.run.isBusy, 60.0)
        return str(self.ui.exportLabel.text)

    def clear(self) -> None:
        """Back to an empty scene and an idle panel."""
        self.panel.run.abandon()
        self.scene.Clear(0)
        slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        self.qtApplication.processEvents()
        # A test may have left the module or closed the panel, which lets go of its keys.
        self.widget.enter()
        self.asked, self.answers, self.slotErrors = [], [], []
        slicer.app.settings().clear()

    def _onSlotError(self, _kind: Any, error: BaseException, _trace: Any) -> None:
        self.slotErrors.append("".join(traceback.format_exception(error)[:9]))

    def _bindSlicer(self) -> None:
        slicer.mrmlScene, logic = self.mrml.scene, self.mrml.logic
        slicer.app = App(logic, tempfile.mkdtemp(prefix="host-"))
        logic.SetModuleLogic("Colors", logic.GetColorLogic())
        slicer.modules = sys.modules["slicer.modules"] = types.ModuleType("slicer.modules")
        for name, cls in {
            "SubjectHierarchy": slicer.vtkSlicerSubjectHierarchyModuleLogic,
            "Volumes": slicer.vtkSlicerVolumesLogic,
            "Segmentations": slicer.vtkSlicerSegmentationsModuleLogic,
            "Tables": slicer.vtkSlicerTablesLogic,
            "Markups": slicer.vtkSlicerMarkupsLogic,
        }.items():
            module_logic = cls()
            module_logic.SetMRMLScene(slicer.mrmlScene)
            module_logic.SetMRMLApplicationLogic(logic)
            logic.SetModuleLogic(name, module_logic)
            setattr(slicer.modules, name.lower(), ModuleHandle(module_logic))
        slicer.util.confirmOkCancelDisplay = self._ask
        slicer.util.infoDisplay = lambda text, **_: self.asked.append(text)
        self._addSliceViews()

    def _ask(self, text: str, **_options: Any) -> bool:
        self.asked.append(text)
        if not self.answers:
            raise AssertionError(f"an unexpected question: {text}")
        return self.answers.pop(0)

    def _addSliceViews(self) -> None:
        self.sliceLogics = []
        for name, orientation in (("Red", "Axial"), ("Yellow", "Sagittal"), ("Green", "Coronal")):
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(self.mrml.logic)
            logic.SetMRMLScene(self.scene)
            node = logic.AddSliceNode(name)
            node.SetOrientation(orientation)
            self.sliceLogics.append(logic)

    def _loadModule(self) -> Any:
        module = importlib.import_module("CovidLesionSeg")
        module.CovidLesionSeg(types.SimpleNamespace())
        parent = pythonqt.Loader.classes["qMRMLWidget"](None)
        self._parent = parent
        QtWidgets.QWidget.setLayout(parent, QtWidgets.QVBoxLayout())
        widget = module.CovidLesionSegWidget(parent)
        handle = ModuleHandle(None, widget)
        slicer.modules.covidlesionseg = handle
        widget.setup()
        widget.enter()
        return widget
