"""Block means by hand, across slabs and ends."""

from __future__ import annotations

import numpy as np
import pytest

from CovidLesionSegLib.engine.lungs_grid import WorkingGrid


@pytest.mark.parametrize("shape", [(41, 30, 31), (8, 9, 10), (1, 3, 3)])
def test_blocks_are_rounded_means_with_repeated_ends(shape: tuple[int, int, int]) -> None:
    hu = np.random.default_rng(5).integers(-1200, 1500, shape).astype(np.int16)
    grid = WorkingGrid.of(hu, (1.0, 0.7, 2.0))
    assert grid.factor == (2, 3, 1)
    padded = np.pad(hu, [(0, -shape[0] % 2), (0, -shape[1] % 3), (0, 0)], mode="edge")
    by_z = np.rint((padded[0::2] + padded[1::2].astype(float)) / 2)
    expected = np.rint((by_z[:, 0::3] + by_z[:, 1::3] + by_z[:, 2::3]) / 3)
    assert np.array_equal(grid.hu, expected)


def test_a_block_belongs_to_a_mask_from_half_on() -> None:
    grid = WorkingGrid.of(np.zeros((20, 4, 4), np.int16), (1.0, 1.0, 2.0))
    mask = np.zeros((20, 4, 4), bool)
    mask[4:6, 0, :2] = True
    mask[4, 2, 3] = True
    found = grid.restrict(mask)
    assert found[2].tolist() == [[True, True, False, False], [False, False, False, False]]
    assert found.sum() == 2


def test_a_ct_on_the_working_grid_already_is_taken_as_it_is() -> None:
    hu = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    assert np.shares_memory(WorkingGrid.of(hu, (2.0, 2.0, 2.0)).hu, hu)
