"""The export: which formats, why one can't be written, where to, all of it remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export.formats import ExportFormat
from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.export.publish import DEFAULT_STEM, export_files
from CovidLesionSegLib.mrml.review_session import ReviewSession
from CovidLesionSegLib.mrml.run_nodes import nodeOfRun
from CovidLesionSegLib.mrml.session_export import exportJob, saveTrainingCase
from CovidLesionSegLib.mrml.slicer_formats import formatsOfReview

from .dialogs import Dialogs
from .memory import recall, remember
from .reportPdf import REPORT_PDF
from .reviewPanel import setUsable

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
        ui.exportButton.connect("clicked(bool)", self._onExport)
        ui.trainingButton.connect("clicked(bool)", self._onTraining)
        ui.exportSection.connect("contentsCollapsed(bool)", lambda *_a: self.update())
        # Some formats can't be written without naming the patient.
        ui.identifiedCheckBox.connect("toggled(bool)", lambda *_a: self.update())

    def open(self, session: ReviewSession | None) -> None:
        """Export this review, or nothing for None."""
        self._session = session
        self._ui.exportSection.setVisible(session is not None)
        self._ui.exportLabel.setText("")
        self._ui.identifiedCheckBox.setChecked(False)
        if session is not None:
            self._formats = {**formatsOfReview(session.node), "report-pdf": REPORT_PDF}
            self._fill()
            self.update()

    def update(self) -> None:
        """Say which formats can't be written, and why, once the section is looked at."""
        if self._session is None or self._ui.exportSection.collapsed:
            return
        job = self._job()
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
        setUsable(self._ui.exportButton, "" if self._chosen() else _("Choose a format above"))

    def _chosen(self) -> dict[str, ExportFormat]:
        return {
            key: self._formats[key]
            for key, box in self._boxes.items()
            if box.checked and box.enabled
        }

    def _onExport(self, _checked: bool = False) -> None:
        def write(folder: Path) -> str:
            job = self._job()
            target = newFolder(folder)
            count = sum(map(len, export_files(job, self._chosen(), target).values()))
            return _("{count} files in {folder}").format(count=count, folder=target)

        self._write(_("Folder to export to"), "ExportFolder", write)

    def _onTraining(self, _checked: bool = False) -> None:
        def write(folder: Path) -> str:
            if self._session is None:
                raise CovidLesionSegError("no-result", _("There is no result to save."))
            self._follow()
            key = saveTrainingCase(self._session, folder)
            return _("Saved {name} in {folder}").format(name=key, folder=folder)

        self._write(_("Folder for training cases"), "TrainingFolder", write)

    def _write(self, caption: str, memory: str, write: Any) -> None:
        folder = self._dialogs.chooseFolder(caption, recall(memory, ""))
        if not folder:
            return
        remember(memory, folder)
        # Seconds, for some formats of a large CT; the wait cursor lets this be painted.
        self._ui.exportLabel.setText(_("Writing..."))
        with slicer.util.WaitCursor():
            try:
                text = write(Path(folder))
            except CovidLesionSegError as error:
                text = f"{error.message} {error.hint}"
        self._ui.exportLabel.setText(text)


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
