"""The panel: what is chosen, what runs, what came out. One object per module widget."""

from __future__ import annotations

import logging
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CovidLesionSegLib.errors import CancelledError, CovidLesionSegError
from CovidLesionSegLib.mrml.display import jumpTo, pointOfInterestRas, setLungWindow
from CovidLesionSegLib.mrml.result_import import ImportedRun
from CovidLesionSegLib.mrml.review_session import ReviewSession
from CovidLesionSegLib.mrml.run_nodes import FACTS, isResult, nodeOfRun
from CovidLesionSegLib.mrml.volume_input import checkVolumeNode

from .choices import diagnostics, fillChoices, optionsOf, showTimes
from .dialogs import Dialogs
from .exportPanel import ExportPanel
from .help import helpHtml
from .memory import recall, remember
from .resultView import ResultView, resultsIn, showAlone
from .reviewPanel import ReviewPanel
from .runTime import rememberTime
from .segmentationRun import RunListener, RunState, SegmentationRun, inputRemoved
from .texts import MINIMUM_SLICER, durationText, stageText, termsText
from .torchRequirement import ensureTorch
from .widgets import setUsable, showAsError

_LOG = logging.getLogger(__name__)
_BAR = 1000


class Panel:
    """Connects widgets, parameter node, runs and review.

    Args:
        ui: The panel's widgets.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._dialogs = Dialogs()
        self._parameters: Any = None
        self._lastError: CovidLesionSegError | None = None
        self._options: dict[str, Any] = {}
        self._timesFor: tuple[str, int] | None = None
        self._refused: Any = None
        self._refusal = ""
        self._isEntered = False
        self._fresh: tuple[Any, tuple[float, float, float]] | None = None
        self._showing = False
        self.run = SegmentationRun(
            RunListener(self._onState, self._onProgress, self._onResult, self._onFailed)
        )
        self.result = ResultView(ui, lambda: self._parameters.mapOpacity)
        self.review = ReviewPanel(ui, self._showNumbers)
        self.export = ExportPanel(ui, self._dialogs, self.review.refresh)
        fillChoices(ui)
        ui.termsLabel.setText(termsText())
        # Every result that can be reviewed has it, whichever version has made it.
        ui.resultSelector.addAttribute("vtkMRMLSegmentationNode", FACTS)
        self._connect()
        self._onState(RunState.IDLE)
        self._showSelector()
        self.result.show(None, None)
        self.review.open(None)
        self.export.open(None)

    def setParameterNode(self, parameters: Any) -> None:
        """Follow another parameter node, or none while the scene is closed."""
        self._parameters = parameters
        if parameters is not None:
            self._showChoices()
        self._timesFor = None
        self.update()

    def update(self) -> None:
        """Show what the parameter node says."""
        parameters = self._parameters
        # While a scene is being read its nodes are there and what belongs to them isn't.
        if parameters is None or slicer.mrmlScene.IsBatchProcessing():
            return
        if not self.run.isBusy:
            self._showWhyNot()
        self._ui.thresholdSlider.setEnabled(parameters.useThreshold)
        self._showTimes()
        node = parameters.resultSegmentation
        wanted = node if isResult(node) else None
        shown = self.review.session.node if self.review.session is not None else None
        if wanted is not (self._refused or shown):
            self._open(wanted)
        self._showSelector()
        self.result.updateOpacity()

    def enter(self) -> None:
        """The user looks at the module: switch its keys on, show what has come meanwhile."""
        self._isEntered = True
        self.review.enter()
        self._showFresh()

    def exit(self) -> None:
        """The user looks at another module: leave keys, tools and views to it."""
        self._isEntered = False
        self.review.exit()

    def onNodeRemoved(self, node: Any) -> None:
        """Follow a node that leaves the scene."""
        if self.run.ctNode is node:
            self.run.fail(inputRemoved())
        session = self.review.session
        if session is not None and node in (session.node, nodeOfRun(session.node, "ct")):
            self._open(None)
            if node is session.node:
                # The parameter node names it until it has left.
                self._refused = node
        self._showSelector(leaving=node)

    def closeScene(self) -> None:
        """Let go of the scene; a run under way ends without a result."""
        # First of all: nothing that follows may look at the scene that closes.
        self.setParameterNode(None)
        self.run.abandon()
        self._fresh = None
        self._open(None)
        self._status("")

    def close(self) -> None:
        """Let go of everything: the module is unloaded."""
        self.setParameterNode(None)
        self.run.abandon()
        self.export.close()
        self.review.close()
        self._dialogs.close()

    def _connect(self) -> None:
        ui = self._ui
        for name, slot in {
            "segmentButton": self._onSegment,
            "diagnosticsButton": self._onDiagnostics,
            "helpButton": lambda *_a: self._help("steps"),
            "numbersButton": lambda *_a: self._help("numbers"),
            "modelCardButton": lambda *_a: self._help("models"),
            "intendedUseButton": lambda *_a: self._help("use"),
            "licenceButton": lambda *_a: self._help("licence"),
        }.items():
            getattr(ui, name).connect("clicked(bool)", slot)
        ui.modelComboBox.connect("currentIndexChanged(int)", self._onChoice)
        ui.deviceComboBox.connect("currentIndexChanged(int)", self._onChoice)
        ui.weightsPathLineEdit.connect("currentPathChanged(QString)", self._onChoice)

    def _onChoice(self, *_args: Any) -> None:
        parameters, ui = self._parameters, self._ui
        if parameters is None or self._showing:
            return
        parameters.model = str(ui.modelComboBox.currentData or "")
        parameters.device = str(ui.deviceComboBox.currentData or "auto")
        parameters.weights = str(ui.weightsPathLineEdit.currentPath or "")
        remember("Model", parameters.model)
        remember("Device", parameters.device)

    def _showChoices(self) -> None:
        """Show the choices of a scene; a new scene begins with those made last."""
        parameters, ui = self._parameters, self._ui
        if not parameters.model:
            parameters.device = recall("Device", "auto")
        self._showing = True
        for box, value in (
            (ui.modelComboBox, parameters.model or recall("Model", "")),
            (ui.deviceComboBox, parameters.device),
        ):
            box.setCurrentIndex(max(0, box.findData(value)))
        ui.weightsPathLineEdit.setCurrentPath(parameters.weights)
        self._showing = False
        self._onChoice()

    def _showTimes(self) -> None:
        """Say how long each model takes, when the CT or the device has changed."""
        parameters = self._parameters
        image = parameters.inputVolume.GetImageData() if parameters.inputVolume else None
        asked = (parameters.device, image.GetNumberOfPoints() if image is not None else 0)
        if asked != self._timesFor:
            self._timesFor = asked
            showTimes(self._ui, *asked)

    def _showWhyNot(self) -> None:
        """Let the button be pressed, or say below it what is missing."""
        reason, label = self._whyNot(), self._ui.missingLabel
        setUsable(self._ui.segmentButton, reason, _("Segment the infection in this CT"))
        label.setText(reason)
        label.setVisible(bool(reason))

    def _whyNot(self) -> str:
        """Return why no run can be started now, empty when one can."""
        version = (slicer.app.majorVersion, slicer.app.minorVersion)
        if version < MINIMUM_SLICER:
            return _("CovidLesionSeg needs 3D Slicer {wanted} or newer; this is {found}.").format(
                wanted=".".join(map(str, MINIMUM_SLICER)), found=".".join(map(str, version))
            )
        node = self._parameters.inputVolume
        if node is None:
            return _("Load a chest CT and choose it above. The module Sample Data has some to try.")
        try:
            checkVolumeNode(node)
        except CovidLesionSegError as error:
            return f"{error.message} {error.hint}"
        return ""

    def _onSegment(self, _checked: bool = False) -> None:
        if self._parameters is None:
            return
        if self.run.isBusy:
            self.run.cancel()
            return
        reason = self._whyNot()
        if reason:
            self._status(reason, isError=True)
            return
        try:
            ensureTorch(self._dialogs)
        except CancelledError:
            self._status(_("Nothing was installed and nothing was started."))
            return
        except CovidLesionSegError as error:
            self._onFailed(error)
            return
        self._start(optionsOf(self._parameters))

    def _start(self, options: dict[str, Any]) -> None:
        self._options = options
        self._lastError = None
        self.run.start(self._parameters.inputVolume, options, self._parameters.lobes)

    def _onState(self, state: RunState) -> None:
        ui = self._ui
        busy = self.run.isBusy
        ui.progressBar.setVisible(busy)
        for widget in (ui.inputSelector, ui.modelComboBox, ui.advancedSection):
            widget.setEnabled(not busy)
        if state is RunState.CANCELLING:
            self._status(_("Stopping..."))
        elif state is RunState.IDLE:
            self._status("")
        ui.segmentButton.setText(_("Cancel") if busy else _("Segment infection"))
        if busy:
            ui.missingLabel.setVisible(False)
            can = state is RunState.RUNNING
            ui.segmentButton.setEnabled(can)
            ui.segmentButton.setToolTip(
                _("Stop; the scene stays as it is") if can else _("One moment")
            )
        else:
            self.update()

    def _onProgress(self, stage: str, fraction: float, secondsLeft: float | None) -> None:
        self._ui.progressBar.setValue(round(_BAR * fraction))
        text = stageText(stage)
        if secondsLeft is not None:
            text += _(" · about {duration} left").format(duration=durationText(secondsLeft))
        self._status(text)

    def _onResult(self, run: ImportedRun) -> None:
        result, nodes = run.result, run.nodes
        self._status(
            _("Done in {duration} on {device}").format(
                duration=durationText(self.run.seconds), device=result.run.device
            )
        )
        if not self._options.get("weights"):
            rememberTime(
                self._options["model"], self._options["device"], result.ct.hu.size, self.run.seconds
            )
            self._timesFor = None
        self._open(nodes.segmentation, run)
        # The node came before the attribute by which it is listed; a filter is not looked at
        # again for that, and what is not listed can't be selected.
        self._ui.resultSelector.sortFilterProxyModel().invalidate()
        self._parameters.resultSegmentation = nodes.segmentation
        self._fresh = (nodes.segmentation, pointOfInterestRas(result, nodes.ct))
        if self._isEntered:
            self._showFresh()

    def _showFresh(self) -> None:
        """Turn the views to what a run has found; who works elsewhere keeps his views."""
        fresh, self._fresh = self._fresh, None
        session = self.review.session
        if fresh is None or session is None or session.node is not fresh[0]:
            return
        setLungWindow(nodeOfRun(session.node, "ct"))
        jumpTo(slicer.mrmlScene, fresh[1])
        self.result.showMap("")

    def _onFailed(self, error: CovidLesionSegError) -> None:
        self._lastError = error
        self._status(f"{error.message} {error.hint}".strip(), isError=True)
        onGpu = self._options.get("device", "auto") != "cpu"
        if error.code == "out-of-memory" and onGpu:
            question = _(
                "The graphics card has too little memory for this CT. Segment it on the "
                "processor instead? It takes longer."
            )
            if self._dialogs.confirm(question):
                self._start({**self._options, "device": "cpu"})

    def _open(self, node: Any, run: ImportedRun | None = None) -> None:
        """Show and review a result of the scene, fresh from its run or not, or none.

        One that can't be shown is told once, until another one is chosen.
        """
        before, self._refused, self._refusal = self._refusal, None, ""
        self._letGo()
        try:
            self._show(None if node is None else self._sessionOf(node, run))
        except CovidLesionSegError as error:
            self._refusal = f"{error.message} {error.hint}"
        except Exception as error:  # half a result must not pass for a whole one
            _LOG.exception("The result could not be shown")
            self._refusal = _(
                "This result can't be shown ({kind}: {text}). Something of it is missing in the "
                "scene; segment the CT again, the segmentation itself stays."
            ).format(kind=type(error).__name__, text=error)
        if self._refusal:
            self._refused = node
            self._show(None)
        if self._refusal and not self.run.isBusy:
            self._status(self._refusal, isError=True)
        elif before and self._ui.statusLabel.text == before:
            self._status("")

    def _letGo(self) -> None:
        """Leave the result shown so far; what is missing of it must not stand in another's way."""
        try:
            self.review.open(None)
        except Exception:  # whatever it is, another result can be chosen
            _LOG.exception("The last edits could not be followed")
            self.review.session = None

    def _sessionOf(self, node: Any, run: ImportedRun | None) -> ReviewSession:
        context, book = (run.context, run.book) if run is not None else (None, None)
        return ReviewSession(node, context, self._saveEditorState, book)

    def _show(self, session: ReviewSession | None) -> None:
        self.review.open(session)
        self.export.open(session)
        self._showNumbers()
        if session is not None:
            showAlone(session.node)

    def _showSelector(self, leaving: Any = None) -> None:
        """Offer the choice of a result while there is one, shown or not."""
        isThere = any(node is not leaving for node in resultsIn(slicer.mrmlScene))
        for widget in (self._ui.resultLabel, self._ui.resultSelector):
            widget.setVisible(isThere)

    def _saveEditorState(self) -> None:
        self._ui.segmentEditor.saveStateForUndo()

    def _showNumbers(self) -> None:
        session = self.review.session
        if session is None:
            self.result.show(None, None)
        else:
            self.result.show(session.node, session.quantification)

    def _help(self, section: str) -> None:
        self._dialogs.showHelp(helpHtml(str(self._ui.modelComboBox.currentData)), section)

    def _onDiagnostics(self, _checked: bool = False) -> None:
        qt.QApplication.clipboard().setText(diagnostics(self._parameters, self._lastError))
        self._status(_("Diagnostics are in the clipboard."))

    def _status(self, text: str, isError: bool = False) -> None:
        label = self._ui.statusLabel
        label.setText(text)
        label.setVisible(bool(text))
        showAsError(label, isError)
