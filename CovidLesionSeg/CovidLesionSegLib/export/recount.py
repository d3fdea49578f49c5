"""An edited result with lesions and numbers of its masks as they are now."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.lesions import find_lesions
from CovidLesionSegLib.engine.opacity import split_opacity
from CovidLesionSegLib.engine.postprocess import MINIMUM_LESION_ML, find_infection
from CovidLesionSegLib.engine.quantify import Quantifier
from CovidLesionSegLib.engine.result import Anatomy, Lobe, SegmentationResult
from CovidLesionSegLib.engine.result_json import layer_digests

_INFECTION_EDITED, _ANATOMY_EDITED = "edited", "edited-anatomy"


def recounted(
    result: SegmentationResult,
    edited: Collection[str],
    computed_sha256: str,
    *,
    keep_lesions: bool,
) -> SegmentationResult:
    """Find lesions and count again, as the review in 3D Slicer does.

    Lobes and lungs follow their labels, ground glass and consolidation fill the infection, and
    what a person has drawn or erased counts as certain.

    Args:
        result: Its masks are as a person left them, all else as computed; its CT has voxels.
        edited: Names of the layers that a person changed.
        computed_sha256: Digest of the infection as computed (`layer_digests`).
        keep_lesions: Whether the lesions of the result are those of its review.
    """
    anatomy = result.anatomy
    if not {"lungs", "lobes"}.isdisjoint(edited):
        anatomy = _as_labelled(anatomy)
    drawn = "infection" in edited
    ct, infection, prediction = result.ct, result.infection, result.prediction
    lesions = result.lesions
    if not keep_lesions:
        lesions, _ = find_lesions(infection, prediction, ct, anatomy, MINIMUM_LESION_ML)
    opacity = result.opacity
    if opacity is not None and not np.array_equal(opacity > 0, infection > 0):
        opacity = split_opacity(ct.hu, infection)
    numbers = Quantifier(ct, anatomy, prediction).measure(
        infection,
        lesions,
        decided_by_hand(result, computed_sha256) if drawn else None,
        (_INFECTION_EDITED,) if drawn else (),
    )
    return replace(
        result,
        anatomy=anatomy,
        lesions=lesions,
        opacity=opacity,
        quantification=numbers,
    )


def decided_by_hand(result: SegmentationResult, computed_sha256: str) -> NDArray[np.bool_]:
    """Return where a person, not the model, said what is infected: boolean ``[z, y, x]``.

    A folder does not hold the infection as computed, but all it was made from: made again, its
    digest proves it the same, and every difference is a person's. Where it can't be proved,
    after the lungs were edited or with another version's rule, at least what lies below the
    threshold was drawn by hand.

    Args:
        result: Its infection is as a person left it.
        computed_sha256: Digest of the infection as computed (`layer_digests`).
    """
    infected = result.infection > 0
    probability, threshold = result.prediction.infection, result.run.threshold
    computed = find_infection(result.ct, probability, result.anatomy.lungs, threshold).mask
    if layer_digests({"infection": computed})["infection"] == computed_sha256:
        differs: NDArray[np.bool_] = infected != (computed > 0)
        return differs
    drawn: NDArray[np.bool_] = infected & (probability < np.float32(threshold))
    return drawn


def _as_labelled(anatomy: Anatomy) -> Anatomy:
    """Return an anatomy that a person changed, with what its labels now lack."""
    present = set() if anatomy.lobes is None else set(np.unique(anatomy.lobes).tolist())
    return replace(
        anatomy,
        missing=tuple(lobe for lobe in Lobe if lobe not in present),
        flags=tuple(dict.fromkeys((*anatomy.flags, _ANATOMY_EDITED))),
    )
