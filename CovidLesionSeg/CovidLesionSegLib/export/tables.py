"""The per-lobe table as columns, and as CSV and JSON files."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.result import (
    Measure,
    Quantification,
    RegionRow,
    RunInfo,
    SegmentationResult,
)

TABLE_SCHEMA = "covid-lesion-seg/lobes/1"

Cell = str | float | None

_UNIT_SUFFIXES = {"ml": "_ml", "%": "_percent", "HU": "_hu", "mm": "_mm"}
_TITLES = {
    "ggo_percent": "Ground-glass [%]",
    "consolidation_percent": "Consolidation [%]",
    "wal_percent": "Well aerated [%]",
    "laa950_percent": "LAA-950 [%]",
    "mean_hu": "Lesion mean [HU]",
    "hu_p10": "Lesion 10th percentile [HU]",
    "hu_p50": "Lesion median [HU]",
    "hu_p90": "Lesion 90th percentile [HU]",
    "lesion_count": "Lesions",
    "involvement_score": "Involvement, 0 to 5",
    "ctss_0_25": "CT severity score, 0 to 25",
    "tss_0_20": "Total severity score, 0 to 20",
    "ct_grade_0_4": "CT grade, 0 to 4",
    "po_percent": "PO [%]",
    "pho_percent": "PHO [%]",
    "outside_lung_ml": "Lesion outside the lungs [ml]",
}
"""Titles that the name alone does not give."""


@dataclass(frozen=True)
class Column:
    """One column of the per-lobe table.

    Attributes:
        name: Stable name with the unit in it, for files and scripts.
        title: For people.
        unit: ``"ml"``, ``"%"``, ``"HU"``, ..., or empty for text.
        cells: One per row; None where the value is absent.
        is_text: Whether the cells are text.
        description: The definition used, empty when the name says it all.
    """

    name: str
    title: str
    unit: str
    cells: tuple[Cell, ...]
    is_text: bool = False
    description: str = ""


@dataclass(frozen=True)
class TableSource:
    """What was measured, for the provenance columns of a table.

    Attributes:
        ct_sha256: `CtVolume.digest`; joins the table to other files of the same CT.
        lobe_source: Value of a `LobeSource`.
    """

    ct_sha256: str = ""
    lobe_source: str = ""

    @classmethod
    def of(cls, result: SegmentationResult) -> TableSource:
        """Return the source of a result."""
        return cls(result.ct.digest(), result.anatomy.lobe_source.value)


def lobes_columns(quantification: Quantification) -> tuple[Column, ...]:
    """Return the table by columns, the same for CSV, MRML and the report.

    One row per lobe, lung and total; after every measure that has an interval come its
    ``_low`` and ``_high``; whole-patient scores stand in the row of the total; ``flags`` says
    what to know before trusting a row, ``missing_reason`` why values are absent.
    """
    rows = quantification.rows
    columns = [
        _text_column("region", "Region", (row.region for row in rows)),
        _text_column("label", "Name", (capitalized(row.label) for row in rows)),
    ]
    for name in dict.fromkeys(name for row in rows for name in row.measures):
        measures = [row.measures.get(name) for row in rows]
        columns += _measure_columns(name, measures, quantification.conventions.get(name, ""))
    for name, score in quantification.scores.items():
        scores = [score if row.region == "total" else None for row in rows]
        columns += _measure_columns(name, scores, quantification.conventions.get(name, ""))
    columns += [
        _text_column("flags", "Remarks", ("; ".join(row.flags) for row in rows)),
        _text_column("missing_reason", "Why absent", (_reasons(row) for row in rows)),
    ]
    return tuple(columns)


def write_lobes_csv(
    path: str | os.PathLike[str],
    quantification: Quantification,
    run: RunInfo,
    source: TableSource | None = None,
) -> None:
    """Write the per-lobe table as tidy CSV.

    UTF-8, comma, decimal point, one header line with stable names; an absent value is an empty
    cell. Every row carries the provenance: ``model_id``, ``weights_sha256``, ``threshold``,
    ``version``, ``device``, ``definitions``, ``lobe_source`` and ``ct_sha256``.

    Args:
        path: File to write.
        quantification: The numbers.
        run: How they were made.
        source: What was measured; its columns stay empty without it.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    columns = lobes_columns(quantification)
    provenance = provenance_columns(quantification, run, source or TableSource())
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(column.name for column in columns), *provenance])
        for cells in zip(*(column.cells for column in columns), strict=True):
            writer.writerow([*(_format(cell) for cell in cells), *provenance.values()])


