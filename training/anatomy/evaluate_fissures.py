"""Fissures found in real CTs: ``python -m training.anatomy.evaluate_fissures --data DIR``.

Nobody drew the fissures of `coronacases`, so the search is tested on itself: it sees the sheets
of the outer half of a lung, and the sheets of the inner half, which it did not see, should lie
on the surface it found, and the other way round. Writes ``results/fissures_ct.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from CovidLesionSegLib.engine.fissure_search import FissureFit, Region, search_fissure
from CovidLesionSegLib.engine.fissure_sheets import Sheets, find_sheets
from CovidLesionSegLib.engine.lobe_atlas import (
    Array,
    FissureModel,
)
from CovidLesionSegLib.engine.masks import Mask

from .oblique import oblique_fissures, table_over_thin_cts

_PIECE = 40
_ALIKE = float(np.cos(np.radians(40.0)))
_ON_IT_MM = 3.0
_FAR_MM = 45.0


def evaluate(path: Path) -> dict[str, Any]:
    """Search the oblique fissures of one CT, with all sheets and with half of them."""
    row: dict[str, Any] = {}
    for fissure in oblique_fissures(path):
        sheets = find_sheets(fissure.ct, fissure.lung)
        search = fissure.region, fissure.model, fissure.to_reference, fissure.expected
        fit = search_fissure(sheets, *search)
        row[fissure.name] = {"found": fit.found, "coverage": round(fit.coverage, 2)}
        if fit.found:
            row[fissure.name]["said_error_mm"] = round(fit.error_mm, 1)
            row[fissure.name] |= _halves(sheets, *search)
    return row


def _halves(
    sheets: Sheets, region: Region, model: FissureModel, to_reference: Array, expected: Array
) -> dict[str, float]:
    """Return which share of the unseen half's sheets lies on the expected and found surface."""
    points = sheets.points_mm @ to_reference[:, :3].T + to_reference[:, 3]
    normals = sheets.normals @ np.linalg.inv(to_reference[:, :3])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    basis, height = model.basis(points)
    near = np.abs(height - basis @ expected) < _FAR_MM
    large = sheets.piece_sizes(near & (np.abs(normals @ model.axes[2]) > _ALIKE)) >= _PIECE
    outer = points[:, 0] > np.median(points[large, 0])
    before = after = count = 0
    for seen in (outer, ~outer):
        fit = _search_part(sheets, seen, region, model, to_reference, expected)
        unseen = large & ~seen
        count += int(unseen.sum())
        rest = height[unseen] - basis[unseen] @ expected
        before += int(np.count_nonzero(np.abs(rest) < _ON_IT_MM))
        rest = height[unseen] - basis[unseen] @ fit.coefficients
        after += int(np.count_nonzero(np.abs(rest) < _ON_IT_MM))
    return {
        "unseen_on_expected": round(before / max(count, 1), 2),
        "unseen_on_found": round(after / max(count, 1), 2),
    }


def _search_part(
    sheets: Sheets,
    seen: Mask,
    region: Region,
    model: FissureModel,
    to_reference: Array,
    expected: Array,
) -> FissureFit:
    part = Sheets(sheets.points_mm[seen], sheets.normals[seen], sheets.index[seen])
    return search_fissure(part, region, model, to_reference, expected)


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate all CTs with thin slices and write the table."""
    table = table_over_thin_cts(__doc__, arguments, evaluate)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "fissures_ct.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
