"""Simulated consolidation: lung of the density of tissue that still is lung.

Few patients with much consolidation are at hand, so a lung network may learn that lung is dark.
Here parts of the labelled lung are filled with tissue while their label stays: where patients
who lie on their back have it (behind, beside the spine, along the pleura), and sometimes a whole
lung of a slice. Everything else, ribs and vessels at the border too, stays what it was.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from CovidLesionSegLib.engine.windowing import SliceRecipe

from .data.sampling import SliceBatch

_KINDS = ("dependent", "focal", "whole")
_KIND_SHARES = (0.4, 0.45, 0.15)
_BOTH_SIDES = 0.3
_MIN_SIDE_MM2 = 600.0
_DEPENDENT_SHARE = (0.05, 0.6)
_RADIUS_MM = (8.0, 45.0)
_POSTERIOR_WEIGHT = 4.0
_OUTLINE_MM = 5.0
_SOFTNESS_MM = (0.5, 5.0)
_NEIGHBOUR_MM = 4.0
_RIM_PIXELS = (4, 2, 4)
_FILLED_BELOW_HU = -200.0
_TISSUE_HU = (-100.0, 80.0)
_COARSE_HU, _FINE_HU = (0.0, 30.0), (5.0, 25.0)
_BRONCHOGRAM = 0.35
_BRONCHOGRAM_WIDTH = 0.08
_BRONCHOGRAM_DEPTH_MM = 6.0
_BRONCHOGRAM_HU = (-850.0, -350.0)

Plane = NDArray[np.float32]
Mask = NDArray[np.bool_]


def with_consolidation(
    batch: SliceBatch, probability: float, recipe: SliceRecipe, rng: np.random.Generator
) -> SliceBatch:
    """Fill parts of the lungs of some slices with tissue; the labels stay.

    Args:
        batch: Raw slices with the labels right, left and ignore.
        probability: Share of the slices that are changed.
        recipe: Window and pixel size of the slices.
        rng: Everything random.

    Returns:
        A batch with images of its own where ``probability`` is above 0.
    """
    if probability <= 0.0:
        return batch
    low, high = recipe.window_hu
    images = batch.images.copy()
    for image, labels in zip(images, batch.labels, strict=True):
        if rng.random() >= probability:
            continue
        hu = image * np.float32((high - low) / 255.0) + np.float32(low)
        for side in _chosen_sides(labels, recipe.pixel_mm, rng):
            _consolidate(hu, side, recipe.pixel_mm, rng)
        image[:] = np.clip((hu - low) * (255.0 / (high - low)), 0.0, 255.0)
    return replace(batch, images=images)


def _chosen_sides(labels: Plane, pixel_mm: float, rng: np.random.Generator) -> list[Mask]:
    sides = [side > 0.5 for side in labels[:2]]
    large = [side for side in sides if np.count_nonzero(side) * pixel_mm**2 > _MIN_SIDE_MM2]
    if len(large) == 2 and rng.random() >= _BOTH_SIDES:
        return [large[int(rng.integers(2))]]
    return large


def _consolidate(hu: Plane, side: Mask, pixel_mm: float, rng: np.random.Generator) -> None:
    """Fill a part of one lung in all three slices, in place; ``hu`` is ``(3, rows, columns)``."""
    depth_mm = _depth_mm(side, pixel_mm, rng)
    depth_mm += _OUTLINE_MM * _smooth_noise(side.shape, 12.0 / pixel_mm, rng)
    softness = rng.uniform(*_SOFTNESS_MM)
    tissue = rng.uniform(*_TISSUE_HU) + rng.uniform(*_COARSE_HU) * _smooth_noise(
        side.shape, 8.0 / pixel_mm, rng
    )
    if rng.random() < _BRONCHOGRAM:
        tissue = _with_bronchi(tissue, side, pixel_mm, rng)
    fine_hu = rng.uniform(*_FINE_HU)
    alike = np.array_equal(hu[0], hu[1])
    noise = _smooth_noise(side.shape, 0.6, rng)
    for channel, rim in enumerate(_RIM_PIXELS):
        if channel != 1 and not alike:
            noise = _smooth_noise(side.shape, 0.6, rng)
        apart_mm = 0.0 if channel == 1 or alike else rng.uniform(-_NEIGHBOUR_MM, _NEIGHBOUR_MM)
        weight = 1.0 / (1.0 + np.exp(-np.clip((depth_mm + apart_mm) / softness, -30.0, 30.0)))
        filled = hu[channel] + weight * (tissue + fine_hu * noise - hu[channel])
        # Beyond the drawn border only what holds air is filled: partial volume of the lung, or
        # lung that another slice shows there. A dark line would give the border away.
        beyond = ndimage.binary_dilation(side, iterations=rim) & (hu[channel] < _FILLED_BELOW_HU)
        where = side | beyond
        hu[channel][where] = np.maximum(filled, hu[channel])[where]


def _depth_mm(side: Mask, pixel_mm: float, rng: np.random.Generator) -> Plane:
    """Return how deep every pixel lies in a random part of the lung, negative outside of it."""
    kind = _KINDS[int(rng.choice(len(_KINDS), p=_KIND_SHARES))]
    rows, columns = np.indices(side.shape, dtype=np.float32) * np.float32(pixel_mm)
    if kind == "dependent":
        level = np.quantile(rows[side], 1.0 - rng.uniform(*_DEPENDENT_SHARE))
        return np.asarray(rows - level, dtype=np.float32)
    if kind == "focal":
        border = np.argwhere(side & ~ndimage.binary_erosion(side))
        behind = border[:, 0] > np.median(border[:, 0])
        weights = np.where(behind, _POSTERIOR_WEIGHT, 1.0)
        row, column = border[rng.choice(len(border), p=weights / weights.sum())] * pixel_mm
        radius = np.exp(rng.uniform(*np.log(_RADIUS_MM)))
        return np.asarray(radius - np.hypot(rows - row, columns - column), dtype=np.float32)
    return np.full(side.shape, 1e3, dtype=np.float32)


def _with_bronchi(tissue: Plane, side: Mask, pixel_mm: float, rng: np.random.Generator) -> Plane:
    """Draw thin winding lines of air, some way from the pleura."""
    lines = np.abs(_smooth_noise(side.shape, 6.0 / pixel_mm, rng)) < _BRONCHOGRAM_WIDTH
    inside = ndimage.distance_transform_edt(side) * pixel_mm > _BRONCHOGRAM_DEPTH_MM
    air = ndimage.gaussian_filter((lines & inside).astype(np.float32), 0.5)
    result: Plane = tissue + air * np.float32(rng.uniform(*_BRONCHOGRAM_HU))
    return result


def _smooth_noise(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> Plane:
    """Return noise of mean 0 and deviation 1 with a correlation length, in pixels."""
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), sigma)
    result: Plane = ((noise - noise.mean()) / max(float(noise.std()), 1e-6)).astype(np.float32)
    return result
