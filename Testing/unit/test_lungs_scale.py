"""The HU scale of a CT, told by air, fat and soft tissue."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.engine.lungs_scale import (
    AIR_HU,
    air_level_hu,
    air_threshold_hu,
    calibrate,
    tissue_level_hu,
)

_SPACING = (4.0, 2.0, 2.0)


def _body(
    fat_share: float = 0.4, scale: float = 1.0, shift: float = 0.0
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Noisy muscle with a layer of fat in air, on a scale that is off."""
    rng = np.random.default_rng(0)
    hu = np.full((10, 80, 100), -1000.0)
    hu[:, 20:60, 20:80] = 50.0
    hu[:, 20 : 20 + round(40 * fat_share), 20:80] = -100.0
    hu = hu * scale + shift + rng.normal(0.0, 25.0, hu.shape)
    body = np.zeros(hu.shape, dtype=bool)
    body[:, 20:60, 20:80] = True
    return np.rint(hu).astype(np.int16), body


@pytest.mark.parametrize("shift", [-60.0, 0.0, 90.0])
@pytest.mark.parametrize("fat_share", [0.2, 0.7])
def test_tissue_is_found_whether_fat_is_more_or_less(shift: float, fat_share: float) -> None:
    hu, body = _body(fat_share, shift=shift)
    assert tissue_level_hu(hu, body) == pytest.approx(50.0 + shift, abs=10.0)


def test_without_fat_nothing_is_said() -> None:
    hu, body = _body(fat_share=0.0)
    assert tissue_level_hu(hu, body) is None
    assert tissue_level_hu(hu, np.zeros_like(body)) is None


@pytest.mark.parametrize(("scale", "shift"), [(0.92, 70.0), (1.0, 90.0), (0.95, -60.0)])
def test_the_border_follows_a_scale_that_is_off(scale: float, shift: float) -> None:
    hu, body = _body(scale=scale, shift=shift)
    found = air_threshold_hu(air_level_hu(hu, body, _SPACING), tissue_level_hu(hu, body))
    assert found == pytest.approx(AIR_HU * scale + shift, abs=10.0)


def test_padding_at_the_ends_of_the_range_stays_there() -> None:
    hu = np.array([-32768, -950, 0, 32000], dtype=np.int16)
    assert calibrate(hu, -950.0).tolist() == [-32768, -1000, 0, 32767]


def test_a_usual_scale_is_left_alone() -> None:
    assert air_threshold_hu(-1000.0, 50.0) == AIR_HU
    assert air_threshold_hu(-1000.0, 85.0) == AIR_HU
    assert air_threshold_hu(-1000.0, None) == AIR_HU
    assert air_threshold_hu(-900.0, None) == pytest.approx(0.9 * AIR_HU)


def test_calibrating_puts_air_at_minus_1000() -> None:
    hu = np.array([-844, 0, 100], dtype=np.int16)
    assert calibrate(hu, -844.0).tolist() == [-1000, 0, 118]
