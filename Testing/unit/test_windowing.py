from __future__ import annotations

import numpy as np
import pytest

from CovidLesionSegLib.engine.windowing import (
    SliceRecipe,
    neighbour_indices,
    window_to_uint8,
)
from CovidLesionSegLib.errors import CovidLesionSegError


def test_window_maps_its_ends_to_0_and_255_and_clips() -> None:
    hu = np.array([-32768, -1250, -500, 250, 251, 32767], np.int16)
    assert window_to_uint8(hu, (-1250.0, 250.0)).tolist() == [0, 0, 128, 255, 255, 255]


def test_window_is_monotonic() -> None:
    levels = window_to_uint8(np.arange(-2000, 2000, dtype=np.int16), (-1000.0, 400.0))
    assert (np.diff(levels.astype(int)) >= 0).all()


def test_window_of_a_flipped_view_is_the_flipped_window() -> None:
    hu = np.random.default_rng(1).integers(-1300, 300, (3, 4, 5)).astype(np.int16)
    window = (-1250.0, 250.0)
    flipped = window_to_uint8(hu[::-1, :, ::-1], window)
    assert np.array_equal(flipped, window_to_uint8(hu, window)[::-1, :, ::-1])


def test_neighbours_repeat_the_ends() -> None:
    found = neighbour_indices(5, np.array([0, 2, 4]), 2)
    assert found.tolist() == [[0, 0, 2], [0, 2, 4], [2, 4, 4]]


@pytest.mark.parametrize(("spacing", "slices"), [(0.5, 4), (1.0, 2), (1.5, 1), (5.0, 1), (10.0, 1)])
def test_context_is_a_distance_but_at_least_one_slice(spacing: float, slices: int) -> None:
    assert SliceRecipe(context_mm=2.0).context_slices(spacing) == slices


def test_grid_keeps_the_extent_and_pads_to_the_multiple() -> None:
    recipe = SliceRecipe(pixel_mm=1.4, size_multiple=32)
    assert recipe.grid_size((512, 512), (0.7, 0.842)) == (256, 308)
    assert recipe.padded_size((256, 308)) == (256, 320)


def test_recipe_survives_json_and_refuses_unknown_entries() -> None:
    recipe = SliceRecipe(window_hu=(-1000.0, 400.0), pixel_mm=2.0)
    assert SliceRecipe.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(CovidLesionSegError) as caught:
        SliceRecipe.from_dict({**recipe.to_dict(), "gamma": 2})
    assert caught.value.code == "recipe-unknown-key"
