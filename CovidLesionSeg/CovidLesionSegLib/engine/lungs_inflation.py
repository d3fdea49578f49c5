"""Whether the lungs are as full of air as a scan in inspiration shows them.

In expiration the same tissue lies in less volume: healthy lung is denser, most in its
dependent parts, where it looks like ground glass (Verschakelen et al., AJR 1993;161(4)).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .lungs_grid import WorkingGrid
from .masks import Mask

EXPIRATION = "expiration-suspected"
"""Flag of a scan whose ground glass can't be told from healthy dependent lung."""

DENSE_FROM_HU = -820.0
"""Of the volumes with expert masks, the one in expiration has its peak at -800 HU, the others
between -834 and -935."""

_LOWEST_HU = -1100
_HIGHEST_HU = -500
_SMOOTH_HU = 12.0
_PEAK_SHARE = 0.35


def aerated_peak_hu(lung: Mask, grid: WorkingGrid, air_hu: float) -> float | None:
    """Return the HU of the best aerated lung: the darkest peak of the lungs' histogram.

    Infection adds peaks above it and leaves it where it is, as long as a third of the lung
    around the largest peak is left.

    Args:
        lung: Both lungs on the working grid.
        grid: The working grid.
        air_hu: HU of the air around the body; the scale is stretched so that it is -1000.

    Returns:
        HU, None where there is no aerated lung.
    """
    hu = grid.hu[lung] * (-1000.0 / air_hu)
    hu = hu[(hu > _LOWEST_HU) & (hu < _HIGHEST_HU)]
    if hu.size == 0:
        return None
    counts = np.bincount((hu - _LOWEST_HU).astype(np.intp), minlength=_HIGHEST_HU - _LOWEST_HU)
    smooth = ndimage.gaussian_filter1d(counts.astype(np.float64), _SMOOTH_HU, mode="constant")
    inner = smooth[1:-1]
    rising = (inner >= smooth[:-2]) & (inner > smooth[2:])
    peaks = np.flatnonzero(rising & (inner > _PEAK_SHARE * smooth.max())) + 1
    return float(peaks[0] + _LOWEST_HU) if peaks.size else None


def poorly_inflated(lung: Mask, grid: WorkingGrid, air_hu: float) -> bool:
    """Tell whether even the best aerated lung is denser than in inspiration.

    Args:
        lung: Both lungs on the working grid.
        grid: The working grid.
        air_hu: HU of the air around the body.
    """
    peak = aerated_peak_hu(lung, grid, air_hu)
    return peak is not None and peak > DENSE_FROM_HU
