"""Augmentation of whole batches on the training device.

All geometric changes of a batch are one `affine_grid` and one `grid_sample`, and intensities
change by batched tensor arithmetic. MONAI's dictionary transforms do the same sample by sample
with several interpolations; on two CPU cores that costs more than the lite networks themselves.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from CovidLesionSegLib.engine.windowing import SliceRecipe, normalise

from .config import AugmentationConfig
from .data.sampling import SliceBatch

_AIR_HU = -1000.0
_LOW_END, _HIGH_END = (-0.15, 0.15), (0.6, 1.5)
_RIGHT_LEFT_SWAPPED = (1, 0, 2)


class BatchAugmenter:
    """Turns raw slices into normalised network input with labels to match.

    Args:
        config: Strength.
        recipe: Window and normalisation of the network.
        crop_size: Height and width of the result in pixels.
        swap_sides: Whether label channels 0 and 1 are right and left, and change places in a
            left-right flip.
    """

    def __init__(
        self, config: AugmentationConfig, recipe: SliceRecipe, crop_size: int, swap_sides: bool
    ) -> None:
        self._config = config
        self._recipe = recipe
        self._size = crop_size
        self._swap_sides = swap_sides

    def __call__(
        self,
        batch: SliceBatch,
        rng: np.random.Generator,
        device: torch.device,
        output_size: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return images ``(B, 3, size, size)`` and labels ``(B, classes, size, size)``.

        Labels stay in 0..1; area beyond the slice is air and background.

        Args:
            batch: Raw slices.
            rng: Everything random; equal states give the same deformation at any size.
            device: Where to compute.
            output_size: Pixels that the crop is sampled with; as many as it has by default.
        """
        images = torch.from_numpy(batch.images).to(device)
        labels = torch.from_numpy(batch.labels).to(device)
        flips = torch.from_numpy(rng.random(len(images)) < self._config.flip_x).to(device)
        if self._swap_sides:
            swapped = labels[:, list(_RIGHT_LEFT_SWAPPED)]
            labels = torch.where(flips[:, None, None, None], swapped, labels)
        joined = self._deform(
            torch.cat([images, labels], dim=1), flips, rng, output_size or self._size
        )
        levels, labels = joined[:, :3], joined[:, 3:]
        low, high = self._recipe.window_hu
        hu = self._vary_intensity(levels * ((high - low) / 255.0) + low, rng)
        value = self._rewindow(((hu - low) / (high - low)).clamp_(0.0, 1.0), rng)
        levels = torch.round(self._vary_gamma(value, rng) * 255.0)
        return normalise(levels, self._recipe), labels

    def _deform(
        self, planes: Tensor, flip_x: Tensor, rng: np.random.Generator, output_size: int
    ) -> Tensor:
        count, channels, height, width = planes.shape
        config = self._config
        low, high = (math.log(value) for value in config.scale)
        magnification = np.exp(rng.uniform(low, high, count))
        angle = np.deg2rad(rng.uniform(-config.rotation_degrees, config.rotation_degrees, count))
        shift = rng.uniform(-config.shift_pixels, config.shift_pixels, (count, 2))
        flip_y = np.where(rng.random(count) < config.flip_y, -1.0, 1.0)
        sign_x = np.where(flip_x.cpu().numpy(), -1.0, 1.0)
        # Pixel offsets from the centre of the crop -> offsets from the centre of the slice,
        # both in grid_sample's units of half an extent.
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = np.moveaxis(rotation, 2, 0) / magnification[:, None, None]
        linear *= np.stack([sign_x, flip_y], axis=1)[:, None, :]
        extent = np.array([width, height], dtype=np.float64)
        theta = np.concatenate(
            [linear * self._size / extent[:, None], (2.0 * shift / extent)[:, :, None]], axis=2
        )
        grid = F.affine_grid(
            torch.from_numpy(theta).to(planes),
            [count, channels, output_size, output_size],
            align_corners=False,
        )
        return F.grid_sample(planes, grid, padding_mode="zeros", align_corners=False)

    def _vary_intensity(self, hu: Tensor, rng: np.random.Generator) -> Tensor:
        config = self._config
        count = len(hu)
        factor = _column(rng.uniform(*config.contrast, count), hu)
        offset = _column(rng.normal(0.0, config.offset_hu, count), hu)
        hu = (hu - _AIR_HU) * factor + (_AIR_HU + offset)
        hu = _filter(hu, config.filter, rng)
        hu = self._add_noise(hu, rng)
        step = np.where(rng.random(count) < config.requantise, rng.uniform(4.0, 12.0, count), 1.0)
        hu = torch.round(hu / _column(step, hu)) * _column(step, hu)
        clipped = rng.random(count) < config.clip
        lowest = np.where(clipped, rng.uniform(-1100.0, -950.0, count), -4096.0)
        highest = np.where(clipped, rng.uniform(80.0, 400.0, count), 4096.0)
        return torch.maximum(torch.minimum(hu, _column(highest, hu)), _column(lowest, hu))

    def _add_noise(self, hu: Tensor, rng: np.random.Generator) -> Tensor:
        count = len(hu)
        generator = torch.Generator(hu.device).manual_seed(int(rng.integers(2**62)))
        noise = torch.randn(hu.shape, generator=generator, device=hu.device, dtype=hu.dtype)
        # Real CT noise is correlated over neighbouring pixels; filtering halves its deviation.
        correlated = 2.0 * F.avg_pool2d(noise, 3, stride=1, padding=1, count_include_pad=False)
        noise = torch.where(_column(rng.random(count) < 0.5, hu) > 0, noise, correlated)
        sigma = self._config.noise_hu * rng.random(count) ** 2
        return hu + noise * _column(sigma, hu)

    def _rewindow(self, value: Tensor, rng: np.random.Generator) -> Tensor:
        if not self._config.rewindow:
            return value
        count = len(value)
        chosen = rng.random(count) < self._config.rewindow
        low = np.where(chosen, rng.uniform(*_LOW_END, count), 0.0)
        high = np.where(chosen, rng.uniform(*_HIGH_END, count), 1.0)
        return ((value - _column(low, value)) / _column(high - low, value)).clamp_(0.0, 1.0)

    def _vary_gamma(self, value: Tensor, rng: np.random.Generator) -> Tensor:
        count = len(value)
        exponent = np.exp(rng.uniform(-self._config.gamma, self._config.gamma, count))
        exponent = np.where(rng.random(count) < 0.5, exponent, 1.0)
        return value ** _column(exponent, value)


def _filter(hu: Tensor, probability: float, rng: np.random.Generator) -> Tensor:
    """Blend with a smoothed copy: positive weight softens, negative weight sharpens."""
    count = len(hu)
    draw = rng.random(count)
    weight = np.where(draw < probability, rng.uniform(0.3, 1.0, count), 0.0)
    weight = np.where(draw > 1.0 - probability, rng.uniform(-0.9, -0.2, count), weight)
    smooth = F.avg_pool2d(hu, 3, stride=1, padding=1, count_include_pad=False)
    return hu + (smooth - hu) * _column(weight, hu)


def _column(values: NDArray[Any], like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like)[:, None, None, None]