def write_lobes_json(
    path: str | os.PathLike[str],
    quantification: Quantification,
    run: RunInfo,
    source: TableSource | None = None,
) -> None:
    """Write the per-lobe table as JSON: the CSV's twin, with units and definitions.

    ``Resources/schemas/lobes-1.schema.json`` describes it. An absent value is null.

    Args:
        path: File to write.
        quantification: The numbers.
        run: How they were made.
        source: What was measured; empty texts without it.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    content = lobes_table_to_dict(quantification, run, source or TableSource())
    with atomic_path(path) as partial:
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def lobes_table_to_dict(
    quantification: Quantification, run: RunInfo, source: TableSource
) -> dict[str, Any]:
    """Return the per-lobe table ready for JSON, its numbers as the CSV writes them."""
    columns = lobes_columns(quantification)
    return {
        "schema": TABLE_SCHEMA,
        "provenance": provenance_columns(quantification, run, source),
        "columns": [
            {
                "name": column.name,
                "title": column.title,
                "unit": column.unit,
                "description": column.description,
            }
            for column in columns
        ],
        "rows": [
            {column.name: _json_cell(column.cells[number]) for column in columns}
            for number in range(len(quantification.rows))
        ],
    }


def provenance_columns(
    quantification: Quantification, run: RunInfo, source: TableSource
) -> dict[str, str]:
    """Return what every row of a table says of how it was made, by column."""
    return {
        "model_id": run.model_id,
        "weights_sha256": ";".join(digest for _, digest in sorted(run.weights_sha256.items())),
        "threshold": f"{run.threshold:g}",
        "version": run.versions.get("CovidLesionSeg", ""),
        "device": run.device,
        "definitions": quantification.definitions,
        "lobe_source": source.lobe_source,
        "ct_sha256": source.ct_sha256,
    }


def measure_title(name: str, unit: str) -> str:
    """Return ``"Infected [%]"`` for ``"infected_percent"`` and its unit."""
    if name in _TITLES:
        return _TITLES[name]
    stem = name.removesuffix(_UNIT_SUFFIXES.get(unit, ""))
    shown_unit = f" [{unit}]" if unit in _UNIT_SUFFIXES else ""
    return capitalized(stem.replace("_", " ")) + shown_unit


def capitalized(text: str) -> str:
    """Return a text with a capital at its beginning, the rest as it is."""
    return text[:1].upper() + text[1:]


def _text_column(name: str, title: str, cells: Iterable[str]) -> Column:
    return Column(name, title, "", tuple(cells), is_text=True)


def _measure_columns(name: str, measures: list[Measure | None], description: str) -> list[Column]:
    unit = next((measure.unit for measure in measures if measure), "")
    title = measure_title(name, unit)
    columns = [
        Column(
            name,
            title,
            unit,
            tuple(measure.value if measure else None for measure in measures),
            description=description,
        )
    ]
    if any(measure and measure.low is not None for measure in measures):
        for end in ("low", "high"):
            bounds = tuple(getattr(measure, end) if measure else None for measure in measures)
            columns.append(Column(f"{name}_{end}", f"{title}, {end}", unit, bounds))
    return columns


def _reasons(row: RegionRow) -> str:
    """Join the reasons of a row; one that explains every absent value is said once."""
    absent = {
        name: measure.reason for name, measure in row.measures.items() if measure.value is None
    }
    if len(absent) > 1 and len(set(absent.values())) == 1:
        return next(iter(absent.values()))
    return "; ".join(f"{name}: {reason}" for name, reason in absent.items())


def _format(cell: Cell) -> str:
    if cell is None:
        return ""
    # Six significant digits are beyond any measurement here, and read well.
    return cell if isinstance(cell, str) else f"{cell:.6g}"


def _json_cell(cell: Cell) -> Cell:
    return float(_format(cell)) if isinstance(cell, int | float) else cell
