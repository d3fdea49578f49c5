"""A coarser copy of a CT on which the lungs are searched, aligned to it block by block.

Averaging whole blocks of voxels keeps both grids aligned without interpolation, so labels
go back by repetition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .masks import Box, Mask, SpacingZyx

Value = TypeVar("Value", bound=np.generic)

WORKING_MM = 2.0
"""Edge length the working grid aims at; walls, fissures and airways that matter for the
search are thicker, and the border is found again at full resolution."""

_SLAB_SLICES = 8


@dataclass(frozen=True, eq=False)
class BlockGrid:
    """How the voxels of a CT are joined to blocks.

    Attributes:
        spacing_mm_zyx: Edge lengths of a block.
        factor: Voxels per block along ``(z, y, x)``.
        full_shape: Shape of the CT.
    """

    spacing_mm_zyx: SpacingZyx
    factor: tuple[int, int, int]
    full_shape: tuple[int, int, int]

    @classmethod
    def over(
        cls,
        shape_zyx: tuple[int, ...],
        spacing_mm_zyx: SpacingZyx,
        target_mm: float = WORKING_MM,
    ) -> BlockGrid:
        """Join voxels to blocks of about ``target_mm``; thick slices stay as they are."""
        z, y, x = (max(1, round(target_mm / step)) for step in spacing_mm_zyx)
        dz, dy, dx = spacing_mm_zyx
        return BlockGrid(
            (dz * z, dy * y, dx * x), (z, y, x), (shape_zyx[0], shape_zyx[1], shape_zyx[2])
        )

    @property
    def voxel_ml(self) -> float:
        """Volume of one block, for sizes that need no more than a block's accuracy."""
        z, y, x = self.spacing_mm_zyx
        return z * y * x / 1000.0

    def restrict(self, mask_full: Mask) -> Mask:
        """Return the blocks of which at least half lies in a full-resolution mask."""
        if self.factor == (1, 1, 1):
            return mask_full.copy()
        percent = _block_means(mask_full, self.factor, scale=100)
        return percent >= 50

    def centres(self, array: NDArray[Value]) -> NDArray[Value]:
        """Return the voxel in the middle of every block, the last one of a cut block."""
        result = array
        for axis, (factor, size) in enumerate(zip(self.factor, self.full_shape, strict=True)):
            if factor > 1:
                middle = np.arange(-(-size // factor)) * factor + factor // 2
                result = result.take(np.minimum(middle, size - 1), axis=axis)
        return result

    def expand(self, blocks: NDArray[Value]) -> NDArray[Value]:
        """Repeat the blocks on the CT's grid."""
        result = blocks
        for axis, count in enumerate(self.factor):
            if count > 1:
                result = np.repeat(result, count, axis=axis)
        z, y, x = self.full_shape
        return np.ascontiguousarray(result[:z, :y, :x])

    def full_box(self, box: Box) -> Box:
        """Return the voxels of a box of blocks."""
        z, y, x = (
            slice(part.start * factor, min(part.stop * factor, size))
            for part, factor, size in zip(box, self.factor, self.full_shape, strict=True)
        )
        return z, y, x


@dataclass(frozen=True, eq=False)
class WorkingGrid(BlockGrid):
    """Block means of a CT.

    Attributes:
        hu: int16 ``[z, y, x]``, mean HU of each block.
    """

    hu: NDArray[np.int16]

    @classmethod
    def of(
        cls, hu_zyx: NDArray[np.int16], spacing_mm_zyx: SpacingZyx, target_mm: float = WORKING_MM
    ) -> WorkingGrid:
        """Average blocks of voxels to about ``target_mm``; thick slices stay as they are."""
        grid = BlockGrid.over(hu_zyx.shape, spacing_mm_zyx, target_mm)
        means = _block_means(hu_zyx, grid.factor)
        return cls(grid.spacing_mm_zyx, grid.factor, grid.full_shape, means)


def _block_means(
    array: NDArray[np.generic], factor: tuple[int, int, int], scale: int = 1
) -> NDArray[np.int16]:
    """Average blocks of ``scale * array``; the last ones are filled up with the last voxel.

    Goes through the array in slabs of whole blocks that stay in the processor's cache, so
    that no second copy of a CT is made.
    """
    if factor == (1, 1, 1) and scale == 1 and array.dtype == np.int16:
        return array.astype(np.int16, copy=False)
    shape = tuple(-(-size // count) for size, count in zip(array.shape, factor, strict=True))
    result = np.empty(shape, dtype=np.int16)
    slab = max(1, _SLAB_SLICES // factor[0])
    for first in range(0, shape[0], slab):
        part = array[first * factor[0] : (first + slab) * factor[0]].astype(np.int16)
        result[first : first + slab] = _means_of_slab(part * np.int16(scale), factor)
    return result


def _means_of_slab(slab: NDArray[np.int16], factor: tuple[int, int, int]) -> NDArray[np.int16]:
    result = slab
    for axis, count in enumerate(factor):
        if count == 1:
            continue
        short = -result.shape[axis] % count
        if short:
            width = [(0, short if a == axis else 0) for a in range(3)]
            result = np.pad(result, width, mode="edge")
        index: list[slice] = [slice(None)] * 3
        shape = list(result.shape)
        shape[axis] //= count
        total = np.zeros(shape, dtype=np.int32)
        for offset in range(count):
            index[axis] = slice(offset, None, count)
            total += result[tuple(index)]
        result = np.rint(np.divide(total, count, dtype=np.float32)).astype(np.int16)
    return result
