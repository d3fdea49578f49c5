"""The values of a review: what stays the same, what one step did, how to go back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .masks import Box
from .result import Anatomy, Lesion, Prediction
from .volume import CtVolume

UNREVIEWED, ACCEPTED, REJECTED, EDITED = "unreviewed", "accepted", "rejected", "edited"

Labels = NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class ReviewContext:
    """What stays the same while lesions are edited.

    Attributes:
        ct: The CT.
        anatomy: Lungs and lobes.
        prediction: Maps of the networks.
        ai_infection: uint8 ``[z, y, x]``, the infection as computed.
    """

    ct: CtVolume
    anatomy: Anatomy
    prediction: Prediction
    ai_infection: NDArray[np.uint8]


@dataclass(frozen=True)
class Change:
    """What one edit did to the infection.

    Attributes:
        added_voxels, removed_voxels: Numbers of voxels.
        box: Where, on the CT's grid.
    """

    added_voxels: int
    removed_voxels: int
    box: Box


@dataclass(frozen=True)
class LogEntry:
    """One line of the audit log.

    Attributes:
        time_utc: ISO 8601, seconds.
        action: For example ``"reject"`` or ``"edit"``.
        lesions: Ids concerned, separated by blanks.
        added_voxels, removed_voxels: What it did to the infection.
        dice_to_computed: Dice coefficient of the infection after it and as computed.
    """

    time_utc: str
    action: str
    lesions: str
    added_voxels: int
    removed_voxels: int
    dice_to_computed: float


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What is needed to take one step back.

    Attributes:
        box: Where something changed.
        infection, labels: The voxels there, as they were.
        lesions, boxes, decisions, rejected: The book-keeping, as it was.
    """

    box: Box
    infection: NDArray[np.uint8]
    labels: Labels
    lesions: Mapping[int, Lesion]
    boxes: Mapping[int, Box]
    decisions: Mapping[int, str]
    rejected: Mapping[int, Lesion]


def doubt_of(lesion: Lesion) -> float:
    """Return how doubtful a lesion is, 0..1: its uncertainty, or the models' disagreement."""
    disagreement = 0.0 if lesion.agreement is None else 1.0 - lesion.agreement
    return max(lesion.uncertainty, disagreement)


def union_box(boxes: Iterable[Box]) -> Box:
    """Return the smallest box that holds all boxes."""
    z, y, x = (
        slice(min(part.start for part in parts), max(part.stop for part in parts))
        for parts in zip(*boxes, strict=True)
    )
    return z, y, x


def grown_box(box: Box, shape: tuple[int, ...]) -> Box:
    """Return a box with one voxel more on every side, inside a grid of this shape."""
    z, y, x = (
        slice(max(part.start - 1, 0), min(part.stop + 1, size))
        for part, size in zip(box, shape, strict=True)
    )
    return z, y, x
