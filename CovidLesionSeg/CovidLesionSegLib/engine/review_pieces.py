"""The pieces that an edit leaves of a lesion: which stay together, and which it cut off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .masks import TOUCHING, Box, bounding_box, grown_box, shifted_box
from .review_values import Labels, Snapshot, union_box


@dataclass(frozen=True, eq=False)
class Piece:
    """Voxels that hang together by faces, edges or corners.

    Attributes:
        box: Where they lie, with a margin of one voxel where the grid has it.
        voxels: Boolean on the box.
        size: Their number.
    """

    box: Box
    voxels: NDArray[np.bool_]
    size: int

    def give(self, labels: Labels, lesion_id: int) -> None:
        """Make the piece a part of a lesion; of none with id 0."""
        labels[self.box][self.voxels] = lesion_id

    def contacts(self, labels: Labels) -> NDArray[np.intp]:
        """Return how many voxels of each lesion, by id, touch the piece; none of id 0."""
        around = ndimage.binary_dilation(self.voxels, structure=TOUCHING) & ~self.voxels
        counts = np.bincount(labels[self.box][around], minlength=1)
        counts[0] = 0
        return counts

    def meets(self, other: Piece) -> bool:
        """Return whether two pieces, of different times, have a voxel in common."""
        common = tuple(
            slice(max(a.start, b.start), min(a.stop, b.stop))
            for a, b in zip(self.box, other.box, strict=True)
        )
        if any(part.start >= part.stop for part in common):
            return False
        own, others = (
            piece.voxels[
                tuple(
                    slice(part.start - start.start, part.stop - start.start)
                    for part, start in zip(common, piece.box, strict=True)
                )
            ]
            for piece in (self, other)
        )
        return bool((own & others).any())


def pieces_of(
    mask: NDArray[np.bool_], start_zyx: tuple[int, int, int] = (0, 0, 0)
) -> Iterator[Piece]:
    """Yield the connected pieces of a mask in scan order.

    Args:
        mask: Boolean ``[z, y, x]``.
        start_zyx: Where it begins on the grid of the pieces' boxes.
    """
    if not mask.any():
        return
    near = bounding_box(mask, margin=(1, 1, 1))
    numbers, _ = ndimage.label(mask[near], structure=TOUCHING)
    offset_zyx = tuple(part.start + start for part, start in zip(near, start_zyx, strict=True))
    for number, found in enumerate(ndimage.find_objects(numbers), start=1):
        box = grown_box(found, numbers.shape)
        voxels = numbers[box] == number
        yield Piece(shifted_box(box, offset_zyx), voxels, int(np.count_nonzero(voxels)))


def pieces_of_lesion(labels: Labels, lesion_id: int, box: Box) -> list[Piece]:
    """Return the connected pieces of a lesion.

    Args:
        labels: uint16 ``[z, y, x]`` with the lesions' ids.
        lesion_id: The lesion.
        box: A box that holds it.
    """
    wide = grown_box(box, labels.shape)
    z, y, x = (part.start for part in wide)
    return list(pieces_of(labels[wide] == lesion_id, (z, y, x)))


def joined(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Yield pieces with those that touch each other as one."""
    if not pieces:
        return
    box = union_box(piece.box for piece in pieces)
    z, y, x = (part.start for part in box)
    mask = np.zeros([part.stop - part.start for part in box], dtype=bool)
    for piece in pieces:
        mask[shifted_box(piece.box, (-z, -y, -x))][piece.voxels] = True
    yield from pieces_of(mask, (z, y, x))


def divided(pieces: list[Piece], before: Snapshot) -> tuple[list[Piece], list[Piece]]:
    """Tell the pieces of a lesion that stay together from those that an edit cut off.

    Of what hung together before, the largest piece stays. What was apart already stays as
    well: a person has made one lesion of it.

    Args:
        pieces: The lesion after the edit, on the snapshot's box.
        before: The state before the edit.

    Returns:
        What stays, and what does not.
    """
    if len(pieces) == 1:
        return pieces, []
    largest_first = sorted(range(len(pieces)), key=lambda index: -pieces[index].size)
    cut: set[int] = set()
    families = []
    for parts in _origins(pieces, before):
        family: set[int] = set()
        for part in parts:
            left = [index for index in largest_first if pieces[index].meets(part)]
            cut.update(left[1:])
            family.update(left)
        families.append(family)
    kept = {largest_first[0]}
    # Lesion by lesion, as far as one leads to the next: an edit may join several.
    for _ in families:
        for family in families:
            rest = family - cut
            kept |= rest if rest & kept else set()
    return (
        [piece for index, piece in enumerate(pieces) if index in kept],
        [piece for index, piece in enumerate(pieces) if index not in kept],
    )


def _origins(pieces: Sequence[Piece], before: Snapshot) -> Iterator[list[Piece]]:
    """Yield the pieces of each lesion before the edit of which something is left in these."""
    ids = set()
    for piece in pieces:
        ids |= set(np.unique(before.labels[piece.box][piece.voxels]).tolist())
    start = tuple(-part.start for part in before.box)
    for lesion_id in sorted(ids - {0}):
        box = shifted_box(before.boxes[lesion_id], start)
        yield pieces_of_lesion(before.labels, lesion_id, box)
