"""Fissures fitted between the vessels: ``python -m training.anatomy.evaluate_vessels --data DIR``.

Nobody drew the fissures of `coronacases`; where the search for sheets finds an oblique fissure,
that is the reference, and the fit between the vessels, which does not see the sheets, is
compared with it and with the expectation of the atlas. Once with the slices as they are and once
with slices averaged to about 6 mm, where no sheet shows. Writes
``results/fissures_vessels.json``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.fissure_search import search_fissure
from CovidLesionSegLib.engine.fissure_sheets import find_sheets
from CovidLesionSegLib.engine.fissure_vessels import fit_between_vessels, measure_clearance
from CovidLesionSegLib.engine.lobe_atlas import (
    Array,
    FissureModel,
)
from CovidLesionSegLib.engine.lobes_atlas import inside_of, reference_points
from CovidLesionSegLib.engine.masks import Mask
from CovidLesionSegLib.engine.volume import CtVolume

from .oblique import oblique_fissures, table_over_thin_cts

_THICK_MM = 6.0
_ON_IT_MM = 2.0
_STRIDES = (3, 3, 3)

Labels = NDArray[np.uint8]


def thickened(ct: CtVolume, lungs: Labels) -> tuple[CtVolume, Labels]:
    """Average slices to about 6 mm; the lungs are those of the middle ones."""
    count = max(1, round(_THICK_MM / ct.spacing_mm_zyx[0]))
    slices = len(ct.hu) // count
    blocks = ct.hu[: slices * count].reshape(slices, count, *ct.hu.shape[1:])
    affine = ct.affine_lps.copy()
    affine[:3, 3] += affine[:3, 2] * (count - 1) / 2.0
    affine[:3, 2] *= count
    hu = np.rint(blocks.mean(axis=1)).astype(np.int16)
    return CtVolume.from_array(hu, affine), lungs[: slices * count][count // 2 :: count]


def surface_basis(model: FissureModel, lung: Array, coefficients: Array) -> Array:
    """Return the basis ``(n, K)`` at the lung's points within 2 mm of a surface.

    Args:
        model: The fissure.
        lung: ``(n, 3)`` reference points in the lung.
        coefficients: Of the surface.
    """
    basis, height = model.basis(lung)
    return basis[np.abs(height - basis @ coefficients) < _ON_IT_MM]


def evaluate(path: Path) -> dict[str, Any]:
    """Fit the oblique fissures of one CT between the vessels."""
    row: dict[str, Any] = {}
    for fissure in oblique_fissures(path):
        model, expected, to_reference = fissure.model, fissure.expected, fissure.to_reference
        ct, lungs, lung = fissure.ct, fissure.lungs, fissure.lung
        seen = search_fissure(find_sheets(ct, lung), fissure.region, model, to_reference, expected)
        if not seen.found:
            continue
        points = reference_points(lung, ct, to_reference, _STRIDES)
        basis = surface_basis(model, points, seen.coefficients)
        row[fissure.name] = {"expected_mm": _mean_mm(basis, expected - seen.coefficients)}
        scans = {"as it is": (ct, lungs), f"{_THICK_MM:.0f} mm": thickened(ct, lungs)}
        for label, (scan, labels) in scans.items():
            row[fissure.name][label] = _fitted(
                scan,
                labels == fissure.side,
                model,
                to_reference,
                expected,
                basis,
                seen.coefficients,
            )
    return row


def _mean_mm(basis: Array, change: Array) -> float:
    return round(float(np.abs(basis @ change).mean()), 2)


def _fitted(
    ct: CtVolume,
    lung: Mask,
    model: FissureModel,
    to_reference: Array,
    expected: Array,
    basis: Array,
    reference: Array,
) -> dict[str, Any]:
    clearance = measure_clearance(ct, lung)
    if clearance is None:
        return {"found": False}
    region = inside_of(ct, lung, to_reference)
    fit = fit_between_vessels(clearance, region, model, to_reference, expected)
    return {
        "found": fit.found,
        "clearance": round(fit.clearance, 2),
        "fitted_mm": _mean_mm(basis, fit.coefficients - reference),
        "said_error_mm": round(fit.error_mm, 1),
    }


def means(table: dict[str, Any]) -> dict[str, Any]:
    """Return the means over all fissures, per kind of slices."""
    rows = [fissure for person in table.values() for fissure in person.values()]
    kinds = [key for key in rows[0] if key != "expected_mm"]
    result: dict[str, Any] = {
        "fissures": len(rows),
        "expected_mm": round(float(np.mean([row["expected_mm"] for row in rows])), 2),
    }
    for kind in kinds:
        found = [row for row in rows if row[kind]["found"]]
        used = [row[kind]["fitted_mm"] if row in found else row["expected_mm"] for row in rows]
        said = [row[kind]["said_error_mm"] for row in found]
        result[kind] = {
            "found": len(found),
            "used_mm": round(float(np.mean(used)), 2),
            "said_error_of_found_mm": round(float(np.mean(said)), 2) if said else None,
            "error_of_found_mm": round(float(np.mean([r[kind]["fitted_mm"] for r in found])), 2)
            if found
            else None,
        }
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate all CTs with thin slices and write the table."""
    table = table_over_thin_cts(__doc__, arguments, evaluate)
    text = json.dumps({"cases": table, "mean": means(table)}, indent=2) + "\n"
    results = Path(__file__).parent / "results"
    (results / "fissures_vessels.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
