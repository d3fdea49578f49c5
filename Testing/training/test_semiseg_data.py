"""COVID-SemiSeg slices: what the reader refuses, and what a step sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from CovidLesionSegLib.errors import InputError
from Testing.support.tiny_slices import LABELLED, UNLABELLED, tiny_semiseg, write_slices
from training.semiseg.batches import SliceBatches, scaled_size
from training.semiseg.lesson import degraded
from training.semiseg.slices import (
    LAYOUTS,
    find_slices,
    layout_folders,
    load_folds,
    open_layout,
)

_CPU = torch.device("cpu")


@pytest.fixture
def slices_dir(tmp_path: Path) -> Path:
    write_slices(tmp_path / "data")
    return tmp_path / "data"


def test_slices_are_matched_by_name_in_numerical_order(slices_dir: Path, tmp_path: Path) -> None:
    slices = open_layout("labelled", slices_dir, 32, tmp_path / "cache")
    assert slices.keys == LABELLED
    assert slices.images.shape == (4, 32, 32)
    assert ((slices.masks >= 128) != (slices.classes > 0)).mean() < 0.02
    assert set(np.unique(slices.classes)) == {0, 1, 2}
    again = open_layout("labelled", slices_dir, 32, tmp_path / "cache")
    assert again.digest == slices.digest
    assert isinstance(again.images, np.memmap)


def test_the_published_maps_of_unlabelled_slices_are_not_read(
    slices_dir: Path, tmp_path: Path
) -> None:
    slices = open_layout("unlabelled", slices_dir, 32, tmp_path / "cache")
    assert slices.keys == UNLABELLED
    assert slices.masks.max() == slices.edges.max() == 0


@pytest.mark.parametrize("role", ["images", "masks", "edges", "classes"])
def test_a_missing_file_is_refused_in_every_folder(slices_dir: Path, role: str) -> None:
    (slices_dir / LAYOUTS["labelled"][role] / "2.png").unlink()
    with pytest.raises(InputError) as caught:
        find_slices(layout_folders("labelled", slices_dir))
    assert caught.value.code == "training-data-mismatch"
    assert "2" in caught.value.message


def test_a_mask_of_another_size_is_refused(slices_dir: Path, tmp_path: Path) -> None:
    path = slices_dir / LAYOUTS["labelled"]["masks"] / "1.png"
    Image.new("L", (48, 40)).save(path)
    with pytest.raises(InputError) as caught:
        open_layout("labelled", slices_dir, 32, tmp_path / "cache")
    assert caught.value.code == "training-data-mismatch"
    assert not list((tmp_path / "cache").glob("*-v1-*[!l]"))


def test_an_unknown_class_is_refused(slices_dir: Path, tmp_path: Path) -> None:
    path = slices_dir / LAYOUTS["labelled"]["classes"] / "1.png"
    Image.new("L", (48, 41), 3).save(path)
    with pytest.raises(InputError) as caught:
        open_layout("labelled", slices_dir, 32, tmp_path / "cache")
    assert caught.value.code == "training-data-mismatch"


def test_folds_are_apart_and_cover_fifty_slices() -> None:
    folds = load_folds()
    keys = [key for fold in folds for key in fold]
    assert len(folds) == 5
    assert len(keys) == len(set(keys)) == 50
    # One patient, as their near identity shows.
    assert sum({"4", "5", "17", "46"} <= set(fold) for fold in folds) == 1


@pytest.mark.data
def test_folds_name_the_labelled_slices_of_the_data(data_dir: Path) -> None:
    found = find_slices(layout_folders("labelled", data_dir))
    assert sorted(files.key for files in found) == sorted(k for fold in load_folds() for k in fold)
    assert len(find_slices(layout_folders("unlabelled", data_dir))) == 1600
    assert len(find_slices(layout_folders("test", data_dir))) == 48


def _batches(slices_dir: Path, cache: Path, augment: bool = True) -> SliceBatches:
    config = tiny_semiseg(augment=augment)
    slices = open_layout("labelled", slices_dir, 64, cache)
    return SliceBatches(config, [(slices, slices.rows(LABELLED))])


def test_a_mini_batch_comes_at_every_scale(slices_dir: Path, tmp_path: Path) -> None:
    batches = _batches(slices_dir, tmp_path / "cache")
    small, large = (batches.batch(step, _CPU) for step in (0, 1))
    assert small.images.shape == (3, 3, 64, 64)
    assert large.images.shape == (3, 3, 96, 96)
    shrunk = torch.nn.functional.interpolate(large.mask, (64, 64), mode="bilinear")
    assert ((shrunk > 0.5) != (small.mask > 0.5)).float().mean() < 0.02


def test_an_epoch_shows_every_slice_once(slices_dir: Path, tmp_path: Path) -> None:
    batches = _batches(slices_dir, tmp_path / "cache", augment=False)
    assert batches.epoch_steps == 4
    sizes = [len(batches.batch(step, _CPU).images) for step in range(4)]
    assert sizes == [3, 3, 1, 1]
    firsts = torch.cat([batches.batch(step, _CPU).images for step in (0, 2)]).mean(dim=(1, 2, 3))
    assert len(torch.unique(firsts)) == 4


def test_batches_depend_on_the_step_alone(slices_dir: Path, tmp_path: Path) -> None:
    one, other = (_batches(slices_dir, tmp_path / "cache") for _ in range(2))
    other.batch(0, _CPU)
    assert torch.equal(one.batch(5, _CPU).images, other.batch(5, _CPU).images)
    assert not torch.equal(one.batch(1, _CPU).images, one.batch(5, _CPU).images)


def test_sizes_are_those_of_the_published_trainer() -> None:
    assert [scaled_size(352, scale) for scale in (0.75, 1.0, 1.25)] == [256, 352, 448]


def test_a_degraded_prior_is_wrong_near_lesions_only() -> None:
    mask = torch.zeros(2, 1, 96, 96)
    mask[0, 0, 30:60, 30:60] = 1
    soft = degraded(mask, np.random.default_rng(1))
    assert soft[1].max() < 0.01
    assert soft[0, 0, :8].max() < 0.01
    cut = soft[0] > 0.5
    overlap = (cut & (mask[0] > 0)).sum() * 2 / (cut.sum() + 900)
    assert 0.5 < overlap < 1.0
