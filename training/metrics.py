"""Scores of one segmented volume against an expert's mask."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CovidLesionSegLib.engine.masks import TOUCHING

Mask = NDArray[np.bool_]

_FOUND_SHARE = 0.1


def overlap_scores(predicted: Mask, truth: Mask) -> dict[str, float]:
    """Return Dice, sensitivity and precision.

    A score without a denominator is NaN, except that two empty masks agree (Dice 1).
    """
    both = int((predicted & truth).sum())
    found, wanted = int(predicted.sum()), int(truth.sum())
    return {
        "dice": 2.0 * both / (found + wanted) if found + wanted else 1.0,
        "sensitivity": both / wanted if wanted else math.nan,
        "precision": both / found if found else math.nan,
    }


def surface_dice(
    predicted: Mask,
    truth: Mask,
    spacing_mm_zyx: tuple[float, float, float],
    tolerance_mm: float,
) -> float:
    """Return the share of both surfaces that lies within a tolerance of the other (NSD).

    Nikolov et al., arXiv 1809.04430; computed by MONAI on surface area, not voxel counts.
    NaN if both masks are empty.
    """
    import torch
    from monai.metrics import compute_surface_dice

    union = predicted | truth
    if not union.any():
        return math.nan
    if not predicted.any() or not truth.any():
        return 0.0
    box = tuple(
        slice(max(0, part.start - 1), part.stop + 1)
        for part in ndimage.find_objects(union.astype(np.uint8))[0]
    )
    pair = [torch.from_numpy(mask[box])[None, None].to(torch.uint8) for mask in (predicted, truth)]
    score = compute_surface_dice(
        pair[0],
        pair[1],
        class_thresholds=[tolerance_mm],
        include_background=True,
        spacing=spacing_mm_zyx,
        use_subvoxels=True,
    )
    return float(score.item())


def lesion_f1(
    predicted: Mask, truth: Mask, voxel_volume_ml: float, minimum_ml: float = 0.05
) -> float:
    """Return the F1 score over lesions instead of voxels.

    A lesion is a 26-connected component of at least ``minimum_ml``; it counts as found (or a
    predicted one as right) if a tenth of it is covered by the other mask. NaN without any.
    """
    found, wanted = (
        _covered(mask, other, voxel_volume_ml, minimum_ml)
        for mask, other in ((truth, predicted), (predicted, truth))
    )
    if not found and not wanted:
        return math.nan
    sensitivity = float(np.mean(found)) if found else 0.0
    precision = float(np.mean(wanted)) if wanted else 0.0
    total = sensitivity + precision
    return 2.0 * sensitivity * precision / total if total else 0.0


def _covered(mask: Mask, other: Mask, voxel_volume_ml: float, minimum_ml: float) -> list[bool]:
    labels, count = ndimage.label(mask, structure=TOUCHING)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    shared = np.bincount(labels[other], minlength=count + 1)[1:]
    large = sizes * voxel_volume_ml >= minimum_ml
    return [bool(x) for x in (shared[large] >= _FOUND_SHARE * sizes[large])]


def bootstrap_interval(
    values: Sequence[float], groups: Sequence[str], seed: int = 0, draws: int = 2000
) -> tuple[float, float, float]:
    """Return mean and 95% percentile interval, drawing patients with replacement.

    Args:
        values: One score per case; NaN is left out.
        groups: The patient of each case; all cases of a patient are drawn together.
        seed: Seed of the draws.
        draws: Number of bootstrap samples.
    """
    kept = [(v, g) for v, g in zip(values, groups, strict=True) if not math.isnan(v)]
    if not kept:
        return math.nan, math.nan, math.nan
    patients = sorted({group for _, group in kept})
    per_patient = [[v for v, g in kept if g == patient] for patient in patients]
    sums = np.array([sum(v) for v in per_patient])
    counts = np.array([len(v) for v in per_patient])
    chosen = np.random.default_rng(seed).integers(len(patients), size=(draws, len(patients)))
    means = sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(sums.sum() / counts.sum()), float(low), float(high)
