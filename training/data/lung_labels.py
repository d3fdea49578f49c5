"""Three-class lung labels (background, right, left) out of binary and partly labelled masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .volumes import NOT_LABELLED

BACKGROUND, RIGHT, LEFT = 0, 1, 2

_AIR_THRESHOLD_HU = -320
_UNCERTAIN_MARGIN_MM = 12.0
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
    hu: NDArray[np.int16], spacing_mm_zyx: tuple[float, float, float]
) -> NDArray[np.bool_]:
    """Find voxels that can't be lung, without any mask.

    Gas inside the body (lungs, airways, stomach, bowel) stays uncertain with a margin around
    it, and so does what it encloses within a slice. Only the rest is certain: an expert's
    missing slices then teach what lies around the lungs and never contradict the expert.

    Args:
        hu: int16 HU ``[z, y, x]``; lesion-free slices are assumed, dense lung is not found.
        spacing_mm_zyx: Voxel edge lengths in mm.
    """
    result = np.zeros(hu.shape, dtype=bool)
    margin = max(1, round(_UNCERTAIN_MARGIN_MM / spacing_mm_zyx[1]))
    for index, slice_hu in enumerate(hu):
        gas = ndimage.binary_opening(slice_hu < _AIR_THRESHOLD_HU)
        regions, _ = ndimage.label(gas)
        border = np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]])
        inside = gas & ~np.isin(regions, np.unique(border))
        uncertain = ndimage.binary_fill_holes(
            ndimage.binary_closing(np.pad(inside, margin), iterations=margin)
        )
        grown = ndimage.binary_dilation(uncertain, iterations=margin)
        result[index] = ~grown[margin:-margin, margin:-margin]
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
    labels = split_sides(lung == 1, spacing_mm_zyx)
    unlabelled = lung == NOT_LABELLED
    labels[unlabelled] = NOT_LABELLED
    for index in np.flatnonzero(unlabelled.any(axis=(1, 2))):
        background = certain_background(hu[index : index + 1], spacing_mm_zyx)[0]
        labels[index][unlabelled[index] & background] = BACKGROUND
    return labels
