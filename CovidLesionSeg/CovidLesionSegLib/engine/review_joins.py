"""Which lesions new voxels belong to: those they join, or one that they bring back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from .masks import TOUCHING, Box, grown_box, shifted_box
from .result import Lesion
from .review_pieces import Piece
from .review_values import WHOLE, Labels, union_box
from .volume import CtVolume


class JoiningLesions:
    """The lesions of a region while new voxels are given to them, piece by piece.

    What it asks of a lesion it looks up in that lesion's box: a filter over the whole
    segment makes thousands of pieces.

    Args:
        labels: uint16 ``[z, y, x]`` with the lesions' ids; changed in place.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._boxes = lesion_boxes(labels)
        self._touching: set[frozenset[int]] = set()

    def bridged(self, owner: int, others: list[int]) -> list[int]:
        """Return the lesions that new voxels, not yet given, join to their owner.

        Lesions that touched it before stay apart: a person has split them.

        Args:
            owner: The lesion that the new voxels belong to.
            others: Further lesions that the new voxels touch.
        """
        return [other for other in others if not self._touch(owner, other)]

    def give(self, piece: Piece, owner: int) -> None:
        """Give new voxels to a lesion or make them one."""
        piece.give(self._labels, owner)
        self._boxes[owner] = union_box([self._boxes.get(owner, piece.box), piece.box])

    def join(self, gone: int, owner: int) -> None:
        """Let a lesion take over all voxels of another."""
        box = self._boxes.pop(gone)
        part = self._labels[box]
        part[part == gone] = owner
        self._boxes[owner] = union_box([self._boxes[owner], box])
        self._touching = {pair for pair in self._touching if gone not in pair}

    def _touch(self, one: int, other: int) -> bool:
        """Return whether two lesions touch; voxels are only added, so yes remains yes."""
        pair = frozenset((one, other))
        if pair in self._touching:
            return True
        shape = self._labels.shape
        boxes = (grown_box(self._boxes[lesion_id], shape) for lesion_id in pair)
        both = tuple(
            slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(*boxes, strict=True)
        )
        if any(part.start >= part.stop for part in both):
            return False
        near = self._labels[both]
        grown = ndimage.binary_dilation(near == one, structure=TOUCHING)
        touches = bool((grown & (near == other)).any())
        if touches:
            self._touching.add(pair)
        return touches


def lesion_boxes(labels: Labels, region: Box = WHOLE) -> dict[int, Box]:
    """Return the smallest box around each lesion's voxels in a region, by id.

    Args:
        labels: uint16 ``[z, y, x]`` with the lesions' ids.
        region: Where to look; the boxes are on the grid of ``labels``.
    """
    boxes: dict[int, Box] = {}
    for lesion_id, found in enumerate(ndimage.find_objects(labels[region]), start=1):
        if found is not None:
            z, y, x = (
                slice((outer.start or 0) + part.start, (outer.start or 0) + part.stop)
                for outer, part in zip(region, found, strict=True)
            )
            boxes[lesion_id] = (z, y, x)
    return boxes


def lesion_of_piece(
    piece: Piece, start_zyx: tuple[int, ...], ct: CtVolume, known: Mapping[int, Lesion]
) -> int | None:
    """Return the lesion that a piece is: same place, same volume; None if it is none of them.

    Args:
        piece: The voxels.
        start_zyx: Voxel of the CT where the grid of the piece begins.
        ct: The CT.
        known: Lesions by id.
    """
    volume = piece.size * ct.voxel_volume_ml
    box = shifted_box(piece.box, start_zyx)
    centre_zyx = [
        part.start + axis.mean() for part, axis in zip(box, piece.voxels.nonzero(), strict=True)
    ]
    centre = (ct.affine_lps @ [*centre_zyx[::-1], 1.0])[:3]
    for lesion_id, lesion in known.items():
        same_place = np.allclose(centre, lesion.centroid_lps_mm, atol=0.1)
        if same_place and np.isclose(volume, lesion.volume_ml):
            return lesion_id
    return None
