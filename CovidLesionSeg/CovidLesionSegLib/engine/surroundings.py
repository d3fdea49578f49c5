"""How much denser a finding is than the lung around it.

In expiration, and where the lung is dependent, tissue grows denser without any disease, and a
network calls some of it infected. Such a finding is hardly denser than the lung beside it, which
is squeezed alike. ``training/reports/finding-rules.md`` compares this property with others.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from .lungs_grid import BlockGrid
from .masks import Box, Labels, Mask, SpacingZyx, distance_mm, grown_box, margin_voxels

SURROUNDINGS_MM = 6.0
"""How far the lung around a finding reaches."""

_AIR_HU = -1000.0

_LARGE_BOX = 1_000_000
"""Voxels from which a box is measured on blocks of about 2 mm."""


def density_ratio(finding_hu: float, around_hu: float) -> float:
    """Return how many times more tissue a finding holds than the lung around it.

    Args:
        finding_hu: Mean density of the finding, HU.
        around_hu: Density of the lung around it, HU; -inf if there is none.

    Returns:
        The ratio of both, counted from air; infinite without lung around.
    """
    if around_hu == -np.inf:
        return np.inf
    return (finding_hu - _AIR_HU) / max(around_hu - _AIR_HU, 1.0)


def densities(
    label: int,
    box: Box,
    components: Labels,
    free: Callable[[Box], Mask],
    hu: NDArray[np.int16],
    spacing_mm_zyx: SpacingZyx,
) -> tuple[float, float]:
    """Return the mean density of a finding and that of the lung around it, as `hu_around` does.

    Args:
        label: Number of the finding.
        box: Where it lies.
        components: ``[z, y, x]``, numbers of all findings.
        free: Returns where in a box there is lung that belongs to no finding.
        hu: int16 of the shape of ``components``.
        spacing_mm_zyx: Distance of the voxels in mm.
    """
    mean_hu = float(hu[box][components[box] == label].mean())
    wide = grown_box(box, components.shape, margin_voxels(SURROUNDINGS_MM, spacing_mm_zyx))
    around = hu_around(components[wide] == label, free(wide), hu[wide], spacing_mm_zyx)
    return mean_hu, around


def hu_around(
    finding: Mask, free: Mask, hu: NDArray[np.int16], spacing_mm_zyx: SpacingZyx
) -> float:
    """Return the median density of the lung around a finding.

    Args:
        finding: bool ``[z, y, x]``.
        free: bool of the same shape, lung that belongs to no finding.
        hu: int16 of the same shape.
        spacing_mm_zyx: Distance of the voxels in mm.

    Returns:
        Median HU of the free lung within `SURROUNDINGS_MM`; -inf if there is none.
    """
    if finding.size > _LARGE_BOX:
        grid = BlockGrid.over(finding.shape, spacing_mm_zyx)
        finding, free, hu = grid.centres(finding), grid.centres(free), grid.centres(hu)
        spacing_mm_zyx = grid.spacing_mm_zyx
    around = hu[free & (distance_mm(finding, spacing_mm_zyx) <= SURROUNDINGS_MM)]
    return float(np.median(around)) if around.size else -np.inf
