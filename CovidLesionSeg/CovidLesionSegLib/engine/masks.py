"""Operations on 3D masks whose sizes are in millimetres, whatever the voxels are.

Everything works on boolean or label arrays ``[z, y, x]``; spacing is ``(z, y, x)`` in mm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Labels = NDArray[np.int32]
SpacingZyx = tuple[float, float, float]
Box = tuple[slice, slice, slice]

TOUCHING = np.ones((3, 3, 3), dtype=bool)
"""Neighbours of a voxel by face, edge or corner: what joins voxels to one lesion."""

_IN_PLANE = np.zeros((3, 3, 3), dtype=bool)
_IN_PLANE[1] = ndimage.generate_binary_structure(2, 1)


def distance_mm(mask: Mask, spacing_mm_zyx: SpacingZyx) -> NDArray[np.float32]:
    """Return each voxel's distance to the nearest voxel of ``mask``, 0 on the mask itself.

    Distances are between voxel centres. Infinite everywhere for an empty mask.
    """
    import SimpleITK as sitk  # noqa: N813 (the usual abbreviation)

    if not mask.any():
        return np.full(mask.shape, np.inf, dtype=np.float32)
    image = sitk.GetImageFromArray(mask.view(np.uint8))
    image.SetSpacing([float(step) for step in spacing_mm_zyx[::-1]])
    distance = sitk.SignedMaurerDistanceMap(
        image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    result: NDArray[np.float32] = np.maximum(sitk.GetArrayViewFromImage(distance), 0.0)
    return result


def bounding_box(mask: Mask, margin: tuple[int, int, int] = (0, 0, 0)) -> Box:
    """Return the smallest box around a non-empty mask, widened by ``margin`` voxels."""
    limits = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        start = max(0, int(hit[0]) - margin[axis])
        limits.append(slice(start, min(mask.shape[axis], int(hit[-1]) + 1 + margin[axis])))
    return limits[0], limits[1], limits[2]


def mean_within(
    values: NDArray[Any],
    mask: Mask,
    sigma: Sequence[float],
    *,
    mode: str = "reflect",
    least_weight: float = 1e-3,
) -> NDArray[np.float32]:
    """Return values averaged over a mask by a Gaussian: what lies beside it has no weight.

    Args:
        values: Of any shape.
        mask: Boolean of the same shape.
        sigma: Standard deviation in voxels, per axis.
        mode: What lies beyond the array, as ``scipy.ndimage`` names it.
        least_weight: Weight below which the mean fades to 0, far from the mask.

    Returns:
        float32 of the same shape.
    """
    inside = np.where(mask, values, 0).astype(np.float32)
    weight = ndimage.gaussian_filter(mask.astype(np.float32), sigma, mode=mode)
    total = ndimage.gaussian_filter(inside, sigma, mode=mode)
    mean: NDArray[np.float32] = total / np.maximum(weight, np.float32(least_weight))
    return mean


def grown_box(
    box: Box, shape_zyx: tuple[int, ...], margin: tuple[int, int, int] = (1, 1, 1)
) -> Box:
    """Return a box with ``margin`` more voxels on every side, inside a grid of this shape."""
    z, y, x = (
        slice(max(part.start - extra, 0), min(part.stop + extra, size))
        for part, extra, size in zip(box, margin, shape_zyx, strict=True)
    )
    return z, y, x


def shifted_box(box: Box, offset_zyx: tuple[int, ...]) -> Box:
    """Return a box moved by a number of voxels along each axis."""
    z, y, x = (
        slice(part.start + by, part.stop + by) for part, by in zip(box, offset_zyx, strict=True)
    )
    return z, y, x


def margin_voxels(radius_mm: float, spacing_mm_zyx: SpacingZyx) -> tuple[int, int, int]:
    """Return how many voxels along each axis hold a ball of this radius, one to spare."""
    z, y, x = (int(np.ceil(radius_mm / step)) + 1 for step in spacing_mm_zyx)
    return z, y, x


def _in_box(
    mask: Mask, radius_mm: float, spacing_mm_zyx: SpacingZyx, operation: Callable[[Mask], Mask]
) -> Mask:
    """Run ``operation`` on the mask's padded bounding box, so that borders behave."""
    result = np.zeros_like(mask)
    if not mask.any():
        return result
    pad = margin_voxels(radius_mm, spacing_mm_zyx)
    box = bounding_box(mask)
    padded = np.pad(mask[box], [(p, p) for p in pad])
    changed = operation(padded)
    target, source = [], []
    for axis in range(3):
        first = box[axis].start - pad[axis]
        last = box[axis].stop + pad[axis]
        inside = slice(max(0, first), min(mask.shape[axis], last))
        target.append(inside)
        source.append(slice(inside.start - first, inside.stop - first))
    result[tuple(target)] = changed[tuple(source)]
    return result


