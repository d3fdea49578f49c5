"""A rotated input gives the rotated result, voxel by voxel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from CovidLesionSegLib.engine.geometry import AxisOrientation
from CovidLesionSegLib.engine.phantom import Phantom, PhantomSpec, make_phantom
from CovidLesionSegLib.engine.pipeline import segment
from CovidLesionSegLib.engine.result import SegmentationResult
from CovidLesionSegLib.engine.volume import CtVolume

ORIENTATIONS = tuple(AxisOrientation.all())


def reordered(hu: np.ndarray, affine: np.ndarray, orientation: AxisOrientation) -> CtVolume:
    """Return the same patient as a scanner with other axes would store it."""
    stored = orientation.from_lps(hu)
    stored_affine = np.eye(4)
    origin = affine[:3, 3].copy()
    for row in range(3):
        axis = orientation.source_axis[row]
        column = affine[:3, row]
        if orientation.flipped[row]:
            origin += column * (hu.shape[2 - row] - 1)
            column = -column
        stored_affine[:3, axis] = column
    stored_affine[:3, 3] = origin
    return CtVolume.from_array(stored, stored_affine)


def assert_same(
    found: SegmentationResult, expected: SegmentationResult, orientation: AxisOrientation
) -> None:
    """Compare on the grid that was stored: ours comes back to it, the expected is rotated."""
    pairs = (
        (found.infection, expected.infection),
        (found.anatomy.lungs, expected.anatomy.lungs),
        (found.anatomy.lobes, expected.anatomy.lobes),
        (found.prediction.infection, expected.prediction.infection),
        (found.prediction.boundary, expected.prediction.boundary),
    )
    for ours, theirs in pairs:
        assert ours is not None
        assert theirs is not None
        assert np.array_equal(found.ct.to_input_grid(ours), orientation.from_lps(theirs))
    assert found.quantification == expected.quantification


@pytest.fixture(scope="module")
def patient() -> Phantom:
    # Odd sizes, anisotropic spacing, oblique by rotations about all three axes.
    angles = np.deg2rad([9.0, -7.0, 12.0])
    cos, sin = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cos[0], -sin[0]], [0, sin[0], cos[0]]])
    about_y = np.array([[cos[1], 0, sin[1]], [0, 1, 0], [-sin[1], 0, cos[1]]])
    about_z = np.array([[cos[2], -sin[2], 0], [sin[2], cos[2], 0], [0, 0, 1]])
    direction = tuple(tuple(float(v) for v in row) for row in about_z @ about_y @ about_x)
    return make_phantom(
        PhantomSpec(  # child-sized, because the time goes with the volume in mm
            seed=5,
            scale=0.5,
            spacing_mm_zyx=(5.1, 2.3, 1.9),
            shape_zyx=(35, 85, 109),
            direction=direction,
            lesions=6,
        )
    )


@pytest.fixture(scope="module")
def upright(patient: Phantom) -> SegmentationResult:
    return segment(CtVolume.from_array(patient.hu, patient.affine))


@pytest.mark.parametrize("number", range(48))
def test_every_axis_orientation_of_an_oblique_patient(
    number: int, patient: Phantom, upright: SegmentationResult
) -> None:
    ct = reordered(patient.hu, patient.affine, ORIENTATIONS[number])
    assert ct.input_affine_lps.shape == (4, 4)
    assert np.array_equal(ct.hu, upright.ct.hu)
    assert_same(segment(ct), upright, ORIENTATIONS[number])


def test_the_upright_result_holds_something(upright: SegmentationResult) -> None:
    assert upright.infection.any()
    assert set(np.unique(upright.anatomy.lungs)) == {0, 1, 2}


@settings(max_examples=60, deadline=None)
@given(
    number=st.integers(0, 47),
    size=st.tuples(st.integers(8, 13), st.integers(2, 9), st.integers(2, 9)),
    spacing=st.tuples(*[st.floats(0.3, 12.0)] * 3),
    rotation=st.tuples(*[st.floats(-0.35, 0.35)] * 3),
)
def test_axes_go_there_and_back_for_any_geometry(
    number: int,
    size: tuple[int, int, int],
    spacing: tuple[float, float, float],
    rotation: tuple[float, float, float],
) -> None:
    from scipy.spatial.transform import Rotation

    hu = np.arange(np.prod(size), dtype=np.int16).reshape(size)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", rotation).as_matrix() @ np.diag(spacing)
    affine[:3, 3] = (3.5, -120.25, 40.125)
    ct = reordered(hu, affine, ORIENTATIONS[number])
    assert np.array_equal(ct.hu, hu)
    assert ct.affine_lps == pytest.approx(affine, abs=1e-6)
    stored = ct.to_input_grid(ct.hu)
    # The voxel with a given value lies at the same place in both grids.
    value = hu[-1, 0, -1]
    k, j, i = (int(v[0]) for v in np.nonzero(stored == value))
    z, y, x = (int(v[0]) for v in np.nonzero(hu == value))
    assert ct.input_affine_lps @ (i, j, k, 1) == pytest.approx(affine @ (x, y, z, 1), abs=1e-6)
