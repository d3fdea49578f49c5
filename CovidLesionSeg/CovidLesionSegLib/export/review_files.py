"""What leaves a review: tables as CSV, and corrected cases for training."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.result import Lesion
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
)
_KEY_DIGITS = 12


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
        values["lobe"] = lesion.lobe.name if lesion.lobe else None
        values["lung"] = lesion.lung.name.lower() if lesion.lung else None
        rows.append([values[name] for name in _LESION_COLUMNS])
    write_rows_csv(path, _LESION_COLUMNS, rows)


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
