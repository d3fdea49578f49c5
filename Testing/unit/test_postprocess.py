from __future__ import annotations

import numpy as np

from CovidLesionSegLib.engine.postprocess import MINIMUM_LESION_ML, infection_mask

VOXEL_ML = MINIMUM_LESION_ML / 8


def volume() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((12, 20, 20), np.float16), np.ones((12, 20, 20), np.uint8)


def test_a_component_with_a_core_keeps_its_weak_rim() -> None:
    probability, lungs = volume()
    probability[2:6, 2:8, 2:8] = 0.55
    probability[3, 4, 4] = 0.9
    mask = infection_mask(probability, lungs, 0.5, VOXEL_ML)
    assert mask.sum() == 4 * 6 * 6
    assert mask.dtype == np.uint8


def test_a_component_without_a_core_is_dropped() -> None:
    probability, lungs = volume()
    probability[2:6, 2:8, 2:8] = 0.55
    assert infection_mask(probability, lungs, 0.5, VOXEL_ML).sum() == 0


def test_the_minimum_volume_is_kept_exactly() -> None:
    probability, lungs = volume()
    probability[0:2, 0:2, 0:2] = 0.9  # eight voxels: the minimum
    probability[6, 6, 6:13] = 0.9  # seven voxels: below it
    mask = infection_mask(probability, lungs, 0.5, VOXEL_ML)
    assert mask[0:2, 0:2, 0:2].all()
    assert mask.sum() == 8


def test_slices_join_into_one_lesion() -> None:
    probability, lungs = volume()
    for z in range(8):  # one voxel a slice, touching only over corners
        probability[z, z + 2, z + 2] = 0.9
    assert infection_mask(probability, lungs, 0.5, VOXEL_ML).sum() == 8


def test_nothing_is_found_outside_the_lungs() -> None:
    probability, lungs = volume()
    probability[:] = 0.9
    lungs[:, :, 10:] = 0
    mask = infection_mask(probability, lungs, 0.5, VOXEL_ML)
    assert mask[:, :, :10].all()
    assert mask[:, :, 10:].sum() == 0
    assert infection_mask(probability, lungs * 0, 0.5, VOXEL_ML).sum() == 0


def test_a_high_threshold_can_still_be_reached() -> None:
    probability, lungs = volume()
    probability[2:6, 2:8, 2:8] = 0.97
    assert infection_mask(probability, lungs, 0.94, VOXEL_ML).sum() == 4 * 6 * 6
