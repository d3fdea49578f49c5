from __future__ import annotations

import numpy as np
import pytest

from CovidLesionSegLib.engine import surroundings
from CovidLesionSegLib.engine.flags import FAINT_LEFT_OUT, FLAG_TEXTS
from CovidLesionSegLib.engine.postprocess import (
    MINIMUM_LESION_ML,
    InfectionFindings,
    find_infection,
    infection_mask,
)
from CovidLesionSegLib.engine.volume import CtVolume

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


DEPENDENT = (slice(8, 14), slice(22, 28), slice(4, 10))
"""In lung at -650 HU: denser than most of the lung, hardly denser than what is around it."""


def expired(finding_hu: int) -> InfectionFindings:
    """Find infection in a chest whose dependent half is squeezed in expiration."""
    hu = np.full((24, 32, 32), -850, np.int16)
    hu[:, 16:] = -650
    probability = np.zeros(hu.shape, np.float16)
    probability[DEPENDENT] = 0.9
    hu[DEPENDENT] = finding_hu
    ct = CtVolume.from_array(hu, np.diag([3.0, 3.0, 3.0, 1.0]))
    return find_infection(ct, probability, np.ones(hu.shape, np.uint8), 0.5)


@pytest.mark.parametrize("large_box", [10**9, 0])
def test_a_finding_hardly_denser_than_the_lung_around_is_left_out(
    large_box: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "_LARGE_BOX", large_box)
    found = expired(-650 + 70)  # 1.2 times as much tissue
    assert not found.mask.any()
    assert found.left_out == 1
    assert found.left_out_percent == pytest.approx(100.0 * 6**3 / (24 * 32 * 32))
    assert found.flags == (FAINT_LEFT_OUT,)
    assert FAINT_LEFT_OUT in FLAG_TEXTS


def test_a_lesion_in_squeezed_lung_stays() -> None:
    found = expired(-650 + 140)  # 1.4 times as much tissue
    assert found.mask.sum() == 6**3
    assert (found.left_out, found.left_out_percent, found.flags) == (0, 0.0, ())


def test_a_finding_without_lung_around_stays() -> None:
    hu = np.full((8, 8, 8), -600, np.int16)
    ct = CtVolume.from_array(hu, np.diag([5.0, 5.0, 5.0, 1.0]))
    everywhere = np.ones(hu.shape, np.uint8)
    found = find_infection(ct, everywhere.astype(np.float16), everywhere, 0.5)
    assert found.mask.all()


def test_a_finding_that_fills_much_of_the_lungs_stays() -> None:
    hu = np.full((24, 32, 32), -700, np.int16)
    probability = np.zeros(hu.shape, np.float16)
    probability[:, 20:] = 0.9  # three eighths of the lungs, as dense as the rest
    ct = CtVolume.from_array(hu, np.diag([3.0, 3.0, 3.0, 1.0]))
    assert find_infection(ct, probability, np.ones(hu.shape, np.uint8), 0.5).mask.any()


def test_without_lungs_nothing_is_found() -> None:
    hu = np.full((4, 4, 4), -850, np.int16)
    ct = CtVolume.from_array(hu, np.eye(4))
    found = find_infection(ct, np.ones(hu.shape, np.float16), np.zeros(hu.shape, np.uint8), 0.5)
    assert not found.mask.any()
    assert found.left_out_percent == 0.0
