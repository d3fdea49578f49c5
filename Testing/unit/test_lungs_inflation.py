"""Dense lung is noticed, infected lung in inspiration is not taken for it."""

from __future__ import annotations

import numpy as np
import pytest

from CovidLesionSegLib.engine.flags import FLAG_TEXTS
from CovidLesionSegLib.engine.lungs_grid import WorkingGrid
from CovidLesionSegLib.engine.lungs_inflation import (
    EXPIRATION,
    aerated_peak_hu,
    poorly_inflated,
)

SHAPE = (20, 30, 40)


def _lung(mean_hu: float, infected: float = 0.0) -> WorkingGrid:
    """Noisy lung, a share of it ground glass."""
    rng = np.random.default_rng(0)
    hu = rng.normal(mean_hu, 35.0, SHAPE)
    glass = rng.random(SHAPE) < infected
    hu[glass] = rng.normal(-600.0, 80.0, np.count_nonzero(glass))
    return WorkingGrid.of(np.rint(hu).astype(np.int16), (2.0, 2.0, 2.0))


@pytest.mark.parametrize("infected", [0.0, 0.3, 0.6])
def test_the_peak_is_that_of_the_best_aerated_lung(infected: float) -> None:
    grid = _lung(-870.0, infected)
    peak = aerated_peak_hu(np.ones(SHAPE, bool), grid, -1000.0)
    assert peak == pytest.approx(-870.0, abs=8.0)
    assert not poorly_inflated(np.ones(SHAPE, bool), grid, -1000.0)


def test_dense_lung_is_flagged() -> None:
    assert poorly_inflated(np.ones(SHAPE, bool), _lung(-740.0), -1000.0)


def test_a_scale_that_is_off_is_put_right() -> None:
    grid = _lung(-760.0)
    assert poorly_inflated(np.ones(SHAPE, bool), grid, -1000.0)
    assert not poorly_inflated(np.ones(SHAPE, bool), grid, -880.0)


def test_no_aerated_lung_says_nothing() -> None:
    grid = _lung(0.0)
    assert aerated_peak_hu(np.ones(SHAPE, bool), grid, -1000.0) is None
    assert not poorly_inflated(np.ones(SHAPE, bool), grid, -1000.0)


def test_the_flag_has_a_sentence() -> None:
    assert "expiration" in FLAG_TEXTS[EXPIRATION]
