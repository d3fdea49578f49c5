"""The lesion list and the audit log as table nodes: they are saved with the scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import vtk

from CovidLesionSegLib.engine.result import Lesion, Lobe, Lung
from CovidLesionSegLib.engine.review_values import LogEntry

_NUMBERS = ("volume_ml", "diameter_mm", "mean_hu", "uncertainty", "agreement")
_AXES = ("x_lps_mm", "y_lps_mm", "z_lps_mm")
_LATER = ("pleural_distance_mm", "doubt_ml")
_LOG_TEXTS = ("time_utc", "action", "lesions")
_LOG_NUMBERS = ("added_voxels", "removed_voxels", "dice_to_computed")


def fillLesionTable(node: Any, lesions: Sequence[Lesion]) -> None:
    """Replace the content of the lesion list.

    Args:
        node: vtkMRMLTableNode.
        lesions: Lesions with their states, in the order of the list.
    """
    columns: dict[str, list[Any]] = {
        "lesion": [str(lesion.id) for lesion in lesions],
        "state": [lesion.state for lesion in lesions],
        "lobe": [lesion.lobe.name if lesion.lobe else "" for lesion in lesions],
        "lung": [lesion.lung.name.lower() if lesion.lung else "" for lesion in lesions],
        "class": [lesion.lesion_class for lesion in lesions],
    }
    for name in (*_NUMBERS, *_LATER):
        columns[name] = [getattr(lesion, name) for lesion in lesions]
    for axis, name in enumerate(_AXES):
        columns[name] = [lesion.centroid_lps_mm[axis] for lesion in lesions]
    _fill(node, columns)


def lesionsFromTable(node: Any) -> tuple[Lesion, ...]:
    """Read back what `fillLesionTable` wrote."""
    table = node.GetTable()

    def text(row: int, name: str) -> str:
        column = table.GetColumnByName(name)
        # Scenes of versions that had no such column.
        return "" if column is None else str(column.GetValue(row))

    def number(row: int, name: str) -> float:
        column = table.GetColumnByName(name)
        return math.nan if column is None else float(column.GetValue(row))

    def optional(row: int, name: str) -> float | None:
        value = number(row, name)
        return None if math.isnan(value) else value

    return tuple(
        Lesion(
            id=int(float(text(row, "lesion"))),
            lobe=Lobe[text(row, "lobe")] if text(row, "lobe") else None,
            lung=Lung[text(row, "lung").upper()] if text(row, "lung") else None,
            volume_ml=number(row, "volume_ml"),
            diameter_mm=number(row, "diameter_mm"),
            mean_hu=number(row, "mean_hu"),
            centroid_lps_mm=(number(row, _AXES[0]), number(row, _AXES[1]), number(row, _AXES[2])),
            uncertainty=number(row, "uncertainty"),
            agreement=optional(row, "agreement"),
            pleural_distance_mm=optional(row, _LATER[0]),
            doubt_ml=optional(row, _LATER[1]),
            state=text(row, "state"),
            lesion_class=text(row, "class"),
        )
        for row in range(table.GetNumberOfRows())
    )


def fillLog(node: Any, entries: Sequence[LogEntry]) -> None:
    """Replace the content of the audit log.

    Args:
        node: vtkMRMLTableNode.
        entries: Its lines, oldest first.
    """
    names = (*_LOG_TEXTS, *_LOG_NUMBERS)
    _fill(node, {name: [getattr(line, name) for line in entries] for name in names})


def readLog(node: Any) -> list[LogEntry]:
    """Return the lines of the audit log, oldest first."""
    table = node.GetTable()

    def value(row: int, name: str) -> Any:
        return table.GetColumnByName(name).GetValue(row)

    return [
        LogEntry(
            time_utc=str(value(row, "time_utc")),
            action=str(value(row, "action")),
            lesions=str(value(row, "lesions")),
            added_voxels=int(value(row, "added_voxels")),
            removed_voxels=int(value(row, "removed_voxels")),
            dice_to_computed=float(value(row, "dice_to_computed")),
        )
        for row in range(table.GetNumberOfRows())
    ]


def _fill(node: Any, columns: dict[str, list[Any]]) -> None:
    wasModifying = node.StartModify()
    node.SetLocked(False)
    node.RemoveAllColumns()
    for name, values in columns.items():
        isText = name in ("lesion", "state", "lobe", "lung", "class", *_LOG_TEXTS)
        array = vtk.vtkStringArray() if isText else vtk.vtkDoubleArray()
        array.SetName(name)
        for value in values:
            array.InsertNextValue(math.nan if value is None else value)
        node.AddColumn(array)
    node.SetLocked(True)
    node.EndModify(wasModifying)
