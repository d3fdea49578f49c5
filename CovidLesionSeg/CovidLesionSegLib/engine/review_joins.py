"""Which lesions new voxels belong to: those they join, or one that they bring back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .masks import TOUCHING, bounding_box
from .result import Lesion
from .review_values import Labels
from .volume import CtVolume

"""Voxels that share a face, an edge or a corner touch."""


def bridged(labels: Labels, owner: int, others: Iterable[int]) -> list[int]:
    """Return the lesions that new voxels join to their owner.

    Lesions that touched it before stay apart: a person has split them.

    Args:
        labels: uint16 ``[z, y, x]`` with the lesions' ids, still without the new voxels.
        owner: The lesion that the new voxels belong to.
        others: Further lesions that the new voxels touch.
    """
    own: NDArray[np.bool_] = labels == owner
    return [other for other in others if not _touch(own, labels == other)]


def lesion_of_piece(
    piece: NDArray[np.bool_], start_zyx: tuple[int, ...], ct: CtVolume, known: Mapping[int, Lesion]
) -> int | None:
    """Return the lesion that a piece is: same place, same volume; None if it is none of them.

    Args:
        piece: Boolean ``[z, y, x]``.
        start_zyx: Voxel of the CT where the array begins.
        ct: The CT.
        known: Lesions by id.
    """
    volume = float(piece.sum()) * ct.voxel_volume_ml
    centre_zyx = [
        first + axis.mean() for first, axis in zip(start_zyx, piece.nonzero(), strict=True)
    ]
    centre = (ct.affine_lps @ [*centre_zyx[::-1], 1.0])[:3]
    for lesion_id, lesion in known.items():
        same_place = np.allclose(centre, lesion.centroid_lps_mm, atol=0.1)
        if same_place and np.isclose(volume, lesion.volume_ml):
            return lesion_id
    return None


def _touch(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> bool:
    """Return whether two masks touch; only where their boxes meet is looked at."""
    margin = (1, 1, 1)
    boxes = zip(bounding_box(one, margin), bounding_box(other, margin), strict=True)
    both = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in boxes)
    if any(part.start >= part.stop for part in both):
        return False
    grown = ndimage.binary_dilation(one[both], structure=TOUCHING)
    return bool((grown & other[both]).any())
