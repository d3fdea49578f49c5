"""Lobes from files of every supported kind, and the refusal of what can't be right."""

from __future__ import annotations

import errno
import gzip
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (the usual abbreviation)
from numpy.typing import NDArray

from CovidLesionSegLib.engine import pipeline
from CovidLesionSegLib.engine.lobe_segments import (
    LOBES_DOUBTFUL,
    LOBES_RESAMPLED,
    NamedSegment,
    lobes_from_segments,
)
from CovidLesionSegLib.engine.lobes_file import check_lobes_file, lobes_from_file
from CovidLesionSegLib.engine.lungs import LungMask
from CovidLesionSegLib.engine.result import Anatomy, Lobe, LobeSource, Lung
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.errors import InputError
from Testing.support.block_chest import LOBE_BOXES, SHAPE_ZYX, affine_lps, make_anatomy, make_ct

Labels = NDArray[np.uint8]

TOTAL_SEGMENTATOR = {
    10: "lung_upper_lobe_left",
    11: "lung_lower_lobe_left",
    12: "lung_upper_lobe_right",
    13: "lung_middle_lobe_right",
    14: "lung_lower_lobe_right",
    16: "trachea",
}
OUR_LABEL = {10: Lobe.LUL, 11: Lobe.LLL, 12: Lobe.RUL, 13: Lobe.RML, 14: Lobe.RLL}


@pytest.fixture
def ct() -> CtVolume:
    return make_ct()


@pytest.fixture
def lungs() -> LungMask:
    return LungMask(make_anatomy().lungs, ())


@pytest.fixture
def lobes() -> Labels:
    labels = make_anatomy().lobes
    assert labels is not None
    return labels


def _renumbered(lobes: Labels) -> Labels:
    labels = np.zeros_like(lobes)
    for number, lobe in OUR_LABEL.items():
        labels[lobes == lobe] = number
    labels[4:6, 4:6, 11:13] = 16
    return labels


def _image(labels: NDArray[np.uint8]) -> sitk.Image:
    image = sitk.GetImageFromArray(labels, isVector=labels.ndim == 4)
    affine = affine_lps()
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def _check(anatomy: Anatomy, lobes: Labels, flags: tuple[str, ...] = ()) -> None:
    np.testing.assert_array_equal(anatomy.lobes, lobes)
    assert anatomy.lobe_source is LobeSource.FILE
    assert anatomy.missing == ()
    assert anatomy.flags == flags
    assert anatomy.lobe_uncertainty_mm == 0.0


def test_legend_beside_the_file(
    tmp_path: Path, ct: CtVolume, lungs: LungMask, lobes: Labels
) -> None:
    sitk.WriteImage(_image(_renumbered(lobes)), str(tmp_path / "seg.nii.gz"))
    (tmp_path / "seg.json").write_text(json.dumps(TOTAL_SEGMENTATOR))
    _check(lobes_from_file(tmp_path / "seg.nii.gz", ct, lungs), lobes)
    by_name = {"labels": {name: number for number, name in TOTAL_SEGMENTATOR.items()}}
    (tmp_path / "seg.json").write_text(json.dumps(by_name))
    _check(lobes_from_file(tmp_path / "seg.nii.gz", ct, lungs), lobes)


def test_a_turned_file_lands_on_the_same_voxels(
    tmp_path: Path, ct: CtVolume, lungs: LungMask, lobes: Labels
) -> None:
    turned = sitk.DICOMOrient(_image(_renumbered(lobes)), "ARI")
    sitk.WriteImage(turned, str(tmp_path / "seg.nrrd"))
    (tmp_path / "seg.json").write_text(json.dumps(TOTAL_SEGMENTATOR))
    _check(lobes_from_file(tmp_path / "seg.nrrd", ct, lungs), lobes)


def test_label_table_in_the_nifti_header(
    tmp_path: Path, ct: CtVolume, lungs: LungMask, lobes: Labels
) -> None:
    path = tmp_path / "seg.nii.gz"
    sitk.WriteImage(_image(_renumbered(lobes)), str(path))
    entries = "".join(
        f'<Label Key="{number}" Red="1" Green="0" Blue="0" Alpha="1"><![CDATA[{name}]]></Label>'
        for number, name in TOTAL_SEGMENTATOR.items()
    )
    table = f"<?xml version='1.0'?><CaretExtension>{entries}</CaretExtension>".encode()
    table += b"\\0" * (-(len(table) + 8) % 16)
    raw = gzip.decompress(path.read_bytes())
    header = bytearray(raw[:352])
    header[108:112] = struct.pack("<f", 352 + len(table) + 8)
    header[348] = 1
    extension = struct.pack("<ii", len(table) + 8, 0) + table
    path.write_bytes(gzip.compress(bytes(header) + extension + raw[352:]))
    _check(lobes_from_file(path, ct, lungs), lobes)


