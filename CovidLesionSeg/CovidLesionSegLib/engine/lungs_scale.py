"""On which HU scale a CT's numbers are: what air and soft tissue have in it.

Published volumes are sometimes off by 100 HU and more, and every threshold on lung and airways is
off with them. Air around the body and the most frequent tissue in it tell by how much.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .masks import Mask, SpacingZyx, dilate

AIR_HU = -400
"""Half way between lung (about -850) and soft tissue (about 40): where the border lies."""

_RING_MM = (4.0, 14.0)
_RING_MAX_HU = -700
_RING_MIN_VOXELS = 500
_AIR_LEVELS_HU = (-1060.0, -800.0)
_TISSUE_HU = 50.0
_FAT_BELOW_TISSUE_HU = 145
_TISSUE_LEVELS_HU = (-100, 250)
_SMOOTH_HU = 18.0
_MIN_PEAK_SHARE = 0.1
_MIN_SHIFT_HU = 40.0


def air_level_hu(hu: NDArray[np.int16], body: Mask, spacing_mm_zyx: SpacingZyx) -> float:
    """Return the HU that this CT gives to the air around the body.

    -1000 where no air is seen around the body.

    Args:
        hu: int16 ``[z, y, x]``.
        body: Filled body.
        spacing_mm_zyx: Edge lengths of a voxel in mm.
    """
    ring = dilate(body, _RING_MM[1], spacing_mm_zyx) & ~dilate(body, _RING_MM[0], spacing_mm_zyx)
    around = hu[ring & (hu < _RING_MAX_HU)]
    if around.size < _RING_MIN_VOXELS:
        return -1000.0
    return float(np.clip(np.median(around), *_AIR_LEVELS_HU))


def calibrate(hu: NDArray[np.int16], air_hu: float) -> NDArray[np.int16]:
    """Stretch the scale so that air is -1000 HU; what is 0 stays 0."""
    limits = np.iinfo(np.int16)  # padding may lie at an end of the range already
    stretched = np.rint(hu * np.float32(-1000.0 / air_hu))
    kept: NDArray[np.int16] = np.clip(stretched, limits.min, limits.max).astype(np.int16)
    return kept


def tissue_level_hu(hu: NDArray[np.int16], body: Mask) -> float | None:
    """Return the HU that this CT gives to muscle and organs, about 50.

    Fat and soft tissue are the two large peaks of a body's histogram, about 145 HU apart; it is
    the pair that is searched, since either may be the larger one.

    Args:
        hu: int16 ``[z, y, x]``.
        body: Filled body.

    Returns:
        HU, None where no such pair is seen.
    """
    low, high = _TISSUE_LEVELS_HU
    first = low - _FAT_BELOW_TISSUE_HU
    level = np.floor(ndimage.uniform_filter(hu.astype(np.float32), (1, 3, 3))).astype(np.intp)
    values = level[body & (level >= first) & (level < high)]
    counts = np.bincount(values - first, minlength=high - first)
    smooth = ndimage.gaussian_filter1d(counts.astype(np.float64), _SMOOTH_HU, mode="constant")
    fat, tissue = smooth[: high - low], smooth[_FAT_BELOW_TISSUE_HU:]
    best = int((fat * tissue).argmax())
    if not smooth.any() or min(fat[best], tissue[best]) < _MIN_PEAK_SHARE * smooth.max():
        return None
    return float(best + low)


def air_threshold_hu(air_hu: float, tissue_hu: float | None) -> float:
    """Return where the border between lung and tissue lies on the CT's own scale.

    Args:
        air_hu: HU of the air around the body.
        tissue_hu: HU of soft tissue; None where it is not known. Within 40 HU of the usual 50
            it says nothing: contrast agent and disease shift it as much.
    """
    if tissue_hu is None or abs(tissue_hu - _TISSUE_HU) <= _MIN_SHIFT_HU:
        return AIR_HU * air_hu / -1000.0
    share = (AIR_HU + 1000.0) / (_TISSUE_HU + 1000.0)
    return air_hu + share * (tissue_hu - air_hu)