def dilate(mask: Mask, radius_mm: float, spacing_mm_zyx: SpacingZyx) -> Mask:
    """Dilate with a ball."""
    return _in_box(
        mask, radius_mm, spacing_mm_zyx, lambda m: distance_mm(m, spacing_mm_zyx) <= radius_mm
    )


def erode(mask: Mask, radius_mm: float, spacing_mm_zyx: SpacingZyx) -> Mask:
    """Erode with a ball; what lies outside the array counts as not in the mask."""
    return _in_box(
        mask, radius_mm, spacing_mm_zyx, lambda m: distance_mm(~m, spacing_mm_zyx) > radius_mm
    )


def close(mask: Mask, radius_mm: float, spacing_mm_zyx: SpacingZyx) -> Mask:
    """Close with a ball: fill what no ball of this radius outside the mask can reach."""

    def operation(padded: Mask) -> Mask:
        grown = distance_mm(padded, spacing_mm_zyx) <= radius_mm
        closed: Mask = distance_mm(~grown, spacing_mm_zyx) > radius_mm
        return closed | padded

    return _in_box(mask, radius_mm, spacing_mm_zyx, operation)


def components(mask: Mask, *, in_plane: bool = False) -> tuple[Labels, int]:
    """Label face-connected components, in 3D or slice by slice."""
    labels, count = ndimage.label(mask, _IN_PLANE if in_plane else None)
    return labels, int(count)


def largest_component(mask: Mask) -> Mask:
    """Return the largest face-connected 3D component; empty for an empty mask."""
    labels, count = components(mask)
    if count == 0:
        return np.zeros_like(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    largest: Mask = labels == int(np.argmax(sizes))
    return largest


def touches_lateral_border(labels: Labels, count: int) -> Mask:
    """Return, per label 0..count, whether it touches the first or last row or column."""
    touching = np.zeros(count + 1, dtype=bool)
    for face in (labels[:, 0], labels[:, -1], labels[:, :, 0], labels[:, :, -1]):
        touching[np.unique(face)] = True
    touching[0] = False
    return touching


def fill_in_plane(mask: Mask) -> Mask:
    """Fill the holes of every axial slice."""
    if not mask.any():
        return mask.copy()
    box = bounding_box(mask)
    inner = np.pad(mask[box], ((0, 0), (1, 1), (1, 1)))
    labels, count = components(~inner, in_plane=True)
    outside = touches_lateral_border(labels, count)
    outside[0] = False
    filled = mask.copy()
    filled[box] |= (~outside[labels])[:, 1:-1, 1:-1]
    return filled


def fill_cavities(mask: Mask) -> Mask:
    """Fill what the mask encloses in 3D."""
    if not mask.any():
        return mask.copy()
    box = bounding_box(mask)
    inner = np.pad(mask[box], 1)
    labels, _ = components(~inner)
    filled = mask.copy()
    # The padding makes all outside voxels one component, that of the corner.
    filled[box] |= (labels != labels[0, 0, 0])[1:-1, 1:-1, 1:-1]
    return filled
