"""The worker process seen from Slicer: starts it, reads its lines, ends it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt

from CovidLesionSegLib.jobs.protocol import Event

_LOG = logging.getLogger(__name__)
_MODULE_FOLDER = Path(__file__).resolve().parents[2]
_KILL_AFTER_MS = 600
_STDERR_KEPT = 4000
_CHECK_EVERY_MS = 500


class WorkerProcess:
    """One run of the worker.

    Args:
        command: See `scripting.workerCommand`.
        onEvent: Called with every `Event`.
        onFinished: Called once, with the exit code, when the process has ended.
        onSilence: Called once when nothing was heard for ``silence_s``.
        silence_s: The worker says something every few seconds. Only time in which Slicer
            handled events counts.
    """

    def __init__(
        self,
        command: list[str],
        onEvent: Callable[[Event], None],
        onFinished: Callable[[int], None],
        onSilence: Callable[[], None],
        silence_s: float,
    ) -> None:
        self._command = command
        self._onEvent, self._onFinished, self._onSilence = onEvent, onFinished, onSilence
        self._silence_s = silence_s
        self._silent_ms = 0
        self._rest = b""
        self._stderr = b""
        self._ended = False
        self._process = qt.QProcess()
        self._process.connect("readyReadStandardOutput()", self._read)
        self._process.connect("readyReadStandardError()", self._readErrors)
        self._process.connect("finished(int,QProcess::ExitStatus)", self._finished)
        self._process.connect("errorOccurred(QProcess::ProcessError)", self._failedToStart)
        self._timer = qt.QTimer()
        self._timer.setInterval(_CHECK_EVERY_MS)
        self._timer.connect("timeout()", self._checkSilence)

    @property
    def errorText(self) -> str:
        """The end of what the process wrote to standard error."""
        return self._stderr.decode("utf-8", errors="replace").strip()

    @property
    def processId(self) -> int:
        """Id of the process, 0 when it does not run."""
        return int(self._process.processId())

    def start(self, jobFile: Path) -> None:
        """Start working on a job."""
        # ``-m`` finds the package in the working directory; the environment stays as it is.
        self._process.setWorkingDirectory(str(_MODULE_FOLDER))
        program, *arguments = self._command
        # First, because a start may fail at once, which stops the timer.
        self._timer.start()
        self._process.start(program, [*arguments, str(jobFile)])

    def stop(self) -> None:
        """End the process soon: it notices that its input closes, else it is killed.

        The worker itself notices also behind a launcher, which a kill would leave behind.
        """
        self._process.closeWriteChannel()
        qt.QTimer.singleShot(_KILL_AFTER_MS, self._kill)

    def stopNow(self) -> None:
        """End the process before this returns; for closing Slicer."""
        self._ended = True
        self._timer.stop()
        self._process.closeWriteChannel()
        if not self._process.waitForFinished(_KILL_AFTER_MS):
            self._process.kill()
            self._process.waitForFinished(_KILL_AFTER_MS)

    def _kill(self) -> None:
        if not self._ended:
            self._process.kill()

    def _read(self) -> None:
        self._silent_ms = 0
        *lines, self._rest = (self._rest + self._bytes("readAllStandardOutput")).split(b"\n")
        for line in lines:
            event = Event.from_line(line.decode("utf-8", errors="replace"))
            if event is not None:
                self._onEvent(event)
            elif line.strip():
                _LOG.debug("Worker: %s", line.decode("utf-8", errors="replace"))

    def _readErrors(self) -> None:
        self._stderr = (self._stderr + self._bytes("readAllStandardError"))[-_STDERR_KEPT:]

    def _bytes(self, reader: str) -> bytes:
        data: Any = getattr(self._process, reader)()
        # PythonQt hands on a QByteArray, or the bytes themselves, depending on its version.
        return data if isinstance(data, bytes) else bytes(data.data())

    def _checkSilence(self) -> None:
        # Counted, not timed: while Slicer was busy or the computer slept, nobody listened.
        self._silent_ms += _CHECK_EVERY_MS
        if self._silent_ms > 1000.0 * self._silence_s:
            self._timer.stop()
            self._onSilence()

    def _failedToStart(self, error: Any) -> None:
        if error == qt.QProcess.FailedToStart:
            self._stderr += str(self._process.errorString()).encode()
            self._end(-1)

    def _finished(self, exitCode: int, _status: Any) -> None:
        self._read()
        self._readErrors()
        self._end(int(exitCode))

    def _end(self, exitCode: int) -> None:
        if self._ended:
            return
        self._ended = True
        self._timer.stop()
        self._onFinished(exitCode)
