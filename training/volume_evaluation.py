"""Scores of whole volumes on the CT's own grid, through the engine that users run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.inference import predict_lungs
from CovidLesionSegLib.engine.lungs import segment_lungs
from CovidLesionSegLib.engine.progress import Reporter
from CovidLesionSegLib.engine.slice_model import SliceModel

from .data.lung_labels import split_sides
from .data.volumes import NOT_LABELLED, LabelledVolume
from .metrics import Mask, bootstrap_interval, lesion_f1, overlap_scores, surface_dice
from .predictions import CasePrediction

LESION_TOLERANCE_MM = 3.0
LUNG_TOLERANCE_MM = 1.0
_LEAST_DISEASE_ML = 1.0
"""With less than this the Dice of a case is noise; its false findings show as percentage."""

Scores = dict[str, dict[str, float]]


def infection_scores(
    volume: LabelledVolume, prediction: CasePrediction, bare: Mask | None
) -> Scores:
    """Score an infection model on one case.

    Args:
        volume: The case.
        prediction: What the pipeline says about it.
        bare: What the network alone says, see `predict_bare`; None for one that needs lungs.

    Returns:
        Scores by variant: ``pipeline`` is what a user gets (the engine's lungs, cropped input,
        3D step), ``expert-lungs`` cuts the bare probability to the expert's lungs where they
        are labelled, ``no-lungs`` takes the bare probability; both only with ``bare``.
    """
    truth = volume.infection == 1
    expert = np.zeros(truth.shape, dtype=bool) if volume.lung is None else volume.lung == 1
    masks = {"pipeline": prediction.mask(volume.ct)}
    if bare is not None:
        unlabelled = ~labelled_slices(volume)
        allowed = expert | truth
        allowed[unlabelled] = prediction.lungs[unlabelled] > 0
        masks.update({"expert-lungs": bare & allowed, "no-lungs": bare})
    predicted_lungs = {"pipeline": prediction.lungs > 0}
    return {
        name: {
            **_mask_scores(mask, truth, volume),
            **_percent_scores(mask, predicted_lungs.get(name, expert), expert, volume),
        }
        for name, mask in masks.items()
    }


def lung_scores(volume: LabelledVolume, lung_model: SliceModel) -> Scores:
    """Score the lungs of one case on its labelled slices.

    Returns:
        Scores by variant: ``network`` is the bare network, ``engine`` its result after the
        correction by the CT, ``classical`` the engine without a network.
    """
    if volume.lung is None:
        return {}
    ct, spacing = volume.ct, volume.ct.spacing_mm_zyx
    slices = labelled_slices(volume)
    network = predict_lungs(ct, lung_model, Reporter())
    variants = {
        "network": network,
        "engine": segment_lungs(ct, network).labels,
        "classical": segment_lungs(ct).labels,
    }
    truth = split_sides(volume.lung == 1, spacing)[slices]
    dense = truth.astype(bool) & (volume.infection == 1)[slices] & (ct.hu[slices] > -300)
    result: Scores = {}
    for name, labels in variants.items():
        found = labels[slices]
        scores = overlap_scores(found > 0, truth > 0)
        scores["nsd"] = surface_dice(found > 0, truth > 0, spacing, LUNG_TOLERANCE_MM)
        for side, value in (("right", 1), ("left", 2)):
            scores[f"dice_{side}"] = overlap_scores(found == value, truth == value)["dice"]
        inside = float((found[dense] > 0).mean()) if dense.any() else math.nan
        result[name] = {**scores, "dense_lesion_inside": inside}
    return result


def labelled_slices(volume: LabelledVolume) -> NDArray[np.bool_]:
    """Return for every slice whether an expert drew the lungs there."""
    if volume.lung is None:
        return np.zeros(volume.ct.shape_zyx[0], dtype=bool)
    labelled: NDArray[np.bool_] = (volume.lung != NOT_LABELLED).any(axis=(1, 2))
    return labelled


def _mask_scores(mask: Mask, truth: Mask, volume: LabelledVolume) -> dict[str, float]:
    spacing, voxel_ml = volume.ct.spacing_mm_zyx, volume.ct.voxel_volume_ml
    overlap = overlap_scores(mask, truth)
    diseased = int(truth.sum()) * voxel_ml >= _LEAST_DISEASE_ML
    return {
        **overlap,
        "dice_diseased": overlap["dice"] if diseased else math.nan,
        "nsd": surface_dice(mask, truth, spacing, LESION_TOLERANCE_MM),
        "lesion_f1": lesion_f1(mask, truth, voxel_ml),
    }


def _percent_scores(
    mask: Mask, lungs: Mask, expert_lungs: Mask, volume: LabelledVolume
) -> dict[str, float]:
    """Compare the infected percentage of the lungs on the slices with labelled lungs."""
    slices = labelled_slices(volume)
    truth = volume.infection == 1
    expert_voxels, voxels = int(expert_lungs[slices].sum()), int(lungs[slices].sum())
    if not expert_voxels or not voxels:
        return {"infected_percent": math.nan, "percent_error": math.nan}
    wanted = 100.0 * int(truth[slices].sum()) / expert_voxels
    found = 100.0 * int(mask[slices].sum()) / voxels
    return {"infected_percent": found, "percent_error": abs(found - wanted)}


def summarise(
    cases: Mapping[str, Scores], patients: Mapping[str, str], names: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return mean and 95% interval over patients per variant and score.

    Args:
        cases: Scores by case and variant.
        patients: The patient of each case.
        names: Scores to summarise; all by default.
    """
    keys = list(cases)
    groups = [patients.get(key, key) for key in keys]
    summary: dict[str, Any] = {}
    for variant in cases[keys[0]] if keys else ():
        chosen = list(names) if names is not None else list(cases[keys[0]][variant])
        summary[variant] = {
            name: _interval([cases[key][variant][name] for key in keys], groups) for name in chosen
        }
    return summary


def _interval(values: Sequence[float], groups: Sequence[str]) -> dict[str, float | None]:
    figures = bootstrap_interval(values, groups)
    names = ("mean", "low", "high")
    return {
        name: None if math.isnan(figure) else round(figure, 4)
        for name, figure in zip(names, figures, strict=True)
    }
