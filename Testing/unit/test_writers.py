"""Maps on exactly the grid of the input, at once or not at all."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import DTypeLike, NDArray

from CovidLesionSegLib.engine.atomic import atomic_path
from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.engine.writers import write_map
from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from Testing.support.synthetic_ct import affine_lps, chest_hu, rotation

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


def oblique_ct() -> CtVolume:
    """A CT stored with its axes permuted, flipped and rotated."""
    affine = affine_lps(direction=rotation((7.0, -4.0, 11.0)) @ np.diag([-1.0, 1.0, -1.0]))
    return CtVolume.from_array(chest_hu(), affine[:, [1, 0, 2, 3]])


def geometry(path: Path) -> tuple[NDArray[np.float64], ...]:
    image = sitk.ReadImage(str(path))
    return tuple(
        np.array(part) for part in (image.GetOrigin(), image.GetSpacing(), image.GetDirection())
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_file_in_map_out_has_the_same_geometry(tmp_path: Path, suffix: str) -> None:
    source = write_map(tmp_path / f"ct{suffix}", oblique_ct().hu, oblique_ct())
    ct = read_ct(source)
    target = write_map(tmp_path / f"map{suffix}", (ct.hu > 0).astype(np.uint8), ct)
    for before, after in zip(geometry(source), geometry(target), strict=True):
        np.testing.assert_allclose(after, before, rtol=0, atol=1e-6)
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(target)))
    np.testing.assert_array_equal(stored, ct.to_input_grid(ct.hu) > 0)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [(np.float16, np.float32), (np.bool_, np.uint8), (np.uint8, np.uint8), (np.int16, np.int16)],
)
def test_types(tmp_path: Path, dtype: DTypeLike, stored: DTypeLike) -> None:
    ct = oblique_ct()
    values = (np.arange(ct.hu.size).reshape(ct.hu.shape) % 2).astype(dtype)
    write_map(tmp_path / "map.nii.gz", values, ct)
    read = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "map.nii.gz")))
    assert read.dtype == stored
    np.testing.assert_array_equal(read, ct.to_input_grid(values))


def test_same_map_same_bytes(tmp_path: Path) -> None:
    ct = oblique_ct()
    once = [write_map(tmp_path / f"one{suffix}", ct.hu, ct) for suffix in SUFFIXES]
    time.sleep(1.1)  # gzip can hold a time stamp in seconds
    again = [write_map(tmp_path / f"two{suffix}", ct.hu, ct) for suffix in SUFFIXES]
    for one, two in zip(once, again, strict=True):
        assert one.read_bytes() == two.read_bytes(), one.suffix


def test_failed_write_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "map.nii.gz"
    target.write_bytes(b"old")

    def interrupted() -> None:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    target = tmp_path / "map.nii.gz"
    target.write_bytes(b"old")
    ct = oblique_ct()
    write_map(target, ct.hu, ct)
    assert list(tmp_path.iterdir()) == [target]
    assert sitk.ReadImage(str(target)).GetSize() == ct.to_input_grid(ct.hu).shape[::-1]


def test_a_format_without_maps_is_refused(tmp_path: Path) -> None:
    ct = oblique_ct()
    with pytest.raises(InputError) as caught:
        write_map(tmp_path / "map.jpg", ct.hu, ct)
    assert caught.value.code == "output-format"
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_no_folder_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ct = oblique_ct()
    with pytest.raises(CovidLesionSegError) as caught:
        write_map(tmp_path / "file" / "map.nii.gz", ct.hu, ct)
    assert caught.value.code == "output-not-written"
    assert caught.value.hint
    assert (tmp_path / "file").read_text() == "in the way"


def test_another_grid_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        write_map(tmp_path / "map.nii.gz", np.zeros((3, 3, 3), np.uint8), oblique_ct())
    assert caught.value.code == "output-shape"


@pytest.mark.data
def test_map_on_the_grid_of_a_real_dicom_series(data_dir: Path, tmp_path: Path) -> None:
    ct = read_ct(data_dir / "lung_dx_dicom")
    write_map(tmp_path / "map.nrrd", ct.hu > 0, ct)
    origin, spacing, direction = geometry(tmp_path / "map.nrrd")
    np.testing.assert_allclose(origin, ct.input_affine_lps[:3, 3], rtol=0, atol=1e-6)
    grid = np.reshape(direction, (3, 3)) * spacing
    np.testing.assert_allclose(grid, ct.input_affine_lps[:3, :3], rtol=0, atol=1e-6)
