"""The table of the infected share of the lungs, from the expert and from the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.splits import load_split

Mask = NDArray[np.bool_]
Row = dict[str, float | None]

_HEAD = """# Infected percentage of the lungs: expert and model

Made by `python -m training.anatomy.evaluate_lungs --network`. The model is the bundled one as a
user gets it, lungs included. *Labelled slices*: those on which the expert drew the lungs
(coronacases: only slices with lesions); *whole CT*: the expert's infection over the model's
lungs, since nobody drew the lungs there. Errors are in percentage points; "held out": no slice
of the patient was in the model's training.

| case | held out | expert, labelled slices | model | error | expert, whole CT | model | error |
|---|---|---:|---:|---:|---:|---:|---:|
"""


def percent_row(
    expert_lung: Mask, expert_infection: Mask, lung: Mask, infection: Mask, slices: Mask
) -> Row:
    """Compare the infected percentage of the lungs of one case.

    Args:
        expert_lung: Boolean ``[z, y, x]``; only labelled slices are looked at.
        expert_infection: Boolean ``[z, y, x]``.
        lung: The model's lungs.
        infection: The model's infection.
        slices: Boolean ``[z]``, where the expert drew the lungs.
    """
    wanted = _percent(expert_infection[slices], expert_lung[slices])
    found = _percent(infection[slices], lung[slices])
    wanted_all, found_all = _percent(expert_infection, lung), _percent(infection, lung)
    return {
        "expert_percent": _rounded(wanted),
        "model_percent": _rounded(found),
        "error": _rounded(found - wanted),
        "expert_percent_whole_ct": _rounded(wanted_all),
        "model_percent_whole_ct": _rounded(found_all),
        "error_whole_ct": _rounded(found_all - wanted_all),
    }


def _percent(infected: Mask, lung: Mask) -> float:
    """Return infected voxels over lung voxels; the two masks may come from different hands."""
    volume = int(np.count_nonzero(lung))
    return 100.0 * int(np.count_nonzero(infected)) / volume if volume else math.nan


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)


def markdown(rows: Mapping[str, Row]) -> str:
    """Return the table, with the mean absolute errors of all and of the held-out cases."""
    held_out = set(load_split("bundled").validation)
    lines = []
    for name, row in rows.items():
        cells = [name, "yes" if name in held_out else "", *map(_cell, row.values())]
        lines.append(f"| {' | '.join(cells)} |")
    groups = {
        "mean absolute error, all": rows,
        "mean absolute error, held out": {k: v for k, v in rows.items() if k in held_out},
    }
    for title, group in groups.items():
        errors = [_mean_size(group, key) for key in ("error", "error_whole_ct")]
        lines.append(f"| **{title}** | | | | {errors[0]} | | | {errors[1]} |")
    return _HEAD + "\n".join(lines) + "\n"


def _cell(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2f}"


def _mean_size(rows: Mapping[str, Mapping[str, Any]], key: str) -> str:
    values = [abs(row[key]) for row in rows.values() if row[key] is not None]
    return _cell(sum(values) / len(values) if values else None)
