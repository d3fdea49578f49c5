"""From the working grid back to the CT's own: the lung's border, voxel by voxel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .lungs_grid import WorkingGrid
from .masks import Mask, bounding_box, fill_in_plane
from .result import Lung

_SOLID_SHARE = 0.6


def refine_border(
    hu_full: NDArray[np.int16],
    grid: WorkingGrid,
    labels: NDArray[np.uint8],
    air: Mask,
    threshold_hu: float,
) -> NDArray[np.uint8]:
    """Bring lung labels to full resolution, deciding by HU in the blocks along the border.

    Where aerated lung meets its surroundings, a voxel is lung if it is darker than
    ``threshold_hu``. Where solid lung (consolidation) meets them, HU says nothing and the
    blocks' own border stays.

    Args:
        hu_full: int16 HU of the CT ``[z, y, x]``.
        grid: The working grid.
        labels: uint8 labels of `Lung` on the working grid.
        air: All air inside the body on the working grid.
        threshold_hu: Border between lung and tissue on the CT's own HU scale.

    Returns:
        uint8 labels of `Lung` on the CT's grid.
    """
    result = np.asarray(grid.expand(labels), dtype=np.uint8)
    if grid.factor == (1, 1, 1) or not labels.any():
        return result
    any_lung = labels > 0
    core = ndimage.binary_erosion(any_lung, np.ones((3, 3, 3)), border_value=1)
    solid = _solid_blocks(any_lung, air)
    for side in Lung:
        mask = labels == side
        if not mask.any():
            continue
        # Air that is not lung (airways, bowel, the other lung) can't be won by growing.
        free = ~any_lung & ~air
        near = mask | (ndimage.binary_dilation(mask, np.ones((3, 3, 3))) & free)
        box = bounding_box(near)
        full = grid.full_box(box)
        keep = (mask & (core | solid))[box]
        lung = _expand_box(keep, grid, full) | (
            _expand_box(near[box], grid, full) & (hu_full[full] < threshold_hu)
        )
        target = result[full]
        target[target == side] = 0
        target[fill_in_plane(lung) & (target == 0)] = side
    return result


def _solid_blocks(lung: Mask, air: Mask) -> Mask:
    """Return the lung blocks without air whose lung neighbours are mostly without air too."""
    size = 3
    share_lung = ndimage.uniform_filter(lung.astype(np.float32), size)
    share_solid = ndimage.uniform_filter((lung & ~air).astype(np.float32), size)
    solid: Mask = lung & ~air & (share_solid > _SOLID_SHARE * share_lung)
    return solid


def _expand_box(blocks: Mask, grid: WorkingGrid, full: tuple[slice, slice, slice]) -> Mask:
    result = blocks
    for axis, factor in enumerate(grid.factor):
        if factor > 1:
            result = np.repeat(result, factor, axis=axis)
    z, y, x = (part.stop - part.start for part in full)
    return result[:z, :y, :x]
