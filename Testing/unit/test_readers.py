"""Image files on disk: every format, every header trap, nothing read silently wrong."""

from __future__ import annotations

import gzip
import itertools
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from CovidLesionSegLib.engine import readers
from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.errors import InputError
from Testing.support.refusal import refused_file as refused
from Testing.support.synthetic_ct import ORIGIN_LPS_MM, SPACING_MM_XYZ, chest_hu, rotation

HU = chest_hu()
FORMATS = ("ct.nii", "ct.nii.gz", "ct.nrrd", "ct.nhdr", "ct.mha", "ct.mhd")
Header = Callable[[bytes], bytes]


def image_of(
    voxels: NDArray[np.generic] = HU, direction: NDArray[np.float64] | None = None
) -> sitk.Image:
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(SPACING_MM_XYZ)
    image.SetOrigin(ORIGIN_LPS_MM)
    image.SetDirection((np.eye(3) if direction is None else direction).ravel().tolist())
    return image


def written(path: Path, image: sitk.Image | None = None, compressed: bool = False) -> Path:
    sitk.WriteImage(image or image_of(), str(path), useCompression=compressed)
    return path


def affine_of(image: sitk.Image) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return affine


def nifti(path: Path, *edits: tuple[int, str, float]) -> Path:
    """Write a NIfTI and overwrite fields of its header, given by offset and struct format."""
    raw = bytearray(written(path.with_suffix(".base.nii")).read_bytes())
    for offset, kind, value in edits:
        struct.pack_into("<" + kind, raw, offset, value)
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def text_header(path: Path, *replacements: tuple[str, str]) -> Path:
    """Write an image and replace parts of its text header; every part must be there."""
    written(path)
    raw = path.read_bytes()
    for old, new in replacements:
        assert old.encode() in raw, old
        raw = raw.replace(old.encode(), new.encode(), 1)
    path.write_bytes(raw)
    return path


# Whole files --------------------------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format(tmp_path: Path, name: str, compressed: bool) -> None:
    image = image_of(direction=rotation((8.0, -5.0, 12.0)))
    ct = read_ct(written(tmp_path / name, image, compressed))
    np.testing.assert_array_equal(ct.to_input_grid(ct.hu), HU)
    np.testing.assert_allclose(ct.input_affine_lps, affine_of(image), atol=1e-4)
    assert ct.flags == ()
    assert ct.provenance.name == "ct"
    assert ct.provenance.files[0] == str(tmp_path / name)
    assert {Path(file).parent for file in ct.provenance.files} == {tmp_path}


def test_path_may_be_a_string_and_uppercase(tmp_path: Path) -> None:
    written(tmp_path / "ct.nii.gz").rename(tmp_path / "Scan 1.NII.GZ")
    assert read_ct(str(tmp_path / "Scan 1.NII.GZ")).provenance.name == "Scan 1"


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_other_voxel_types(tmp_path: Path, dtype: type) -> None:
    ct = read_ct(written(tmp_path / "ct.nii.gz", image_of(HU.astype(dtype))))
    np.testing.assert_array_equal(ct.hu, HU)


def test_big_endian(tmp_path: Path) -> None:
    path = written(tmp_path / "ct.nrrd")
    header, voxels = path.read_bytes().split(b"\n\n", 1)
    swapped = np.frombuffer(voxels, "<i2").astype(">i2").tobytes()
    path.write_bytes(header.replace(b"endian: little", b"endian: big") + b"\n\n" + swapped)
    np.testing.assert_array_equal(read_ct(path).hu, HU)


def test_trailing_axis_of_one_voxel_is_dropped(tmp_path: Path) -> None:
    path = nifti(tmp_path / "ct.nii", (40, "h", 4), (48, "h", 1))
    np.testing.assert_array_equal(read_ct(path).hu, HU)
    image = sitk.JoinSeries([image_of()])
    np.testing.assert_array_equal(read_ct(written(tmp_path / "4d.mha", image)).hu, HU)


def test_nifti_rescale_is_applied(tmp_path: Path) -> None:
    path = written(tmp_path / "stored.nii", image_of((HU + 1024).astype(np.int16)))
    refused(path, "input-rescale-missing")
    raw = bytearray(path.read_bytes())
    struct.pack_into("<2f", raw, 112, 1.0, -1024.0)
    path.write_bytes(raw)
    np.testing.assert_array_equal(read_ct(path).hu, HU)


