"""How sure a number is: from the probability, from the models' spread, from the lobes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .masks import Mask, SpacingZyx, bounding_box, dilate, margin_voxels
from .result import Lobe

NEGLIGIBLE_DOUBT = 0.05
"""Doubt of a voxel below this counts as none: summed over litres of healthy lung, a
network's last per cent would otherwise outweigh every lesion."""


def binary_entropy(probability: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the entropy of a yes-or-no answer in bits: 0 certain, 1 a coin's toss.

    Args:
        probability: Any shape, 0..1.
    """
    p = np.clip(probability.astype(np.float32), 1e-6, 1.0 - 1e-6)
    entropy: NDArray[np.float32] = -(p * np.log2(p) + (1.0 - p) * np.log2(1.0 - p))
    return entropy


def doubt(
    probability: NDArray[np.floating],
    infected: NDArray[np.bool_],
    agreement: NDArray[np.floating] | None,
) -> NDArray[np.float32]:
    """Return how likely each voxel's answer is wrong, 0..1.

    That is ``1 - p`` inside the infection and ``p`` outside; at least the models'
    disagreement ``1 - agreement``; 0 where it is below `NEGLIGIBLE_DOUBT`. With the mean and
    the range of a consensus (`slice_model.Consensus`) it never exceeds the doubt of the
    least convinced model: ``max(1 - mean, largest - smallest) <= 1 - smallest``.

    Args:
        probability: Probability of infection per voxel, any shape.
        infected: The answer per voxel.
        agreement: 1 where all models agree; None for a single model.
    """
    p = probability.astype(np.float32)
    wrong = np.where(infected, 1.0 - p, p)
    if agreement is not None:
        wrong = np.maximum(wrong, 1.0 - agreement.astype(np.float32))
    wrong[wrong < NEGLIGIBLE_DOUBT] = 0.0
    return np.clip(wrong, 0.0, 1.0)


def lobe_reach(
    lobes: NDArray[np.uint8], uncertainty_mm: float, spacing_mm_zyx: SpacingZyx
) -> NDArray[np.uint8]:
    """Return, per voxel, which lobes of the same lung lie within ``uncertainty_mm``.

    Args:
        lobes: uint8 labels of `Lobe`, on any grid.
        uncertainty_mm: Typical distance between the lobes' border and the fissure.
        spacing_mm_zyx: Edge lengths of the grid's voxels.

    Returns:
        uint8 ``[z, y, x]``, bit ``lobe - 1`` set where the voxel belongs to another lobe of
        the same lung but might belong to ``lobe``.
    """
    reach = np.zeros(lobes.shape, dtype=np.uint8)
    for lobe in Lobe:
        own = lobes == lobe
        others: Mask = np.isin(lobes, [int(o) for o in Lobe if o.lung is lobe.lung and o != lobe])
        if not own.any() or not others.any():
            continue
        box = bounding_box(own, margin_voxels(uncertainty_mm, spacing_mm_zyx))
        near = dilate(own[box], uncertainty_mm, spacing_mm_zyx) & others[box]
        reach[box][near] |= np.uint8(1 << (lobe - 1))
    return reach


def percent_interval(
    infected: tuple[float, float], volume: float, moved: tuple[tuple[float, float, float], ...]
) -> tuple[float, float] | None:
    """Return the interval of an infected percentage.

    Args:
        infected: Least and most infected volume of the region, from the doubt.
        volume: Volume of the region, any unit, the same for all.
        moved: Changes by moving the region's border: volume, least and most infected volume
            added (negative if taken away).

    Returns:
        Low and high in per cent, None for an empty region.
    """
    if volume <= 0:
        return None
    lows, highs = [100.0 * infected[0] / volume], [100.0 * infected[1] / volume]
    for added, least, most in moved:
        if volume + added > 0:
            lows.append(100.0 * (infected[0] + least) / (volume + added))
            highs.append(100.0 * (infected[1] + most) / (volume + added))
    low, high = (min(max(value, 0.0), 100.0) for value in (min(lows), max(highs)))
    return low, high
