"""An export handed to another process: a folder with the job, then files where they were asked for.

The folder holds the patient's voxels; who made it deletes it. Formats are named, never code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from CovidLesionSegLib.engine.result_json import lesion_to_dict
from CovidLesionSegLib.engine.result_reading import lesions_from_list
from CovidLesionSegLib.engine.review_values import LogEntry
from CovidLesionSegLib.engine.steps import Steps
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.jobs.exchange import EXPORT_FILE, read_result, write_result_steps

from .formats import FORMATS, ExportFormat
from .job import ExportJob, ReviewRecord
from .review_files import write_training_case


def _write_training_case(job: ExportJob, path: Path) -> list[Path]:
    result = job.result
    before = set(path.parent.iterdir())
    write_training_case(path.parent, result.ct, result.infection, result.anatomy.lungs)
    return sorted(set(path.parent.iterdir()) - before)


TRAINING_CASE = "training-case"
HANDED_OVER: Mapping[str, ExportFormat] = MappingProxyType(
    {**FORMATS, TRAINING_CASE: ExportFormat("Training case", "", _write_training_case)}
)
"""What another process can write, by name."""


@dataclass(frozen=True, eq=False)
class ExportOrder:
    """What another process shall write.

    Attributes:
        job: What to write.
        formats: Names of formats in `HANDED_OVER`.
        folder: Where to; it is there already.
        stem: File names without their suffix.
    """

    job: ExportJob
    formats: tuple[str, ...]
    folder: Path
    stem: str


def hand_over_steps(order: ExportOrder, folder: Path) -> Steps[Path]:
    """Write an order into a folder, one array after another; returns the path of its file.

    Args:
        order: What to write.
        folder: An empty folder.
    """
    job = order.job
    yield from write_result_steps(folder, job.result)
    provenance = job.result.ct.provenance
    values = {
        "formats": order.formats,
        "folder": str(order.folder),
        "stem": order.stem,
        "source": provenance.source,
        "source_files": provenance.files,
        "edited_layers": sorted(job.edited_layers),
        "identified": job.identified,
        "review": _review_to_dict(job.review),
    }
    path = folder / EXPORT_FILE
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def read_order(path: Path) -> ExportOrder:
    """Read what `hand_over_steps` wrote.

    Raises:
        InputError: ``job-unreadable``.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        result = read_result(path.parent)
        provenance = replace(
            result.ct.provenance, source=values["source"], files=tuple(values["source_files"])
        )
        job = ExportJob(
            result=replace(result, ct=replace(result.ct, provenance=provenance)),
            edited_layers=frozenset(values["edited_layers"]),
            review=_review_from_dict(values["review"]),
            identified=values["identified"],
        )
        formats = tuple(values["formats"])
        return ExportOrder(job, formats, Path(values["folder"]), values["stem"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "job-unreadable", f"The job {path.name} can't be read: {error}."
        ) from error


def write_order(order: ExportOrder, tell: Callable[[str, float], None]) -> list[str]:
    """Write every format of an order; returns the names of the files.

    Args:
        order: What to write.
        tell: Called before each format with its name and the fraction done, 0..1.
    """
    names: list[str] = []
    for done, key in enumerate(order.formats):
        tell(key, done / len(order.formats))
        chosen = HANDED_OVER[key]
        written = chosen.write(order.job, order.folder / f"{order.stem}{chosen.suffix}")
        names += [path.name for path in written]
    return names


def _review_to_dict(review: ReviewRecord | None) -> dict[str, Any] | None:
    if review is None:
        return None
    return {
        "lesions": [lesion_to_dict(lesion) for lesion in review.lesions],
        "log": [asdict(entry) for entry in review.log],
    }


def _review_from_dict(values: Mapping[str, Sequence[Any]] | None) -> ReviewRecord | None:
    if values is None:
        return None
    log = tuple(LogEntry(**entry) for entry in values["log"])
    return ReviewRecord(lesions_from_list(values["lesions"]), log)
