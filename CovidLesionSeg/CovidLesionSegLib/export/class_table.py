"""Ground glass and consolidation by region, as a network calls them and by HU, side by side."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.lesion_classes import ClassModel
from CovidLesionSegLib.engine.quantify import LUNG_REGIONS, TOTAL
from CovidLesionSegLib.engine.result import Lobe, Opacity, RegionRow, SegmentationResult


@dataclass(frozen=True)
class ClassRow:
    """One region; a value is None where the region is absent.

    Attributes:
        region: Name as in the per-lobe table.
        label: For people.
        volume_ml: Volume of the region.
        ground_glass_ml, consolidation_ml: As the network calls them.
        ground_glass_percent, consolidation_percent: The same in percent of the region.
        hu_ground_glass_percent, hu_consolidation_percent: By the border in HU, as in the
            per-lobe table.
    """

    region: str
    label: str
    volume_ml: float | None
    ground_glass_ml: float | None
    consolidation_ml: float | None
    ground_glass_percent: float | None
    consolidation_percent: float | None
    hu_ground_glass_percent: float | None
    hu_consolidation_percent: float | None


COLUMNS = tuple(ClassRow.__dataclass_fields__)


def class_rows(result: SegmentationResult, opacity: NDArray[np.uint8]) -> tuple[ClassRow, ...]:
    """Count the voxels of each class by lobe, by lung and in all.

    Args:
        result: The result.
        opacity: uint8 ``[z, y, x]``, labels of `Opacity` inside its infection.
    """
    return tuple(_row(result, opacity, row) for row in result.quantification.rows)


def _row(result: SegmentationResult, opacity: NDArray[np.uint8], row: RegionRow) -> ClassRow:
    values = {name: measure.value for name, measure in row.measures.items()}
    volume = values["volume_ml"]
    by_hu = values["ggo_percent"], values["consolidation_percent"]
    if volume is None:
        return ClassRow(row.region, row.label, None, None, None, None, None, *by_hu)
    inside = _region(result, row.region)
    ground_glass, solid = (
        int(np.count_nonzero(inside & (opacity == label))) * result.ct.voxel_volume_ml
        for label in (Opacity.GROUND_GLASS, Opacity.CONSOLIDATION)
    )
    percents = 100.0 * ground_glass / volume, 100.0 * solid / volume
    return ClassRow(row.region, row.label, volume, ground_glass, solid, *percents, *by_hu)


def _region(result: SegmentationResult, region: str) -> NDArray[np.bool_]:
    lungs, lobes = result.anatomy.lungs, result.anatomy.lobes
    inside: NDArray[np.bool_] = lungs > 0
    if region == TOTAL:
        return inside
    for lung, name in LUNG_REGIONS.items():
        if region == name:
            inside &= lungs == lung
            return inside
    if lobes is not None:
        inside &= lobes == Lobe[region]
    return inside


def write_classes_csv(
    path: str | os.PathLike[str], rows: tuple[ClassRow, ...], model: ClassModel
) -> None:
    """Write the rows as CSV; an absent value is an empty cell.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, "model_id", "weights_sha256"])
        for row in rows:
            cells = (_cell(getattr(row, name)) for name in COLUMNS)
            writer.writerow([*cells, model.id, model.sha256])


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.6g}"
