"""Lesions: components, their order and their numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.engine.lesions import find_lesions
from CovidLesionSegLib.engine.result import Lobe, Lung, Prediction
from Testing.support.block_chest import (
    LOBE_BOXES,
    SHAPE_ZYX,
    VOXEL_ML,
    certain,
    make_anatomy,
    make_ct,
)


@pytest.fixture
def infection() -> NDArray[np.uint8]:
    """A lesion of 8 voxels in RUL, one of 12 in LLL, a speck of 1 in RLL."""
    mask = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    mask[8:10, 2:4, 4:6] = 1
    mask[2:4, 4:6, 16:19] = 1
    mask[1, 8, 8] = 1
    return mask


def test_largest_first_and_too_small_dropped(infection: NDArray[np.uint8]) -> None:
    lesions, labels = find_lesions(infection, certain(infection), make_ct(), make_anatomy(), 0.2)
    assert [lesion.id for lesion in lesions] == [1, 2]
    assert [lesion.volume_ml for lesion in lesions] == pytest.approx([1.2, 0.8])
    assert [lesion.lobe for lesion in lesions] == [Lobe.LLL, Lobe.RUL]
    assert [lesion.lung for lesion in lesions] == [Lung.LEFT, Lung.RIGHT]
    assert np.count_nonzero(labels == 1) == 12
    assert labels[1, 8, 8] == 0


def test_numbers_of_one_lesion(infection: NDArray[np.uint8]) -> None:
    hu = np.full(SHAPE_ZYX, -800, dtype=np.int16)
    hu[2, 4:6, 16:19], hu[3, 4:6, 16:19] = -300, -100
    probability = np.where(infection > 0, 0.5, 0.0).astype(np.float16)
    agreement = np.full(SHAPE_ZYX, 0.75, dtype=np.float16)
    lesions, _ = find_lesions(
        infection, Prediction(probability, None, agreement), make_ct(hu), make_anatomy(), 0.2
    )
    first = lesions[0]
    assert first.mean_hu == pytest.approx(-200)
    assert first.uncertainty == pytest.approx(1.0)
    assert first.agreement == pytest.approx(0.75)
    assert first.diameter_mm == pytest.approx((6 * 1200 / np.pi) ** (1 / 3))
    # Voxels 16..18, 4..5, 2..3 along x, y, z.
    assert first.centroid_lps_mm == pytest.approx((17 * 2 - 20, 4.5 * 5 + 7, 2.5 * 10 - 300))


def test_corners_connect() -> None:
    mask = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    mask[2, 2, 4] = mask[3, 3, 5] = 1
    lesions, _ = find_lesions(mask, certain(mask), make_ct(), make_anatomy(), 0.0)
    assert len(lesions) == 1


def test_the_lobe_that_holds_most_wins() -> None:
    mask = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    mask[4:9, 1, 4] = 1  # two voxels in RML, three in RUL
    lesions, _ = find_lesions(mask, certain(mask), make_ct(), make_anatomy(), 0.0)
    assert lesions[0].lobe is Lobe.RUL


def test_outside_the_lungs_there_is_neither_lobe_nor_distance() -> None:
    mask = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    mask[4:6, 4:6, 11:13] = 1
    lesion = find_lesions(mask, certain(mask), make_ct(), make_anatomy(), 0.0)[0][0]
    assert (lesion.lobe, lesion.lung, lesion.pleural_distance_mm) == (None, None, None)


def test_distance_to_the_pleura() -> None:
    mask = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    at_the_wall = mask.copy()
    at_the_wall[8, 4, LOBE_BOXES[Lobe.RUL][2].start] = 1
    inside = mask.copy()
    inside[6, 4, 6] = 1
    near, far = (
        find_lesions(m, certain(m), make_ct(), make_anatomy(), 0.0)[0][0].pleural_distance_mm
        for m in (at_the_wall, inside)
    )
    # Voxel centres are 2 mm apart along x, and the surface lies half a voxel further.
    assert near == pytest.approx(1.0, abs=0.01)
    assert far == pytest.approx(7.0, abs=0.01)


def test_no_infection() -> None:
    mask = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    lesions, labels = find_lesions(mask, certain(mask), make_ct(), make_anatomy(), 0.05)
    assert lesions == ()
    assert not labels.any()
    assert make_ct().voxel_volume_ml == pytest.approx(VOXEL_ML)


@pytest.mark.parametrize(
    ("dense_voxels", "name"),
    [(0, "ground-glass"), (2, "ground-glass"), (3, "mixed"), (8, "mixed"), (9, "consolidation")],
)
def test_class_by_the_consolidated_share(
    infection: NDArray[np.uint8], dense_voxels: int, name: str
) -> None:
    """A quarter and three quarters of the twelve voxels; the border belongs to the denser."""
    hu = np.full(SHAPE_ZYX, -600, dtype=np.int16)
    box = hu[2:4, 4:6, 16:19]
    box[np.unravel_index(np.arange(dense_voxels), box.shape)] = -300
    lesions, _ = find_lesions(infection, certain(infection), make_ct(hu), make_anatomy(), 0.2)
    assert lesions[0].lesion_class == name
    assert lesions[1].lesion_class == "ground-glass"
