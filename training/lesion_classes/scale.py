"""The HU scale of slices that are kept as pictures, from the tissues in them.

The slices of COVID-SemiSeg are 8-bit and nobody noted their windows; they differ from slice to
slice. A display window is linear between its ends, and a chest shows tissues whose HU are known:
air in the trachea and the bronchi, muscle and blood, and often fat. Air and soft tissue fix the
scale. Where fat has a peak of its own as well, a least-squares line through all three is taken;
how far fat then lies from -100 HU tells how linear the slice is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.signal import find_peaks

AIR_HU, FAT_HU, SOFT_TISSUE_HU = -1000.0, -100.0, 45.0
"""Soft tissue: muscle and unenhanced blood lie between 30 and 60 HU."""

_LEVELS = 256
_AIR_SHARE = 0.001
_AIR_FILTER_PIXELS = 5
_PADDING_LEVEL = 3
_SATURATED_FROM = 250
_SOFT_FROM = 0.6
"""Soft tissue lies above this part of the way from air to white in any lung window."""

_HISTOGRAM_SIGMA = 2.0
_PROMINENCE = 2e-4
_LEAST_HEIGHT = 0.3
"""Of the highest peak; noise makes lower ones."""

_MOST_SATURATED = 0.15
"""A share of white pixels that bone alone does not reach: soft tissue is white too."""

_FAT_GAPS = (0.08, 0.22)
"""Allowed (soft tissue - fat) / (fat - air); -100 and 45 HU give 0.16."""


@dataclass(frozen=True)
class GreyScale:
    """Where known tissues lie on the grey scale of a slice.

    Attributes:
        air: Grey value of air.
        soft_tissue: Of muscle and blood; None if they are white.
        fat: None if fat has no peak of its own.
        slope: HU per grey value.
        offset: HU of black.
    """

    air: float
    soft_tissue: float | None
    fat: float | None
    slope: float
    offset: float

    def hu(self, grey: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the HU of grey values of any shape."""
        return (grey.astype(np.float32) * self.slope + self.offset).astype(np.float32)

    @property
    def window_hu(self) -> tuple[float, float]:
        """HU of black and of white."""
        return self.offset, self.offset + self.slope * (_LEVELS - 1)

    @property
    def fat_hu(self) -> float | None:
        """HU that a line through air and soft tissue alone gives fat, as a check."""
        if self.fat is None or self.soft_tissue is None:
            return None
        share = (self.fat - self.air) / (self.soft_tissue - self.air)
        return AIR_HU + share * (SOFT_TISSUE_HU - AIR_HU)


def estimate_scale(grey: NDArray[np.uint8]) -> GreyScale | None:
    """Find the tissues in a slice.

    Args:
        grey: uint8 ``[y, x]`` in any orientation, with lung and chest wall in view.

    Returns:
        The scale, or None where neither fat nor soft tissue is below white: such a slice says
        nothing about HU above those of lung.
    """
    air = _air_level(grey)
    counts = np.bincount(grey.ravel(), minlength=_LEVELS).astype(np.float64)
    soft_tissue, fat = _solid_levels(counts, air)
    anchors = [(air, AIR_HU), (fat, FAT_HU), (soft_tissue, SOFT_TISSUE_HU)]
    known = [(level, hu) for level, hu in anchors if level is not None]
    if len(known) < 2:
        return None
    levels, hu = np.array(known).T
    slope, offset = np.polyfit(levels, hu, 1)
    return GreyScale(air, soft_tissue, fat, float(slope), float(offset))


def usual_scale(scales: Sequence[GreyScale]) -> GreyScale:
    """Return the median of some scales, for slices that none can be found for."""
    slope = float(np.median([scale.slope for scale in scales]))
    offset = float(np.median([scale.offset for scale in scales]))
    return GreyScale((AIR_HU - offset) / slope, None, None, slope, offset)


def _air_level(grey: NDArray[np.uint8]) -> float:
    """Return the grey value of the airways: the darkest pixels, without noise and padding."""
    smooth = ndimage.median_filter(grey, _AIR_FILTER_PIXELS)
    padding, _ = ndimage.label(smooth <= _PADDING_LEVEL)
    edges = np.concatenate([padding[0], padding[-1], padding[:, 0], padding[:, -1]])
    inside = ~np.isin(padding, np.setdiff1d(edges, [0]))
    return float(np.quantile(smooth[inside], _AIR_SHARE))


def _solid_levels(counts: NDArray[np.float64], air: float) -> tuple[float | None, float | None]:
    """Return the grey values of soft tissue and of fat from a histogram."""
    first = round(air + _SOFT_FROM * (_LEVELS - 1 - air))
    smooth = ndimage.gaussian_filter1d(counts[:_SATURATED_FROM], _HISTOGRAM_SIGMA)
    smooth /= counts.sum()
    peaks, _ = find_peaks(smooth, prominence=_PROMINENCE)
    peaks = peaks[peaks >= first]
    if peaks.size == 0:
        return None, None
    highest = int(peaks[np.argmax(smooth[peaks])])
    peaks = peaks[smooth[peaks] >= _LEAST_HEIGHT * smooth[highest]]
    if counts[_SATURATED_FROM:].sum() > _MOST_SATURATED * counts.sum():
        return None, float(highest)
    wanted = (SOFT_TISSUE_HU - FAT_HU) / (FAT_HU - AIR_HU)
    pairs = [
        (abs((upper - lower) / (lower - air) - wanted), float(upper), float(lower))
        for lower in peaks
        for upper in peaks
        if _FAT_GAPS[0] <= (upper - lower) / (lower - air) <= _FAT_GAPS[1]
    ]
    if not pairs:
        return float(highest), None
    _, soft_tissue, fat = min(pairs)
    return soft_tissue, fat
