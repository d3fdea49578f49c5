"""Every guard, with an input that triggers it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.engine import guards
from CovidLesionSegLib.engine.geometry import AxisOrientation
from CovidLesionSegLib.engine.guards import FLAG_TEXT, check_header, checked_volume
from CovidLesionSegLib.engine.intensity import to_int16
from CovidLesionSegLib.engine.readers import read_ct
from CovidLesionSegLib.engine.volume import CtVolume, Provenance
from Testing.support.refusal import refused
from Testing.support.synthetic_ct import affine_lps, chest_hu, rotation

ENGINE = Path(guards.__file__).parent
HU = chest_hu()


def test_a_good_ct_passes_without_flags() -> None:
    ct = checked_volume(HU, affine_lps(), Provenance("array", "chest"))
    assert ct.flags == ()
    np.testing.assert_array_equal(ct.hu, HU)
    assert ct.hu.dtype == np.int16
    assert ct.provenance.name == "chest"


# Size and geometry --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "components", "code"),
    [
        ((44, 52), 1, "input-not-3d"),
        ((3, 12, 44, 52), 1, "input-not-3d"),
        ((0, 44, 52), 1, "input-not-3d"),
        ((12, 44, 52), 3, "input-not-scalar"),
        ((7, 44, 52), 1, "input-too-few-slices"),
        ((2001, 44, 52), 1, "input-too-many-slices"),
        ((2000, 1500, 1500), 1, "input-too-large"),
    ],
)
def test_size(shape: tuple[int, ...], components: int, code: str) -> None:
    affine = affine_lps((0.5, 0.5, 1.0))
    refused(lambda: check_header(shape, affine, components), code)


def test_slices_are_counted_along_the_patient_not_along_the_file() -> None:
    sagittal = np.diag([0.0, 0.0, 0.0, 1.0])
    sagittal[0, 2], sagittal[1, 0], sagittal[2, 1] = 5.0, 5.0, 5.0
    check_header((40, 8, 40), sagittal)
    refused(lambda: check_header((40, 7, 40), sagittal), "input-too-few-slices")


@pytest.mark.parametrize("spacing", [(0.0, 1, 1), (1, 0.05, 1), (1, 1, 25.0), (1, 1, 1e300)])
def test_spacing(spacing: tuple[float, float, float]) -> None:
    refused(lambda: check_header((40, 300, 300), affine_lps(spacing)), "input-spacing")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_affine_that_is_not_made_of_numbers(value: float) -> None:
    affine = affine_lps()
    affine[1, 1] = value
    refused(lambda: check_header(HU.shape, affine), "input-orientation")


def test_negative_spacing_in_an_affine_is_a_flip() -> None:
    assert checked_volume(HU, affine_lps((-6.0, 6.5, 5.0))).orientation.flipped[0]


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((40, 30, 30), (1.0, 1.0, 5.0)),
        ((40, 512, 512), (3.0, 3.0, 5.0)),
        ((10, 300, 300), (1.0, 1.0, 0.2)),
        ((1000, 300, 300), (1.0, 1.0, 5.0)),
    ],
)
def test_field_of_view(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> None:
    refused(lambda: check_header(shape, affine_lps(spacing)), "input-field-of-view")


def test_orientation() -> None:
    flat = affine_lps()
    flat[:3, 1] = flat[:3, 0]
    refused(lambda: check_header(HU.shape, flat), "input-orientation")
    far = affine_lps(origin_mm=(1e9, 0, 0))
    refused(lambda: check_header(HU.shape, far), "input-orientation")
    refused(lambda: check_header(HU.shape, np.eye(3)), "input-orientation")


@pytest.mark.parametrize(("degrees", "passes"), [(0.1, True), (0.5, False), (20.0, False)])
def test_shear(degrees: float, passes: bool) -> None:
    affine = affine_lps()
    affine[1, 2] = affine[2, 2] * np.tan(np.radians(degrees))
    if passes:
        assert check_header(HU.shape, affine) == ()
    else:
        error = refused(lambda: check_header(HU.shape, affine), "input-sheared")
        assert f"{degrees:.1f} degrees" in error.message


@pytest.mark.parametrize(
    ("spacing", "flag"),
    [
        ((6.0, 6.5, 9.0), "thick-slices"),
        ((0.8 * 8, 5.0 * 2, 6.0), "non-axial"),
        ((1.0, 1.0, 1.0), "spacing-unknown"),
    ],
)
def test_flags_of_the_header(spacing: tuple[float, float, float], flag: str) -> None:
    shape = (60, 60, 60)
    assert check_header(shape, affine_lps(spacing, (0, 0, 0))) == (flag,)


def test_oblique_flag() -> None:
    assert check_header(HU.shape, affine_lps(direction=rotation((30, 0, 0)))) == ("oblique",)
    assert check_header(HU.shape, affine_lps(direction=rotation((10, 0, 45)))) == ()


# Voxels -------------------------------------------------------------------------------------


def mr_like() -> NDArray[np.int16]:
    rng = np.random.default_rng(0)
    signal = np.where(HU > -900, 350 + 0.3 * np.abs(HU), 0.0)
    return np.rint(signal + rng.rayleigh(20, HU.shape)).astype(np.int16)


WITH_PADDING = np.where(HU < -990, -2000, HU + 1024).astype(np.int16)
BAD_VOXELS: list[tuple[str, NDArray[Any], str]] = [
    ("offset 1024", HU + 1024, "input-rescale-missing"),
    ("offset 1000", np.clip(HU + 1000, 0, None), "input-rescale-missing"),
    ("offset 8192", HU + 8192, "input-rescale-missing"),
    ("unsigned", (HU + 1024).astype(np.uint16), "input-rescale-missing"),
    ("offset with padding", WITH_PADDING, "input-rescale-missing"),
    ("intercept twice", HU - 1024, "input-no-soft-tissue"),
    ("8 bit", np.clip((HU + 1000) / 6, 0, 255).astype(np.uint8), "input-8-bit"),
    ("8 bit, signed", np.clip(HU // 8, -128, 127), "input-8-bit"),
    ("0 to 1", np.clip((HU + 1000) / 1500, 0, 1).astype(np.float32), "input-normalised"),
    ("z-score", (HU - HU.mean()) / HU.std(), "input-normalised"),
    ("label map", (HU > 0).astype(np.uint8), "input-normalised"),
    ("MR", mr_like(), "input-not-ct"),
    ("no air", np.clip(HU, -400, None), "input-no-air"),
    ("constant", np.full_like(HU, -1000), "input-blank"),
    ("zeros, float", np.zeros(HU.shape), "input-blank"),
    ("too bright", HU.astype(np.float32) * 100, "input-hu-range"),
    ("too bright, integer", HU.astype(np.int32) * 100, "input-hu-range"),
    ("complex", HU.astype(np.complex64), "input-not-scalar"),
    ("colour", np.stack([HU] * 3, axis=-1), "input-not-scalar"),
    ("over time", np.stack([HU] * 9, axis=0), "input-not-3d"),
]


@pytest.mark.parametrize(
    ("voxels", "code"), [row[1:] for row in BAD_VOXELS], ids=[row[0] for row in BAD_VOXELS]
)
def test_intensity(voxels: NDArray[Any], code: str) -> None:
    refused(lambda: checked_volume(voxels, affine_lps()), code)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_not_finite(value: float, dtype: type) -> None:
    voxels: NDArray[Any] = HU.astype(dtype)
    voxels[-1, -1, -1] = value
    refused(lambda: checked_volume(voxels, affine_lps()), "input-not-finite")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_other_types_are_converted_exactly(dtype: type) -> None:
    np.testing.assert_array_equal(checked_volume(HU.astype(dtype), affine_lps()).hu, HU)


def test_floats_are_rounded_not_cut_off() -> None:
    values = HU.astype(np.float32) + 0.4
    np.testing.assert_array_equal(checked_volume(values, affine_lps()).hu, HU)
    np.testing.assert_array_equal(checked_volume(values - 0.8, affine_lps()).hu, HU)


def test_int16_is_not_copied() -> None:
    assert to_int16(HU) is HU
    assert np.shares_memory(checked_volume(HU, affine_lps()).hu, HU)


def test_clipped_and_8_bit_derived_hu_pass() -> None:
    clipped = np.clip(HU, -1250, 250)
    steps = (np.rint(HU / 9) * 9).astype(np.int16)
    for voxels in (clipped, steps):
        assert checked_volume(voxels, affine_lps()).flags == ()


def test_shifted_hu_is_flagged() -> None:
    ct = checked_volume(np.clip(HU + 90, -1250, 250), affine_lps())
    assert ct.flags == ("hu-offset-suspected",)


def with_contrast(hu: NDArray[np.int16], above_hu: int) -> NDArray[np.int16]:
    """Brighten a heart between the lungs, in front of the middle of the body."""
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in hu.shape), indexing="ij")
    heart = ((x / 0.2) ** 2 + ((y + 0.15) / 0.35) ** 2 < 1) & (hu > -50)
    return np.where(heart, hu + above_hu, hu).astype(np.int16)


def test_contrast_is_flagged() -> None:
    assert checked_volume(with_contrast(HU, 200), affine_lps()).flags == ("contrast-suspected",)
    assert checked_volume(with_contrast(HU, 20), affine_lps()).flags == ()


@pytest.mark.parametrize("orientation", list(AxisOrientation.all())[::7], ids=str)
def test_flags_do_not_depend_on_the_orientation(orientation: AxisOrientation) -> None:
    reference = CtVolume.from_array(with_contrast(HU, 200), affine_lps((6.0, 6.5, 9.0)))
    affine = np.diag([0.0, 0.0, 0.0, 1.0])
    for row in range(3):
        sign = -1 if orientation.flipped[row] else 1
        affine[row, orientation.source_axis[row]] = sign * (6.0, 6.5, 9.0)[row]
    ct = checked_volume(orientation.from_lps(reference.hu), affine)
    np.testing.assert_array_equal(ct.hu, reference.hu)
    assert ct.flags == ("thick-slices", "contrast-suspected")


def test_flags_of_the_reader_are_kept_and_not_repeated() -> None:
    flags = ("orientation-unknown", "thick-slices")
    ct = checked_volume(HU, affine_lps((6.0, 6.5, 9.0)), flags=flags)
    assert ct.flags == flags


# The table ----------------------------------------------------------------------------------


def test_the_table_lists_every_code_and_flag() -> None:
    source = "".join(
        (ENGINE / f"{name}.py").read_text(encoding="utf-8")
        for name in (
            *("guards", "intensity", "refusals", "readers", "headers", "payload"),
            *("dicom", "dicom_pixels", "dicom_stack"),
        )
    )
    raised = set(re.findall(r'^\s+"((?:input|dicom)-[a-z0-9-]+)",$', source, re.MULTILINE))
    raised |= set(re.findall(r'InputError\("([a-z0-9-]+)"', source))
    rows = set(re.findall(r"^``([a-z0-9-]+)``\s", guards.__doc__ or "", re.MULTILINE))
    assert raised == rows - set(FLAG_TEXT)
    assert set(FLAG_TEXT) <= rows
    assert all(text.endswith(".") for text in FLAG_TEXT.values())


# Real CT ------------------------------------------------------------------------------------

REAL_FLAGS = {
    # HU of these cases were made from display windows: muscle lies at 104 to 147 HU.
    **dict.fromkeys(("p9_1", "p9_4", "p9_5", "p9_6", "p9_7"), ("hu-offset-suspected",)),
}


@pytest.mark.data
def test_real_ct_raises_no_false_alarm(data_dir: Path) -> None:
    for file in sorted(data_dir.glob("*/*_ct.nii.gz")):
        case = file.name.removesuffix("_ct.nii.gz")
        assert read_ct(file).flags == REAL_FLAGS.get(case, ()), case


@pytest.mark.data
def test_contrast_painted_into_real_ct_is_flagged(data_dir: Path) -> None:
    for name in ("coronacases/coronacases_003", "medseg_p9/p9_9"):
        ct = read_ct(data_dir / f"{name}_ct.nii.gz")
        bright = with_contrast(ct.hu, 180)
        flags = checked_volume(bright, ct.affine_lps).flags
        assert flags == ("contrast-suspected",), name