@pytest.mark.parametrize("members", [1, 3])
def test_gzip_of_several_members(tmp_path: Path, members: int) -> None:
    raw = written(tmp_path / "ct.nii").read_bytes()
    cuts = np.linspace(0, len(raw), members + 1).astype(int)
    parts = [gzip.compress(raw[a:b]) for a, b in itertools.pairwise(cuts)]
    (tmp_path / "many.nii.gz").write_bytes(b"".join(parts))
    np.testing.assert_array_equal(read_ct(tmp_path / "many.nii.gz").hu, HU)


def test_padding_after_a_compressed_file(tmp_path: Path) -> None:
    path = nifti(tmp_path / "ct.nii.gz")
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(512))
    assert read_ct(path).hu.shape == chest_hu().shape
    path.write_bytes(whole + b"rubbish")
    refused(path, "input-truncated")


def test_acceptance_is_told_after_the_header_and_before_the_voxels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(readers, "check_payload", lambda _header: told.append("voxels"))
    read_ct(nifti(tmp_path / "ct.nii"), accepted=lambda: told.append("accepted"))
    assert told == ["accepted", "voxels"]

    with pytest.raises(InputError):
        read_ct(
            nifti(tmp_path / "flat.nii", (40, "h", 2)), accepted=lambda: told.append("accepted")
        )
    assert told == ["accepted", "voxels"]


def test_orientation_that_is_not_stated_is_flagged(tmp_path: Path) -> None:
    path = nifti(tmp_path / "ct.nii", (252, "h", 0), (254, "h", 0))
    assert read_ct(path).flags == ("orientation-unknown",)
    path = text_header(tmp_path / "ct.nrrd", ("left-posterior-superior", "scanner-xyz"))
    assert read_ct(path).flags == ("orientation-unknown",)
    path = text_header(tmp_path / "ct.mha", ("TransformMatrix = 1 0 0 0 1 0 0 0 1\n", ""))
    assert read_ct(path).flags == ("orientation-unknown",)


# Paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["missing.nii.gz", "no/such/folder", "nul\0byte.nii", "x" * 300])
def test_missing(tmp_path: Path, name: str) -> None:
    refused(tmp_path / name, "input-not-found")


def test_empty_file_and_folder(tmp_path: Path) -> None:
    (tmp_path / "ct.nii.gz").touch()
    refused(tmp_path / "ct.nii.gz", "input-empty")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "input-empty")


def test_folder_without_dicom(tmp_path: Path) -> None:
    written(tmp_path / "ct.nii.gz")
    assert "one file" in refused(tmp_path, "input-format").hint


@pytest.mark.parametrize("name", ["ct.jpg", "report.pdf", "ct"])
def test_other_formats(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"something else entirely" * 20)
    refused(tmp_path / name, "input-format")


@pytest.mark.parametrize("name", [*FORMATS, "ct.dcm"])
def test_no_image_at_all(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"<html>404 not found</html>" * 40)
    with pytest.raises(InputError) as caught:
        read_ct(tmp_path / name)
    assert caught.value.code in ("input-truncated", "input-format")


