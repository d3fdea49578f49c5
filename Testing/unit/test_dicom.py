"""DICOM series as they arrive: unsorted, mixed, damaged, compressed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset
from pydicom.uid import (
    generate_uid,
)

from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.errors import InputError
from Testing.support.dicom_series import Series
from Testing.support.refusal import refused_file as refused
from Testing.support.synthetic_ct import chest_hu


def shift(dataset: Dataset, axis: int, millimetres: float) -> None:
    position = list(dataset.ImagePositionPatient)
    position[axis] += millimetres
    dataset.ImagePositionPatient = position


def test_sorted_by_position_whatever_the_file_order(tmp_path: Path) -> None:
    series = Series()
    count = len(series.hu)
    orders = {
        "forward": list(range(count)),
        "reversed": list(range(count))[::-1],
        "shuffled": list(np.random.default_rng(1).permutation(count)),
    }
    digests = set()
    for name, order in orders.items():
        ct = read_ct(series.write(tmp_path / name, order))
        np.testing.assert_array_equal(ct.hu, series.hu)
        digests.add(ct.digest())
    assert len(digests) == 1


def test_geometry_and_provenance(tmp_path: Path) -> None:
    series = Series()
    ct = read_ct(series.write(tmp_path))
    np.testing.assert_allclose(ct.affine_lps, ct.input_affine_lps)
    np.testing.assert_allclose(np.diag(ct.affine_lps), [6.0, 6.5, 5.0, 1.0])
    np.testing.assert_allclose(ct.affine_lps[:3, 3], series.origin_mm)
    assert ct.flags == ()
    assert ct.provenance.source == "dicom"
    assert ct.provenance.name == "DICOM series"
    assert ct.provenance.series_instance_uid == series.datasets[0].SeriesInstanceUID
    assert len(ct.provenance.files) == len(series.hu)
    assert all(Path(name).is_file() for name in ct.provenance.files)


def test_one_file_stands_for_its_series(tmp_path: Path) -> None:
    series = Series()
    series.write(tmp_path)
    Series(hu=chest_hu(seed=3)[:9], tags={"SeriesNumber": 7}).write(tmp_path, prefix="OTHER")
    ct = read_ct(tmp_path / "OTHER0004.dcm")
    assert ct.shape_zyx[0] == 9
    assert read_ct(tmp_path / "IM0001.dcm").shape_zyx[0] == len(series.hu)


def test_largest_ct_series_of_nested_folders(tmp_path: Path) -> None:
    large = Series()
    large.write(tmp_path / "a" / "deep" / "folder")
    Series(hu=chest_hu(seed=1)[:10], tags={"SeriesNumber": 1}).write(tmp_path / "b")
    localiser = Series(tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesNumber": 3})
    localiser.write(tmp_path / "scout", list(range(len(localiser.hu))))
    (tmp_path / "DICOMDIR.txt").write_text("not an image")
    ct = read_ct(tmp_path)
    assert ct.provenance.series_instance_uid == large.datasets[0].SeriesInstanceUID
    assert ct.flags == ("several-series",)


def test_series_by_uid(tmp_path: Path) -> None:
    Series().write(tmp_path)
    small = Series(hu=chest_hu(seed=1)[:10], tags={"SeriesNumber": 1})
    small.write(tmp_path, prefix="SMALL")
    uid = str(small.datasets[0].SeriesInstanceUID)
    ct = read_ct(tmp_path, uid)
    assert ct.shape_zyx[0] == 10
    assert ct.flags == ()
    with pytest.raises(InputError) as caught:
        read_ct(tmp_path, "1.2.3.4")
    assert caught.value.code == "dicom-series"


def test_derived_series_only_as_a_last_resort(tmp_path: Path) -> None:
    derived = Series(tags={"ImageType": ["DERIVED", "SECONDARY", "MPR"]})
    derived.write(tmp_path / "derived")
    assert read_ct(tmp_path).flags == ("derived-series",)
    Series(hu=chest_hu()[:8], tags={"SeriesNumber": 9}).write(tmp_path / "original")
    ct = read_ct(tmp_path)
    assert ct.shape_zyx[0] == 8
    assert ct.flags == ("several-series",)


@pytest.mark.parametrize(("keep", "code"), [((5,), "input-slice-gap"), ((2, 3), "input-slice-gap")])
def test_missing_slices(tmp_path: Path, keep: tuple[int, ...], code: str) -> None:
    series = Series()
    order = [index for index in range(len(series.hu)) if index not in keep]
    error = refused(series.write(tmp_path, order))
    assert error.code == code
    assert f"About {len(keep)} " in error.message


def test_uneven_slices(tmp_path: Path) -> None:
    series = Series()
    shift(series.datasets[5], 2, 0.6)
    assert read_ct(series.write(tmp_path)).flags == ("uneven-slices",)
    shift(series.datasets[5], 2, 1.0)
    assert refused(series.write(tmp_path)).code == "input-slice-spacing"


def test_two_slice_distances(tmp_path: Path) -> None:
    series = Series()
    for index in range(7, len(series.datasets)):
        shift(series.datasets[index], 2, 5.0 * (index - 6))
    assert refused(series.write(tmp_path)).code == "input-slice-spacing"


def test_positions_rounded_to_a_tenth_are_even(tmp_path: Path) -> None:
    series = Series(hu=chest_hu((60, 44, 52)), step_mm=(0.0, 0.0, 0.625))
    for dataset in series.datasets:
        dataset.ImagePositionPatient = [round(float(v), 1) for v in dataset.ImagePositionPatient]
        dataset.SliceThickness = 0.625
    ct = read_ct(series.write(tmp_path))
    assert ct.flags == ()
    assert ct.spacing_mm_zyx[0] == pytest.approx(0.625, abs=0.002)


def test_gantry_tilt(tmp_path: Path) -> None:
    error = refused(Series(step_mm=(0.0, 1.34, 5.0)).write(tmp_path))
    assert error.code == "input-sheared"
    assert "15.0 degrees" in error.message


def test_tilted_slices_along_their_normal_are_no_shear(tmp_path: Path) -> None:
    sine, cosine = np.sin(np.radians(15)), np.cos(np.radians(15))
    series = Series(orientation=(1, 0, 0, 0, cosine, sine), step_mm=(0.0, -5 * sine, 5 * cosine))
    ct = read_ct(series.write(tmp_path))
    np.testing.assert_array_equal(ct.to_input_grid(ct.hu), series.hu)
    np.testing.assert_allclose(ct.input_affine_lps[:3, 2], (0, -5 * sine, 5 * cosine), atol=1e-6)


def test_copied_files_are_used_once(tmp_path: Path) -> None:
    series = Series()
    series.write(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    ct = read_ct(tmp_path)
    np.testing.assert_array_equal(ct.hu, series.hu)
    assert ct.flags == ("duplicates-dropped",)


def test_equal_slices_with_other_identifiers_are_used_once(tmp_path: Path) -> None:
    series = Series()
    series.write(tmp_path)
    for dataset in series.datasets:
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=["copy", str(dataset.SOPInstanceUID)])
    series.write(tmp_path, prefix="COPY")
    ct = read_ct(tmp_path)
    assert ct.shape_zyx == series.hu.shape
    assert ct.flags == ("duplicates-dropped",)


def two_phases(tmp_path: Path, second_tags: dict[str, object], shift_mm: float = 0.0) -> Series:
    first = Series(tags={"AcquisitionNumber": 1})
    second = Series(hu=chest_hu(seed=9), tags={"AcquisitionNumber": 1})
    for dataset in second.datasets:
        dataset.SeriesInstanceUID = first.datasets[0].SeriesInstanceUID
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=["second", str(dataset.SOPInstanceUID)])
        shift(dataset, 2, shift_mm)
        for keyword, value in second_tags.items():
            setattr(dataset, keyword, value)
    first.write(tmp_path)
    second.write(tmp_path, prefix="SECOND")
    return first


@pytest.mark.parametrize("shift_mm", [0.0, 1.0])
def test_two_acquisitions_in_one_series(tmp_path: Path, shift_mm: float) -> None:
    first = two_phases(tmp_path, {"AcquisitionNumber": 2}, shift_mm)
    ct = read_ct(tmp_path)
    np.testing.assert_array_equal(ct.hu, first.hu)
    assert ct.flags == ("several-acquisitions",)


def test_different_slices_at_one_position(tmp_path: Path) -> None:
    two_phases(tmp_path, {})
    assert refused(tmp_path).code == "input-duplicate-slices"


def test_several_orientations_in_one_series(tmp_path: Path) -> None:
    axial = Series()
    coronal = Series(hu=chest_hu()[:9], orientation=(1, 0, 0, 0, 0, -1), step_mm=(0.0, 5.0, 0.0))
    for dataset in coronal.datasets:
        dataset.SeriesInstanceUID = axial.datasets[0].SeriesInstanceUID
    axial.write(tmp_path)
    coronal.write(tmp_path, prefix="COR")
    ct = read_ct(tmp_path)
    np.testing.assert_array_equal(ct.hu, axial.hu)
    assert ct.flags == ("several-acquisitions",)


def test_coronal_series_is_flagged_and_put_upright(tmp_path: Path) -> None:
    hu = chest_hu((60, 44, 52))
    # Rows run from head to feet, slices from front to back.
    series = Series(
        hu=np.ascontiguousarray(hu[::-1].transpose(1, 0, 2)),
        orientation=(1, 0, 0, 0, 0, -1),
        step_mm=(0.0, 6.5, 0.0),
    )
    ct = read_ct(series.write(tmp_path))
    np.testing.assert_array_equal(ct.hu, hu)
    assert "non-axial" in ct.flags


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "PixelSpacing"])
def test_missing_geometry(tmp_path: Path, keyword: str) -> None:
    series = Series()
    for dataset in series.datasets:
        delattr(dataset, keyword)
    assert refused(series.write(tmp_path)).code == "dicom-geometry"


def test_rows_and_columns_not_at_right_angles(tmp_path: Path) -> None:
    series = Series(orientation=(1, 0, 0, 0.6, 0.8, 0))
    assert refused(series.write(tmp_path)).code == "dicom-geometry"


def test_pet_and_secondary_capture_only(tmp_path: Path) -> None:
    pet = Series(tags={"SOPClassUID": "1.2.840.10008.5.1.4.1.1.128", "Modality": "PT"})
    pet.write(tmp_path)
    error = refused(tmp_path)
    assert error.code == "dicom-no-ct"
    assert "PT" in error.message
    Series().write(tmp_path, prefix="CT")
    assert read_ct(tmp_path).flags == ()


def test_localiser_only(tmp_path: Path) -> None:
    scout = Series(tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]})
    assert "localiser" in refused(scout.write(tmp_path)).message


def test_file_cut_in_its_header_leaves_a_gap(tmp_path: Path) -> None:
    Series().write(tmp_path)
    victim = tmp_path / "IM0004.dcm"
    victim.write_bytes(victim.read_bytes()[:400])
    assert refused(tmp_path).code in ("input-slice-gap", "dicom-geometry")


def test_unreadable_file_beside_a_series(tmp_path: Path) -> None:
    series = Series()
    series.write(tmp_path)
    whole = (tmp_path / "IM0000.dcm").read_bytes()
    (tmp_path / "broken.dcm").write_bytes(whole[:134] + b"\xff" * 60)
    np.testing.assert_array_equal(read_ct(tmp_path).hu, series.hu)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes on Windows")
def test_named_pipe_in_the_folder_does_not_hang(tmp_path: Path) -> None:
    Series().write(tmp_path)
    os.mkfifo(tmp_path / "pipe.dcm")
    assert read_ct(tmp_path).flags == ()


def test_too_few_slices(tmp_path: Path) -> None:
    assert refused(Series(hu=chest_hu()[:7]).write(tmp_path)).code == "input-too-few-slices"
    assert refused(Series(hu=chest_hu()[:1]).write(tmp_path / "x")).code == "input-too-few-slices"


def test_no_patient_name_in_what_is_kept(tmp_path: Path) -> None:
    ct = read_ct(Series().write(tmp_path))
    assert "Secret" not in repr(ct.provenance)


@pytest.mark.data
def test_real_series_equals_simpleitk(data_dir: Path) -> None:
    folder = data_dir / "lung_dx_dicom"
    ct = read_ct(folder)
    reader = sitk.ImageSeriesReader()
    names = reader.GetGDCMSeriesFileNames(str(folder / "Lung_Dx-A0001_5mm"))
    reader.SetFileNames(names)
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    np.testing.assert_allclose(ct.input_affine_lps, affine, atol=1e-6)
    np.testing.assert_array_equal(ct.to_input_grid(ct.hu), sitk.GetArrayFromImage(image))
    assert ct.shape_zyx == (64, 512, 512)
    assert ct.flags == ()
    assert ct.provenance.files == names
