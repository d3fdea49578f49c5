"""An edited result with lesions and numbers of its masks as they are now."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.engine.corrections import corrected
from CovidLesionSegLib.engine.flags import EDITED_CLASSES
from CovidLesionSegLib.engine.lesions import find_lesions
from CovidLesionSegLib.engine.opacity import classes_by_hu, classes_drawn
from CovidLesionSegLib.engine.postprocess import MINIMUM_LESION_ML, find_infection
from CovidLesionSegLib.engine.quantify import Quantifier
from CovidLesionSegLib.engine.result import Opacity, SegmentationResult
from CovidLesionSegLib.engine.result_json import layer_digests

_EDITED = "edited"


def recounted(
    result: SegmentationResult,
    edited: Collection[str],
    computed_sha256: str,
    *,
    keep_lesions: bool,
) -> SegmentationResult:
    """Find lesions and count again, as the review in 3D Slicer does.

    Lobes and lungs follow their labels; ground glass and consolidation fill the infection, by HU
    where a person has not drawn them; what a person has drawn or erased counts as certain.

    Args:
        result: Its masks are as a person left them, all else as computed; its CT has voxels.
            Where the segments of ground glass and consolidation overlap, `opacity` has the bits
            of both.
        edited: Names of the layers that a person changed.
        computed_sha256: Digest of the infection as computed (`layer_digests`).
        keep_lesions: Whether the lesions of the result are those of its review.
    """
    anatomy = result.anatomy
    if not {"lungs", "lobes"}.isdisjoint(edited):
        anatomy = corrected(anatomy)
    drawn = "infection" in edited
    ct, infection, prediction = result.ct, result.infection, result.prediction
    lesions = result.lesions
    if not keep_lesions:
        lesions, _ = find_lesions(infection, prediction, ct, anatomy, MINIMUM_LESION_ML)
    opacity, by_hand = _classes(result, "opacity" in edited)
    flags = {_EDITED: drawn, EDITED_CLASSES: by_hand}
    numbers = Quantifier(ct, anatomy, prediction).measure(
        infection,
        lesions,
        decided_by_hand(result, computed_sha256) if drawn else None,
        tuple(flag for flag, holds in flags.items() if holds),
        opacity if by_hand else None,
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


def _classes(result: SegmentationResult, is_edited: bool) -> tuple[NDArray[np.uint8] | None, bool]:
    """Return `opacity` as it belongs to the infection, and whether a person drew other classes."""
    infection, opacity = result.infection, result.opacity
    if opacity is None:
        return None, False
    by_hu = classes_by_hu(result.ct.hu)
    classes = by_hu
    if is_edited:
        ground_glass, consolidation = (opacity & np.uint8(label) for label in Opacity)
        classes = classes_drawn(by_hu, ground_glass, consolidation, infection)
    return np.where(infection > 0, classes, np.uint8(0)), classes is not by_hu
