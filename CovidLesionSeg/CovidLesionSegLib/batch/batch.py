"""A batch: many CTs into one folder, begun, interrupted and resumed at will."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.models import LUNG_MODEL, member_ids
from CovidLesionSegLib.engine.pipeline import SegmentOptions
from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.export.review_files import refuse_reviewed
from CovidLesionSegLib.version import __version__
from CovidLesionSegLib.weights.store import default_store

from .case_files import (
    CASES,
    DEFAULT_KINDS,
    Outcome,
    read_outcome,
    read_outcomes,
    remove_case,
    remove_unfinished,
    write_failure,
)
from .cases import Case
from .inputs import find_cases
from .lock import folder_lock
from .runner import WORKER_DIED, CaseSettings, Reply
from .schedule import Schedule, Workers
from .summary import DONE, SummaryRow, summary_row, with_twins, write_summary
from .table import TableRow, file_stamp, read_key, write_key
from .wall import write_wall

SUMMARY, WALL, SETTINGS, KEY = "summary.csv", "index.html", "batch.json", "key.csv"

_REFRESH_S = 10.0
"""While running, summary and wall are at most this much behind."""


class OpenWorkers(Protocol):
    """Starts the workers of a batch, for example `processes.ProcessWorkers`."""

    def __call__(
        self, settings: CaseSettings, count: int | None
    ) -> AbstractContextManager[Workers]:
        """Return the workers; leaving the context ends them."""


@dataclass(frozen=True)
class BatchOptions:
    """What a user can choose for a batch.

    Attributes:
        segment: Options of the segmentation; no file with lobes, since that is of one CT.
        kinds: Files to write per case, keys of `case_files.WRITERS`.
        workers: Number of processes; None leaves it to the engine.
        keep_names: Name cases after their files; see `cases.make_case`.
        resume: Go on with what an earlier run has left over.
        retry_failed: Try the failed cases again as well; goes on like ``resume``.
        case_timeout_s: Seconds after which a case counts as stuck and has failed; None for no
            limit.
    """

    segment: SegmentOptions = field(default_factory=SegmentOptions)
    kinds: tuple[str, ...] = DEFAULT_KINDS
    workers: int | None = None
    keep_names: bool = False
    resume: bool = False
    retry_failed: bool = False
    case_timeout_s: float | None = None

    def identity(self) -> dict[str, Any]:
        """Return what the results depend on; JSON-ready.

        Raises:
            InputError: ``model-unknown``, ``weights-unreadable``, or why models make no consensus.
        """
        chosen = asdict(self.segment)
        # Results of CPU and GPU agree within their tolerance, and rows say which it was.
        del chosen["device"]
        values = {"version": __version__, "kinds": list(self.kinds), **chosen}
        values["keep_names"] = self.keep_names  # another name would be another row
        values["weights_sha256"] = _weights_digests(self.segment)
        return {name: str(it) if isinstance(it, Path) else it for name, it in values.items()}


@dataclass(frozen=True)
class Progress:
    """How far a batch is, after a case has ended.

    Attributes:
        case: The case; None before the first.
        row: Its row in the summary; empty before the first.
        ended: Cases of this batch that have an outcome.
        total: Cases of this batch.
        repeated: Mentions of a case beyond its first.
    """

    case: Case | None
    row: SummaryRow
    ended: int
    total: int
    repeated: int = 0


class Batch:
    """The state of one batch folder, all of it derived from the folders of its cases.

    Args:
        folder: The batch's folder; exists and is locked.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cases = folder / CASES
        self.cases.mkdir(exist_ok=True)
        remove_unfinished(self.cases)
        self.rows: dict[str, SummaryRow] = {}
        for outcome in read_outcomes(self.cases):
            self.add(outcome)
        self._written_s = float("-inf")

    def add(self, outcome: Outcome) -> SummaryRow:
        """Take the row of a case that has ended."""
        row = self.rows[outcome.case_id] = summary_row(outcome)
        return row

    def forget(self, case: Case) -> None:
        """Remove what a case has ended with."""
        if self.rows.pop(case.id, None) is not None:
            remove_case(self.cases, case.id)

    def is_open(self, case: Case, *, retry_failed: bool) -> bool:
        """Tell whether a case has yet to run."""
        row = self.rows.get(case.id)
        return row is None or (retry_failed and row["status"] != DONE)

    def write_overview(self, *, now: bool = True) -> None:
        """Write summary and wall; unless ``now``, only if they are old."""
        # Monotonic: a clock that is set back must not stop this.
        if not now and time.monotonic() - self._written_s < _REFRESH_S:
            return
        rows = with_twins(self.rows[case_id] for case_id in sorted(self.rows))
        write_summary(self.folder / SUMMARY, rows)
        write_wall(self.folder / WALL, rows, CASES)
        self._written_s = time.monotonic()


