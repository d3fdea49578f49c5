"""What tests of the review share: a small context, and numbers that must be as if fresh."""

from __future__ import annotations

import numpy as np
import pytest

from CovidLesionSegLib.engine.lesions import find_lesions
from CovidLesionSegLib.engine.postprocess import MINIMUM_LESION_ML
from CovidLesionSegLib.engine.result import Anatomy, LobeSource, Prediction
from CovidLesionSegLib.engine.review import LesionBook
from CovidLesionSegLib.engine.review_values import ReviewContext
from CovidLesionSegLib.engine.volume import CtVolume


def millimetre_context(
    shape_zyx: tuple[int, int, int], *boxes: tuple[slice, slice, slice]
) -> ReviewContext:
    """Infected boxes in a lung of 1 mm voxels, of which a lesion needs 50."""
    infection = np.zeros(shape_zyx, dtype=np.uint8)
    for box in boxes:
        infection[box] = 1
    ct = CtVolume.from_array(np.full(shape_zyx, -500, dtype=np.int16), np.eye(4))
    anatomy = Anatomy(np.ones(shape_zyx, dtype=np.uint8), None, LobeSource.NONE)
    probability = np.where(infection > 0, 0.8, 0.1).astype(np.float16)
    return ReviewContext(ct, anatomy, Prediction(probability), infection)


def assert_measured_as_if_fresh(book: LesionBook, context: ReviewContext) -> None:
    """Every lesion has the numbers that a search from scratch finds."""
    fresh, _ = find_lesions(
        book.infection, context.prediction, context.ct, context.anatomy, MINIMUM_LESION_ML
    )
    kept = sorted(book.current, key=lambda lesion: -lesion.volume_ml)
    assert len(kept) == len(fresh)
    for one, other in zip(kept, fresh, strict=True):
        assert one.volume_ml == pytest.approx(other.volume_ml)
        assert one.mean_hu == pytest.approx(other.mean_hu)
        assert one.uncertainty == pytest.approx(other.uncertainty)
        assert one.doubt_ml == pytest.approx(other.doubt_ml)
        assert one.centroid_lps_mm == pytest.approx(other.centroid_lps_mm)
        assert one.pleural_distance_mm == pytest.approx(other.pleural_distance_mm)
        assert (one.lobe, one.lung) == (other.lobe, other.lung)
