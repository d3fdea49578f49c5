"""A result whose lesions and numbers come from the engine, so that it can be reviewed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from CovidLesionSegLib.engine.lesions import find_lesions
from CovidLesionSegLib.engine.quantify import quantify
from CovidLesionSegLib.engine.result import SegmentationResult

from .results import make_result


def reviewable_result(consensus: bool = False) -> SegmentationResult:
    """Return the made-up result, measured by the engine; with agreement for a consensus."""
    result = make_result("moderate")
    prediction = result.prediction
    if consensus:
        agreement = np.ones(result.ct.shape_zyx, np.float16)
        doubtful = (prediction.infection > 0.2) & (prediction.infection < 0.8)
        agreement[doubtful] = 0.6
        prediction = replace(prediction, agreement=agreement)
    lesions, _ = find_lesions(result.infection, prediction, result.ct, result.anatomy, 0.05)
    anatomy = replace(result.anatomy, flags=("approximate-lobes",))
    numbers = quantify(result.ct, result.infection, anatomy, prediction, lesions)
    return replace(
        result, prediction=prediction, lesions=lesions, anatomy=anatomy, quantification=numbers
    )
