"""From probabilities to lesions: the 3D step that joins the slices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .resampling import bounding_window

CORE_MARGIN = 0.15
"""A lesion must somewhere be this much more probable than the threshold."""

MINIMUM_LESION_ML = 0.05
"""Smaller components are dropped: a sphere of 4.6 mm diameter, below what a 5 mm slice can
show."""

_CONNECTIVITY = np.ones((3, 3, 3), dtype=bool)


def infection_mask(
    probability: NDArray[np.float16],
    lungs: NDArray[np.uint8],
    threshold: float,
    voxel_volume_ml: float,
) -> NDArray[np.uint8]:
    """Threshold with hysteresis in 3D and drop what is too small.

    A 26-connected component above ``threshold`` stays if it reaches ``threshold`` plus
    `CORE_MARGIN` somewhere (never more than 0.95) and holds at least `MINIMUM_LESION_ML`.

    Args:
        probability: float16 ``[z, y, x]``.
        lungs: uint8 ``[z, y, x]``, non-zero where lesions can be.
        threshold: Probability, 0..1.
        voxel_volume_ml: Volume of one voxel.

    Returns:
        uint8 ``[z, y, x]``, 1 where infected.
    """
    mask = np.zeros(probability.shape, dtype=np.uint8)
    found = bounding_window(lungs > 0)
    if found is None:
        return mask
    z_range, window = found
    box = (z_range, *window.slices)
    inside = probability[box]
    above = (inside >= np.float32(threshold)) & (lungs[box] > 0)
    components, count = ndimage.label(above, structure=_CONNECTIVITY)
    if count == 0:
        return mask
    # Slice by slice: numpy would make an index of eight bytes per voxel of the whole box.
    sizes = np.zeros(count + 1, dtype=np.int64)
    for labels in components:
        sizes += np.bincount(labels.ravel(), minlength=count + 1)
    core = above & (inside >= np.float32(max(min(threshold + CORE_MARGIN, 0.95), threshold)))
    has_core = np.zeros(count + 1, dtype=bool)
    has_core[np.unique(components[core])] = True
    keep = has_core & (sizes * voxel_volume_ml >= MINIMUM_LESION_ML)
    keep[0] = False
    for target, labels in zip(mask[box], components, strict=True):
        target[...] = keep[labels]
    return mask
