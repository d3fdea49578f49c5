"""Readers, labels, splits and the store."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from CovidLesionSegLib.engine.windowing import SliceRecipe, slice_stack
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.export.review_files import write_training_case
from Testing.support.tiny_volumes import make_arrays, write_case, write_image
from training.config import DataConfig
from training.data.lung_labels import split_sides, three_class_lungs
from training.data.store import StoredCase, open_store, wanted_volumes
from training.data.volumes import NOT_LABELLED, find_volumes, load_volume
from training.splits import VOLUMES, load_split, split_of


def test_cases_are_keyed_by_name(tiny_data: Path) -> None:
    found = find_volumes(tiny_data / "tiny")
    assert [files.key for files in found] == ["a", "b", "c"]
    volume = load_volume(found[0])
    assert volume.ct.shape_zyx == volume.infection.shape
    assert set(np.unique(volume.infection)) == {0, 1}


@pytest.mark.parametrize("role", ["infection", "ct"])
def test_an_incomplete_triple_is_refused(tiny_data: Path, role: str) -> None:
    (tiny_data / "tiny" / f"b_{role}.nii.gz").unlink()
    with pytest.raises(InputError) as caught:
        find_volumes(tiny_data / "tiny")
    assert caught.value.code == "training-data-mismatch"
    assert "b" in caught.value.message


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        find_volumes(tmp_path)
    assert caught.value.code == "training-data-empty"


@pytest.mark.parametrize("fault", ["shape", "position", "values"])
def test_a_mask_that_does_not_fit_is_refused(tiny_data: Path, fault: str) -> None:
    _, infection, _ = make_arrays(0)
    path = tiny_data / "tiny" / "a_infection.nii.gz"
    if fault == "shape":
        write_image(path, infection[:-1])
    elif fault == "position":
        write_image(path, infection, origin_x=3.0)
    else:
        write_image(path, infection * np.uint8(7))
    with pytest.raises(InputError) as caught:
        load_volume(find_volumes(tiny_data / "tiny")[0])
    assert caught.value.code == "training-data-mismatch"
    assert "a_infection.nii.gz" in caught.value.message


@pytest.mark.parametrize("role", ["ct", "infection", "lung"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_a_file_that_ends_too_early_is_refused(tiny_data: Path, role: str, share: float) -> None:
    path = tiny_data / "tiny" / f"a_{role}.nii.gz"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError) as caught:
        load_volume(find_volumes(tiny_data / "tiny")[0])
    assert caught.value.code == "input-truncated"
    assert path.name in caught.value.message


def test_a_ct_with_voxels_that_are_not_numbers_is_refused(tiny_data: Path) -> None:
    hu, _, _ = make_arrays(0)
    hu = hu.astype(np.float32)
    hu[4, 20, 20] = np.nan
    write_image(tiny_data / "tiny" / "a_ct.nii.gz", hu)
    with pytest.raises(InputError, match=r"a_ct\.nii\.gz: Some voxels are not numbers"):
        load_volume(find_volumes(tiny_data / "tiny")[0])


def test_masks_follow_the_orientation_of_the_ct(tmp_path: Path) -> None:
    import SimpleITK as sitk  # noqa: N813

    write_case(tmp_path, "a", 0)
    expected = load_volume(find_volumes(tmp_path)[0])
    for role in ("ct", "infection", "lung"):
        path = str(tmp_path / f"a_{role}.nii.gz")
        sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(path), "RAS"), path)
    turned = load_volume(find_volumes(tmp_path)[0])
    assert np.array_equal(turned.infection, expected.infection)
    assert np.array_equal(turned.ct.hu, expected.ct.hu)


def test_right_is_the_side_of_low_x() -> None:
    _, _, lung = make_arrays(0)
    sides = split_sides(lung == 1, (5.0, 6.0, 6.0))
    x = np.indices(lung.shape)[2]
    assert np.array_equal(sides > 0, lung == 1)
    assert (sides[(lung == 1) & (x < 28)] == 1).all()
    assert (sides[(lung == 1) & (x >= 28)] == 2).all()


def test_touching_lungs_are_divided() -> None:
    _, _, lung = make_arrays(0)
    joined = lung == 1
    joined[5, 24, 16:40] = True
    sides = split_sides(joined, (5.0, 6.0, 6.0))
    apart = split_sides(lung == 1, (5.0, 6.0, 6.0))
    assert np.array_equal(sides[lung == 1], apart[lung == 1])
    assert np.array_equal(sides > 0, joined)


def test_unlabelled_slices_teach_only_certain_background() -> None:
    hu, infection, lung = make_arrays(0)
    expert = lung.copy()
    assert not infection[8].any()
    lung[8] = NOT_LABELLED
    labels = three_class_lungs(lung, hu, (5.0, 6.0, 6.0))
    assert (labels[8][expert[8] == 1] == NOT_LABELLED).all()
    assert labels[8, 0, 0] == 0
    assert set(np.unique(labels[8])) == {0, NOT_LABELLED}
    assert NOT_LABELLED not in labels[4]


def test_gas_apart_from_the_lungs_is_background() -> None:
    hu, _, lung = make_arrays(0)
    hu[0:2, 20:26, 12:18] = -900
    lung[:2] = NOT_LABELLED
    joined = three_class_lungs(lung, hu, (5.0, 6.0, 6.0))
    assert (joined[0, 21:25, 13:17] == NOT_LABELLED).all()
    hu[1] = 40
    apart = three_class_lungs(lung, hu, (5.0, 6.0, 6.0))
    assert (apart[0, 21:25, 13:17] == 0).all()


def test_store_holds_the_engines_own_slices(tiny_data: Path, cases: list[StoredCase]) -> None:
    volume = load_volume(find_volumes(tiny_data / "tiny")[0])
    recipe = SliceRecipe(pixel_mm=6.0)
    expected = slice_stack(volume.ct.hu, volume.ct.spacing_mm_zyx, recipe)
    assert np.array_equal(cases[0].image, expected)
    assert isinstance(cases[0].image, np.memmap)
    assert not cases[0].image.flags.writeable
    assert np.array_equal(cases[0].infection == 255, volume.infection == 1)


def test_store_is_reused_until_a_source_changes(
    tiny_data: Path, recipe: SliceRecipe, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    open_store(tiny_data, ("tiny",), recipe, cache)
    before = {path.name for path in cache.iterdir()}
    open_store(tiny_data, ("tiny",), recipe, cache)
    assert {path.name for path in cache.iterdir()} == before
    write_case(tiny_data / "tiny", "a", seed=9)
    changed = open_store(tiny_data, ("tiny",), recipe, cache)
    assert len({path.name for path in cache.iterdir()} - before) == 1
    assert changed[0].key == "a"


def test_an_unknown_case_is_named(tiny_data: Path, recipe: SliceRecipe, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        open_store(tiny_data, ("tiny",), recipe, tmp_path / "cache", ["a", "z"])
    assert caught.value.code == "training-case-unknown"
    assert "z" in caught.value.message


def test_a_key_of_two_sources_is_refused(tiny_data: Path) -> None:
    write_case(tiny_data / "ours", "b", 7)
    with pytest.raises(InputError, match="Both tiny and ours hold a case named b") as caught:
        wanted_volumes(tiny_data, ("tiny", "ours"), ("a",))
    assert caught.value.code == "training-case-twice"
    assert len(wanted_volumes(tiny_data, ("tiny", "tiny"))) == 3


def test_no_patient_is_on_both_sides_of_a_split() -> None:
    content = json.loads(VOLUMES.read_text(encoding="utf-8"))
    patient = {case: name for name, group in content["patients"].items() for case in group}
    assert patient["p9_6"] == patient["p9_7"]
    for name in content["splits"]:
        split = load_split(name)
        trained = {patient[case] for case in split.training}
        assert trained.isdisjoint(patient[case] for case in split.validation)
        assert set(split.training) | set(split.validation) == set(patient)


def test_folds_hold_every_patient_out_once() -> None:
    held_out = [case for k in range(3) for case in load_split(f"fold-{k}").validation]
    assert len(held_out) == len(set(held_out)) == 12


def test_a_case_of_two_patients_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    path.write_text(
        json.dumps({"patients": {"p": ["a"], "q": ["a"]}, "splits": {"s": {"validation": ["p"]}}}),
        encoding="utf-8",
    )
    with pytest.raises(InputError) as caught:
        load_split("s", path)
    assert caught.value.code == "split-invalid"


_NAMES = {"p": ["a"], "q": ["b"]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        (json.dumps({"splits": {}}), "KeyError: 'patients'"),
        (json.dumps({"patients": _NAMES, "splits": {"s": {}}}), "KeyError: 'validation'"),
        (json.dumps({"patients": _NAMES, "splits": {"s": {"validation": "p"}}}), "no list"),
        (json.dumps({"patients": _NAMES, "splits": {"s": {"validation": ["r"]}}}), "r"),
        (json.dumps({"patients": _NAMES, "splits": {"s": {"validation": ["p", "q"]}}}), "no case"),
    ],
)
def test_a_split_file_that_is_none_is_refused(
    content: str | None, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "ours.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=reason) as caught:
        load_split("s", path)
    assert caught.value.code == "split-invalid"
    assert "ours.json" in caught.value.message


@pytest.mark.data
def test_the_real_split_lists_the_real_cases(data_dir: Path) -> None:
    split = load_split("bundled")
    found = [
        files.key
        for source in ("coronacases", "medseg_p9")
        for files in find_volumes(data_dir / source)
    ]
    assert sorted(found) == sorted((*split.training, *split.validation))


def test_corrected_cases_of_the_module_are_training_data(tmp_path: Path) -> None:
    write_case(tmp_path / "tiny", "a", 0)
    volume = load_volume(find_volumes(tmp_path / "tiny")[0])
    assert volume.lung is not None
    folder = tmp_path / "corrected"
    folder.mkdir()
    key = write_training_case(folder, volume.ct, volume.infection, volume.lung)
    (files,) = find_volumes(folder)
    again = load_volume(files)
    assert files.key == key
    assert np.array_equal(again.ct.hu, volume.ct.hu)
    assert np.array_equal(again.infection, volume.infection)
    assert again.lung is not None
    assert np.array_equal(again.lung, volume.lung)


def test_other_data_brings_its_own_split(tmp_path: Path) -> None:
    path = tmp_path / "ours.json"
    content = {"patients": {"p": ["a"], "q": ["b"]}, "splits": {"s": {"validation": ["q"]}}}
    path.write_text(json.dumps(content), encoding="utf-8")
    split = split_of(DataConfig(split="s", split_file=str(path)))
    assert (split.training, split.validation) == (("a",), ("b",))
