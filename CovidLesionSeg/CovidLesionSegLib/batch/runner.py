"""Run cases one after another in one process, reading the next while this one is computed."""

from __future__ import annotations

import secrets
import traceback
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from CovidLesionSegLib.engine.pipeline import Networks, SegmentOptions, open_networks, segment
from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.errors import CovidLesionSegError

from .case_files import DEFAULT_KINDS, write_case, write_failure
from .cases import Case

_NOT_THE_CASE = (
    *("output-", "device-", "model-", "weights-", "catalogue-", "checkpoint-"),
    *("consensus-", "resources-"),
)
"""Beginnings of the codes of errors that every other case would meet as well."""

_MAYBE_THE_MACHINE = ("out-of-memory", "too-little-memory", "input-too-large")
"""Codes of errors that may go away when a case has the machine for itself."""

_TRIAL_BYTES = 1 << 20


class Verdict(Enum):
    """How it went with one case in a worker.

    ``DONE`` and ``FAILED`` stand in the case's folder. ``SUSPECT`` left nothing: the worker
    is not to be trusted any more, and the case is worth one more try alone. ``OVERDUE``: the
    worker is still at it, though the time for a case is over; it is worth no more of it.
    ``STOP``: the whole batch can't go on.
    """

    DONE = "done"
    FAILED = "failed"
    SUSPECT = "suspect"
    OVERDUE = "overdue"
    STOP = "stop"


@dataclass(frozen=True)
class Reply:
    """What a worker says about one case.

    Attributes:
        verdict: How it went.
        error: Why it did not go well.
        details: For whoever looks for a fault.
    """

    verdict: Verdict
    error: CovidLesionSegError | None = None
    details: str = ""


WORKER_DIED = CovidLesionSegError(
    "worker-died",
    "The process that worked on this case died, and died again when the case was alone.",
    "Often memory ran out, or the file makes a library crash. Try the case by itself with "
    "'covid-lesion-seg segment', or give it more memory and go on with --retry-failed.",
)


CASE_TIMEOUT = CovidLesionSegError(
    "case-timeout",
    "The case took longer than the time limit.",
    "Look whether the storage or the machine was slow, then go on with --retry-failed and a "
    "longer --case-timeout, or try the case by itself with 'covid-lesion-seg segment'.",
)


@dataclass(frozen=True)
class CaseSettings:
    """What every case of a batch is run with.

    Attributes:
        cases: Folder of all cases.
        options: Options of the segmentation.
        kinds: Files to write, keys of `case_files.WRITERS`.
        timeout_s: How long a worker may have a case before it counts as stuck, its own start
            included; None for ever.
    """

    cases: Path
    options: SegmentOptions = field(default_factory=SegmentOptions)
    kinds: tuple[str, ...] = DEFAULT_KINDS
    timeout_s: float | None = None


class CaseRunner:
    """Runs cases in this process with networks opened once; at most two CTs are in memory.

    Args:
        settings: What to run them with.
        worker: Number of this worker; several share the GPUs of a machine in turn.
    """

    def __init__(self, settings: CaseSettings, worker: int = 0) -> None:
        self._settings = settings
        self._worker = worker
        self._networks: Networks | None = None
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
        self._ahead: tuple[Case, Future[CtVolume]] | None = None

    def run(self, case: Case, upcoming: Case | None = None) -> Reply:
        """Run one case and write its folder.

        Args:
            case: The case; quick if it was the last call's ``upcoming``.
            upcoming: The case to read meanwhile.
        """
        try:
            ct = self._take(case).result()
            if upcoming is not None:
                self._ahead = (upcoming, self._reader.submit(_read, upcoming))
            if self._networks is None:
                self._networks = open_networks(self._options())
            result = segment(ct, self._settings.options, networks=self._networks)
            write_case(self._settings.cases, case.id, result, self._settings.kinds)
        except CovidLesionSegError as error:
            return self._failed(case, error)
        except MemoryError:
            return Reply(Verdict.SUSPECT, WORKER_DIED)
        except Exception as error:  # one case must not end the batch
            return self._unexpected(case, error)
        return Reply(Verdict.DONE)

    def _take(self, case: Case) -> Future[CtVolume]:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == case:
            return ahead[1]
        return self._reader.submit(_read, case)

    def _options(self) -> SegmentOptions:
        options = self._settings.options
        if options.device != "auto":
            return options
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return replace(options, device=f"cuda:{self._worker % count}") if count > 1 else options

    def _failed(self, case: Case, error: CovidLesionSegError) -> Reply:
        told = _anonymous(case, error)
        if error.code.startswith(_NOT_THE_CASE):
            return Reply(Verdict.STOP, error)
        if error.code in _MAYBE_THE_MACHINE:
            return Reply(Verdict.SUSPECT, told)
        return self._record(case, told)

    def _record(self, case: Case, error: CovidLesionSegError, details: str = "") -> Reply:
        try:
            write_failure(self._settings.cases, case.id, error, details)
        except CovidLesionSegError as not_written:
            return Reply(Verdict.STOP, not_written)
        return Reply(Verdict.FAILED, error)

    def _unexpected(self, case: Case, error: Exception) -> Reply:
        """Tell a full disk, which libraries report in their own ways, from a real surprise."""
        if not _has_room(self._settings.cases):
            return Reply(Verdict.STOP, output_full())
        told = CovidLesionSegError(
            "unexpected-failure",
            case.without_names(f"The run failed ({type(error).__name__}: {error})."),
            "This is a fault of the program; please report it with failure.json.",
        )
        # After an error of the GPU nothing works in this process any more.
        return Reply(Verdict.SUSPECT, told, case.without_names(traceback.format_exc()))


def _read(case: Case) -> CtVolume:
    ct = read_ct(case.path, case.series_instance_uid or None)
    uid = "" if case.anonymous else ct.provenance.series_instance_uid
    return replace(ct, provenance=replace(ct.provenance, name=case.id, series_instance_uid=uid))


def _anonymous(case: Case, error: CovidLesionSegError) -> CovidLesionSegError:
    return CovidLesionSegError(error.code, case.without_names(error.message), error.hint)


def output_full() -> CovidLesionSegError:
    """Return the error for a disk that takes nothing more."""
    return CovidLesionSegError(
        "output-full",
        "The disk with the output folder takes no more files.",
        "Make room, then go on with --resume.",
    )


def _has_room(folder: Path) -> bool:
    trial = folder / f".trial-{secrets.token_hex(4)}"
    try:
        trial.write_bytes(bytes(_TRIAL_BYTES))
    except OSError:
        return False
    finally:
        trial.unlink(missing_ok=True)
    return True