def run_batch(
    inputs: Sequence[Path],
    folder: Path,
    options: BatchOptions,
    open_workers: OpenWorkers,
    listener: Callable[[Progress], None] = lambda _progress: None,
) -> list[SummaryRow]:
    """Segment many CTs into a folder.

    Args:
        inputs: See `inputs.find_cases`.
        folder: Where to; made when it is missing.
        options: What to use.
        open_workers: Starts the workers.
        listener: Told of every case that ends.

    Returns:
        The rows of the cases named by ``inputs``, in their order.

    Raises:
        InputError: Inputs or options can't be used; ``batch-exists``, ``batch-differs``,
            ``batch-locked``, ``batch-case-moved``, ``output-reviewed``.
        CovidLesionSegError: Something stopped the whole batch. What was done stays.
    """
    found = find_cases(inputs, keep_names=options.keep_names, exclude=folder)
    _make(folder)
    with folder_lock(folder):
        _check_settings(folder, options)
        batch = Batch(folder)
        _compare_files(batch, found.cases)
        write_key(folder / KEY, found.cases)
        todo = [
            case for case in found.cases if batch.is_open(case, retry_failed=options.retry_failed)
        ]
        ended = len(found.cases) - len(todo)
        listener(Progress(None, {}, ended, len(found.cases), found.repeated))

        def on_outcome(case: Case, _reply: Reply) -> None:
            nonlocal ended
            outcome = read_outcome(batch.cases / case.id)
            if outcome is not None:
                ended += 1
                row = batch.add(outcome)
                listener(Progress(case, row, ended, len(found.cases), found.repeated))
            batch.write_overview(now=False)

        def on_lost(case: Case, reply: Reply) -> None:
            outcome = read_outcome(batch.cases / case.id)
            if outcome is not None and outcome.result is not None:
                return  # complete just before its worker was given up
            write_failure(batch.cases, case.id, reply.error or WORKER_DIED, reply.details)

        try:
            if todo:
                settings = CaseSettings(
                    batch.cases.absolute(), options.segment, options.kinds, options.case_timeout_s
                )
                with open_workers(settings, options.workers) as workers:
                    Schedule(todo, workers, on_outcome, on_lost).run()
        finally:
            remove_unfinished(batch.cases)
            batch.write_overview()
    missing = [case for case in found.cases if case.id not in batch.rows]
    if missing:
        raise CovidLesionSegError(
            "batch-incomplete",
            f"The folders of {len(missing)} cases that have ended can't be seen from here.",
            "Look whether every machine sees the output folder, then go on with --resume.",
        )
    return [batch.rows[case.id] for case in found.cases]


def _compare_files(batch: Batch, cases: Sequence[Case]) -> None:
    """Let no result stand for another CT than the one it was made from.

    A file that was replaced is segmented again; a name that now stands for another file is
    refused, since nobody but the user knows which of them is meant. Before anything is removed,
    everything is looked at.
    """
    before = read_key(batch.folder / KEY)
    ended = [case for case in cases if case.id in before and case.id in batch.rows]
    for case in ended:
        if before[case.id].as_case().key != case.key:
            raise InputError(
                "batch-case-moved",
                f"The case {case.id!r} was another file when this batch was begun.",
                "Give the file another case name, or choose another folder.",
            )
    replaced = [case for case in ended if _is_replaced(case, before[case.id])]
    for case in replaced:
        refuse_reviewed(batch.cases / case.id)
    for case in replaced:
        batch.forget(case)


def _is_replaced(case: Case, row: TableRow) -> bool:
    """Tell whether a file is another than then; one that can't be seen now may be the same."""
    now = file_stamp(case.path)
    return bool(row.stamp and now) and row.stamp != now


def _weights_digests(options: SegmentOptions) -> dict[str, str]:
    """Return the SHA-256 of every network by name: behind a path or an id another may lie now."""
    store = default_store()
    found = {LUNG_MODEL: store.find(LUNG_MODEL).entry.sha256}
    if options.weights is None:
        members = member_ids(options.model, store)
        return found | {name: store.find(name).entry.sha256 for name in members}
    try:
        content = Path(options.weights).read_bytes()
    except OSError as error:
        raise InputError(
            "weights-unreadable",
            f"The weights file {options.weights} can't be read: {error.strerror}.",
        ) from error
    return found | {"weights": hashlib.sha256(content).hexdigest()}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            "output-not-writable",
            f"The output folder {folder} can't be made: {error.strerror}.",
            "Choose another folder.",
        ) from error


def _check_settings(folder: Path, options: BatchOptions) -> None:
    """Refuse to mix results of different settings; note them for the next time."""
    path = folder / SETTINGS
    settings = options.identity()
    if not path.exists():
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        return
    if not (options.resume or options.retry_failed):
        raise InputError(
            "batch-exists",
            f"There is a batch in {folder} already.",
            "Go on with it by --resume, or choose another folder.",
        )
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    differing = sorted(name for name in settings if before.get(name) != settings[name])
    if differing:
        raise InputError(
            "batch-differs",
            f"The batch in {folder} was begun with other settings ({', '.join(differing)}).",
            "Use the same ones as then (they are in batch.json), or choose another folder.",
        )
