"""Consolidated lung between aerated lung and the rib cage.

Consolidation that reaches the pleura has no dark border there: the ribs and the spine say
where the lung ends. Each axial slice is looked at from the middle of the aerated lung. What
lies on a ray behind aerated lung and before the bones, and still holds some air, is lung.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .masks import Mask, SpacingZyx, bounding_box, components, dilate, erode, margin_voxels

_SECTORS = 180
_BONE_HU = 160
_HELD_AIR_HU = (-450.0, 15.0)
_FAT_HU = (-135.0, -55.0)
_FAT_SPREAD_HU = 40.0
_WALL_MM = (2.0, 8.0)
_MAX_DEPTH_MM = 60.0
_SHALLOW_MM = 22.0
_RIB_GAP_MM = 30.0
_RIB_GAP_SECTORS = 7
_SMOOTH_MM = 5.0
_OPENING_MM = 2.1
_MIN_PART_ML = 0.5
_MIN_AIR_MM2 = 150.0

Field = NDArray[np.float32]


def solid_lung(
    hu: NDArray[np.int16],
    aerated: Mask,
    others: Mask,
    costal: Mask,
    spacing_mm_zyx: SpacingZyx,
) -> Mask:
    """Find consolidated lung next to one aerated lung.

    Args:
        hu: int16 ``[z, y, x]`` in LPS axis order, air at -1000 HU.
        aerated: The aerated lung.
        others: What it can't be: airways, the other lung.
        costal: What lies behind aerated lung seen from the middle of the chest. Elsewhere only
            the narrow gutter beside the spine is searched, or the heart would count as lung.
        spacing_mm_zyx: Edge lengths of a voxel in mm.

    Returns:
        Boolean ``[z, y, x]``, without the aerated lung itself.
    """
    result = np.zeros_like(aerated)
    if not aerated.any():
        return result
    margin = margin_voxels(_MAX_DEPTH_MM, spacing_mm_zyx)
    box = bounding_box(aerated, (0, margin[1], margin[2]))
    hu_box, air = hu[box], aerated[box]
    holds_air = _holds_air(hu_box, spacing_mm_zyx) & ~air & ~others[box]
    within = _between_air_and_bone(air, hu_box > _BONE_HU, costal[box], spacing_mm_zyx)
    found = _opened(holds_air & within, spacing_mm_zyx)
    result[box] = _touching(found, air, spacing_mm_zyx)
    return result


def _holds_air(hu: NDArray[np.int16], spacing: SpacingZyx) -> Mask:
    """Return tissue that is lighter than muscle, and no fat.

    Fat is as light as many a consolidation, but even.
    """
    size = [max(1, 2 * round(_SMOOTH_MM / step / 2.0) + 1) for step in spacing]
    values = np.clip(hu, -1000, 400).astype(np.float32)
    mean = ndimage.uniform_filter(values, size)
    variance = ndimage.uniform_filter(values * values, size) - mean * mean
    fat = (mean > _FAT_HU[0]) & (mean < _FAT_HU[1]) & (variance < _FAT_SPREAD_HU**2)
    result: Mask = (mean > _HELD_AIR_HU[0]) & (mean < _HELD_AIR_HU[1]) & ~fat
    return result & (hu < 140)


def _centres(air: Mask, spacing: SpacingZyx) -> tuple[NDArray[np.bool_], Field, Field]:
    """Return which slices hold enough air, and the middle of it (row, column), smoothed."""
    area = np.count_nonzero(air, axis=(1, 2))
    usable = area * spacing[1] * spacing[2] > _MIN_AIR_MM2
    rows = np.count_nonzero(air, axis=2) @ np.arange(air.shape[1]) / np.maximum(area, 1)
    columns = np.count_nonzero(air, axis=1) @ np.arange(air.shape[2]) / np.maximum(area, 1)
    where = np.flatnonzero(usable)
    if where.size == 0:
        return usable, rows.astype(np.float32), columns.astype(np.float32)
    width = max(1.0, 8.0 / spacing[0])
    smooth = [
        ndimage.gaussian_filter1d(np.interp(np.arange(area.size), where, values[where]), width)
        for values in (rows, columns)
    ]
    return usable, smooth[0].astype(np.float32), smooth[1].astype(np.float32)


def _between_air_and_bone(air: Mask, bone: Mask, costal: Mask, spacing: SpacingZyx) -> Mask:
    usable, rows, columns = _centres(air, spacing)
    depth, height, width = air.shape
    limit = np.full((depth, _SECTORS), np.inf, dtype=np.float32)
    first = np.full((depth, _SECTORS), np.inf, dtype=np.float32)
    last = np.full((depth, _SECTORS), -np.inf, dtype=np.float32)
    y = (np.arange(height, dtype=np.float32) * spacing[1])[:, None]
    x = (np.arange(width, dtype=np.float32) * spacing[2])[None, :]

    def polar(z: int) -> tuple[Field, NDArray[np.intp]]:
        dy, dx = y - rows[z] * spacing[1], x - columns[z] * spacing[2]
        angle = np.arctan2(dy, dx) / (2 * np.pi) + 0.5
        return np.hypot(dy, dx), (angle * _SECTORS).astype(np.intp) % _SECTORS

    slices = [int(z) for z in np.flatnonzero(usable)]
    for z in slices:
        radius, sector = polar(z)
        np.minimum.at(first[z], sector[air[z]], radius[air[z]])
        np.maximum.at(last[z], sector[air[z]], radius[air[z]])
        behind = bone[z] & (radius > last[z][sector] - 3.0)
        np.minimum.at(limit[z], sector[behind], radius[behind])
    limit = _across_rib_gaps(limit, spacing[0])
    wall_mm = _wall_mm(limit - last)
    within = np.zeros_like(air)
    for z in slices:
        radius, sector = polar(z)
        behind = (radius > first[z][sector]) & (radius < limit[z][sector] - wall_mm)
        shallow = (limit[z] - last[z])[sector] <= _SHALLOW_MM
        deep = (limit[z] - last[z])[sector] <= _MAX_DEPTH_MM
        posterior = y > rows[z] * spacing[1]
        within[z] = behind & ((costal[z] & (shallow | (deep & posterior))) | (shallow & posterior))
    return within


def _wall_mm(depth_mm: Field) -> float:
    """Return how far the ribs lie behind the pleura where aerated lung reaches it."""
    healthy = depth_mm[(depth_mm > 0.0) & (depth_mm < 12.0)]
    if healthy.size == 0:
        return _WALL_MM[0]
    return float(np.clip(np.median(healthy), *_WALL_MM))


def _across_rib_gaps(limit: Field, step_mm: float) -> Field:
    """Close the gaps between ribs by a grey opening over height and angle (which is cyclic)."""
    rows = max(1, 2 * round(_RIB_GAP_MM / step_mm / 2.0) + 1)
    side = _RIB_GAP_SECTORS
    wrapped = np.concatenate([limit[:, -side:], limit, limit[:, :side]], axis=1)
    wrapped = np.minimum(wrapped, 1e4)
    opened = ndimage.grey_opening(wrapped, size=(rows, side), mode="nearest")
    inner: Field = opened[:, side:-side]
    return inner


def _opened(mask: Mask, spacing: SpacingZyx) -> Mask:
    """Drop what is thinner than partial volume along the pleura."""
    radius = max(_OPENING_MM, 1.01 * max(spacing[1:]))
    thin_spacing = (max(spacing[0], 100.0), spacing[1], spacing[2])
    core = erode(mask, radius, thin_spacing)
    return dilate(core, radius + 0.1, thin_spacing) & mask


def _touching(found: Mask, air: Mask, spacing: SpacingZyx) -> Mask:
    """Keep the parts of some size that touch aerated lung."""
    labels, count = components(found)
    if count == 0:
        return found
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    near = dilate(air, 2.5 * max(spacing[1:]), spacing)
    touching = np.bincount(labels[near & found], minlength=count + 1) > 0
    keep = touching & (sizes * float(np.prod(spacing)) / 1000.0 >= _MIN_PART_ML)
    keep[0] = False
    result: Mask = keep[labels]
    return result
