"""Axis orientation: every voxel keeps its value and its place in the patient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from CovidLesionSegLib.engine.geometry import (
    AxisOrientation,
    spacing_mm_xyz,
    voxel_volume_mm3,
)
from CovidLesionSegLib.engine.volume import CtVolume
from Testing.support.synthetic_ct import affine_lps, rotation

SHAPE_KJI = (5, 7, 4)
SPACING = (0.7, 0.9, 5.0)
ALL_48 = list(AxisOrientation.all())


def scanner_grid(
    orientation: AxisOrientation, oblique: NDArray[np.float64], spacing: tuple[float, ...] = SPACING
) -> NDArray[np.float64]:
    """Return the affine of a grid whose axes run as ``orientation`` says, then are rotated."""
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    for row, (axis, flipped) in enumerate(
        zip(orientation.source_axis, orientation.flipped, strict=True)
    ):
        affine[row, axis] = (-1 if flipped else 1) * spacing[axis]
    affine[:3, :3] = oblique @ affine[:3, :3]
    affine[:3, 3] = (-100.5, 33.25, -712.125)
    return affine


def numbered(shape: tuple[int, int, int] = SHAPE_KJI) -> NDArray[np.int16]:
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def positions_by_value(
    array: NDArray[np.int16], affine: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the LPS position of every voxel, in the order of the voxels' values."""
    k, j, i = np.indices(array.shape).reshape(3, -1)
    lps = (affine @ np.stack([i, j, k, np.ones_like(i)]))[:3].T
    return lps[np.argsort(array.ravel(), kind="stable")]


@pytest.mark.parametrize("orientation", ALL_48, ids=str)
def test_round_trip_and_place_of_every_voxel(orientation: AxisOrientation) -> None:
    array, affine = numbered(), scanner_grid(orientation, np.eye(3))
    ct = CtVolume.from_array(array, affine)
    assert ct.orientation == orientation
    np.testing.assert_array_equal(ct.to_input_grid(ct.hu), array)
    np.testing.assert_allclose(
        positions_by_value(ct.hu, ct.affine_lps), positions_by_value(array, affine), atol=1e-6
    )
    # In LPS order, every index runs along its own axis of the patient.
    assert (np.diag(ct.affine_lps)[:3] > 0).all()


@pytest.mark.parametrize("orientation", ALL_48, ids=str)
def test_permuted_copies_of_one_ct_are_the_same_ct(orientation: AxisOrientation) -> None:
    reference = CtVolume.from_array(numbered(), affine_lps(SPACING))
    array = orientation.from_lps(reference.hu)
    # The affine of the copy: place its first voxel and its axes where the reference has them.
    size_xyz = reference.hu.shape[::-1]
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    affine[:3, 3] = reference.affine_lps[:3, 3]
    for row in range(3):
        column = reference.affine_lps[:3, row]
        if orientation.flipped[row]:
            affine[:3, 3] += column * (size_xyz[row] - 1)
            column = -column
        affine[:3, orientation.source_axis[row]] = column
    copy = CtVolume.from_array(array, affine)
    assert copy.digest() == reference.digest()
    assert copy.spacing_mm_zyx == reference.spacing_mm_zyx
    np.testing.assert_array_equal(copy.to_input_grid(copy.hu), array)


@settings(max_examples=150, deadline=None)
@given(
    orientation=st.sampled_from(ALL_48),
    angles=st.tuples(*[st.floats(-89, 89)] * 3),
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    spacing=st.tuples(*[st.floats(0.1, 20)] * 3),
)
def test_oblique_grids_of_any_size(
    orientation: AxisOrientation,
    angles: tuple[float, float, float],
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
) -> None:
    array, affine = numbered(shape), scanner_grid(orientation, rotation(angles), spacing)
    ct = CtVolume.from_array(array, affine)
    np.testing.assert_array_equal(ct.to_input_grid(ct.hu), array)
    np.testing.assert_allclose(
        positions_by_value(ct.hu, ct.affine_lps), positions_by_value(array, affine), atol=1e-5
    )
    assert sorted(ct.spacing_mm_zyx) == pytest.approx(sorted(spacing), abs=1e-6)
    assert ct.voxel_volume_ml * 1000 == pytest.approx(np.prod(spacing), abs=2e-6)


def test_small_rotation_does_not_change_the_orientation() -> None:
    for orientation in ALL_48:
        affine = scanner_grid(orientation, rotation((9.0, -12.0, 20.0)))
        assert AxisOrientation.from_affine(affine) == orientation


def test_the_48_orientations_are_all_different() -> None:
    assert len(set(ALL_48)) == 48


def test_spacing_and_volume_of_a_sheared_grid() -> None:
    affine = affine_lps((1.0, 1.0, 5.0))
    affine[1, 2] = 1.0
    assert spacing_mm_xyz(affine) == pytest.approx((1.0, 1.0, np.sqrt(26.0)), abs=1e-6)
    assert voxel_volume_mm3(affine) == pytest.approx(5.0)


def test_results_of_other_types_come_back_on_the_input_grid() -> None:
    ct = CtVolume.from_array(numbered(), scanner_grid(ALL_48[29], rotation((5, 0, 10))))
    labels = (ct.hu % 6).astype(np.uint8)
    back = ct.to_input_grid(labels)
    assert back.dtype == np.uint8
    assert back.flags.c_contiguous
    np.testing.assert_array_equal(back, numbered() % 6)
