"""``summary.csv``: one row per case, derived from the folders of the cases."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.result import Lobe
from CovidLesionSegLib.engine.result_reading import quantification_from_dict
from CovidLesionSegLib.export.tables import lobes_columns

from .case_files import Outcome

SummaryRow = Mapping[str, str]
"""Text by column; a column that a row has not stays empty."""

_FIRST = ("case", "status", "code", "reason")
_LAST = (
    *("flags", "warnings", "same_ct_as", "ct_sha256", "model_id", "weights_sha256", "threshold"),
    *("version", "device", "seconds"),
)
_PER_LOBE = ("infected_percent", "volume_ml")
_LEFT_OUT = ("region", "label", "flags", "missing_reason", "involvement_score")
"""Columns of a region, or empty for the lungs as a whole; with their intervals."""

WARNING_SEPARATOR = " | "
DONE, FAILED = "done", "failed"


def summary_row(outcome: Outcome) -> SummaryRow:
    """Return the row of a case.

    A failed case has status ``failed``, a stable code and the reason; a case with a result
    has the whole-lung numbers and scores under the names of `lobes.csv`, infected percentage
    and volume of every lobe, and how it was made.
    """
    if outcome.result is None:
        failure = outcome.failure or {}
        return {
            "case": outcome.case_id,
            "status": FAILED,
            "code": str(failure.get("code", "")),
            "reason": f"{failure.get('message', '')} {failure.get('hint', '')}".strip(),
        }
    values = outcome.result
    run = values["run"]
    return {
        "case": outcome.case_id,
        "status": DONE,
        **_numbers(values),
        "lobe_source": values["anatomy"]["lobe_source"],
        "flags": ";".join(dict.fromkeys((*values["ct"]["flags"], *values["anatomy"]["flags"]))),
        "warnings": WARNING_SEPARATOR.join(values["warnings"]),
        "ct_sha256": values["ct"]["sha256"],
        "model_id": run["model"],
        "weights_sha256": ";".join(digest for _, digest in sorted(run["weights_sha256"].items())),
        "threshold": f"{run['threshold']:g}",
        "version": run["versions"]["CovidLesionSeg"],
        "device": run["device"],
        "seconds": f"{sum(values['timings_s'].values()):.1f}",
    }


def _numbers(values: Mapping[str, Any]) -> dict[str, str]:
    quantification = quantification_from_dict(values["quantification"], values["definitions"])
    regions = [row.region for row in quantification.rows]
    columns = {column.name: column.cells for column in lobes_columns(quantification)}
    total = regions.index("total")
    numbers = {
        name: _text(cells[total])
        for name, cells in columns.items()
        if not name.startswith(_LEFT_OUT)
    }
    for lobe in Lobe:
        for name in _PER_LOBE:
            if lobe.name in regions and name in columns:
                cell = columns[name][regions.index(lobe.name)]
                numbers[f"{lobe.name}_{name}"] = _text(cell)
    return numbers


def _text(cell: str | float | None) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else f"{cell:.6g}"


def with_twins(rows: Iterable[SummaryRow]) -> list[SummaryRow]:
    """Return the rows with ``same_ct_as``: the first case that has the very same voxels."""
    first: dict[str, str] = {}
    marked: list[SummaryRow] = []
    for row in rows:
        digest = row.get("ct_sha256", "")
        same = first.setdefault(digest, row["case"]) if digest else row["case"]
        marked.append({**row, "same_ct_as": "" if same == row["case"] else same})
    return marked


def write_summary(path: Path, rows: Sequence[SummaryRow]) -> None:
    """Write the rows as tidy CSV: UTF-8, comma, decimal point, stable column names.

    Raises:
        CovidLesionSegError: ``output-not-written``.
    """
    found = dict.fromkeys(name for row in rows for name in row)
    numbers = [name for name in found if name not in (*_FIRST, *_LAST)]
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, (*_FIRST, *numbers, *_LAST), "", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