def test_slicer_segmentation_with_layers_codes_and_names(
    tmp_path: Path, ct: CtVolume, lungs: LungMask, lobes: Labels
) -> None:
    second = np.where(lobes >= Lobe.LUL, lobes, 0).astype(np.uint8)
    first = np.where(lobes < Lobe.LUL, lobes, 0).astype(np.uint8)
    image = _image(np.stack([first, second], axis=-1))
    terms = {
        Lobe.RUL: "SCT^45653009^Upper lobe of lung~SCT^24028007^Right",
        Lobe.LLL: "SCT^90572001^Lower lobe of lung~SCT^7771000^Left",
    }
    names = {Lobe.RUL: "Segment_1", Lobe.LLL: "right upper lobe"}  # codes win over names
    for number, lobe in enumerate(Lobe):
        prefix = f"Segment{number}_"
        image.SetMetaData(f"{prefix}ID", f"s{number}")
        image.SetMetaData(f"{prefix}Name", names.get(lobe, lobe.long_name))
        image.SetMetaData(f"{prefix}Layer", str(int(lobe >= Lobe.LUL)))
        image.SetMetaData(f"{prefix}LabelValue", str(int(lobe)))
        if lobe in terms:
            entry = f"list~SCT^123037004^Anatomical Structure~{terms[lobe]}~regions~^^~^^"
            image.SetMetaData(f"{prefix}Tags", f"Status:done|TerminologyEntry:{entry}|")
    sitk.WriteImage(image, str(tmp_path / "lobes.seg.nrrd"))
    _check(lobes_from_file(tmp_path / "lobes.seg.nrrd", ct, lungs), lobes)


def test_a_folder_of_masks(tmp_path: Path, ct: CtVolume, lungs: LungMask, lobes: Labels) -> None:
    for number, name in TOTAL_SEGMENTATOR.items():
        mask = (_renumbered(lobes) == number).astype(np.uint8)
        sitk.WriteImage(_image(mask), str(tmp_path / f"{name}.nii.gz"))
    _check(lobes_from_file(tmp_path, ct, lungs), lobes)


def test_another_grid_is_resampled_and_flagged(
    tmp_path: Path, ct: CtVolume, lungs: LungMask, lobes: Labels
) -> None:
    image = sitk.Expand(_image(_renumbered(lobes)), [2, 2, 2], sitk.sitkNearestNeighbor)
    sitk.WriteImage(image, str(tmp_path / "seg.nrrd"))
    (tmp_path / "seg.json").write_text(json.dumps(TOTAL_SEGMENTATOR))
    _check(lobes_from_file(tmp_path / "seg.nrrd", ct, lungs), lobes, ("lobes-resampled",))


def test_numbers_without_names_are_told_apart_by_position(
    tmp_path: Path, ct: CtVolume, lungs: LungMask, lobes: Labels
) -> None:
    shuffled = np.array([0, 4, 2, 5, 1, 3], dtype=np.uint8)[lobes]
    sitk.WriteImage(_image(shuffled), str(tmp_path / "seg.nii.gz"))
    anatomy = lobes_from_file(tmp_path / "seg.nii.gz", ct, lungs)
    _check(anatomy, lobes, ("lobes-by-position",))


def test_lungmask_order_only_when_said_so(
    tmp_path: Path, ct: CtVolume, lungs: LungMask, lobes: Labels
) -> None:
    lungmask = np.array([0, 3, 4, 5, 1, 2], dtype=np.uint8)[lobes]
    sitk.WriteImage(_image(lungmask), str(tmp_path / "seg.nii.gz"))
    _check(lobes_from_file(tmp_path / "seg.nii.gz", ct, lungs, lungmask_order=True), lobes)


def _refusal(segments: list[NamedSegment], ct: CtVolume, lungs: LungMask) -> str:
    with pytest.raises(InputError) as caught:
        lobes_from_segments(segments, ct, lungs)
    return caught.value.code


def _segments(lobes: Labels) -> dict[Lobe, NamedSegment]:
    return {lobe: NamedSegment(lobe.long_name, lobes == lobe) for lobe in Lobe}


def test_the_lingula_joins_its_lobe_wherever_it_stands(
    ct: CtVolume, lungs: LungMask, lobes: Labels
) -> None:
    good = _segments(lobes)
    upper = good.pop(Lobe.LUL).mask
    half = upper.copy()
    half[: int(np.median(np.nonzero(upper)[0]))] = False
    parts = [NamedSegment("Lingula", upper & ~half), NamedSegment("Left upper lobe", half)]
    for order in (parts, parts[::-1]):
        anatomy = lobes_from_segments([*order, *good.values()], ct, lungs)
        np.testing.assert_array_equal(anatomy.lobes, lobes)


