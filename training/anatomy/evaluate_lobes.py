"""Atlas lobes against manual fissures: ``python -m training.anatomy.evaluate_lobes --data DIR``.

The three persons of ``lidc_fissures`` have a lung mask and drawn fissures, but no CT. Measured
are the atlas from the mask alone, and the search in a made-up CT that shows parts of the drawn
fissures as thin sheets in noise. Writes ``results/lobes_lidc.json``.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813 (the usual abbreviation)
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from CovidLesionSegLib.engine.lobe_atlas import bundled_atlas
from CovidLesionSegLib.engine.lobe_registration import lung_surfaces, register
from CovidLesionSegLib.engine.lobes_atlas import atlas_lobes, cut_ends
from CovidLesionSegLib.engine.lungs import segment_lungs
from CovidLesionSegLib.engine.result import Lobe, Lung
from CovidLesionSegLib.engine.volume import CtVolume

from .lobe_errors import best_fit_mm, rests_of, without_bias_mm
from .manual_lobes import by_fissure, lobes_of, without_junction

_LOG = logging.getLogger("training.anatomy")
_ROOT = Path(__file__).resolve().parents[2]
_STRIDE = 2
_POINT_STRIDE = 10
_DICE_STRIDE = 4
_SHOWN = (0.3, 0.6)
_SHEET_HU = 150.0
_NOISE_HU = 25.0


def read_person(folder: Path, shown: float = 0.0) -> tuple[CtVolume, NDArray[np.float64]]:
    """Return a made-up CT of the lung mask (air in muscle) and the fissure's points, LPS mm.

    The mask is thinned out to about 1.2 mm.

    Args:
        folder: The person's.
        shown: Share of the drawn fissures that the made-up CT shows, in patches, with noise.
    """
    mask = sitk.ReadImage(str(folder / "pleuralBoundary.nii.gz"))
    affine = np.eye(4)
    affine[:3, :3] = np.array(mask.GetDirection()).reshape(3, 3) * np.array(mask.GetSpacing())
    affine[:3, 3] = mask.GetOrigin()
    lung = sitk.GetArrayViewFromImage(mask)[::_STRIDE, ::_STRIDE, ::_STRIDE] > 0
    padded = np.pad(lung, 4)
    hu = np.where(padded, -850, 40).astype(np.int16)
    thinned = affine.copy()
    thinned[:3, :3] *= _STRIDE
    thinned[:3, 3] -= thinned[:3, :3] @ np.full(3, 4.0)
    fissures = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "fissures.nii.gz")))
    if shown:
        share = ndimage.uniform_filter((fissures > 0).astype(np.float32), _STRIDE)
        sheet = np.pad(share[::_STRIDE, ::_STRIDE, ::_STRIDE], 4)
        hu = np.where(padded, _draw(hu, sheet, shown), hu)
    index = np.argwhere(fissures > 0)[::_POINT_STRIDE, ::-1]
    points = index @ affine[:3, :3].T + affine[:3, 3]
    return CtVolume.from_array(hu, thinned), points


def _draw(hu: NDArray[np.int16], sheet: NDArray[np.float32], shown: float) -> NDArray[np.int16]:
    """Return noisy lung with the sheet in a share of patches of about 3 cm."""
    rng = np.random.default_rng(0)
    patches = ndimage.zoom(rng.random([size // 25 + 1 for size in hu.shape]), 25.0, order=0)
    z, y, x = hu.shape
    visible = np.where(patches[:z, :y, :x] < shown, sheet, 0.0)
    noise = rng.normal(0.0, _NOISE_HU, hu.shape)
    return np.asarray(np.rint(hu + _SHEET_HU * visible + noise), dtype=np.int16)


def borders_mm(lobes: NDArray[np.uint8], ct: CtVolume) -> NDArray[np.float64]:
    """Return the points between two lobes of one lung, LPS mm."""
    side = np.zeros(max(Lobe) + 1, dtype=np.uint8)
    for lobe in Lobe:
        side[lobe] = lobe.lung
    points = []
    for axis in range(3):
        first, second = np.moveaxis(lobes, axis, 0)[:-1], np.moveaxis(lobes, axis, 0)[1:]
        between = (first != second) & (side[first] == side[second]) & (first > 0)
        index = np.argwhere(np.moveaxis(between, 0, axis)).astype(np.float64)
        index[:, axis] += 0.5
        points.append(index[:, ::-1])
    xyz = np.concatenate(points)
    return np.asarray(xyz @ ct.affine_lps[:3, :3].T + ct.affine_lps[:3, 3])


def evaluate(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
    """Return the distances of one person's manual fissures to the nearest lobe border.

    With them, the drawn points' heights over the expected fissures (`rests_of`). The drawn
    sheet also parts the right from the left lung where they touch: those points are no fissure
    and are left out. The Dice is over voxels whose lobe the drawing decides.
    """
    atlas = bundled_atlas()
    ct, drawn = read_person(folder)
    lungs = segment_lungs(ct).labels
    points = without_junction(drawn, lungs, ct)
    lobes, expected_mm = atlas_lobes(ct, lungs)
    distance = cKDTree(borders_mm(lobes, ct)).query(points)[0]
    middle_x = np.mean([_centre_x(lungs == lung, ct) for lung in Lung])
    left = points[:, 0] > middle_x
    to_reference = register(lung_surfaces(lungs, ct), atlas, cut_ends(lungs, ct))
    fissures = by_fissure(_apply(to_reference, points), left, atlas)
    rests = rests_of(fissures, to_reference, atlas)
    row = {
        "mean_mm": round(float(distance.mean()), 2),
        "right_mean_mm": round(float(distance[~left].mean()), 2),
        "left_mean_mm": round(float(distance[left].mean()), 2),
        "median_mm": round(float(np.median(distance)), 2),
        "p95_mm": round(float(np.percentile(distance, 95)), 2),
        "said_uncertainty_mm": round(expected_mm, 2),
        "points": len(points),
        "points_between_the_lungs": len(drawn) - len(points),
        **_dice(lobes, lungs, ct, fissures, to_reference),
        "fissures": {
            name: {
                "expected_mm": round(float(np.abs(rest).mean()), 2),
                "signed_mm": round(float(rest.mean()), 2),
                "best_fit_mm": round(best_fit_mm(name, fissures[name], rest, atlas), 2),
            }
            for name, rest in rests.items()
        },
        "share_of_fissures_shown": {
            f"{shown:.0%}": _with_sheets(folder, shown, lungs, points) for shown in _SHOWN
        },
    }
    return row, rests


def _with_sheets(
    folder: Path, shown: float, lungs: NDArray[np.uint8], points: NDArray[np.float64]
) -> dict[str, float]:
    """Return the distances where the made-up CT shows a share of the drawn fissures."""
    ct, _ = read_person(folder, shown)
    lobes, expected_mm = atlas_lobes(ct, lungs)
    distance = cKDTree(borders_mm(lobes, ct)).query(points)[0]
    return {
        "mean_mm": round(float(distance.mean()), 2),
        "p95_mm": round(float(np.percentile(distance, 95)), 2),
        "said_uncertainty_mm": round(expected_mm, 2),
    }


def _dice(
    lobes: NDArray[np.uint8],
    lungs: NDArray[np.uint8],
    ct: CtVolume,
    fissures: dict[str, NDArray[np.float64]],
    to_reference: NDArray[np.float64],
) -> dict[str, Any]:
    """Return the Dice of every lobe on every fourth voxel, and the share that is decided."""
    atlas = bundled_atlas()
    thin = (slice(None, None, _DICE_STRIDE),) * 3
    scores: dict[str, float] = {}
    decided = total = 0
    for lung in Lung:
        index = np.argwhere(lungs[thin] == lung) * _DICE_STRIDE
        xyz = index[:, ::-1] @ ct.affine_lps[:3, :3].T + ct.affine_lps[:3, 3]
        truth = lobes_of(_apply(to_reference, xyz), lung, fissures, atlas)
        known = truth > 0
        decided, total = decided + int(known.sum()), total + len(index)
        ours, theirs = lobes[tuple(index.T)][known], truth[known]
        for lobe in Lobe:
            if lobe.lung is lung:
                both = int(np.count_nonzero((ours == lobe) & (theirs == lobe)))
                size = int(np.count_nonzero(ours == lobe)) + int(np.count_nonzero(theirs == lobe))
                scores[lobe.name] = round(2.0 * both / max(size, 1), 3)
    mean = round(float(np.mean(list(scores.values()))), 3)
    share = round(decided / max(total, 1), 3)
    return {"lobe_dice": scores, "lobe_dice_mean": mean, "decided_share_of_lung": share}


def _apply(affine: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(points @ affine[:, :3].T + affine[:, 3])


def _centre_x(mask: NDArray[np.bool_], ct: CtVolume) -> float:
    index = np.argwhere(mask).mean(axis=0)[::-1]
    return float((ct.affine_lps[:3, :3] @ index + ct.affine_lps[:3, 3])[0])


def _means(table: dict[str, Any]) -> dict[str, float]:
    """Return the mean distance over the persons by share of the fissures that was shown."""
    rows = [row["share_of_fissures_shown"] for row in table.values() if isinstance(row, dict)]
    return {
        share: round(float(np.mean([row[share]["mean_mm"] for row in rows])), 2)
        for share in rows[0]
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluate all persons and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=_ROOT.parent / "shared" / "data")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    table: dict[str, Any] = {}
    rests: dict[str, dict[str, NDArray[np.float64]]] = {}
    for folder in sorted((options.data / "lobes" / "lidc_fissures").iterdir()):
        if folder.is_dir():
            table[folder.name], rests[folder.name] = evaluate(folder)
            _LOG.info("%s: %s", folder.name, table[folder.name])
    for person, own in rests.items():
        for name in own:
            without = round(without_bias_mm(rests, person, name), 2)
            table[person]["fissures"][name]["without_bias_of_others_mm"] = without
    for key, digits in (("mean_mm", 2), ("lobe_dice_mean", 3)):
        rows = [row[key] for row in table.values() if isinstance(row, dict)]
        table[key] = round(float(np.mean(rows)), digits)
    table["share_of_fissures_shown_mean_mm"] = _means(table)
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "lobes_lidc.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
