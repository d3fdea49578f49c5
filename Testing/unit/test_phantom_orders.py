"""The phantom as ordered: variants, impossible orders, files."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (the usual abbreviation)

from CovidLesionSegLib.engine.phantom import (
    Phantom,
    PhantomSpec,
    Truth,
    make_phantom,
    measure_truth,
    render,
    write_phantom,
)
from CovidLesionSegLib.engine.phantom.layers import MIXED
from CovidLesionSegLib.engine.phantom.spec import LobeName
from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from Testing.support.phantoms import COARSE, SMALL, scan_round, voxel_ml


def test_pneumonectomy_leaves_the_left_lung() -> None:
    spec = replace(SMALL, pneumonectomy=True, lesions=None)
    where = (-32.0, 10.0, -8.0)
    one, two = scan_round(spec, where, 10), scan_round(replace(SMALL, lesions=None), where, 10)
    assert (two.lungs == 1).mean() > 0.5
    assert not (one.lungs == 1).any()
    assert -20 < np.median(one.hu[two.lungs == 1]) < 45
    assert [row.name for row in one.truth.rows] == ["LUL", "LLL", "left", "total"]


@pytest.mark.parametrize(
    ("missing", "heir"), [("RUL", "RML"), ("RML", "RUL"), ("LUL", "LLL"), ("LLL", "LUL")]
)
def test_a_missing_lobe_leaves_its_room_to_its_neighbour(
    child_truth: Truth, missing: LobeName, heir: str
) -> None:
    whole = child_truth
    spec = replace(SMALL, lesions=None, missing_lobe=missing)
    less = measure_truth(spec)
    with pytest.raises(KeyError):
        less.row(missing)
    room = whole.row(missing).volume_ml + whole.row(heir).volume_ml
    assert less.row(heir).volume_ml == pytest.approx(room, rel=0.01)
    assert less.row("total").volume_ml == pytest.approx(whole.row("total").volume_ml, rel=0.01)


def test_right_lower_lobectomy_divides_the_room() -> None:
    spec = replace(SMALL, lesions=None, missing_lobe="RLL")
    names = [row.name for row in measure_truth(spec).rows]
    assert names == ["RUL", "RML", "LUL", "LLL", "right", "left", "total"]


def test_scaled_patient_has_cubed_volumes(adult_truth: Truth, child_truth: Truth) -> None:
    adult = adult_truth.row("total").volume_ml
    assert child_truth.row("total").volume_ml == pytest.approx(adult * 0.5**3, rel=0.003)


def test_crop_covers_its_part_and_the_truth_follows() -> None:
    part = make_phantom(replace(SMALL, crop_z_mm=(-20.0, 20.0), lesions=None))
    assert part.lungs[0].any()
    assert part.lungs[-1].any()
    z = part.affine[2, 3] + part.affine[2, 2] * np.array([0, len(part.hu) - 1])
    assert z[0] == pytest.approx(-18)
    assert z[1] == pytest.approx(18)
    voxels = float((part.lungs > 0).sum()) * voxel_ml(part)
    assert voxels == pytest.approx(part.truth.row("total").volume_ml, rel=0.02)


def test_skipping_blocks_does_not_change_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = replace(COARSE, spacing_mm_zyx=(2.0, 2.0, 2.0))
    places = [(-70.0, 40.0, -60.0), (30.0, -40.0, 20.0), (-60.0, 20.0, 110.0)]
    quick = [scan_round(spec, place, 26) for place in places]

    def everything(status: np.ndarray, blocks: int) -> np.ndarray:
        assert status.size >= blocks
        return np.full(blocks, MIXED, np.uint8)

    monkeypatch.setattr(render, "by_block", everything)
    for place, fast in zip(places, quick, strict=True):
        slow = scan_round(spec, place, 26)
        assert np.abs(fast.hu.astype(int) - slow.hu).max() <= 1


def test_noise_has_the_ordered_strength_and_is_not_white() -> None:
    spec = replace(
        COARSE, spacing_mm_zyx=(1.0, 0.7, 0.7), shape_zyx=(6, 60, 60), origin_mm=(-80, -30, -115)
    )
    quiet = make_phantom(replace(spec, lesions=None))
    noisy = make_phantom(replace(spec, lesions=None, noise_hu=20))
    noise = (noisy.hu - quiet.hu).astype(float)
    assert 12 < noise.std() < 22
    beside = np.mean(noise[:, :, 1:] * noise[:, :, :-1]) / noise.var()
    above = np.mean(noise[1:] * noise[:-1]) / noise.var()
    assert 0.2 < beside < 0.8
    assert 0.05 < above < 0.5


def test_files_read_back(small: Phantom, tmp_path: Path) -> None:
    written = write_phantom(small, tmp_path / "case" / "chest.nii.gz")
    assert {p.name for p in (tmp_path / "case").iterdir()} == {p.name for p in written}
    assert [p.name for p in written] == [
        "chest.nii.gz",
        "chest_infection.nii.gz",
        "chest_lungs.nii.gz",
        "chest_lobes.nii.gz",
        "chest_truth.json",
    ]
    arrays: list[np.ndarray] = [small.hu, small.infection, small.lungs, small.lobes]
    for path, array in zip(written, arrays, strict=False):
        image = sitk.ReadImage(str(path))
        assert np.array_equal(sitk.GetArrayFromImage(image), array)
        corner = image.TransformIndexToPhysicalPoint((3, 5, 7))
        expected = small.affine @ np.array([3, 5, 7, 1])
        assert np.allclose(corner, expected[:3], atol=1e-3)
    told = json.loads(written[-1].read_text(encoding="utf-8"))
    total = next(row for row in told["truth"]["rows"] if row["name"] == "total")
    assert total["volume_ml"] == pytest.approx(small.truth.row("total").volume_ml)
    assert told["spec"]["seed"] == 7


def test_an_unwritable_place_leaves_nothing(small: Phantom, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CovidLesionSegError) as caught:
        write_phantom(small, tmp_path / "file" / "chest.nii.gz")
    assert caught.value.code == "output-not-written"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_full_disk_leaves_no_fragment(
    small: Phantom, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = sitk.WriteImage

    def writes_a_part(image: sitk.Image, path: str, **options: Any) -> None:
        write(image, path, **options)
        if "lobes" in path:
            os.truncate(path, Path(path).stat().st_size // 2)

    monkeypatch.setattr(sitk, "WriteImage", writes_a_part)
    with pytest.raises(CovidLesionSegError) as caught:
        write_phantom(small, tmp_path / "chest.nii.gz")
    assert caught.value.code == "output-not-written"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["chest.nrrd", ".nii.gz", "chest"])
def test_other_endings_are_refused(small: Phantom, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        write_phantom(small, tmp_path / name)
    assert caught.value.code == "phantom-path"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"spacing_mm_zyx": (0.0, 1.0, 1.0)},
        {"scale": 5.0},
        {"noise_hu": -1.0},
        {"direction": ((1.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 1.0))},
        {"lesions": 1000},
        {"crop_z_mm": (20.0, -20.0)},
        {"crop_z_mm": (-20.0, 20.0), "shape_zyx": (5, 5, 5)},
        {"shape_zyx": (0, 5, 5)},
        {"shape_zyx": (2000, 2000, 2000)},
    ],
)
def test_impossible_orders_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        PhantomSpec(**wrong)  # type: ignore[arg-type]
    assert caught.value.code == "phantom-spec"
    assert caught.value.hint
