"""Doubt, entropy and intervals, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from CovidLesionSegLib.engine.result import Lobe
from CovidLesionSegLib.engine.uncertainty import (
    binary_entropy,
    doubt,
    lobe_reach,
    percent_interval,
)


def test_binary_entropy() -> None:
    p = np.array([0.0, 0.5, 1.0, 0.25], dtype=np.float16)
    expected = [0.0, 1.0, 0.0, 0.811278]
    np.testing.assert_allclose(binary_entropy(p), expected, atol=1e-3)


def test_doubt_is_the_probability_of_being_wrong() -> None:
    p = np.array([0.9, 0.3, 0.3, 0.02], dtype=np.float32)
    infected = np.array([True, True, False, False])
    np.testing.assert_allclose(doubt(p, infected, None), [0.1, 0.7, 0.3, 0.0], atol=1e-6)


def test_doubt_is_at_least_the_models_disagreement() -> None:
    p = np.array([0.9, 0.9], dtype=np.float32)
    agreement = np.array([0.6, 1.0], dtype=np.float16)
    result = doubt(p, np.array([True, True]), agreement)
    np.testing.assert_allclose(result, [0.4, 0.1], atol=1e-3)


def test_reach_marks_the_band_along_the_fissure_only() -> None:
    lobes = np.full((10, 4, 4), int(Lobe.LLL), dtype=np.uint8)
    lobes[5:] = Lobe.LUL
    reach = lobe_reach(lobes, 2.1, (1.0, 1.0, 1.0))
    upper_bit, lower_bit = 1 << (Lobe.LUL - 1), 1 << (Lobe.LLL - 1)
    assert (reach[3:5] == upper_bit).all()
    assert (reach[5:7] == lower_bit).all()
    assert not reach[:3].any()
    assert not reach[7:].any()


def test_reach_never_crosses_to_the_other_lung() -> None:
    lobes = np.full((4, 4, 8), int(Lobe.RUL), dtype=np.uint8)
    lobes[:, :, 4:] = Lobe.LUL
    assert not lobe_reach(lobes, 5.0, (1.0, 1.0, 1.0)).any()


def test_interval_takes_the_extremes_of_the_moved_borders() -> None:
    # 20 of 100 voxels for certain, 30 at most; the border may give 50 healthy voxels away
    # or take 100 half infected ones in.
    low, high = percent_interval((20, 30), 100, ((-50, 0, 0), (100, 50, 50))) or (0, 0)
    assert low == pytest.approx(20.0)
    assert high == pytest.approx(60.0)
    assert percent_interval((0, 0), 0, ()) is None
