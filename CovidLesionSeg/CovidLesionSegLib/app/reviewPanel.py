"""The review: list, decisions, keys, following edits by the Segment Editor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CovidLesionSegLib.engine.review_values import REOPEN, LogEntry
from CovidLesionSegLib.engine.steps import Steps
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.mrml.display import setLungWindow
from CovidLesionSegLib.mrml.review_session import INFECTION, ReviewSession
from CovidLesionSegLib.mrml.review_views import crossingOfViews, lookAt
from CovidLesionSegLib.mrml.run_nodes import nodeOfRun

from .lesionTable import LesionTable
from .seedClick import SeedClick
from .widgets import setUsable

REFRESH_MS = 250
"""After the last event of an edit; a stroke fires several."""

SETTLE_MS = 1500
_EDIT_EVENTS = (
    "SourceRepresentationModified",
    "RepresentationModified",
    "SegmentModified",
    "SegmentRemoved",
)
_KEYS = {"Shift+P": "previousButton", "Shift+N": "nextButton"}
_DECISION_KEYS = {"Shift+A": "acceptButton", "Shift+R": "rejectButton"}


class ReviewPanel:
    """Shows and drives a `ReviewSession`.

    Args:
        ui: The panel's widgets.
        onNumbers: Called when the numbers of the result have changed.
    """

    def __init__(self, ui: Any, onNumbers: Callable[[], None]) -> None:
        self._ui = ui
        self._onNumbers = onNumbers
        self._observed: list[tuple[Any, int]] = []
        self._table = LesionTable(ui, self._onSelected)
        self._shortcuts: list[Any] = []
        self._seed = SeedClick(self._addAt, lambda: self._message(""))
        self.session: ReviewSession | None = None
        self._refreshTimer = self._timer(REFRESH_MS, self.refresh)
        self._settleTimer = self._timer(SETTLE_MS, self._settle)
        self._stepTimer = self._timer(0, self._settleStep)
        self._steps: Steps[None] | None = None
        self._shownSteps = 0
        for name, slot in {
            "previousButton": lambda *_a: self._table.step(-1),
            "nextButton": lambda *_a: self._table.step(1),
            "acceptButton": lambda *_a: self._decide("accept"),
            "rejectButton": lambda *_a: self._decide("reject"),
            "acceptSmallButton": lambda *_a: self._try(self._acceptSmall),
            "splitButton": lambda *_a: self._try(self._split),
            "mergeButton": lambda *_a: self._try(self._merge),
            "addButton": lambda *_a: self._onAdd(),
            "undoButton": lambda *_a: self._try(self._undo),
            "finishButton": lambda *_a: self._try(self._finish),
        }.items():
            getattr(ui, name).connect("clicked(bool)", slot)

    @property
    def selectedIds(self) -> list[int]:
        """Ids of the selected lesions, in the order of the list."""
        return self._table.selectedIds

    def open(self, session: ReviewSession | None) -> None:
        """Review a result, or nothing for None."""
        self._leave()
        self._forget()
        self._table.clear()
        self.session = session
        self._ui.reviewSection.setVisible(session is not None)
        self._message("")
        if session is None:
            return
        segmentation = session.node.GetSegmentation()
        for name in _EDIT_EVENTS:
            tag = segmentation.AddObserver(getattr(segmentation, name), self._onEdited)
            self._observed.append((segmentation, tag))
        setLungWindow(nodeOfRun(session.node, "ct"))
        self._connectEditor(session)
        self._settleTimer.start()
        self._show()
        self._tellReopened(session.log[-1:])

    def enter(self) -> None:
        """Switch the keys on."""
        if self._shortcuts:
            return
        for key, name in {**_KEYS, **_DECISION_KEYS}.items():
            shortcut = qt.QShortcut(slicer.util.mainWindow() or self._ui.reviewSection)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", getattr(self._ui, name).click)
            self._shortcuts.append(shortcut)

    def exit(self) -> None:
        """Switch keys and tools off, so that other modules are not disturbed."""
        for shortcut in self._shortcuts:
            shortcut.setParent(None)
            shortcut.deleteLater()
        self._shortcuts = []
        self._seed.stop()
        if self.session is not None:
            self._ui.segmentEditor.setActiveEffectByName("")

    def close(self) -> None:
        """Let go of everything that is observed."""
        self.exit()
        self._leave()
        self._forget()
        self.session = None
        # A panel that replaces this one shares the editor's node; two would answer to each effect.
        self._ui.segmentEditor.setMRMLSegmentEditorNode(None)

    def refresh(self) -> None:
        """Follow an edit now instead of after the pause."""
        self._refreshTimer.stop()
        session = self._present()
        if session is None:
            return
        session.refresh()
        # An export may have followed the edit already.
        steps = session.log[self._shownSteps :]
        if steps:
            self._changed()
        self._tellReopened(steps)

    def _tellReopened(self, steps: Sequence[LogEntry]) -> None:
        if any(step.action == REOPEN for step in steps):
            self._message(_("An edit reopened the review. Finish it again when it is right."))

    def _present(self) -> ReviewSession | None:
        """Return the session while its nodes are in the scene."""
        session = self.session
        return None if session is None or session.node.GetScene() is None else session

    def _leave(self) -> None:
        """Let the result follow the last edits before another one takes its place."""
        session = self._present()
        if session is not None and nodeOfRun(session.node, "ct") is not None:
            session.refresh()
            session.settleSegments()

    def _changed(self) -> None:
        self._stopSettling()
        self._settleTimer.start()
        self._show()
        self._onNumbers()

    def _settle(self) -> None:
        session = self._present()
        if session is not None:
            self._steps = session.settleSteps()
            self._stepTimer.start()

    def _settleStep(self) -> None:
        """Do a part of what can wait; in between the user may edit on."""
        if self._steps is None:
            return
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None
        else:
            self._stepTimer.start()

    def _stopSettling(self) -> None:
        self._settleTimer.stop()
        self._stepTimer.stop()
        self._steps = None

    def _onEdited(self, *_args: Any) -> None:
        self._refreshTimer.start()

    def _timer(self, milliseconds: int, slot: Callable[[], None]) -> Any:
        timer = qt.QTimer()
        timer.setSingleShot(True)
        timer.setInterval(milliseconds)
        timer.connect("timeout()", slot)
        return timer

    def _forget(self) -> None:
        self._refreshTimer.stop()
        self._stopSettling()
        self._seed.stop()
        for subject, tag in self._observed:
            subject.RemoveObserver(tag)
        if self._observed:
            # The editor must not hold on to a result that may be deleted.
            self._ui.segmentEditor.setActiveEffectByName("")
            self._ui.segmentEditor.setSegmentationNode(None)
        self._observed = []

    def _show(self) -> None:
        """Show list, progress and which buttons make sense; the selection stays."""
        session = self.session
        if session is None:
            return
        self._table.show(session.lesions)
        self._shownSteps = len(session.log)
        decided, total = session.progress
        text = _("{decided} of {total} reviewed").format(decided=decided, total=total)
        if session.isFinished:
            text += _(" · review finished, log locked")
        self._ui.reviewProgressLabel.setText(text if total else _("No lesions were found."))
        self._enable()

    def _enable(self) -> None:
        session, ui = self.session, self._ui
        if session is None:
            return
        present = {lesion.id for lesion in session.book.current}
        selected = [lesionId for lesionId in self.selectedIds if lesionId in present]
        closed = _("The review is finished") if session.isFinished else ""
        pick = "" if selected else _("Select a lesion first")
        several = "" if len(selected) > 1 else _("Select two or more lesions with Ctrl or Shift")
        decided, total = session.progress
        missing = "" if decided == total else _("Review every lesion first")
        reasons = {
            "acceptButton": closed or pick,
            "rejectButton": closed or pick,
            "splitButton": closed or pick,
            "mergeButton": closed or several,
            "addButton": closed,
            "undoButton": closed or ("" if session.undoText else _("There is nothing to undo")),
            "finishButton": closed or missing,
        }
        if session.isFinished:
            reasons["acceptSmallButton"] = closed
        for name, reason in reasons.items():
            setUsable(getattr(ui, name), reason)
        self._lockEditor(session.isFinished)

    def _lockEditor(self, locked: bool) -> None:
        """Let nobody draw in a finished review by mistake."""
        editor = self._ui.segmentEditor
        if editor.readOnly != locked:
            editor.setActiveEffectByName("")
            editor.setReadOnly(locked)

    def _onSelected(self) -> None:
        session = self.session
        if session is None:
            return
        self._enable()
        self._message("")
        ids = self.selectedIds
        if len(ids) == 1:
            lookAt(slicer.mrmlScene, session.pointOf(ids[0]), session.extentOf(ids[0]))

    def _decide(self, action: str) -> None:
        ids = self.selectedIds

        def decide(session: ReviewSession) -> None:
            present = {lesion.id for lesion in session.book.current}
            getattr(session, action)(*(lesionId for lesionId in ids if lesionId in present))

        if self._try(decide):
            self._table.step(1, onlyOpen=True)

    def _acceptSmall(self, session: ReviewSession) -> None:
        session.accept(*self._table.smallIds)

    def _split(self, session: ReviewSession) -> None:
        session.split(self.selectedIds[0], crossingOfViews(slicer.mrmlScene))

    def _merge(self, session: ReviewSession) -> None:
        session.merge(self.selectedIds)

    def _undo(self, session: ReviewSession) -> None:
        session.undo()

    def _finish(self, session: ReviewSession) -> None:
        session.finish()

    def _onAdd(self) -> None:
        self._message(_("Click into the missed lesion in a slice view."))
        self._seed.start()

    def _addAt(self, pointRas: tuple[float, float, float]) -> None:
        def add(session: ReviewSession) -> None:
            session.addAt(pointRas)

        self._try(add)

    def _try(self, action: Callable[[ReviewSession], None]) -> bool:
        """Do something to the session, then show it; a refusal is shown as a sentence."""
        session = self.session
        if session is None:
            return False
        self.refresh()
        self._message("")
        try:
            action(session)
        except CovidLesionSegError as error:
            self._message(f"{error.message} {error.hint}")
            return False
        finally:
            self._changed()
        return True

    def _message(self, text: str) -> None:
        self._ui.reviewMessageLabel.setText(text)
        self._ui.reviewMessageLabel.setVisible(bool(text))

    def _connectEditor(self, session: ReviewSession) -> None:
        """Let the embedded Segment Editor work on this result and on nothing else."""
        editor, scene = self._ui.segmentEditor, session.node.GetScene()
        tag = "CovidLesionSeg.SegmentEditor"
        node = scene.GetSingletonNode(tag, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag(tag)
            node = scene.AddNode(node)
        # Painting infection must not eat the lobes below it.
        node.SetOverwriteMode(node.OverwriteNone)
        editor.setMRMLSegmentEditorNode(node)
        editor.setSegmentationNodeSelectorVisible(False)
        editor.setSourceVolumeNodeSelectorVisible(False)
        editor.setSegmentationNode(session.node)
        editor.setSourceVolumeNode(nodeOfRun(session.node, "ct"))
        editor.setCurrentSegmentID(INFECTION)
