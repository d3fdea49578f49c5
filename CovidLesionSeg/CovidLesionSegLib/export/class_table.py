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
from CovidLesionSegLib.engine.region_sums import REGION_COUNT, REST_OF_LUNG, region_codes
from CovidLesionSegLib.engine.result import Lobe, Opacity, RegionRow, SegmentationResult

from .tables import TableSource, capitalized, provenance_columns

_KINDS = max(Opacity) + 1


@dataclass(frozen=True)
class ClassRow:
    """One region; a value is None where the region is absent.

    Attributes:
        region: Name as in the per-lobe table.
        region_name: For people.
        volume_ml: Volume of the region.
        infected_ml: Its infected part.
        ground_glass_ml, consolidation_ml: As the network calls them.
        ground_glass_percent, consolidation_percent: The same in percent of the region.
        hu_ground_glass_percent, hu_consolidation_percent: By the border in HU, as in the
            per-lobe table.
        flags: Remarks of the per-lobe table.
    """

    region: str
    region_name: str
    volume_ml: float | None
    infected_ml: float | None
    ground_glass_ml: float | None
    consolidation_ml: float | None
    ground_glass_percent: float | None
    consolidation_percent: float | None
    hu_ground_glass_percent: float | None
    hu_consolidation_percent: float | None
    flags: str


COLUMNS = tuple(ClassRow.__dataclass_fields__)


def class_rows(result: SegmentationResult, opacity: NDArray[np.uint8]) -> tuple[ClassRow, ...]:
    """Count the voxels of each class by lobe, by lung and in all, as the per-lobe table does.

    Args:
        result: The result.
        opacity: uint8 ``[z, y, x]``, labels of `Opacity` inside its infection.
    """
    where = opacity > 0
    codes = region_codes(result.anatomy, (slice(None),) * 3)[where].astype(np.intp)
    counts = np.bincount(codes * _KINDS + opacity[where], minlength=REGION_COUNT * _KINDS)
    voxels = counts.reshape(REGION_COUNT, _KINDS)
    voxel_ml = result.ct.voxel_volume_ml
    return tuple(_row(voxels, voxel_ml, row) for row in result.quantification.rows)


def _row(voxels: NDArray[np.int64], voxel_ml: float, row: RegionRow) -> ClassRow:
    values = {name: measure.value for name, measure in row.measures.items()}
    volume, infected = values["volume_ml"], values["infected_ml"]
    by_hu = values["ggo_percent"], values["consolidation_percent"]
    flags = "; ".join(row.flags)
    name = capitalized(row.label)
    if volume is None:
        return ClassRow(row.region, name, None, None, None, None, None, None, *by_hu, flags)
    of_region = voxels[_codes(row.region)].sum(axis=0)
    ground_glass = int(of_region[Opacity.GROUND_GLASS]) * voxel_ml
    solid = int(of_region[Opacity.CONSOLIDATION]) * voxel_ml
    percents = 100.0 * ground_glass / volume, 100.0 * solid / volume
    return ClassRow(
        row.region, name, volume, infected, ground_glass, solid, *percents, *by_hu, flags
    )


def _codes(region: str) -> list[int]:
    if region == TOTAL:
        return list(range(1, REGION_COUNT))
    for lung, name in LUNG_REGIONS.items():
        if region == name:
            return [*(int(lobe) for lobe in Lobe if lobe.lung is lung), REST_OF_LUNG[lung]]
    return [int(Lobe[region])]


def write_classes_csv(
    path: str | os.PathLike[str],
    rows: tuple[ClassRow, ...],
    model: ClassModel,
    result: SegmentationResult,
) -> None:
    """Write the rows as CSV; an absent value is an empty cell.

    Every row carries the class network, and what the infection was found with.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    made_by = {
        "class_model_id": model.id,
        "class_weights_sha256": model.sha256,
        "class_model_role": model.role,
        **provenance_columns(result.quantification, result.run, TableSource.of(result)),
    }
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*COLUMNS, *made_by])
        for row in rows:
            cells = (_cell(getattr(row, name)) for name in COLUMNS)
            writer.writerow([*cells, *made_by.values()])


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.6g}"