def test_lobes_that_overlap_another_chest_are_doubted(
    ct: CtVolume, lungs: LungMask, lobes: Labels
) -> None:
    def flags(shift: int) -> tuple[str, ...]:
        moved = [
            NamedSegment(s.name, np.roll(s.mask, shift, axis=2)) for s in _segments(lobes).values()
        ]
        return lobes_from_segments(moved, ct, lungs).flags

    assert LOBES_DOUBTFUL not in flags(0)
    assert LOBES_DOUBTFUL not in flags(1)  # an eighth of the width of a lung
    assert LOBES_DOUBTFUL in flags(2)


def test_refusals(ct: CtVolume, lungs: LungMask, lobes: Labels) -> None:
    good = _segments(lobes)
    assert _refusal([], ct, lungs) == "lobes-not-recognised"
    assert _refusal([NamedSegment("thing", lobes > 0)], ct, lungs) == "lobes-not-recognised"
    twice = [*good.values(), NamedSegment("RUL", lobes == Lobe.RUL)]
    assert _refusal(twice, ct, lungs) == "lobes-duplicate"
    fat = NamedSegment("RML", (lobes == Lobe.RML) | (lobes == Lobe.RLL))
    assert _refusal([good[Lobe.RLL], fat], ct, lungs) == "lobes-overlap"
    outside = np.zeros(SHAPE_ZYX, dtype=bool)
    outside[:, :, :2] = True
    assert _refusal([NamedSegment("RUL", outside)], ct, lungs) == "lobes-outside-lungs"
    mirrored = [NamedSegment(s.name, s.mask[..., ::-1]) for s in good.values()]
    assert _refusal(mirrored, ct, lungs) == "lobes-sides-swapped"
    upside_down = [NamedSegment(s.name, s.mask[::-1]) for s in good.values()]
    assert _refusal(upside_down, ct, lungs) == "lobes-implausible"


def test_four_lobes_after_surgery(ct: CtVolume, lungs: LungMask, lobes: Labels) -> None:
    segments = [s for lobe, s in _segments(lobes).items() if lobe is not Lobe.RML]
    anatomy = lobes_from_segments(segments, ct, lungs)
    assert anatomy.missing == (Lobe.RML,)
    assert "lobe-missing" in anatomy.flags
    assert anatomy.lobes is not None
    # What the missing lobe leaves behind belongs to no other lobe.
    assert not anatomy.lobes[LOBE_BOXES[Lobe.RML]].any()
    assert anatomy.lobe_source is LobeSource.SCENE


def test_lungs_and_lobes_agree_voxel_by_voxel(ct: CtVolume, lungs: LungMask, lobes: Labels) -> None:
    smaller = lobes.copy()
    smaller[:, :, 9] = 0  # the lobes leave out the lung's medial border
    smaller[7, 4, 23] = Lobe.LUL  # and hold a voxel that the lungs do not
    anatomy = lobes_from_segments(list(_segments(smaller).values()), ct, lungs)
    assert anatomy.lobes is not None
    np.testing.assert_array_equal(anatomy.lobes > 0, anatomy.lungs > 0)
    assert anatomy.lungs[7, 4, 23] == Lung.LEFT
    np.testing.assert_array_equal(anatomy.lobes[:, :, 9], lobes[:, :, 9])


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_unreadable_files(tmp_path: Path, ct: CtVolume, lungs: LungMask, content: bytes) -> None:
    path = tmp_path / "seg.nrrd"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        lobes_from_file(path, ct, lungs)
    assert caught.value.code == "lobes-not-readable"
    with pytest.raises(InputError) as caught:
        lobes_from_file(tmp_path / "absent.nrrd", ct, lungs)
    assert caught.value.code == "lobes-not-readable"


def _refusal_before_any_work(
    path: Path, ct: CtVolume, monkeypatch: pytest.MonkeyPatch
) -> InputError:
    def open_nothing(_: object) -> None:
        raise AssertionError("networks were opened")

    monkeypatch.setattr(pipeline, "open_networks", open_nothing)
    with pytest.raises(InputError) as caught:
        pipeline.segment(ct, lobes=path)
    return caught.value


