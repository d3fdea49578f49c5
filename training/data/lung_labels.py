"""Three-class lung labels (background, right, left) out of binary and partly labelled masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .volumes import NOT_LABELLED

BACKGROUND, RIGHT, LEFT = 0, 1, 2

_AIR_THRESHOLD_HU = -320
_UNCERTAIN_MARGIN_MM = 12.0
_FOREIGN_GAS_ML = 2.0
_MAX_EROSIONS = 12
_MIN_SHARE_OF_LUNG = 0.1
_PURE_SHARE = 0.97


def split_sides(
    lung: NDArray[np.bool_], spacing_mm_zyx: tuple[float, float, float]
) -> NDArray[np.uint8]:
    """Label a binary lung mask with `RIGHT` and `LEFT`.

    The mask is eroded in-plane until it falls into two large parts on either side of its middle
    plane; every voxel then takes the side of the nearest part. Where the lungs never come
    apart, the middle plane divides them.

    Args:
        lung: ``[z, y, x]`` in LPS axis order, so that the right lung has the lower x.
        spacing_mm_zyx: Voxel edge lengths in mm.

    Returns:
        uint8 ``[z, y, x]`` with 0, 1 and 2.
    """
    sides = np.zeros(lung.shape, dtype=np.uint8)
    if not lung.any():
        return sides
    columns = np.flatnonzero(lung.any(axis=(0, 1)))
    middle_x = (columns[0] + columns[-1]) / 2.0
    seeds = _seed_sides(lung, middle_x)
    if seeds is None:
        x = np.arange(lung.shape[2])
        return np.where(lung, np.where(x < middle_x, RIGHT, LEFT), 0).astype(np.uint8)
    nearest = ndimage.distance_transform_edt(
        seeds == 0, sampling=spacing_mm_zyx, return_distances=False, return_indices=True
    )
    sides[lung] = seeds[tuple(nearest)][lung]
    return sides


def _seed_sides(lung: NDArray[np.bool_], middle_x: float) -> NDArray[np.uint8] | None:
    in_plane = np.zeros((3, 3, 3), dtype=bool)
    in_plane[1] = ndimage.generate_binary_structure(2, 1)
    core = lung
    for _ in range(_MAX_EROSIONS):
        core = ndimage.binary_erosion(core, in_plane)
        parts, _ = ndimage.label(core)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        seeds = np.zeros(lung.shape, dtype=np.uint8)
        for part in np.flatnonzero(sizes > _MIN_SHARE_OF_LUNG * core.sum()):
            voxels = parts == part
            share_right = float((np.nonzero(voxels)[2] < middle_x).mean())
            if max(share_right, 1.0 - share_right) < _PURE_SHARE:
                break
            seeds[voxels] = RIGHT if share_right > 0.5 else LEFT
        else:
            if (seeds == RIGHT).any() and (seeds == LEFT).any():
                return seeds
    return None


def certain_background(
    hu: NDArray[np.int16],
    lung: NDArray[np.bool_],
    spacing_mm_zyx: tuple[float, float, float],
) -> NDArray[np.bool_]:
    """Find voxels that can't be lung, on slices where nobody has drawn.

    Gas inside the body that hangs together with drawn lung (lungs, airways) stays uncertain
    with a margin around it, and so does what it encloses within a slice. Everything else is
    certain, larger gas apart from the lungs (stomach, bowel) included: missing slices then
    teach what lies around the lungs and never contradict the expert.

    Args:
        hu: int16 HU ``[z, y, x]``; lesion-free slices are assumed, dense lung is not found.
        lung: What an expert has drawn; without any, all gas is uncertain.
        spacing_mm_zyx: Voxel edge lengths in mm.
    """
    gas = np.stack([_enclosed_gas(slice_hu) for slice_hu in hu])
    foreign = _foreign_gas(gas, lung, spacing_mm_zyx)
    margin = max(1, round(_UNCERTAIN_MARGIN_MM / spacing_mm_zyx[1]))
    result = np.zeros(hu.shape, dtype=bool)
    for index, uncertain in enumerate(gas & ~foreign):
        closed = ndimage.binary_closing(np.pad(uncertain, margin), iterations=margin)
        grown = ndimage.binary_dilation(ndimage.binary_fill_holes(closed), iterations=margin)
        result[index] = ~grown[margin:-margin, margin:-margin]
    return result | foreign


def _enclosed_gas(slice_hu: NDArray[np.int16]) -> NDArray[np.bool_]:
    gas = ndimage.binary_opening(slice_hu < _AIR_THRESHOLD_HU)
    regions, _ = ndimage.label(gas)
    border = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
    enclosed: NDArray[np.bool_] = gas & ~np.isin(regions, np.unique(border))
    return enclosed


def _foreign_gas(
    gas: NDArray[np.bool_], lung: NDArray[np.bool_], spacing_mm_zyx: tuple[float, float, float]
) -> NDArray[np.bool_]:
    if not lung.any():
        return np.zeros_like(gas)
    regions, _ = ndimage.label(gas | lung)
    volumes_ml = np.bincount(regions.ravel()) * (np.prod(spacing_mm_zyx) / 1000.0)
    foreign = volumes_ml >= _FOREIGN_GAS_ML
    foreign[np.unique(regions[lung])] = False
    foreign[0] = False
    result: NDArray[np.bool_] = foreign[regions] & gas
    return result


def three_class_lungs(
    lung: NDArray[np.uint8],
    hu: NDArray[np.int16],
    spacing_mm_zyx: tuple[float, float, float],
) -> NDArray[np.uint8]:
    """Turn a lung mask into training labels.

    Args:
        lung: uint8 ``[z, y, x]``: 0, 1 and 255 = not labelled.
        hu: int16 HU of the same shape.
        spacing_mm_zyx: Voxel edge lengths in mm.

    Returns:
        uint8 ``[z, y, x]``: 0 background, 1 right, 2 left, 255 ignore.
    """
    drawn = lung == 1
    labels = split_sides(drawn, spacing_mm_zyx)
    unlabelled = lung == NOT_LABELLED
    if unlabelled.any():
        labels[unlabelled & ~certain_background(hu, drawn, spacing_mm_zyx)] = NOT_LABELLED
    return labels
