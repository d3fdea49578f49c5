"""The export: which formats, why one can't be written, where to, all of it remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CovidLesionSegLib.errors import CancelledError, CovidLesionSegError
from CovidLesionSegLib.export.formats import ExportFormat
from CovidLesionSegLib.export.handover import HANDED_OVER, TRAINING_CASE
from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.export.publish import DEFAULT_STEM
from CovidLesionSegLib.mrml.review_session import ReviewSession
from CovidLesionSegLib.mrml.run_nodes import nodeOfRun
from CovidLesionSegLib.mrml.session_export import exportJob
from CovidLesionSegLib.mrml.slicer_formats import formatsOfReview

from .dialogs import Dialogs
from .exportRun import ExportListener, ExportRun, ExportTask, asExportError
from .memory import recall, remember
from .reportPdf import REPORT_PDF
from .widgets import setUsable, showAsError

_BAR = 1000
_USUAL_FORMATS = ["seg-nrrd", "csv", "report"]


class ExportPanel:
    """Exports the result under review.

    Args:
        ui: The panel's widgets.
        dialogs: Asks for folders.
        follow: Makes review and numbers follow the last edit.
    """

    def __init__(self, ui: Any, dialogs: Dialogs, follow: Callable[[], None]) -> None:
        self._ui, self._dialogs, self._follow = ui, dialogs, follow
        self._session: ReviewSession | None = None
        self._formats: Mapping[str, ExportFormat] = {}
        self._boxes: dict[str, Any] = {}
        self.run = ExportRun(
            ExportListener(self._onProgress, self._onDone, self._onFailed, self._onCancelled)
        )
        ui.exportButton.connect("clicked(bool)", self._onExport)
        ui.trainingButton.connect("clicked(bool)", self._onTraining)
        ui.exportSection.connect("contentsCollapsed(bool)", lambda *_a: self.update())
        # Some formats can't be written without naming the patient.
        ui.identifiedCheckBox.connect("toggled(bool)", lambda *_a: self.update())

    def open(self, session: ReviewSession | None) -> None:
        """Export this review, or nothing for None."""
        wasBusy = self.run.isBusy
        self.run.abandon()
        self._setBusy(False)
        self._session = session
        self._ui.exportSection.setVisible(session is not None)
        self._tell("")
        if wasBusy:
            self._onCancelled()
        self._ui.identifiedCheckBox.setChecked(False)
        if session is not None:
            self._formats = {**formatsOfReview(session.node), "report-pdf": REPORT_PDF}
            self._fill()
            self.update()

    def close(self) -> None:
        """Stop an export: the module is unloaded."""
        self.run.abandon()

    def update(self) -> None:
        """Say which formats can't be written, and why, once the section is looked at."""
        if self._session is None or self._ui.exportSection.collapsed or self.run.isBusy:
            return
        try:
            job = self._job()
        except Exception as error:  # whatever it is, the user must hear of it
            self._onFailed(asExportError(error))
            return
        for key, box in self._boxes.items():
            reason = self._formats[key].unavailable(job)
            setUsable(box, reason or "", self._formats[key].title)
        self._enable()

    def _job(self) -> ExportJob:
        session = self._session
        if session is None:
            raise CovidLesionSegError("no-result", _("There is no result to save."))
        self._follow()
        identified = bool(self._ui.identifiedCheckBox.checked)
        return exportJob(session, sourceFiles(nodeOfRun(session.node, "ct")), identified)

    def _fill(self) -> None:
        """Make a box for each format; they are the same for every result."""
        if self._boxes:
            return
        chosen = recall("ExportFormats", _USUAL_FORMATS)
        for key, exportFormat in self._formats.items():
            box = qt.QCheckBox(exportFormat.title)
            box.setChecked(key in chosen)
            box.connect("toggled(bool)", self._onChosen)
            self._ui.formatsWidget.layout().addWidget(box)
            self._boxes[key] = box

    def _onChosen(self, _checked: bool = False) -> None:
        remember("ExportFormats", [key for key, box in self._boxes.items() if box.checked])
        self._enable()

    def _enable(self) -> None:
        reason = "" if self._chosen() else _("Choose a format above")
        tip = _("Asks for a folder and makes a new one in it; nothing is overwritten")
        setUsable(self._ui.exportButton, reason, tip)

    def _chosen(self) -> dict[str, ExportFormat]:
        return {
            key: self._formats[key]
            for key, box in self._boxes.items()
            if box.checked and box.enabled
        }

    def _onExport(self, _checked: bool = False) -> None:
        if self.run.isBusy:
            self.run.cancel()
            return
        parent = self._folder(_("Folder to export to"), "ExportFolder")
        if parent is not None:
            self._start(ExportTask(self._job, self._chosen(), newFolder(parent), self._unchanged()))

    def _onTraining(self, _checked: bool = False) -> None:
        folder = self._folder(_("Folder for training cases"), "TrainingFolder")
        if folder is not None:
            formats = {TRAINING_CASE: HANDED_OVER[TRAINING_CASE]}
            self._start(ExportTask(self._job, formats, folder, self._unchanged(), force=True))

    def _folder(self, caption: str, memory: str) -> Path | None:
        folder = self._dialogs.chooseFolder(caption, recall(memory, ""))
        if folder:
            remember(memory, folder)
        return Path(folder) if folder else None

    def _unchanged(self) -> Callable[[], None]:
        """Return what raises when the result is no longer the one that was written."""
        session = self._session
        self._follow()
        steps = len(session.log) if session is not None else 0

        def check() -> None:
            if session is not self._session or session is None:
                raise CancelledError("another result")
            session.refresh()
            if len(session.log) != steps:
                raise CovidLesionSegError(
                    "edited-during-export",
                    _("The result was edited while it was written."),
                    _("Nothing was written; export it again."),
                )

        return check

    def _start(self, task: ExportTask) -> None:
        self._setBusy(True)
        self.run.start(task)

    def _setBusy(self, busy: bool) -> None:
        ui = self._ui
        ui.exportProgressBar.setVisible(busy)
        # What is being written must not change under the writer.
        for widget in (ui.reviewSection, ui.formatsWidget, ui.identifiedCheckBox):
            widget.setEnabled(not busy)
        reason = _("Wait for the export, or cancel it") if busy else ""
        setUsable(ui.trainingButton, reason)
        ui.exportButton.setText(_("Cancel") if busy else _("Export..."))
        if busy:
            setUsable(ui.exportButton, "", _("Stop; nothing is left behind"))
        else:
            self._enable()

    def _onProgress(self, what: str, fraction: float) -> None:
        self._ui.exportProgressBar.setValue(round(_BAR * fraction))
        self._tell(_("Writing: {what}").format(what=what))

    def _onDone(self, folder: Path, count: int) -> None:
        self._setBusy(False)
        text = _("1 file in {folder}") if count == 1 else _("{count} files in {folder}")
        self._tell(text.format(count=count, folder=folder))

    def _onFailed(self, error: CovidLesionSegError) -> None:
        self._setBusy(False)
        self._tell(f"{error.message} {error.hint}".strip(), isError=True)

    def _onCancelled(self) -> None:
        self._setBusy(False)
        self._tell(_("Export cancelled, nothing was written."))

    def _tell(self, text: str, isError: bool = False) -> None:
        self._ui.exportLabel.setText(text)
        self._ui.exportLabel.setVisible(bool(text))
        showAsError(self._ui.exportLabel, isError)


def newFolder(parent: Path) -> Path:
    """Return a folder that does not exist yet: every export has one of its own.

    Its name says nothing about the CT, whose node may be named after the patient.
    """
    first = parent / f"{DEFAULT_STEM}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, number = first, 2
    while folder.exists():
        folder, number = first.with_name(f"{first.name}-{number}"), number + 1
    return folder


def sourceFiles(ctNode: Any) -> tuple[str, ...]:
    """Return the DICOM files that a CT was loaded from, as Slicer's database knows them."""
    database = getattr(slicer, "dicomDatabase", None)
    uids = (ctNode.GetAttribute("DICOM.instanceUIDs") or "").split() if ctNode is not None else []
    if database is None or not uids:
        return ()
    files = [str(database.fileForInstance(uid) or "") for uid in uids]
    return tuple(files) if all(Path(name).is_file() for name in files) else ()
