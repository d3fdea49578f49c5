"""The voxels of DICOM slices: rescale, padding, compression, frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.dataset import Dataset
from pydicom.uid import (
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from CovidLesionSegLib.engine.readers import read_ct
from Testing.support.dicom_series import Series, enhanced
from Testing.support.refusal import refused_file as refused


def set_hu(dataset: Dataset, hu: np.ndarray, slope: float, intercept: float) -> None:
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    dataset.PixelData = np.rint((hu - intercept) / slope).astype("<u2").tobytes()


def test_rescale_of_every_slice(tmp_path: Path) -> None:
    series = Series()
    for index, dataset in enumerate(series.datasets):
        set_hu(dataset, series.hu[index], slope=1.0 if index % 2 else 0.5, intercept=-1100 - index)
    np.testing.assert_array_equal(read_ct(series.write(tmp_path)).hu, series.hu)


def test_fractional_rescale_is_rounded(tmp_path: Path) -> None:
    series = Series()
    for index, dataset in enumerate(series.datasets):
        set_hu(dataset, series.hu[index], slope=0.75, intercept=-1024.5)
    error = read_ct(series.write(tmp_path)).hu.astype(int) - series.hu
    assert np.abs(error).max() <= 1


def test_signed_pixels(tmp_path: Path) -> None:
    series = Series()
    for index, dataset in enumerate(series.datasets):
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, 0
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.PixelData = series.hu[index].astype("<i2").tobytes()
    np.testing.assert_array_equal(read_ct(series.write(tmp_path)).hu, series.hu)


def padded_series(padding: int) -> Series:
    """Return signed slices whose first corner is padding."""
    series = Series()
    for index, dataset in enumerate(series.datasets):
        stored = series.hu[index].astype("<i2")
        stored[:4, :4] = padding
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, 0
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.PixelPaddingValue = padding
        dataset.PixelData = stored.tobytes()
    return series


def test_padding_becomes_air_but_never_punches_holes(tmp_path: Path) -> None:
    series = padded_series(-2000)
    assert (read_ct(series.write(tmp_path)).hu[:, :4, :4] == -1024).all()
    for index, dataset in enumerate(series.datasets):
        dataset.PixelPaddingValue = 50  # a value in the middle of the body's
        dataset.PixelData = series.hu[index].astype("<i2").tobytes()
    np.testing.assert_array_equal(read_ct(series.write(tmp_path)).hu, series.hu)


def test_signed_padding_is_known_whatever_the_transfer_syntax(tmp_path: Path) -> None:
    series = padded_series(-1500)
    for dataset in series.datasets:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert (read_ct(series.write(tmp_path)).hu[:, :4, :4] == -1024).all()


def test_missing_rescale(tmp_path: Path) -> None:
    series = Series()
    for dataset in series.datasets:
        del dataset.RescaleIntercept, dataset.RescaleSlope
    assert refused(series.write(tmp_path)).code == "input-rescale-missing"


def test_rescale_missing_on_some_slices(tmp_path: Path) -> None:
    series = Series()
    del series.datasets[3].RescaleIntercept
    assert refused(series.write(tmp_path)).code == "input-rescale-missing"


def test_rescale_slope_of_zero(tmp_path: Path) -> None:
    series = Series(tags={"RescaleSlope": 0})
    assert refused(series.write(tmp_path)).code == "input-rescale-missing"


def test_truncated_slice(tmp_path: Path) -> None:
    Series().write(tmp_path)
    victim = tmp_path / "IM0004.dcm"
    victim.write_bytes(victim.read_bytes()[:-1000])
    error = refused(tmp_path)
    assert error.code == "input-truncated"
    assert "IM0004.dcm" in error.message


def test_wrong_size_in_header(tmp_path: Path) -> None:
    series = Series(tags={"Rows": 65535, "Columns": 65535})
    assert refused(series.write(tmp_path)).code in ("input-too-large", "input-field-of-view")


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
def test_compressed_series(tmp_path: Path, syntax: str) -> None:
    series = Series()
    try:
        for dataset in series.datasets:
            dataset.compress(syntax)
    except (RuntimeError, NotImplementedError) as error:
        pytest.skip(f"no encoder for this transfer syntax: {error}")
    np.testing.assert_array_equal(read_ct(series.write(tmp_path)).hu, series.hu)


def jpeg_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Series, Path]:
    """Compress with ITK, and take pydicom's decoder away."""
    series = Series()
    series.write(tmp_path / "plain")
    (tmp_path / "jpeg").mkdir()
    for file in sorted((tmp_path / "plain").iterdir()):
        image = sitk.ReadImage(str(file))
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG2000")
        writer.SetFileName(str(tmp_path / "jpeg" / file.name))
        writer.Execute(image)
    monkeypatch.setattr("CovidLesionSegLib.engine.dicom_pixels._pydicom_decodes", lambda _: False)
    return series, tmp_path / "jpeg"


def test_gdcm_takes_over_where_pydicom_has_no_decoder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pydicom import dcmread

    series, folder = jpeg_series(tmp_path, monkeypatch)
    first = next(folder.iterdir())
    assert dcmread(first).file_meta.TransferSyntaxUID == JPEG2000Lossless
    np.testing.assert_array_equal(read_ct(folder).hu, series.hu)


def test_compression_nobody_decodes(tmp_path: Path) -> None:
    series = Series()
    for dataset in series.datasets:
        dataset.compress(RLELossless)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.203"  # HTJ2K, no decoder
    assert refused(series.write(tmp_path)).code == "dicom-decode"


def test_enhanced_ct_in_one_file(tmp_path: Path) -> None:
    series = Series()
    enhanced(series).save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    for target in (tmp_path, tmp_path / "enhanced.dcm"):
        ct = read_ct(target)
        np.testing.assert_array_equal(ct.hu, series.hu)
        np.testing.assert_allclose(ct.affine_lps[:3, 3], series.origin_mm)


def test_file_without_magic_word(tmp_path: Path) -> None:
    series = Series()
    for index, dataset in enumerate(series.datasets):
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        dataset.save_as(tmp_path / f"{index}.dcm")
        raw = (tmp_path / f"{index}.dcm").read_bytes()
        start = raw.index(b"\x08\x00\x08\x00")  # the first element after the file meta group
        (tmp_path / f"{index}.dcm").write_bytes(raw[start:])
    np.testing.assert_array_equal(read_ct(tmp_path).hu, series.hu)
