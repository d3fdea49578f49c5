"""Sampling and augmentation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from CovidLesionSegLib.engine.windowing import SliceRecipe, normalise
from Testing.support.tiny_volumes import tiny_config
from training.augmentation import BatchAugmenter
from training.config import AugmentationConfig, DataConfig
from training.data.sampling import SliceBatch, SliceSampler
from training.data.store import StoredCase
from training.slices import SliceSource

_NOTHING = AugmentationConfig(
    scale=(1.0, 1.0),
    rotation_degrees=0.0,
    shift_pixels=0,
    flip_x=0.0,
    flip_y=0.0,
    context_none=0.0,
    slab=0.0,
    offset_hu=0.0,
    contrast=(1.0, 1.0),
    gamma=0.0,
    noise_hu=0.0,
    filter=0.0,
    requantise=0.0,
    clip=0.0,
)
_MEAN, _STD = 0.449, 0.226
_CPU = torch.device("cpu")


def _batch(size: int = 32) -> SliceBatch:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (2, 3, size, size)).astype(np.float32)
    labels = np.zeros((2, 3, size, size), dtype=np.float32)
    labels[:, 0, :, : size // 4] = 1
    return SliceBatch(levels, labels)


def test_without_augmentation_input_is_the_engines_own() -> None:
    recipe, batch = SliceRecipe(mean=_MEAN, std=_STD), _batch()
    augment = BatchAugmenter(_NOTHING, recipe, 32, swap_sides=False)
    images, labels = augment(batch, np.random.default_rng(0), _CPU)
    expected = normalise(torch.from_numpy(batch.images.astype(np.uint8)), recipe)
    assert torch.allclose(images, expected, atol=1.01 / 255 / _STD)
    assert (images - expected).abs().mean() < 1e-3
    assert torch.allclose(labels, torch.from_numpy(batch.labels), atol=1e-5)


def test_a_flip_swaps_right_and_left() -> None:
    flipping = AugmentationConfig(**{**vars(_NOTHING), "flip_x": 1.0})
    batch = _batch()
    for swap, channel in ((True, 1), (False, 0)):
        augment = BatchAugmenter(flipping, SliceRecipe(), 32, swap_sides=swap)
        _, labels = augment(batch, np.random.default_rng(0), _CPU)
        assert labels[:, channel, :, -8:].min() > 0.99
        assert labels[:, 1 - channel].max() < 0.01


def test_magnification_keeps_the_centre() -> None:
    grown = AugmentationConfig(**{**vars(_NOTHING), "scale": (2.0, 2.0)})
    batch = _batch(32)
    batch.labels[:] = 0
    batch.labels[:, 0, 12:20, 12:20] = 1
    _, labels = BatchAugmenter(grown, SliceRecipe(), 32, False)(
        batch, np.random.default_rng(0), _CPU
    )
    assert abs(float(labels[0, 0].sum()) - 4 * 64) < 20
    assert labels[0, 0, 10:22, 10:22].min() > 0.99


def test_strong_augmentation_stays_finite_and_in_range(cases: list[StoredCase]) -> None:
    recipe = SliceRecipe(pixel_mm=6.0, mean=_MEAN, std=_STD)
    sampler = SliceSampler(cases, "infection", DataConfig(batch_size=4), AugmentationConfig(), 3)
    augment = BatchAugmenter(AugmentationConfig(), recipe, 64, swap_sides=False)
    for step in range(4):
        images, labels = augment(sampler.draw(step), sampler.generator(step), _CPU)
        assert images.shape == (4, 3, 64, 64)
        assert torch.isfinite(images).all()
        values = images * _STD + _MEAN
        assert values.min() > -1e-4
        assert values.max() < 1 + 1e-4
        assert labels.min() >= 0
        assert labels.max() <= 1


def _mirrored_and_diseased(
    cases: list[StoredCase], augmentation: AugmentationConfig, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return for every step and slot whether the slice was mirrored, and whether it has lesions."""
    recipe = SliceRecipe(pixel_mm=6.0)
    config = tiny_config("infection", "inf-net", recipe)
    data = DataConfig(("tiny",), crop_size=32, batch_size=4)
    source = SliceSource(replace(config, data=data, augmentation=augmentation), cases, rank=0)
    sampler = SliceSampler(cases, "infection", data, augmentation, config.optimisation.seed, rank=0)
    mirrored, diseased = [], []
    for step in range(steps):
        raw, found = sampler.draw(step), source.batch(step, _CPU)[0][:, 1].numpy()
        top, left = ((size - 32) // 2 for size in raw.images.shape[2:])
        whole = raw.images[:, 1, top : top + 32, left : left + 32]
        alike = [
            [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(found, other, strict=True)]
            for other in (whole, whole[..., ::-1])
        ]
        mirrored.append(np.less(*alike))
        diseased.append(raw.labels.any(axis=(1, 2, 3)))
    return np.array(mirrored), np.array(diseased)


def test_whether_a_slice_is_mirrored_says_nothing_about_its_lesions(
    cases: list[StoredCase],
) -> None:
    augmentation = AugmentationConfig(**{**vars(_NOTHING), "flip_x": 0.5, "own_stream": True})
    mirrored, diseased = _mirrored_and_diseased(cases, augmentation, steps=400)
    assert 0.4 < mirrored.mean() < 0.6
    for slot in range(mirrored.shape[1]):
        # The deviation of the correlation of independent draws is .05.
        assert abs(np.corrcoef(mirrored[:, slot], diseased[:, slot])[0, 1]) < 0.2


def test_without_a_stream_of_its_own_augmentation_is_as_the_bundled_weights_had_it(
    cases: list[StoredCase],
) -> None:
    config = DataConfig(batch_size=3)
    sampler = SliceSampler(cases, "infection", config, AugmentationConfig(), 1)
    assert sampler.augmentation_generator(5).random() == sampler.generator(5).random()
    own = SliceSampler(cases, "infection", config, AugmentationConfig(own_stream=True), 1)
    assert own.generator(5).random() == sampler.generator(5).random()
    assert own.augmentation_generator(5).random() != sampler.generator(5).random()


def test_a_draw_depends_on_seed_rank_and_step_alone(cases: list[StoredCase]) -> None:
    def draw(seed: int, rank: int, step: int) -> np.ndarray:
        config = DataConfig(batch_size=3)
        sampler = SliceSampler(cases, "lungs", config, AugmentationConfig(), seed, rank)
        return sampler.draw(step).images

    assert np.array_equal(draw(1, 0, 5), draw(1, 0, 5))
    for other in ((2, 0, 5), (1, 1, 5), (1, 0, 6)):
        assert not np.array_equal(draw(1, 0, 5), draw(*other))


def test_foreground_share_is_kept(cases: list[StoredCase]) -> None:
    for share, expected in ((1.0, 1.0), (0.0, 0.0)):
        config = DataConfig(batch_size=16, foreground_share=share)
        sampler = SliceSampler(cases, "infection", config, _NOTHING, 0)
        shown = (sampler.draw(0).labels > 0.5).any(axis=(1, 2, 3))
        assert shown.mean() == expected
