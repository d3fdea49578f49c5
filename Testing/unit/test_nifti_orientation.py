"""A NIfTI states its orientation twice, as qform and as sform; both must say the same."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from CovidLesionSegLib.engine.headers import read_header
from CovidLesionSegLib.engine.readers import read_ct
from Testing.support.refusal import refused_file as refused
from Testing.support.synthetic_ct import ORIGIN_LPS_MM, SPACING_MM_XYZ, chest_hu, rotation

QUATERN_B, CODES, SROW_X = 256, 252, 280


def _written(path: Path, hu: NDArray[np.int16], direction: NDArray[np.float64]) -> bytearray:
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing(SPACING_MM_XYZ)
    image.SetOrigin(ORIGIN_LPS_MM)
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path))
    return bytearray(path.read_bytes())


def _stating(path: Path, codes: tuple[int, int], *, mirrored: bool) -> Path:
    """Write a CT with codes for qform and sform; if asked, the sform's left and right swapped."""
    raw = _written(path, chest_hu(), np.eye(3))
    struct.pack_into("<2h", raw, CODES, *codes)
    if mirrored:
        (edge,) = struct.unpack_from("<f", raw, SROW_X)
        struct.pack_into("<f", raw, SROW_X, -edge)
    path.write_bytes(raw)
    return path


@pytest.mark.parametrize("codes", [(1, 1), (2, 1), (1, 2), (1, 4)])
def test_left_and_right_are_not_taken_from_one_of_two_contradicting_statements(
    tmp_path: Path, codes: tuple[int, int]
) -> None:
    path = tmp_path / "ct.nii"
    assert read_ct(_stating(path, codes, mirrored=False)).flags == ()
    error = refused(_stating(path, codes, mirrored=True), "input-orientation")
    assert "180 degrees" in error.message


@pytest.mark.parametrize("codes", [(0, 1), (1, 0)])
def test_a_statement_without_a_code_counts_for_nothing(
    tmp_path: Path, codes: tuple[int, int]
) -> None:
    assert read_ct(_stating(tmp_path / "ct.nii", codes, mirrored=True)).flags == ()


@pytest.mark.parametrize(("degrees", "is_read"), [(1.5, True), (2.5, False)])
def test_a_small_angle_between_both_is_rounding(
    tmp_path: Path, degrees: float, is_read: bool
) -> None:
    path = tmp_path / "ct.nii"
    raw = _written(path, chest_hu(), np.eye(3))
    assert min(struct.unpack_from("<2h", raw, CODES)) > 0
    # LPS to RAS is a turn by 180 degrees about z, d = 1; another component tilts it.
    half = np.radians(degrees / 2)
    struct.pack_into("<3f", raw, QUATERN_B, np.sin(half), 0.0, np.cos(half))
    path.write_bytes(raw)
    if is_read:
        read_ct(path)
    else:
        refused(path, "input-orientation")


@pytest.mark.parametrize("angles_deg", [(0.0, 0.0, 0.0), (8.0, -25.0, 40.0)])
def test_every_orientation_as_itk_writes_it_is_understood(
    tmp_path: Path, angles_deg: tuple[float, float, float]
) -> None:
    path = tmp_path / "ct.nii"
    for axes in itertools.permutations(np.eye(3)):
        for signs in itertools.product((-1.0, 1.0), repeat=3):
            direction = rotation(angles_deg) @ np.array(axes) * signs
            raw = _written(path, np.zeros((4, 3, 2), np.int16), direction)
            assert min(struct.unpack_from("<2h", raw, CODES)) > 0
            assert read_header(path, "nifti").orientation_known