def test_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "ct.nii.gz")
    path.chmod(0)
    if os.access(path, os.R_OK):  # an administrator may read everything

        def deny(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", deny)
    refused(path, "input-permission")


def test_messages_do_not_contain_folders(tmp_path: Path) -> None:
    (tmp_path / "ct.nii").write_bytes(b"\0" * 1000)
    assert str(tmp_path) not in str(refused(tmp_path / "ct.nii", "input-truncated"))


# Truncated and lying headers ----------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.mha"])
@pytest.mark.parametrize("share", [0.999, 0.9, 0.5, 0.1, 0.003])
def test_truncated(tmp_path: Path, name: str, compressed: bool, share: float) -> None:
    path = written(tmp_path / name, compressed=compressed)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    refused(path, "input-truncated")


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.mha"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_one_wrong_byte_in_compressed_voxels(tmp_path: Path, name: str, share: float) -> None:
    path = written(tmp_path / name, compressed=True)
    raw = bytearray(path.read_bytes())
    raw[int(len(raw) * share)] ^= 0x55
    path.write_bytes(raw)
    refused(path, "input-truncated")


@pytest.mark.parametrize("name", ["ct.nhdr", "ct.mhd"])
def test_voxels_in_another_file_that_is_missing_or_short(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name)
    voxels = next(file for file in tmp_path.iterdir() if file != path)
    voxels.write_bytes(voxels.read_bytes()[:-100])
    refused(path, "input-truncated")
    voxels.unlink()
    refused(path, "input-truncated")


HUGE = "1000000 1000000 1000000"
BIG = "1000 1000 1000"


@pytest.mark.parametrize(
    ("sizes", "code"), [(HUGE, "input-too-large"), (BIG, "input-field-of-view")]
)
def test_size_of_a_planet_is_refused_before_allocating(
    tmp_path: Path, sizes: str, code: str
) -> None:
    refused(text_header(tmp_path / "ct.nrrd", ("sizes: 52 44 12", f"sizes: {sizes}")), code)
    refused(text_header(tmp_path / "ct.mha", ("DimSize = 52 44 12", f"DimSize = {sizes}")), code)
    x, y, z = (min(int(word), 32767) for word in sizes.split())
    edits = ((42, "h", x), (44, "h", y), (46, "h", z))
    refused(nifti(tmp_path / "ct.nii", *edits), code)


def test_compressed_bomb_is_refused_before_allocating(tmp_path: Path) -> None:
    """1.3 GB of voxels are promised, of which 60 kB are there."""
    edits = ((42, "h", 800), (44, "h", 800), (46, "h", 1000))
    spacing = ((80, "f", 1.0), (84, "f", 1.0), (88, "f", 1.0), (254, "h", 0))
    refused(nifti(tmp_path / "ct.nii.gz", *edits, *spacing), "input-truncated")


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha"])
def test_negative_sizes(tmp_path: Path, name: str) -> None:
    refused(text_header(tmp_path / name, ("52 44 12", "52 -44 12")), "input-not-3d")


# Geometry in headers ------------------------------------------------------------------------

NIFTI_GRIDS = [
    ("pixdim 0", [(80, "f", 0.0)], "input-spacing"),
    ("pixdim NaN", [(84, "f", np.nan)], "input-spacing"),
    ("pixdim and sform differ", [(88, "f", 2.0)], "input-spacing-conflict"),
    ("sform sheared", [(288, "f", 1.5)], "input-sheared"),
    ("sform sheared, no qform", [(288, "f", 1.5), (252, "h", 0)], "input-sheared"),
    ("sform zero", [(280, "f", 0.0)], "input-spacing-conflict"),
    ("sform NaN", [(292, "f", np.nan)], "input-orientation"),
    ("qform NaN", [(268, "f", np.nan)], "input-orientation"),
    ("metres", [(123, "b", 1)], "input-spacing"),
    ("slope NaN", [(112, "f", np.nan)], "input-rescale-missing"),
    ("slope 0, intercept", [(112, "f", 0.0), (116, "f", -1024.0)], "input-rescale-missing"),
    ("datatype", [(70, "h", 9999)], "input-truncated"),
    ("complex", [(70, "h", 32), (72, "h", 64)], "input-not-scalar"),
    ("2D", [(40, "h", 2)], "input-not-3d"),
    ("4D", [(40, "h", 4), (46, "h", 6), (48, "h", 2)], "input-not-3d"),
    ("no axes", [(40, "h", 0)], "input-truncated"),
]


@pytest.mark.parametrize("row", NIFTI_GRIDS, ids=[row[0] for row in NIFTI_GRIDS])
def test_nifti_traps(tmp_path: Path, row: tuple[str, list[tuple[int, str, float]], str]) -> None:
    _, edits, code = row
    # The sheared column keeps its length, so that only the shear is wrong.
    if "sheared" in row[0]:
        length = float(np.hypot(1.5, SPACING_MM_XYZ[2]))
        edits = [*edits, (88, "f", length)]
    refused(nifti(tmp_path / "ct.nii", *edits), code)


DIRECTIONS = "space directions: (6,0,0) (0,6.5,0) (0,0,5)"
NRRD_TRAPS = [
    ("zero", [(DIRECTIONS, "space directions: (0,0,0) (0,1,0) (0,0,5)")], "input-spacing"),
    ("none", [(DIRECTIONS, "space directions: none (0,6,0) (0,0,5)")], "input-spacing"),
    ("equal", [(DIRECTIONS, "space directions: (6,0,0) (6,0,0) (0,0,5)")], "input-orientation"),
    ("sheared", [(DIRECTIONS, "space directions: (6,0,0) (0,6,0) (0,1,5)")], "input-sheared"),
    ("NaN", [(DIRECTIONS, "space directions: (nan,0,0) (0,6,0) (0,0,5)")], "input-truncated"),
    ("type", [("type: short", "type: block")], "input-truncated"),
    ("encoding", [("encoding: raw", "encoding: secret")], "input-truncated"),
    ("no sizes", [("sizes: ", "sizez: ")], "input-truncated"),
]


@pytest.mark.parametrize("row", NRRD_TRAPS, ids=[row[0] for row in NRRD_TRAPS])
def test_nrrd_traps(tmp_path: Path, row: tuple[str, list[tuple[str, str]], str]) -> None:
    refused(text_header(tmp_path / "ct.nrrd", *row[1]), row[2])


MATRIX = "TransformMatrix = 1 0 0 0 1 0 0 0 1"
META_TRAPS = [
    ("zero", [("ElementSpacing = 6", "ElementSpacing = 0")], "input-spacing"),
    ("negative", [("ElementSpacing = 6", "ElementSpacing = -6")], "input-spacing"),
    ("NaN", [("ElementSpacing = 6", "ElementSpacing = nan")], "input-spacing"),
    ("sheared", [(MATRIX, "TransformMatrix = 1 0 0 0.28 0.96 0 0 0 1")], "input-sheared"),
    ("scaled", [(MATRIX, "TransformMatrix = 2 0 0 0 1 0 0 0 1")], "input-orientation"),
    ("equal", [(MATRIX, "TransformMatrix = 1 0 0 1 0 0 0 0 1")], "input-orientation"),
    ("axes", [("NDims = 3", "NDims = 4")], "input-truncated"),
    ("device", [("ElementDataFile = LOCAL", "ElementDataFile = /dev/zero")], "input-truncated"),
    ("folder", [("ElementDataFile = LOCAL", "ElementDataFile = .")], "input-truncated"),
    ("long", [("ElementDataFile = LOCAL", f"ElementDataFile = {'x' * 300}")], "input-truncated"),
]


@pytest.mark.parametrize("row", META_TRAPS, ids=[row[0] for row in META_TRAPS])
def test_metaimage_traps(tmp_path: Path, row: tuple[str, list[tuple[str, str]], str]) -> None:
    refused(text_header(tmp_path / "ct.mha", *row[1]), row[2])


def test_voxels_in_one_file_per_slice(tmp_path: Path) -> None:
    local = "ElementDataFile = LOCAL"
    for name in ("LIST", "slice%03d.raw 1 12 1"):
        path = text_header(tmp_path / "ct.mha", (local, f"ElementDataFile = {name}"))
        refused(path, "input-format")
        path = text_header(
            tmp_path / "ct.nrrd", ("encoding: raw", f"encoding: raw\ndata file: {name}")
        )
        refused(path, "input-format")


def test_stream_that_makes_itk_crash(tmp_path: Path) -> None:
    path = written(tmp_path / "ct.mha", compressed=True)
    path.write_bytes(path.read_bytes().replace(b"LOCAL\n", b"LOCAL\r"))
    with pytest.raises(InputError):
        read_ct(path)


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.mha"])
def test_dimensions_and_components(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    refused(written(path, image_of()[:, :, 5]), "input-not-3d")
    refused(written(path, sitk.JoinSeries([image_of(), image_of()])), "input-not-3d")
    colour = sitk.Compose([sitk.Cast(image_of(), sitk.sitkUInt8)] * 3)
    refused(written(path, colour), "input-not-scalar")


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz", "ct.nrrd", "ct.mha"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_not_finite_voxels(tmp_path: Path, name: str, dtype: type) -> None:
    voxels: NDArray[np.floating] = HU.astype(dtype)
    voxels[3, 4, 5] = np.nan
    refused(written(tmp_path / name, image_of(voxels)), "input-not-finite")


# Real CT ------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize("name", ["coronacases/coronacases_003", "medseg_p9/p9_6"])
def test_real_ct_equals_simpleitk(data_dir: Path, name: str) -> None:
    path = data_dir / f"{name}_ct.nii.gz"
    ct, image = read_ct(path), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(ct.to_input_grid(ct.hu), sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(ct.input_affine_lps, affine_of(image), atol=1e-9)
    assert ct.provenance.source == "nifti"
