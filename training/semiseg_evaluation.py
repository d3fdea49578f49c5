"""The published evaluation of COVID-SemiSeg, and a fixed-threshold protocol beside it.

The protocol of Inf-Net (Fan et al., IEEE TMI 39(8), 2020, section IV-B) as its MATLAB script
computes it: every map is stretched to 0..1, cut at 256 thresholds, and scores are averaged over
images first and over thresholds then. A map has few distinct values, so everything is computed
from counts per value instead of 256 passes over the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError

from .metrics import overlap_scores

FloatArray = NDArray[np.float64]
Levels = NDArray[np.uint8]

_EPS = float(np.finfo(np.float64).eps)
_LEVELS = 256
_GT_LEVEL = 128


@dataclass(frozen=True, eq=False)
class ImageScores:
    """Scores of one image: curves over the 256 thresholds, from 1 down to 0, and two numbers.

    Attributes:
        dice, sensitivity, specificity: Zero where nothing is hit, as published.
        e_measure: With ``map > t``, as the published numbers were computed.
        s_measure, mae: On the stretched map.
        half: Dice, sensitivity and precision of ``map >= 0.5`` without stretching.
    """

    dice: FloatArray
    sensitivity: FloatArray
    specificity: FloatArray
    e_measure: FloatArray
    s_measure: float
    mae: float
    half: dict[str, float]


def thresholds() -> FloatArray:
    """Return MATLAB's ``1:-1/255:0``, which is built inwards from both ends."""
    step = -1.0 / (_LEVELS - 1)
    half = np.arange(_LEVELS // 2)
    return np.concatenate([1.0 + half * step, (-half * step)[::-1]])


def score_image(map_levels: NDArray[np.uint8], truth: NDArray[np.bool_]) -> ImageScores:
    """Score one map.

    Args:
        map_levels: uint8 ``[y, x]``.
        truth: Mask of the same shape.
    """
    stretched = stretch(map_levels)
    values, inverse = np.unique(stretched, return_inverse=True)
    inverse = inverse.ravel()
    lesion = np.bincount(inverse[truth.ravel()], minlength=len(values))
    everything = np.bincount(inverse, minlength=len(values))
    at_least = _counts_above(values, lesion, everything, thresholds(), "left")
    above = _counts_above(values, lesion, everything, thresholds(), "right")
    dice, sensitivity, specificity = _overlap_curves(*at_least, truth)
    return ImageScores(
        dice,
        sensitivity,
        specificity,
        e_measure_curve(*above, truth),
        s_measure(stretched, truth),
        float(np.abs(stretched - truth).mean()),
        overlap_scores(map_levels >= _LEVELS // 2, truth),
    )


def stretch(map_levels: NDArray[np.uint8]) -> FloatArray:
    """Stretch a map to 0..1; a constant one is left as it is."""
    values = map_levels.astype(np.float64) / (_LEVELS - 1)
    low, high = float(values.min()), float(values.max())
    return (values - low) / (high - low) if high > low else values


def _counts_above(
    values: FloatArray,
    lesion: NDArray[np.intp],
    everything: NDArray[np.intp],
    cuts: FloatArray,
    side: Any,
) -> tuple[FloatArray, FloatArray]:
    """Return true positives and positives at every cut (``left``: >=, ``right``: >)."""
    first = np.searchsorted(values, cuts, side=side)
    from_value_on = (
        np.append(np.cumsum(counts[::-1])[::-1], 0).astype(np.float64)
        for counts in (lesion, everything)
    )
    hits, positives = (counts[first] for counts in from_value_on)
    return hits, positives


def _overlap_curves(
    hits: FloatArray, positives: FloatArray, truth: NDArray[np.bool_]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    wanted, size = float(truth.sum()), float(truth.size)
    negatives = size - wanted
    with np.errstate(invalid="ignore", divide="ignore"):
        dice = 2.0 * hits / (wanted + positives)
        sensitivity = hits / wanted
        specificity = (negatives - (positives - hits)) / negatives
    missed = hits == 0
    dice, sensitivity, specificity = (
        np.where(missed, 0.0, curve) for curve in (dice, sensitivity, specificity)
    )
    return dice, sensitivity, specificity


def e_measure_curve(
    hits: FloatArray, positives: FloatArray, truth: NDArray[np.bool_]
) -> FloatArray:
    """Return the enhanced-alignment measure at every cut (Fan et al., IJCAI 2018).

    A binary map and a binary mask have four kinds of pixels, so the sum over pixels is a sum
    of four terms.
    """
    size, wanted = float(truth.size), float(truth.sum())
    if wanted == 0:
        return (size - positives) / (size - 1.0 + _EPS)
    if wanted == size:
        return positives / (size - 1.0 + _EPS)
    mean_map, mean_truth = positives / size, wanted / size
    counts = {
        (1, 1): hits,
        (1, 0): wanted - hits,
        (0, 1): positives - hits,
        (0, 0): size - wanted - positives + hits,
    }
    total = np.zeros_like(hits)
    for (in_truth, in_map), count in counts.items():
        a, b = in_truth - mean_truth, in_map - mean_map
        aligned = 2.0 * a * b / (a * a + b * b + _EPS)
        total += count * (1.0 + aligned) ** 2 / 4.0
    return total / (size - 1.0 + _EPS)


def s_measure(values: FloatArray, truth: NDArray[np.bool_]) -> float:
    """Return the structure measure with alpha 0.5 (Fan et al., ICCV 2017)."""
    share = float(truth.mean())
    if share == 0.0:
        return 1.0 - float(values.mean())
    if share == 1.0:
        return float(values.mean())
    by_object = share * _object_score(values[truth]) + (1.0 - share) * _object_score(
        1.0 - values[~truth]
    )
    return max(0.0, 0.5 * by_object + 0.5 * _region_score(values, truth))


def _object_score(values: FloatArray) -> float:
    mean = float(values.mean())
    deviation = float(values.std(ddof=1)) if values.size > 1 else 0.0
    return 2.0 * mean / (mean * mean + 1.0 + deviation + _EPS)


def _region_score(values: FloatArray, truth: NDArray[np.bool_]) -> float:
    """Compare the four quadrants around the lesion's centroid, weighted by area."""
    rows, columns = np.nonzero(truth)
    # MATLAB counts from 1 and rounds halves away from zero.
    y, x = (math.floor(float(index.mean()) + 1.5) for index in (rows, columns))
    score = 0.0
    for part in (np.s_[:y, :x], np.s_[:y, x:], np.s_[y:, :x], np.s_[y:, x:]):
        if truth[part].size:
            weight = truth[part].size / truth.size
            score += weight * _similarity(values[part], truth[part].astype(np.float64))
    return score


def _similarity(values: FloatArray, truth: FloatArray) -> float:
    x, y = float(values.mean()), float(truth.mean())
    scale = values.size - 1 + _EPS
    variance = (float(((values - x) ** 2).sum()) + float(((truth - y) ** 2).sum())) / scale
    covariance = float(((values - x) * (truth - y)).sum()) / scale
    numerator = 4.0 * x * y * covariance
    denominator = (x * x + y * y) * variance
    if numerator != 0.0:
        return numerator / (denominator + _EPS)
    return 1.0 if denominator == 0.0 else 0.0


def summarise(images: Sequence[ImageScores]) -> dict[str, dict[str, float]]:
    """Return the numbers of the published table and those at a fixed threshold.

    Images with an empty mask score 0 in the published protocol. At the fixed threshold a mask
    and a map that are both empty agree, and undefined rates are left out.
    """
    curves = {
        "dice": np.mean([image.dice for image in images], axis=0),
        "sensitivity": np.mean([image.sensitivity for image in images], axis=0),
        "specificity": np.mean([image.specificity for image in images], axis=0),
        "e_measure": np.mean([image.e_measure for image in images], axis=0),
    }
    published = {f"mean_{name}": float(curve.mean()) for name, curve in curves.items()}
    published["max_dice"] = float(curves["dice"].max())
    published["s_measure"] = float(np.mean([image.s_measure for image in images]))
    published["mae"] = float(np.mean([image.mae for image in images]))
    half = {
        name: _mean_of_defined([image.half[name] for image in images]) for name in images[0].half
    }
    return {"published_protocol": published, "threshold_0.5": half}


def _mean_of_defined(values: Sequence[float]) -> float:
    """Return the mean of what is not NaN; NaN if nothing is defined."""
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan


def score_folder(
    predictions: Path, truth: Path, change: Callable[[Levels], Levels] | None = None
) -> dict[str, ImageScores]:
    """Score the maps of one folder against the masks of another, matched by stem.

    Args:
        predictions: Folder of the maps.
        truth: Folder of the masks.
        change: What to do to a map before it is scored; nothing by default.

    Raises:
        InputError: ``training-data-mismatch`` for a map without mask or a mask without map.
    """
    folders = [
        {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in _SUFFIXES}
        for folder in (predictions, truth)
    ]
    alone = sorted(set(folders[0]) ^ set(folders[1]))
    if alone or not folders[0]:
        raise InputError(
            "training-data-mismatch",
            f"Maps and masks do not belong together: {', '.join(alone[:10]) or 'no images'}.",
            "Every map needs a mask of the same name.",
        )
    return {stem: _score_pair(folders[0][stem], folders[1][stem], change) for stem in folders[0]}


_SUFFIXES = (".png", ".jpg", ".bmp")


def _score_pair(
    prediction: Path, truth: Path, change: Callable[[Levels], Levels] | None
) -> ImageScores:
    from PIL import Image

    with Image.open(truth) as image:
        mask = np.asarray(image.convert("L")) > _GT_LEVEL
    with Image.open(prediction) as image:
        levels = image.convert("L")
        if levels.size != mask.shape[::-1]:
            levels = levels.resize(mask.shape[::-1], Image.Resampling.BICUBIC)
        found = np.asarray(levels)
        return score_image(found if change is None else change(found), mask)