@pytest.mark.parametrize("folder", [False, True])
def test_damaged_lobes_are_refused_before_any_work(
    tmp_path: Path, ct: CtVolume, lobes: Labels, folder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lung_lower_lobe_left.nii.gz"
    sitk.WriteImage(_image((lobes == Lobe.LLL).astype(np.uint8)), str(path), True)
    path.write_bytes(path.read_bytes()[:-20])
    refusal = _refusal_before_any_work(tmp_path if folder else path, ct, monkeypatch)
    assert refusal.code == "lobes-not-readable"
    assert refusal.hint.endswith("export the lobes again.")


@pytest.mark.parametrize(
    ("name", "code", "hint"),
    [
        ("lobes.txt", "lobes-not-readable", "Lobes can be NIfTI, NRRD, MetaImage or .seg.nrrd."),
        ("lobes.dcm", "lobes-not-readable", "Lobes can be NIfTI, NRRD, MetaImage or .seg.nrrd."),
        ("", "lobes-not-recognised", 'Name them like "right upper lobe"'),
    ],
)
def test_what_holds_no_lobes_is_refused_before_any_work(
    name: str,
    code: str,
    hint: str,
    tmp_path: Path,
    ct: CtVolume,
    lobes: Labels,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for text in ("lobes.txt", "lobes.dcm"):
        (tmp_path / text).write_bytes(bytes(128) + b"DICM")
    sitk.WriteImage(_image((lobes == Lobe.LLL).astype(np.uint8)), str(tmp_path / "heart.nii"))
    refusal = _refusal_before_any_work(tmp_path / name, ct, monkeypatch)
    assert refusal.code == code
    assert refusal.hint.startswith(hint)


def test_a_missing_file_is_refused_as_any_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file or folder 'absent.nii.gz'") as caught:
        check_lobes_file(tmp_path / "absent.nii.gz")
    assert caught.value.code == "lobes-not-readable"


@pytest.mark.parametrize("place", ["file", "folder"])
def test_lobes_without_permission_are_refused_in_words(
    tmp_path: Path, lobes: Labels, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lobes.nii"
    sitk.WriteImage(_image(lobes), str(path))

    def refuse(itself: Path, *_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(itself))

    monkeypatch.setattr(Path, "open" if place == "file" else "iterdir", refuse)
    with pytest.raises(InputError, match="may not be read with your user account") as caught:
        check_lobes_file(path if place == "file" else tmp_path)
    assert caught.value.code == "lobes-not-readable"


def test_lobes_whose_header_is_wrong_are_not_exported_as_a_ct(
    tmp_path: Path, lobes: Labels
) -> None:
    path = tmp_path / "lobes.nrrd"
    sitk.WriteImage(_image(lobes), str(path))
    size = " ".join(map(str, lobes.shape[::-1])).encode()
    path.write_bytes(path.read_bytes().replace(b"sizes: " + size, b"sizes: 90000 90000 90000"))
    with pytest.raises(InputError, match="too large") as caught:
        check_lobes_file(path)
    assert caught.value.hint == "Export the lobes again, on the grid of their CT."


def test_two_files_of_one_lobe_are_not_chosen_between(
    tmp_path: Path, ct: CtVolume, lungs: LungMask, lobes: Labels
) -> None:
    for suffix in (".nii", ".nii.gz"):
        mask = _image((lobes == Lobe.LLL).astype(np.uint8))
        sitk.WriteImage(mask, str(tmp_path / f"lung_lower_lobe_left{suffix}"))
    with pytest.raises(InputError) as caught:
        lobes_from_file(tmp_path, ct, lungs)
    assert caught.value.code == "lobes-duplicate"
    (tmp_path / "lung_lower_lobe_left.nii").write_bytes(b"damaged")
    with pytest.raises(InputError) as caught:
        check_lobes_file(tmp_path)
    assert caught.value.code == "lobes-not-readable"


def test_lobes_of_the_whole_chest_fit_a_crop_of_its_ct(
    tmp_path: Path, ct: CtVolume, lungs: LungMask, lobes: Labels
) -> None:
    sitk.WriteImage(_image(_renumbered(lobes)), str(tmp_path / "seg.nrrd"))
    (tmp_path / "seg.json").write_text(json.dumps(TOTAL_SEGMENTATOR))
    middle = lobes.shape[0] // 2
    part = slice(middle, middle + lobes.shape[0] // 5)
    affine = ct.affine_lps.copy()
    affine[:3, 3] += affine[:3, 2] * part.start
    crop = CtVolume.from_array(ct.hu[part], affine)
    found = lobes_from_file(tmp_path / "seg.nrrd", crop, replace(lungs, labels=lungs.labels[part]))
    np.testing.assert_array_equal(found.lobes, lobes[part])
    assert LOBES_RESAMPLED in found.flags


def test_lobes_of_another_patient(
    tmp_path: Path, ct: CtVolume, lungs: LungMask, lobes: Labels
) -> None:
    image = _image(lobes)
    image.SetOrigin([1000.0, 0.0, 0.0])
    sitk.WriteImage(image, str(tmp_path / "seg.nrrd"))
    with pytest.raises(InputError) as caught:
        lobes_from_file(tmp_path / "seg.nrrd", ct, lungs)
    assert caught.value.code == "lobes-other-place"
