"""Simulated consolidation: what is filled, what is left alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from CovidLesionSegLib.engine.windowing import SliceRecipe
from training.config import DataConfig, TrainingConfig, load_config
from training.consolidation import with_consolidation
from training.data.sampling import SliceBatch, SliceSampler
from training.data.store import StoredCase
from training.data.volumes import NOT_LABELLED

_RECIPE = SliceRecipe(window_hu=(-1250.0, 250.0), pixel_mm=2.4)
_AIR, _TISSUE = 60.0, 219.0
_CONFIGS = Path(__file__).parents[2] / "training" / "configs"


def _chest(count: int = 6) -> SliceBatch:
    """Two dark lungs in tissue; the lung of the neighbours reaches a pixel further."""
    images = np.full((count, 3, 96, 128), _TISSUE, dtype=np.float32)
    labels = np.zeros_like(images)
    for side, columns in enumerate((slice(16, 56), slice(72, 112))):
        labels[:, side, 20:80, columns] = 1.0
        images[:, 1, 20:80, columns] = _AIR
        images[:, ::2, 19:81, columns.start - 1 : columns.stop + 1] = _AIR
    return SliceBatch(images, labels)


def test_nothing_changes_and_nothing_is_drawn_when_it_is_off() -> None:
    batch, rng = _chest(), np.random.default_rng(0)
    assert with_consolidation(batch, 0.0, _RECIPE, rng) is batch
    assert rng.random() == np.random.default_rng(0).random()


def test_lung_is_filled_with_tissue_and_stays_lung() -> None:
    batch = _chest(24)
    changed = with_consolidation(batch, 1.0, _RECIPE, np.random.default_rng(1))
    assert np.array_equal(changed.labels, batch.labels)
    lung = batch.labels[:, :2].sum(axis=1) > 0
    filled = (changed.images[:, 1] > 150.0) & lung
    shares = filled.sum(axis=(1, 2)) / lung.sum(axis=(1, 2))
    assert shares.min() > 0.0
    assert shares.max() > 0.4
    behind = filled[:, 50:].sum() / filled.sum()
    assert behind > 0.6


def test_tissue_around_the_lung_is_left_alone() -> None:
    batch = _chest(12)
    changed = with_consolidation(batch, 1.0, _RECIPE, np.random.default_rng(2))
    outside = np.broadcast_to((batch.labels.sum(axis=1) == 0)[:, None], batch.images.shape)
    tissue = outside & (batch.images == _TISSUE)
    assert np.allclose(changed.images[tissue], _TISSUE, atol=1e-3)


def test_no_dark_line_is_left_along_a_filled_border() -> None:
    batch = _chest(40)
    changed = with_consolidation(batch, 1.0, _RECIPE, np.random.default_rng(3))
    # Slices of which a whole side was filled, the deepest row at the back included.
    whole = [
        (image, columns)
        for image, columns in (
            (image, columns)
            for image in changed.images
            for columns in (slice(16, 56), slice(72, 112))
        )
        if np.median(image[1, 20:80, columns]) > 150 and image[1, 20:80, columns].min() > 150
    ]
    assert whole
    for image, columns in whole:
        for channel in image:
            assert channel[20:81, columns].min() > 120


def test_equal_channels_stay_equal() -> None:
    batch = _chest(8)
    alike = replace(batch, images=np.repeat(batch.images[:, 1:2], 3, axis=1))
    changed = with_consolidation(alike, 1.0, _RECIPE, np.random.default_rng(4)).images
    inside = np.broadcast_to((batch.labels.sum(axis=1) > 0)[:, None], changed.shape)
    assert np.array_equal(changed[:, 0][inside[:, 0]], changed[:, 1][inside[:, 1]])


def test_equal_seeds_give_equal_slices() -> None:
    first, second = (
        with_consolidation(_chest(), 0.5, _RECIPE, np.random.default_rng(5)).images
        for _ in range(2)
    )
    assert np.array_equal(first, second)


def test_infection_beyond_the_drawn_lung_can_be_ignored(cases: list[StoredCase]) -> None:
    case = cases[0]
    lungs, infection = np.zeros_like(case.lungs), np.zeros_like(case.infection)
    lungs[:, 4:8, 4:8] = 1
    infection[:, 6:10, 4:8] = 255
    odd = replace(case, lungs=lungs, infection=infection)
    augmentation = replace(TrainingConfig.from_dict(_values()).augmentation, slab=0.0)
    for ignored in (False, True):
        data = DataConfig(batch_size=4, ignore_infection_beyond_lungs=ignored)
        labels = SliceSampler([odd], "lungs", data, augmentation, seed=0).draw(0).labels
        drawn, beyond = labels[:, 0], labels[:, 2]
        assert drawn.sum() == 4 * 16
        assert beyond.sum() == (4 * 8 if ignored else 0)
    assert NOT_LABELLED == 255


def _values() -> dict[str, object]:
    return {"name": "x", "task": "lungs", "model": {"family": "lung-unet", "scale": "lite"}}


@pytest.mark.parametrize("name", ["inf-net-lite", "bsnet-lite", "co-supervision-lite"])
def test_other_configs_do_without(name: str) -> None:
    config = load_config(_CONFIGS / f"{name}.json")
    assert config.augmentation.consolidation == 0.0
    assert not config.data.ignore_infection_beyond_lungs
