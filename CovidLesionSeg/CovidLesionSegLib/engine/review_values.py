"""The values of a review: what stays the same, what one step did, how to go back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .definitions import SMALL_LESION_ML
from .masks import Box
from .result import Anatomy, Lesion, Prediction
from .volume import CtVolume

UNREVIEWED, ACCEPTED, REJECTED, EDITED = "unreviewed", "accepted", "rejected", "edited"

FINISH, REOPEN = "finish", "reopened by an edit"
"""Actions of the log that close a review, and open it again."""

Labels = NDArray[np.uint16]

WHOLE: Box = (slice(None), slice(None), slice(None))
"""The box of a whole grid."""


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


def finished_utc(log: Iterable[LogEntry]) -> str | None:
    """Return when a review was finished; None when it was not, or when an edit reopened it."""
    time_utc = None
    for entry in log:
        if entry.action in (FINISH, REOPEN):
            time_utc = entry.time_utc if entry.action == FINISH else None
    return time_utc


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What is needed to take one step back.

    Attributes:
        box: Where something changed.
        infection, labels: The voxels there, as they were.
        lesions, boxes, decisions, rejected: The book-keeping, as it was.
        anatomy_version: How often lungs or lobes had been corrected when it was measured.
    """

    box: Box
    infection: NDArray[np.uint8]
    labels: Labels
    lesions: Mapping[int, Lesion]
    boxes: Mapping[int, Box]
    decisions: Mapping[int, str]
    rejected: Mapping[int, Lesion]
    anatomy_version: int


def is_small(lesion: Lesion) -> bool:
    """Return whether a lesion is below `definitions.SMALL_LESION_ML`."""
    return lesion.volume_ml < SMALL_LESION_ML


def review_rank(lesion: Lesion) -> tuple[bool, float, int]:
    """Return the key that sorts lesions for the review: what may change the numbers most first.

    Small lesions come last, whatever their doubt. Before them the volume in doubt decides, not
    the share: a speck that is nothing but doubt moves no number, a few per cent of a lobe do.
    """
    return is_small(lesion), -volume_in_doubt_ml(lesion), lesion.id


def volume_in_doubt_ml(lesion: Lesion) -> float:
    """Return the expected volume of a lesion that is none, in ml.

    Lesions of versions that did not measure it get their doubt's share of the volume.
    """
    if lesion.doubt_ml is not None:
        return lesion.doubt_ml
    return doubt_of(lesion) * lesion.volume_ml


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
