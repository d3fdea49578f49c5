"""What leaves a review: tables as CSV, and corrected cases for training."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.result import Lesion, Lobe, Lung
from CovidLesionSegLib.engine.review_values import LogEntry
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.engine.writers import write_map
from CovidLesionSegLib.errors import InputError

_LESION_COLUMNS = (
    "id",
    "state",
    "lobe",
    "lung",
    "volume_ml",
    "diameter_mm",
    "mean_hu",
    "uncertainty",
    "agreement",
    "pleural_distance_mm",
    "class",
    "doubt_ml",
)
_CENTER_COLUMNS = ("x_lps_mm", "y_lps_mm", "z_lps_mm")
_KEY_DIGITS = 12


REVIEW_FILES = ("*lesions.csv", "*review-log.csv")
"""Lesions and log of a review beside a result, whatever their names begin with."""


def refuse_reviewed(folder: Path) -> None:
    """Refuse to replace a result that a person has reviewed; the review would pass for its own.

    Raises:
        InputError: ``output-reviewed``.
    """
    if any(True for name in REVIEW_FILES for _ in folder.glob(name)):
        raise InputError(
            "output-reviewed",
            f"{folder} holds a review, which belongs to the result that is there now.",
            "Choose another folder, or move the review away.",
        )


def write_rows_csv(
    path: str | os.PathLike[str], header: Sequence[str], rows: Sequence[Sequence[Any]]
) -> None:
    """Write rows as CSV: UTF-8, comma, decimal point, absent values empty.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for row in rows:
            writer.writerow(
                f"{cell:.6g}" if isinstance(cell, float) else "" if cell is None else cell
                for cell in row
            )


def write_lesions_csv(path: str | os.PathLike[str], lesions: Sequence[Lesion]) -> None:
    """Write the lesion list with the states of the review."""
    rows = []
    for lesion in lesions:
        values = asdict(lesion)
        values["class"] = lesion.lesion_class
        values["lobe"] = lesion.lobe.name if lesion.lobe else None
        values["lung"] = lesion.lung.name.lower() if lesion.lung else None
        rows.append([*(values[name] for name in _LESION_COLUMNS), *lesion.centroid_lps_mm])
    write_rows_csv(path, (*_LESION_COLUMNS, *_CENTER_COLUMNS), rows)


def read_lesions_csv(path: str | os.PathLike[str]) -> tuple[Lesion, ...]:
    """Read what `write_lesions_csv` wrote; rejected lesions are among them.

    Raises:
        InputError: ``review-unreadable``.
    """
    return tuple(_lesion(row) for row in _read_rows(Path(path), _lesion))


def read_review_log(path: str | os.PathLike[str]) -> tuple[LogEntry, ...]:
    """Read the audit log of a review from CSV, oldest entry first.

    Raises:
        InputError: ``review-unreadable``.
    """
    return tuple(_log_entry(row) for row in _read_rows(Path(path), _log_entry))


def _read_rows(path: Path, parse: Callable[[dict[str, str]], object]) -> list[dict[str, str]]:
    """Return the rows of a CSV file that can be parsed, or say which file can't."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            parse(row)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "review-unreadable",
            f"{path.name} can't be read as a part of a review.",
            "Export the review again from 3D Slicer, or take the file out of the folder.",
        ) from error
    return rows


def _lesion(row: dict[str, str]) -> Lesion:
    x, y, z = (float(row[name]) for name in _CENTER_COLUMNS)
    return Lesion(
        id=int(row["id"]),
        lobe=Lobe[row["lobe"]] if row["lobe"] else None,
        lung=Lung[row["lung"].upper()] if row["lung"] else None,
        volume_ml=float(row["volume_ml"]),
        diameter_mm=float(row["diameter_mm"]),
        mean_hu=float(row["mean_hu"]),
        centroid_lps_mm=(x, y, z),
        uncertainty=float(row["uncertainty"]),
        agreement=float(row["agreement"]) if row["agreement"] else None,
        pleural_distance_mm=(
            float(row["pleural_distance_mm"]) if row["pleural_distance_mm"] else None
        ),
        state=row["state"],
        lesion_class=row.get("class") or "",
        doubt_ml=float(row["doubt_ml"]) if row.get("doubt_ml") else None,
    )


def _log_entry(row: dict[str, str]) -> LogEntry:
    return LogEntry(
        time_utc=row["time_utc"],
        action=row["action"],
        lesions=row["lesions"],
        added_voxels=int(row["added_voxels"]),
        removed_voxels=int(row["removed_voxels"]),
        dice_to_computed=float(row["dice_to_computed"]),
    )


def write_training_case(
    folder: Path, ct: CtVolume, infection: NDArray[np.uint8], lungs: NDArray[np.uint8]
) -> str:
    """Write CT and corrected masks in the layout that ``training/`` reads.

    ``KEY_ct.nii.gz``, ``KEY_infection.nii.gz`` and ``KEY_lung.nii.gz``. The key is made from
    the voxels, so the same CT replaces itself; names, dates and DICOM identifiers stay behind,
    because NIfTI is written from voxels and geometry alone.

    Args:
        folder: An existing folder.
        ct: The CT.
        infection: uint8 ``[z, y, x]``, non-zero where infected.
        lungs: uint8 ``[z, y, x]``, non-zero in the lungs.

    Returns:
        The key.

    Raises:
        InputError: ``output-not-writable``.
    """
    if not folder.is_dir():
        raise InputError(
            "output-not-writable", f"There is no folder {folder.name!r}.", "Choose another folder."
        )
    key = "case-" + hashlib.sha256(ct.digest().encode()).hexdigest()[:_KEY_DIGITS]
    write_map(folder / f"{key}_infection.nii.gz", (infection > 0).astype(np.uint8), ct)
    write_map(folder / f"{key}_lung.nii.gz", (lungs > 0).astype(np.uint8), ct)
    # The CT last: training takes a CT without masks for a mistake.
    write_map(folder / f"{key}_ct.nii.gz", ct.hu, ct)
    return key
