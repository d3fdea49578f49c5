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
_SOFT_MAX_HU = 140
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
    holds_air = _holds_air(hu_box, air, spacing_mm_zyx) & ~air & ~others[box]
    within = _between_air_and_bone(air, hu_box > _BONE_HU, costal[box], spacing_mm_zyx)
    found = _opened(holds_air & within, spacing_mm_zyx)
    result[box] = _touching(found, air, spacing_mm_zyx)
    return result


def _holds_air(hu: NDArray[np.int16], air: Mask, spacing: SpacingZyx) -> Mask:
    """Return tissue that is lighter than muscle, and no fat.

    Means are taken over tissue only, without the partial volume next to aerated lung, which
    would make every wall light. Fat is as light as many a consolidation, but even.
    """
    size = [max(1, 2 * round(_SMOOTH_MM / step / 2.0) + 1) for step in spacing]
    tissue = ~ndimage.binary_dilation(air, np.ones((1, 3, 3), dtype=bool))
    weight = ndimage.uniform_filter(tissue.astype(np.float32), size)
    scale = 1.0 / np.maximum(weight, 0.05)
    values = np.where(tissue, np.clip(hu, -1000, 400), 0).astype(np.float32)
    mean = ndimage.uniform_filter(values, size) * scale
    variance = ndimage.uniform_filter(values * values, size) * scale - mean * mean
    fat = (mean > _FAT_HU[0]) & (mean < _FAT_HU[1]) & (variance < _FAT_SPREAD_HU**2)
    light = (mean > _HELD_AIR_HU[0]) & (mean < _HELD_AIR_HU[1]) & ~fat
    result: Mask = light & (weight > 0.1) & (hu < _SOFT_MAX_HU)
    return result


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


class _Fans:
    """Rays from the middle of the aerated lung of each slice, in sectors of two degrees."""

    def __init__(self, air: Mask, spacing: SpacingZyx) -> None:
        usable, rows, columns = _centres(air, spacing)
        self.slices = [int(z) for z in np.flatnonzero(usable)]
        self.shape = (air.shape[0], _SECTORS)
        self._y = (np.arange(air.shape[1], dtype=np.float32) * spacing[1])[:, None]
        self._x = (np.arange(air.shape[2], dtype=np.float32) * spacing[2])[None, :]
        self._rows_mm, self._columns_mm = rows * spacing[1], columns * spacing[2]

    def polar(self, z: int) -> tuple[Field, NDArray[np.intp]]:
        """Return radius in mm and sector of every pixel of a slice."""
        dy, dx = self._y - self._rows_mm[z], self._x - self._columns_mm[z]
        turns = np.arctan2(dy, dx) / (2 * np.pi) + 0.5
        return np.hypot(dy, dx), (turns * _SECTORS).astype(np.intp) % _SECTORS

    def posterior(self, z: int) -> Mask:
        """Return the rows behind the middle, ``(rows, 1)``."""
        behind: Mask = self._y > self._rows_mm[z]
        return behind


def _between_air_and_bone(air: Mask, bone: Mask, costal: Mask, spacing: SpacingZyx) -> Mask:
    """Return what lies on a ray behind aerated lung and before the bones.

    Deep only at the back, where consolidation of the lying patient gathers; elsewhere
    shallow, and beside the mediastinum not at all.
    """
    fans = _Fans(air, spacing)
    first, last, limit = _along_rays(fans, air, bone)
    limit = _across_rib_gaps(limit, spacing[0])
    wall_mm = _wall_mm(limit - last)
    within = np.zeros_like(air)
    for z in fans.slices:
        radius, sector = fans.polar(z)
        behind = (radius > first[z][sector]) & (radius < limit[z][sector] - wall_mm)
        depth_mm = (limit[z] - last[z])[sector]
        shallow, deep = depth_mm <= _SHALLOW_MM, depth_mm <= _MAX_DEPTH_MM
        posterior = fans.posterior(z)
        at_ribs = costal[z] & (shallow | (deep & posterior))
        within[z] = behind & (at_ribs | (shallow & posterior))
    return within


def _along_rays(fans: _Fans, air: Mask, bone: Mask) -> tuple[Field, Field, Field]:
    """Return where each ray meets aerated lung first and last, and then the first bone."""
    first = np.full(fans.shape, np.inf, dtype=np.float32)
    last = np.full(fans.shape, -np.inf, dtype=np.float32)
    limit = np.full(fans.shape, np.inf, dtype=np.float32)
    for z in fans.slices:
        radius, sector = fans.polar(z)
        np.minimum.at(first[z], sector[air[z]], radius[air[z]])
        np.maximum.at(last[z], sector[air[z]], radius[air[z]])
        behind = bone[z] & (radius > last[z][sector] - _WALL_MM[0])
        np.minimum.at(limit[z], sector[behind], radius[behind])
    return first, last, limit


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
