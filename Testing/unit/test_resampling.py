from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from CovidLesionSegLib.engine.resampling import (
    Taps,
    Window,
    bilinear_taps,
    bounding_window,
    grid_window,
)


def along(values: np.ndarray, taps: Taps) -> np.ndarray:
    """Interpolate along one axis, as the definition of the taps says."""
    return values[taps.lower] * (1 - taps.upper_weight) + values[taps.upper] * taps.upper_weight


@pytest.mark.parametrize(("target", "source"), [(512, 308), (100, 100), (64, 190), (7, 3), (5, 1)])
def test_taps_of_the_whole_axis_are_an_edge_aligned_bilinear_resize(
    target: int, source: int
) -> None:
    values = np.random.default_rng(0).random(source)
    centres = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    expected = np.interp(centres, np.arange(source), values)
    found = along(values, bilinear_taps((0, target), (0, source), target, source))
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_window_gives_the_same_values_as_the_whole_axis() -> None:
    values = np.random.default_rng(1).random(300)
    whole = along(values, bilinear_taps((0, 512), (0, 300), 512, 300))
    # Target 200..260 needs source 117..153: the window holds a margin around that.
    part = along(values[110:160], bilinear_taps((200, 260), (110, 160), 512, 300))
    assert part == pytest.approx(whole[200:260], abs=1e-5)


def test_weights_stay_between_0_and_1_also_beyond_the_source_window() -> None:
    taps = bilinear_taps((0, 50), (10, 20), 50, 25)
    assert taps.upper_weight.min() >= 0
    assert taps.upper_weight.max() <= 1
    assert taps.lower.min() == 0
    assert taps.upper.max() == 9


def test_taps_agree_with_scipy_zoom_of_an_affine_image() -> None:
    ramp = np.arange(20, dtype=float)
    expected = ndimage.zoom(ramp, 2, order=1, grid_mode=True, mode="nearest")
    assert along(ramp, bilinear_taps((0, 40), (0, 20), 40, 20)) == pytest.approx(expected, abs=1e-4)


def test_bounding_window_is_tight() -> None:
    mask = np.zeros((6, 8, 10), bool)
    mask[2, 3, 4] = mask[4, 5, 1] = True
    found = bounding_window(mask)
    assert found is not None
    assert found == (slice(2, 5), Window(3, 6, 1, 5))
    assert bounding_window(np.zeros((2, 2, 2), bool)) is None


@pytest.mark.parametrize(
    "window", [Window(0, 512, 0, 512), Window(10, 40, 400, 512), Window(511, 512, 0, 1)]
)
def test_grid_window_covers_and_is_a_multiple(window: Window) -> None:
    grid = grid_window(window, (512, 512), (308, 308), margin=14, multiple=32)
    height, width = grid.size_yx
    assert height % 32 == 0
    assert width % 32 == 0
    assert grid.y0 >= 0
    assert grid.x0 >= 0
    scale = 308 / 512
    assert grid.y0 <= max(window.y0 * scale - 14, 0)
    assert grid.y1 >= min(window.y1 * scale + 14, 308)
    assert grid.x0 <= max(window.x0 * scale - 14, 0)
    assert grid.x1 >= min(window.x1 * scale + 14, 308)
