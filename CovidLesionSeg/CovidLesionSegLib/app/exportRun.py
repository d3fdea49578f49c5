"""One export after another: in steps and by a second process, so that the panel stays usable."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from CovidLesionSegLib.engine.steps import Steps
from CovidLesionSegLib.errors import CancelledError, CovidLesionSegError
from CovidLesionSegLib.export.formats import ExportFormat
from CovidLesionSegLib.export.handover import HANDED_OVER, ExportOrder, hand_over_steps
from CovidLesionSegLib.export.job import ExportJob
from CovidLesionSegLib.export.publish import DEFAULT_STEM, publishing
from CovidLesionSegLib.jobs.protocol import Event

from .scripting import workerCommand
from .workerProcess import WorkerProcess

_LOG = logging.getLogger(__name__)
_STEP_MS = 10
_SILENCE_S = 120.0


@dataclass(frozen=True)
class ExportTask:
    """What is to be written.

    Attributes:
        makeJob: Gathers the result from the scene; called once, in a step of its own.
        formats: By name; those of `HANDED_OVER` are written by the second process, the others
            need the scene or Qt and are written here, one a step.
        folder: Where to; made when it is missing.
        check: Raises when the result changed while it was written.
        force: Replace files that are there.
    """

    makeJob: Callable[[], ExportJob]
    formats: Mapping[str, ExportFormat]
    folder: Path
    check: Callable[[], None] = lambda: None
    force: bool = False


@dataclass(frozen=True)
class ExportListener:
    """Who follows an export.

    Attributes:
        onProgress: Called with what is being written and the fraction done, 0..1.
        onDone: Called with the folder and the number of files in it that are new.
        onFailed: Called with what went wrong; nothing was written then.
        onCancelled: Called after a cancel; nothing was written then.
    """

    onProgress: Callable[[str, float], None]
    onDone: Callable[[Path, int], None]
    onFailed: Callable[[CovidLesionSegError], None]
    onCancelled: Callable[[], None]


class ExportRun:
    """Does one `ExportTask` at a time; the files appear together at the end, or not at all.

    Args:
        listener: Who is told.
    """

    def __init__(self, listener: ExportListener) -> None:
        self._listener = listener
        self._steps: Steps[None] | None = None
        self._process: WorkerProcess | None = None
        self._outcome: Event | None = None
        self._ended = False
        self._folder: Path | None = None
        self._count = 0
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_STEP_MS)
        self._timer.connect("timeout()", self._step)
        self.command = workerCommand()

    @property
    def isBusy(self) -> bool:
        """Whether an export is under way."""
        return self._steps is not None

    def start(self, task: ExportTask) -> None:
        """Start; everything that happens is told to the listener."""
        if self.isBusy:
            return
        self._outcome, self._ended = None, False
        self._folder = task.folder
        self._steps = self._write(task)
        self._listener.onProgress(_("Gathering the result"), 0.0)
        self._timer.start()

    def cancel(self) -> None:
        """Stop at once; nothing is left behind."""
        if self.isBusy:
            self.abandon()
            self._listener.onCancelled()

    def abandon(self) -> None:
        """Stop and tell nobody: the scene or the application closes."""
        self._timer.stop()
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()

    def _step(self) -> None:
        steps = self._steps
        if steps is None:
            return
        try:
            next(steps)
        except StopIteration:
            self._steps = None
            self._listener.onDone(self._folder or Path(), self._count)
        except CancelledError:
            self._steps = None
            self._listener.onCancelled()
        except Exception as error:  # whatever it is, the panel must become usable again
            self._steps = None
            self._listener.onFailed(asExportError(error))
        else:
            self._timer.start()

    def _write(self, task: ExportTask) -> Steps[None]:
        yield
        job = task.makeJob().unnamed
        yield
        # A format of the panel's own may have the name of one that the other process knows.
        apart = [key for key in task.formats if task.formats[key] is HANDED_OVER.get(key)]
        here = [key for key in task.formats if key not in apart]
        with publishing(job, task.formats, task.folder, force=task.force) as staging:
            temporary = Path(slicer.util.tempDirectory("CovidLesionSeg")) if apart else None
            try:
                if temporary is not None:
                    yield from self._handOver(job, apart, staging, temporary)
                for key in here:
                    self._listener.onProgress(task.formats[key].title, self._fraction())
                    yield
                    chosen = task.formats[key]
                    chosen.write(job, staging / f"{DEFAULT_STEM}{chosen.suffix}")
                if apart:
                    yield from self._await(task)
            finally:
                self._stop()
                if temporary is not None:
                    # The folder holds the patient's voxels.
                    shutil.rmtree(temporary, ignore_errors=True)
            task.check()
            self._count = sum(1 for path in staging.iterdir() if path.is_file())

    def _handOver(
        self, job: ExportJob, keys: list[str], staging: Path, temporary: Path
    ) -> Steps[None]:
        order = ExportOrder(job, tuple(keys), staging, DEFAULT_STEM)
        path = yield from hand_over_steps(order, temporary)
        self._process = WorkerProcess(
            self.command, self._onEvent, self._onFinished, self._stop, _SILENCE_S
        )
        self._process.start(path)
        yield

    def _await(self, task: ExportTask) -> Steps[None]:
        shown = None
        while not self._ended:
            stage = self._stage()
            if stage and stage != shown:
                shown = stage
                self._listener.onProgress(task.formats[stage].title, self._fraction())
            yield
        outcome = self._outcome
        if outcome is not None and outcome.kind == "failed":
            values = outcome.values
            raise CovidLesionSegError(values["code"], values["message"], values["hint"])
        if outcome is None or outcome.kind != "done":
            raise CovidLesionSegError(
                "worker-died",
                _("The process that writes files ended unexpectedly."),
                _("Often memory ran out: close other programs and export again."),
            )

    def _stage(self) -> str:
        outcome = self._outcome
        return str(outcome.values["stage"]) if outcome and outcome.kind == "progress" else ""

    def _fraction(self) -> float:
        """Return the part of the formats of the second process that is written."""
        outcome = self._outcome
        if outcome is None or outcome.kind != "progress":
            return 0.0
        return float(outcome.values["fraction"])

    def _onEvent(self, event: Event) -> None:
        if event.kind != "alive":
            self._outcome = event

    def _onFinished(self, exitCode: int) -> None:
        text = self._process.errorText if self._process is not None else ""
        if exitCode and text:
            _LOG.warning("Export, standard error: %s", text)
        self._ended = True

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None and not self._ended:
            process.stopNow()
            self._ended = True


def asExportError(error: Exception) -> CovidLesionSegError:
    """Return any failure as one for people; what nobody expected goes to the log as well."""
    if isinstance(error, CovidLesionSegError):
        return error
    _LOG.error("The export failed", exc_info=error)
    return CovidLesionSegError(
        "export-failed",
        _("The export failed ({kind}: {text}).").format(kind=type(error).__name__, text=error),
        _("Nothing was written. Choose fewer formats, or copy the diagnostics below Advanced."),
    )
