"""One run after another: the states between the click and the result in the scene."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from CovidLesionSegLib.engine.steps import Steps
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.jobs.protocol import Event
from CovidLesionSegLib.mrml.job_input import writeJobFromScene
from CovidLesionSegLib.mrml.result_import import ImportedRun, importSteps

from .scripting import workerCommand
from .workerProcess import WorkerProcess

_LOG = logging.getLogger(__name__)
SILENCE_S = 60.0


class RunState(Enum):
    """Where a run is."""

    IDLE = "idle"
    PREPARING = "preparing"
    RUNNING = "running"
    CANCELLING = "cancelling"
    IMPORTING = "importing"
    DONE = "done"
    FAILED = "failed"


BUSY = (RunState.PREPARING, RunState.RUNNING, RunState.CANCELLING, RunState.IMPORTING)


@dataclass
class RunListener:
    """Who follows a run.

    Attributes:
        onState: Called with the new state.
        onProgress: Called with stage, fraction 0..1 and seconds left (None while unknown).
        onResult: Called with the result in the scene.
        onFailed: Called with what went wrong.
    """

    onState: Callable[[RunState], None]
    onProgress: Callable[[str, float, float | None], None]
    onResult: Callable[[ImportedRun], None]
    onFailed: Callable[[CovidLesionSegError], None]


class SegmentationRun:
    """Starts, follows and ends one worker at a time.

    Args:
        listener: Who is told.
        command: The worker's command; a job's path is appended.
        silence_s: After so long without a word the worker counts as stuck.

    Attributes:
        state: Where the run is.
        seconds: How long the last successful run took, from the click to the result.
    """

    def __init__(
        self,
        listener: RunListener,
        command: list[str] | None = None,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._listener = listener
        self.command = command or workerCommand()
        self.silence_s = silence_s
        self._process: WorkerProcess | None = None
        self._folder: Path | None = None
        self._ctNode: Any = None
        self._voxelsModified = 0
        self._outcome: Event | None = None
        self._error: CovidLesionSegError | None = None
        self._started = 0.0
        self._fraction = 0.0
        self._steps: Steps[ImportedRun] | None = None
        self._stepTimer = qt.QTimer()
        self._stepTimer.setSingleShot(True)
        self._stepTimer.connect("timeout()", self._importStep)
        self.seconds = 0.0
        self.state = RunState.IDLE

    @property
    def isBusy(self) -> bool:
        """Whether a run is under way."""
        return self.state in BUSY

    @property
    def ctNode(self) -> Any:
        """The CT of the run under way, None without one."""
        return self._ctNode if self.isBusy else None

    @property
    def processId(self) -> int:
        """Id of the worker, 0 without one."""
        return self._process.processId if self._process is not None else 0

    def start(self, ctNode: Any, options: Mapping[str, Any], lobesNode: Any | None = None) -> None:
        """Start a run; failures are told to the listener.

        Args:
            ctNode: vtkMRMLScalarVolumeNode.
            options: Fields of `SegmentOptions`, JSON-ready.
            lobesNode: vtkMRMLSegmentationNode with lobes, or None.
        """
        if self.isBusy:
            return
        self._ctNode, self._outcome, self._error = ctNode, None, None
        self._started, self._fraction = time.monotonic(), 0.0
        self._go(RunState.PREPARING)
        self._listener.onProgress("start", 0.0, None)
        try:
            self._folder = Path(slicer.util.tempDirectory("CovidLesionSeg"))
            job = writeJobFromScene(self._folder, ctNode, options, lobesNode)
            self._voxelsModified = ctNode.GetImageData().GetMTime()
        except (CovidLesionSegError, OSError, MemoryError) as error:
            self._fail(_asOurs(error))
            return
        self._process = WorkerProcess(
            self.command, self._onEvent, self._onFinished, self._onSilence, self.silence_s
        )
        self._go(RunState.RUNNING)
        self._process.start(job)

    def cancel(self) -> None:
        """Stop; the scene stays as it is."""
        if self.state is RunState.RUNNING and self._process is not None:
            self._go(RunState.CANCELLING)
            self._process.stop()

    def fail(self, error: CovidLesionSegError) -> None:
        """Stop because of something outside, for example because the CT was deleted."""
        if self.state is RunState.RUNNING:
            self._error = error
            self.cancel()

    def abandon(self) -> None:
        """Stop at once and tell nobody: the scene or the application closes."""
        if self._process is not None:
            self._process.stopNow()
        self._cleanUp()
        self._go(RunState.IDLE)

    def _go(self, state: RunState) -> None:
        self.state = state
        self._listener.onState(state)

    def _onEvent(self, event: Event) -> None:
        if event.kind == "progress" and self.state is RunState.RUNNING:
            self._fraction = max(self._fraction, float(event.values["fraction"]))
            stage = str(event.values["stage"])
            self._listener.onProgress(stage, self._fraction, self._secondsLeft())
        elif event.kind in ("done", "cancelled", "failed"):
            self._outcome = event

    def _secondsLeft(self) -> float | None:
        elapsed = time.monotonic() - self._started
        if elapsed < 2.0 or self._fraction < 0.05:
            return None
        return elapsed * (1.0 - self._fraction) / self._fraction

    def _onSilence(self) -> None:
        self.fail(
            CovidLesionSegError(
                "worker-silent",
                _("The calculation has not answered for {seconds:.0f} s and was stopped.").format(
                    seconds=self.silence_s
                ),
                _("Close other programs to free memory, then try again."),
            )
        )

    def _onFinished(self, exitCode: int) -> None:
        outcome, errorText = self._outcome, self._process.errorText if self._process else ""
        if errorText:
            _LOG.info("Worker, standard error: %s", errorText)
        if self._error is not None:
            self._fail(self._error)
        elif self.state is RunState.CANCELLING:
            self._cleanUp()
            self._go(RunState.IDLE)
        elif outcome is not None and outcome.kind == "done":
            self._import()
        elif outcome is not None and outcome.kind == "failed":
            values = outcome.values
            self._fail(CovidLesionSegError(values["code"], values["message"], values["hint"]))
        else:
            self._fail(_died(exitCode, errorText))

    def _import(self) -> None:
        self._go(RunState.IMPORTING)
        self._listener.onProgress("import", 1.0, None)
        clock = time.strftime("%H:%M:%S")
        self._steps = importSteps(self._ctNode.GetScene(), self._folder, self._ctNode, clock)
        self._stepTimer.start(0)

    def _importStep(self) -> None:
        """Do one step; in between the application answers to its user."""
        if self._steps is None:
            return
        try:
            self._checkInput()
            next(self._steps)
        except StopIteration as end:
            self._finish(end.value)
        except Exception as error:  # whatever it is, the panel must become usable again
            _LOG.exception("The result could not be imported")
            self._fail(_asOurs(error))
        else:
            self._stepTimer.start(0)

    def _checkInput(self) -> None:
        image = self._ctNode.GetImageData()
        if self._ctNode.GetScene() is None or image is None:
            raise _inputGone()
        if image.GetMTime() != self._voxelsModified:
            raise CovidLesionSegError(
                "input-changed",
                _("The voxels of the CT were changed during the calculation."),
                _("Start the segmentation again."),
            )

    def _finish(self, run: ImportedRun) -> None:
        self._steps = None
        self._cleanUp()
        self.seconds = time.monotonic() - self._started
        self._go(RunState.DONE)
        self._listener.onResult(run)

    def _fail(self, error: CovidLesionSegError) -> None:
        _LOG.warning("Run failed: %s", error.code)
        self._cleanUp()
        self._go(RunState.FAILED)
        self._listener.onFailed(error)

    def _cleanUp(self) -> None:
        self._stepTimer.stop()
        if self._steps is not None:
            # What was added to the scene so far is taken away again.
            self._steps.close()
            self._steps = None
        # The folder holds the patient's voxels.
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._folder = self._process = None


def inputRemoved() -> CovidLesionSegError:
    """Return the failure of a run whose CT was deleted."""
    return _inputGone()


def _inputGone() -> CovidLesionSegError:
    return CovidLesionSegError(
        "input-removed", _("The CT was removed during the calculation."), _("Load it again.")
    )


def _asOurs(error: BaseException) -> CovidLesionSegError:
    if isinstance(error, CovidLesionSegError):
        return error
    return CovidLesionSegError(
        "unexpected-failure",
        _("The run failed ({kind}: {text}).").format(kind=type(error).__name__, text=error),
        _("Copy the diagnostics below Advanced and report it."),
    )


def _died(exitCode: int, errorText: str) -> CovidLesionSegError:
    lastLine = errorText.splitlines()[-1] if errorText else _("no message")
    return CovidLesionSegError(
        "worker-died",
        _("The calculation ended unexpectedly (code {code}: {line}).").format(
            code=exitCode, line=lastLine
        ),
        _("Often memory ran out: close other programs and try again."),
    )
