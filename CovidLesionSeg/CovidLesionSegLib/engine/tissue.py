"""What the tissue around a voxel is like, in channels that tell ground glass from vessels.

The mean density of a small block does not: a vessel raises it as much as ground glass does. A
low quantile does, because between vessels there is still air, and in ground glass there is none.
Half of the channels are relative to the patient's own lung, since expiration makes all of it
denser without any disease (compare `CovidLesionSegLib.engine.surroundings`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .lungs_grid import BlockGrid
from .masks import Box, Mask, SpacingZyx, bounding_box, mean_within

BLOCK_MM = 5.0
"""Edge length of a block: larger than the gaps between vessels, smaller than most lesions."""

_QUANTILES = (0.1, 0.25, 0.5, 0.75)
_SMOOTHED = ((0.1, 5.0), (0.25, 5.0), (0.1, 10.0), (0.25, 20.0))
_RELATIVE_QUANTILES = (0.1, 0.25)
_RELATIVE_SMOOTHED = ((0.1, 5.0), (0.25, 5.0), (0.25, 20.0))

CHANNELS = (
    *(f"quantile {q:g}" for q in _QUANTILES),
    "mean",
    *(f"quantile {q:g} within {mm:g} mm" for q, mm in _SMOOTHED),
    *(f"relative quantile {q:g}" for q in _RELATIVE_QUANTILES),
    *(f"relative quantile {q:g} within {mm:g} mm" for q, mm in _RELATIVE_SMOOTHED),
    "distance to the border",
)
"""What the channels hold, in order."""
DENSITY_CHANNELS = len(_QUANTILES) + 1 + len(_SMOOTHED)
"""So many channels at the start are densities; expiration changes them and none of the others."""

Value = TypeVar("Value", bound=np.generic)

_AIR_HU = -1000.0
_HU_RANGE = (-1000, 300)
_LEAST_LUNG = 0.4
_REFERENCE_PERCENTILE = 20.0
_FARTHEST_MM = 30.0
# The usual centre and spread of lung, so that inputs are of the order of one.
_DENSITY_CENTRE, _DENSITY_SPREAD = 0.2, 0.15
_LOG_SPREAD = 0.4
_LEAST_DENSITY = 0.02


@dataclass(frozen=True, eq=False)
class TissueMap:
    """Channels of both lungs on blocks.

    Attributes:
        grid: How voxels are joined to blocks.
        inside: bool ``[z, y, x]``, blocks that are lung.
        values: float32 ``[channel, z, y, x]``; beyond the lungs that of the nearest block, so that
            nothing at the pleura is lost when a map of them is interpolated.
    """

    grid: BlockGrid
    inside: Mask
    values: NDArray[np.float32]

    @property
    def median_hu(self) -> NDArray[np.float32]:
        """Median density of every block, HU."""
        channel = self.values[CHANNELS.index("quantile 0.5")]
        density = channel * np.float32(_DENSITY_SPREAD) + np.float32(_DENSITY_CENTRE)
        result: NDArray[np.float32] = np.float32(_AIR_HU) * (1 - density)
        return result


def tissue_map(hu: NDArray[np.int16], lungs: Mask, spacing_mm_zyx: SpacingZyx) -> TissueMap:
    """Describe the tissue of the lungs block by block.

    Args:
        hu: int16 ``[z, y, x]``.
        lungs: Mask of the same shape.
        spacing_mm_zyx: Distance of the voxels in mm.
    """
    grid = BlockGrid.over(hu.shape, spacing_mm_zyx, BLOCK_MM)
    covered = _in_blocks(lungs, grid.factor)
    inside: Mask = covered.mean(axis=-1) >= _LEAST_LUNG
    if not inside.any():
        return TissueMap(grid, inside, np.zeros((len(CHANNELS), *inside.shape), dtype=np.float32))
    densities = _block_densities(_in_blocks(hu, grid.factor)[inside], covered[inside], inside)
    quantile = dict(zip(_QUANTILES, densities, strict=False))
    spacing = grid.spacing_mm_zyx
    smooth = {
        (q, mm): _smoothed(quantile[q], inside, mm, spacing)
        for q, mm in {*_SMOOTHED, *_RELATIVE_SMOOTHED}
    }
    reference = float(np.percentile(quantile[0.25][inside], _REFERENCE_PERCENTILE))
    absolute = [*densities, *(smooth[key] for key in _SMOOTHED)]
    relative = [
        *(quantile[q] for q in _RELATIVE_QUANTILES),
        *(smooth[key] for key in _RELATIVE_SMOOTHED),
    ]
    depth = ndimage.distance_transform_edt(np.pad(inside, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    channels = [
        *((density - _DENSITY_CENTRE) / _DENSITY_SPREAD for density in absolute),
        *(_log_ratio(density, reference) / _LOG_SPREAD for density in relative),
        np.minimum(depth, _FARTHEST_MM) / _FARTHEST_MM,
    ]
    nearest = ndimage.distance_transform_edt(
        ~inside, sampling=spacing, return_distances=False, return_indices=True
    )
    values = np.stack(channels).astype(np.float32)
    return TissueMap(grid, inside, values[(slice(None), *nearest)])


def _block_densities(
    hu: NDArray[np.int16], counted: Mask, inside: Mask
) -> list[NDArray[np.float32]]:
    """Return quantiles and mean of blocks, counted from air (0) to water (1).

    Args:
        hu: int16 ``[block, voxel]`` of the blocks that are lung.
        counted: Which of these voxels are lung, at least one of each block.
        inside: Where the blocks lie, ``[z, y, x]``.
    """
    values = np.clip(hu, *_HU_RANGE).astype(np.float32)
    values = np.sort(np.where(counted, values, np.nan), axis=-1)  # NaN comes last
    last = counted.sum(axis=-1) - 1
    rows = np.arange(len(values))
    found = [values[rows, np.rint(last * q).astype(np.intp)] for q in _QUANTILES]
    found.append(np.nanmean(values, axis=-1))
    return [_placed((value - _AIR_HU) / -_AIR_HU, inside) for value in found]


def _in_blocks(array: NDArray[Value], factor: tuple[int, int, int]) -> NDArray[Value]:
    """Return ``[z, y, x, voxel]``; blocks that the array cuts are filled up with its edge."""
    short = [(0, -size % count) for size, count in zip(array.shape, factor, strict=True)]
    padded = np.pad(array, short, mode="edge")
    counts = [size // count for size, count in zip(padded.shape, factor, strict=True)]
    shape = [size for pair in zip(counts, factor, strict=True) for size in pair]
    return padded.reshape(shape).transpose(0, 2, 4, 1, 3, 5).reshape(*counts, -1)


def _placed(values: NDArray[np.float32], inside: Mask) -> NDArray[np.float32]:
    result = np.zeros(inside.shape, dtype=np.float32)
    result[inside] = values
    return result


def _smoothed(
    density: NDArray[np.float32], inside: Mask, width_mm: float, spacing: SpacingZyx
) -> NDArray[np.float32]:
    """Average over the lung around each block, weighted by a Gaussian of this width."""
    return mean_within(density, inside, [width_mm / step for step in spacing])


def _log_ratio(density: NDArray[np.float32], reference: float) -> NDArray[np.float32]:
    least = np.float32(_LEAST_DENSITY)
    ratio = np.maximum(density, least) / max(np.float32(reference), least)
    result: NDArray[np.float32] = np.log(ratio)
    return result


def scaled_density(channels: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Return the channels of lungs that hold ``factor`` times as much tissue everywhere.

    Args:
        channels: float32 ``[channel, ...]``, in the order of `CHANNELS`.
        factor: 1 changes nothing.
    """
    result = channels.copy()
    centre = np.float32(_DENSITY_CENTRE / _DENSITY_SPREAD)
    density = channels[:DENSITY_CHANNELS] + centre
    result[:DENSITY_CHANNELS] = density * np.float32(factor) - centre
    return result


def lung_tissue(
    hu: NDArray[np.int16], lungs: NDArray[np.uint8], spacing_mm_zyx: SpacingZyx
) -> tuple[Box, TissueMap] | None:
    """Describe the tissue of the lungs within the box that holds them.

    Args:
        hu: int16 ``[z, y, x]``.
        lungs: uint8 of the same shape, non-zero in the lungs.
        spacing_mm_zyx: Distance of the voxels in mm.

    Returns:
        The box and the map of what lies in it; None without lungs.
    """
    mask = lungs > 0
    if not mask.any():
        return None
    box = bounding_box(mask)
    return box, tissue_map(hu[box], mask[box], spacing_mm_zyx)
