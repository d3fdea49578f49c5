"""The folder of one case: complete, or not there.

A folder ``cases/<id>`` appears by one renaming, with a result or with the reason why there is
none; its existence is all that a batch remembers about the case. A kill at any moment leaves at
most a hidden folder, which the next run removes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from CovidLesionSegLib.engine.atomic import staged
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.engine.result_json import SCHEMA, result_to_json
from CovidLesionSegLib.engine.writers import write_map
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.export.overview import write_overview
from CovidLesionSegLib.export.seg_nrrd import write_segmentation
from CovidLesionSegLib.export.tables import TableSource, write_lobes_csv
from CovidLesionSegLib.export.thumbnail import write_thumbnail

CASES = "cases"
"""Folder of a batch in which the folders of its cases lie."""

RESULT_FILE, FAILURE_FILE = "result.json", "failure.json"
FAILURE_SCHEMA = "covid-lesion-seg/failure/1"

_UNFINISHED = ".unfinished-"
"""What `engine.atomic.staged` calls its folders."""

_NEW = "case"

MAP_KINDS = ("probability", "boundary", "agreement")


def _map_writer(name: str) -> Callable[[Path, SegmentationResult], object]:
    """Return a writer for a map that not every model gives."""

    def write(path: Path, result: SegmentationResult) -> None:
        values = getattr(result.prediction, name)
        if values is not None:
            write_map(path, values, result.ct)

    return write


WRITERS: Mapping[str, tuple[str, Callable[[Path, SegmentationResult], object]]] = {
    "segmentation": ("segmentation.seg.nrrd", write_segmentation),
    "table": (
        "lobes.csv",
        lambda path, it: write_lobes_csv(path, it.quantification, it.run, TableSource.of(it)),
    ),
    "overview": ("overview.png", write_overview),
    "thumbnail": ("thumbnail.png", write_thumbnail),
    "probability": ("probability.nii.gz", _map_writer("infection")),
    "boundary": ("boundary.nii.gz", _map_writer("boundary")),
    "agreement": ("agreement.nii.gz", _map_writer("agreement")),
}
"""File name and writer by kind."""

DEFAULT_KINDS = ("segmentation", "table", "overview", "thumbnail")


@dataclass(frozen=True)
class Outcome:
    """What stands in the folder of a case.

    Attributes:
        case_id: The case.
        result: `result.json`; None for a failure.
        failure: `failure.json`: code, message, hint; None for a result.
    """

    case_id: str
    result: Mapping[str, Any] | None = None
    failure: Mapping[str, Any] | None = None


def write_case(
    cases: Path, case_id: str, result: SegmentationResult, kinds: tuple[str, ...] = DEFAULT_KINDS
) -> None:
    """Write the folder of a case that went well.

    Args:
        cases: Folder of all cases.
        case_id: Name of the folder.
        result: What to write.
        kinds: Keys of `WRITERS`.

    Raises:
        CovidLesionSegError: ``output-not-written`` or ``output-not-writable``.
    """

    def fill(folder: Path) -> None:
        for kind in kinds:
            name, write = WRITERS[kind]
            write(folder / name, result)
        names = {kind: WRITERS[kind][0] for kind in kinds if (folder / WRITERS[kind][0]).exists()}
        (folder / RESULT_FILE).write_text(result_to_json(result, names), encoding="utf-8")

    _publish_folder(cases, case_id, fill)


def write_failure(cases: Path, case_id: str, error: CovidLesionSegError, details: str = "") -> None:
    """Write the folder of a case that can't have a result.

    Args:
        cases: Folder of all cases.
        case_id: Name of the folder.
        error: Why; its message must not name the patient.
        details: For whoever looks for a fault.

    Raises:
        CovidLesionSegError: ``output-not-written`` or ``output-not-writable``.
    """
    values = {
        "schema": FAILURE_SCHEMA,
        "case": case_id,
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "details": details,
    }
    text = json.dumps(values, indent=2) + "\n"
    _publish_folder(
        cases, case_id, lambda folder: (folder / FAILURE_FILE).write_text(text, encoding="utf-8")
    )


def _publish_folder(cases: Path, case_id: str, fill: Callable[[Path], object]) -> None:
    def move(staging: Path, folder: Path) -> None:
        target = folder / case_id
        if target.exists():  # an earlier failure that was tried again
            target.rename(staging / "old")
        (staging / _NEW).rename(target)

    try:
        with staged(cases, move) as staging:
            # Made anew, because the temporary folder is for its owner only.
            (staging / _NEW).mkdir()
            fill(staging / _NEW)
    except OSError as error:
        raise CovidLesionSegError(
            "output-not-written",
            f"The folder of {case_id} could not be written: {error.strerror or error}.",
            "Look whether the disk is full, then go on with --resume.",
        ) from error


def read_outcome(folder: Path) -> Outcome | None:
    """Read what stands in the folder of a case; None when it is missing or damaged.

    After a power cut a file may be there without its content, so that is looked at.
    """
    with suppress(OSError, ValueError, TypeError, KeyError):
        if (folder / RESULT_FILE).exists():
            values = json.loads((folder / RESULT_FILE).read_text(encoding="utf-8"))
            files = [folder / name for name in values["files"].values()]
            if values["schema"] == SCHEMA and all(file.stat().st_size > 0 for file in files):
                return Outcome(folder.name, result=values)
        elif (folder / FAILURE_FILE).exists():
            values = json.loads((folder / FAILURE_FILE).read_text(encoding="utf-8"))
            if values["schema"] == FAILURE_SCHEMA:
                return Outcome(folder.name, failure=values)
    return None


def read_outcomes(cases: Path) -> Iterator[Outcome]:
    """Read all cases that are complete, by name."""
    for folder in sorted(cases.iterdir()):
        outcome = None if folder.name.startswith(_UNFINISHED) else read_outcome(folder)
        if outcome is not None:
            yield outcome


def remove_case(cases: Path, case_id: str) -> None:
    """Remove the folder of a case; a kill half-way leaves a hidden folder and no case."""
    hidden = cases / f"{_UNFINISHED}{case_id}"
    try:
        (cases / case_id).rename(hidden)
        shutil.rmtree(hidden)
    except OSError as error:
        raise CovidLesionSegError(
            "output-not-written",
            f"The earlier result of {case_id} can't be removed: {error.strerror}.",
            "Close its files in other programs, then go on with --resume.",
        ) from error


def remove_unfinished(cases: Path) -> None:
    """Remove what a kill left behind; for the holder of the batch's lock only."""
    for folder in cases.glob(_UNFINISHED + "*"):
        shutil.rmtree(folder, ignore_errors=True)
