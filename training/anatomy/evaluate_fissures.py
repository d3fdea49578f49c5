"""Fissures found in real CTs: ``python -m training.anatomy.evaluate_fissures --data DIR``.

Nobody drew the fissures of `coronacases`, so the search is tested on itself: it sees the sheets
of the outer half of a lung, and the sheets of the inner half, which it did not see, should lie
on the surface it found, and the other way round. Writes ``results/fissures_ct.json``.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from CovidLesionSegLib.engine.fissure_search import FissureFit, Region, search_fissure
from CovidLesionSegLib.engine.fissure_sheets import Sheets, find_sheets
from CovidLesionSegLib.engine.lobe_atlas import (
    LEFT_OBLIQUE,
    RIGHT_OBLIQUE,
    Array,
    FissureModel,
    bundled_atlas,
)
from CovidLesionSegLib.engine.lobe_registration import lung_surfaces, register
from CovidLesionSegLib.engine.lobes_atlas import cut_ends, inside_of
from CovidLesionSegLib.engine.lungs import segment_lungs
from CovidLesionSegLib.engine.masks import Mask
from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.engine.result import Lung

_LOG = logging.getLogger("training.anatomy")
_ROOT = Path(__file__).resolve().parents[2]
_FISSURES = {LEFT_OBLIQUE: Lung.LEFT, RIGHT_OBLIQUE: Lung.RIGHT}
_PIECE = 40
_ALIKE = float(np.cos(np.radians(40.0)))
_ON_IT_MM = 3.0
_FAR_MM = 45.0


def evaluate(path: Path) -> dict[str, Any]:
    """Search the oblique fissures of one CT, with all sheets and with half of them."""
    atlas, ct = bundled_atlas(), read_ct(path)
    lungs = segment_lungs(ct).labels
    to_reference = register(lung_surfaces(lungs, ct), atlas, cut_ends(lungs, ct))
    features = atlas.features(to_reference)
    row: dict[str, Any] = {}
    for name, side in _FISSURES.items():
        model, lung = atlas.fissures[name], lungs == side
        expected, region = model.mean(features), inside_of(ct, lung, to_reference)
        sheets = find_sheets(ct, lung)
        fit = search_fissure(sheets, region, model, to_reference, expected)
        row[name] = {"found": fit.found, "coverage": round(fit.coverage, 2)}
        if fit.found:
            row[name]["said_error_mm"] = round(fit.error_mm, 1)
            row[name] |= _halves(sheets, region, model, to_reference, expected)
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    table: dict[str, Any] = {}
    for path in sorted((options.data / "coronacases").glob("*_ct.nii.gz")):
        name = path.name.removesuffix("_ct.nii.gz")
        table[name] = evaluate(path)
        _LOG.info("%s: %s", name, table[name])
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "fissures_ct.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
