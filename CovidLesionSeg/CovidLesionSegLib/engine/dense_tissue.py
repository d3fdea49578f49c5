"""Which tissue of a lobe is dense enough for a lesion, by the lobe's own histogram.

As in the published code of dRAM (Xie et al., arXiv 2105.11748): above three quarters of Otsu's
threshold of the lobe's voxels, on a window of -1150 to 350 HU in 256 steps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .masks import Mask
from .tissue import TissueMap

_WINDOW_HU = (-1150.0, 350.0)
_OTSU_SHARE = 0.75
_OTSU_BINS = 256


def dense_level_hu(hu: NDArray[np.int16]) -> float:
    """Return the density above which tissue of a lobe may be a lesion, HU.

    Args:
        hu: int16 ``[voxel]`` of the lobe, at least one.
    """
    low, high = _WINDOW_HU
    level = np.clip((hu.astype(np.float32) - low) / (high - low), 0.0, 1.0)
    return low + (high - low) * _OTSU_SHARE * otsu_threshold(level)


def otsu_threshold(levels: NDArray[np.float32]) -> float:
    """Return Otsu's threshold of values in 0..1: the cut with most variance between classes."""
    counts, edges = np.histogram(levels, _OTSU_BINS, (0.0, 1.0))
    centres = (edges[:-1] + edges[1:]) / 2.0
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = sums / below - (sums[-1] - sums) / above
    between = np.where((below > 0) & (above > 0), below * above * gap**2, 0.0)
    # Between two clean groups every cut is as good; the middle one is meant.
    return float(centres[np.isclose(between, between.max())].mean())


def dense_blocks(tissue: TissueMap, hu: NDArray[np.int16], lobes: NDArray[np.uint8]) -> Mask:
    """Return the blocks of which more than half is dense.

    Args:
        tissue: Blocks of a CT.
        hu: int16 ``[z, y, x]`` on the grid of its voxels.
        lobes: uint8 of the same shape, a label per lobe or lung, 0 elsewhere.
    """
    labels = tissue.grid.centres(lobes)
    levels = np.full(256, np.inf)
    for label in np.unique(labels[labels > 0]):
        levels[label] = dense_level_hu(hu[lobes == label])
    dense: Mask = tissue.median_hu > levels[labels]
    return dense
