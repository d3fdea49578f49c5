"""Operations in millimetres on grids of any spacing."""

from __future__ import annotations

import numpy as np
import pytest

from CovidLesionSegLib.engine.masks import (
    bounding_box,
    close,
    dilate,
    distance_mm,
    erode,
    fill_cavities,
    fill_in_plane,
    largest_component,
)

SPACING = (5.0, 1.0, 2.0)


def _distances() -> np.ndarray:
    z, y, x = np.meshgrid(*(np.arange(n) for n in (7, 25, 21)), indexing="ij")
    return np.sqrt((5.0 * (z - 3)) ** 2 + (y - 12) ** 2 + (2.0 * (x - 10)) ** 2)


def test_distance_respects_the_spacing() -> None:
    point = np.zeros((7, 25, 21), dtype=bool)
    point[3, 12, 10] = True
    np.testing.assert_allclose(distance_mm(point, SPACING), _distances(), atol=1e-3)


def test_distance_to_nothing_is_infinite() -> None:
    assert np.isinf(distance_mm(np.zeros((2, 3, 4), dtype=bool), SPACING)).all()


def test_dilation_of_a_point_is_a_ball_and_erosion_undoes_it() -> None:
    point = _distances() == 0
    ball = dilate(point, 6.0, SPACING)
    np.testing.assert_array_equal(ball, _distances() <= 6.0)
    np.testing.assert_array_equal(erode(ball, 6.0, SPACING) & ball, erode(ball, 6.0, SPACING))
    assert erode(ball, 3.0, SPACING)[3, 12, 10]


def test_closing_fills_a_slit_but_not_a_wide_gap() -> None:
    mask = np.ones((9, 40, 9), dtype=bool)
    mask[:, 10:12] = False
    mask[:, 25:33] = False
    closed = close(mask, 2.5, (1.0, 1.0, 1.0))
    assert closed[4, 10:12, 4].all()
    assert not closed[4, 28:30, 4].any()


def test_filling_in_plane_needs_no_cap_and_in_3d_does() -> None:
    tube = np.zeros((5, 9, 9), dtype=bool)
    tube[:, 2:7, 2:7] = True
    tube[:, 4, 4] = False
    assert fill_in_plane(tube)[2, 4, 4]
    assert not fill_cavities(tube)[2, 4, 4]
    tube[[0, -1], 4, 4] = True
    assert fill_cavities(tube)[2, 4, 4]


def test_largest_component_and_box() -> None:
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[0, 0, 0] = True
    mask[2:5, 3:5, 1:3] = True
    assert bounding_box(largest_component(mask)) == (slice(2, 5), slice(3, 5), slice(1, 3))
    assert not largest_component(np.zeros((2, 2, 2), dtype=bool)).any()


@pytest.mark.parametrize("operation", [dilate, erode, close])
def test_an_empty_mask_stays_empty(operation: object) -> None:
    assert not operation(np.zeros((3, 4, 5), dtype=bool), 2.0, SPACING).any()  # type: ignore[operator]
