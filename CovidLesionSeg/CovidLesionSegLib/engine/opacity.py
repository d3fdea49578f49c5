"""Ground glass and consolidation inside the infection, told apart by their HU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .definitions import CONSOLIDATION_FROM_HU, LESION_CLASS_SHARES
from .result import Opacity

GROUND_GLASS = "ground-glass"
MIXED = "mixed"
CONSOLIDATION = "consolidation"


def split_opacity(hu: NDArray[np.int16], infection: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the labels of `Opacity` inside the infection.

    The same border as in the table's ``ggo_percent`` and ``consolidation_percent``, so that
    segments and numbers agree to the voxel.

    Args:
        hu: int16 ``[z, y, x]``.
        infection: uint8 of the same shape, non-zero where infected.
    """
    # Typed labels: plain ones would make an array eight times as large.
    labels = np.uint8(Opacity.CONSOLIDATION), np.uint8(Opacity.GROUND_GLASS)
    opacity: NDArray[np.uint8] = np.where(hu >= CONSOLIDATION_FROM_HU, *labels)
    opacity[infection == 0] = 0
    return opacity


def lesion_class(consolidated_share: float) -> str:
    """Name a lesion by how much of it is consolidation.

    Args:
        consolidated_share: Share of its voxels at or above the border of consolidation, 0..1.
    """
    low, high = LESION_CLASS_SHARES
    if consolidated_share < low:
        return GROUND_GLASS
    return MIXED if consolidated_share < high else CONSOLIDATION
