"""Lobes that somebody else made: recognised, checked, and joined with the lungs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from CovidLesionSegLib.errors import InputError

from .lobe_names import lobe_of_name, lobe_of_terminology
from .lungs import LungMask
from .masks import Mask, SpacingZyx, bounding_box, distance_mm, margin_voxels
from .result import Anatomy, Lobe, LobeSource, Lung, missing_lobes
from .volume import CtVolume

LOBE_MISSING = "lobe-missing"
LOBES_COVER_PART = "lobes-cover-part"
LOBES_DOUBTFUL = "lobes-doubtful"
LOBES_BY_POSITION = "lobes-by-position"
LOBES_RESAMPLED = "lobes-resampled"

_MIN_LOBE_ML = 1.0
_MAX_OVERLAP = 0.02
_MIN_COVERAGE = 0.3
_MOST_OUTSIDE = 0.2
"""Lobes of which more lies outside the lungs that were found may be another patient's."""

_FULL_COVERAGE = 0.85
_MAX_WRONG_SIDE = 0.5
_CLEAR_MM = 12.0


@dataclass(frozen=True, eq=False)
class NamedSegment:
    """A segment from a scene or a file.

    Attributes:
        name: Its name; empty if it has none.
        mask: Boolean ``[z, y, x]`` on the CT's grid in LPS axis order.
        terminology: 3D Slicer's terminology entry; empty if it has none.
    """

    name: str
    mask: Mask
    terminology: str = ""

    @property
    def lobe(self) -> Lobe | None:
        """The lobe it is, by codes first, then by name."""
        return lobe_of_terminology(self.terminology) or lobe_of_name(self.name)


def lobes_from_segments(
    segments: Sequence[NamedSegment],
    ct: CtVolume,
    lungs: LungMask,
    source: LobeSource = LobeSource.SCENE,
    flags: tuple[str, ...] = (),
) -> Anatomy:
    """Make the anatomy from segments of which some are lobes.

    Args:
        segments: Any segments; those that are no lobe are ignored.
        ct: The CT.
        lungs: Lungs found in it.
        source: Where the segments came from.
        flags: Findings while they were read.

    Raises:
        InputError: ``lobes-not-recognised``, ``lobes-duplicate``, ``lobes-overlap``,
            ``lobes-outside-lungs``, ``lobes-sides-swapped`` or ``lobes-implausible``.
    """
    found: dict[Lobe, Mask] = {}
    for segment in sorted(segments, key=_is_lingula):  # it joins its lobe
        lobe = segment.lobe
        if lobe is None or np.count_nonzero(segment.mask) * ct.voxel_volume_ml < _MIN_LOBE_ML:
            continue
        if lobe in found and not _is_lingula(segment):
            raise InputError(
                "lobes-duplicate",
                f"Two segments are the {lobe.long_name}.",
                "Keep one segment per lobe.",
            )
        found[lobe] = segment.mask | found[lobe] if lobe in found else segment.mask
    if not found:
        raise no_lobe_recognised()
    labels = _combine(found)
    check_lobes(labels, ct, lungs.labels)
    return join_lobes(labels, ct, lungs, source, flags)


def _is_lingula(segment: NamedSegment) -> bool:
    return "lingula" in segment.name.lower()


def no_lobe_recognised() -> InputError:
    """Return what is said to segments of which none is a lobe."""
    return InputError(
        "lobes-not-recognised",
        "None of the segments is recognised as a lung lobe.",
        'Name them like "right upper lobe" or "lung_upper_lobe_right", or give them terminology.',
    )


def _combine(found: dict[Lobe, Mask]) -> NDArray[np.uint8]:
    labels = np.zeros(next(iter(found.values())).shape, dtype=np.uint8)
    for lobe in sorted(found):
        mask = found[lobe]
        taken = np.count_nonzero(labels[mask])
        if taken > _MAX_OVERLAP * np.count_nonzero(mask):
            raise InputError(
                "lobes-overlap",
                f"The {lobe.long_name} overlaps other lobes.",
                "Each voxel can belong to one lobe only; correct the segments.",
            )
        labels[mask & (labels == 0)] = lobe
    return labels


def centroids_lps(labels: NDArray[np.uint8], ct: CtVolume) -> dict[int, NDArray[np.float64]]:
    """Return the centre of gravity of every label present, LPS in mm."""
    where = np.nonzero(labels)
    values = labels[where]
    sizes = np.bincount(values, minlength=256)
    centres = {}
    sums = [np.bincount(values, weights=axis, minlength=256) for axis in where]
    for label in np.flatnonzero(sizes):
        zyx = [total[label] / sizes[label] for total in sums]
        xyz = np.array(zyx[::-1])
        centres[int(label)] = ct.affine_lps[:3, :3] @ xyz + ct.affine_lps[:3, 3]
    return centres


def check_lobes(labels: NDArray[np.uint8], ct: CtVolume, lungs: NDArray[np.uint8]) -> None:
    """Refuse lobes that can't be those of this CT."""
    inside = int(np.count_nonzero((labels > 0) & (lungs > 0)))
    smaller = min(int(np.count_nonzero(labels)), int(np.count_nonzero(lungs)))
    if inside < _MIN_COVERAGE * smaller:
        raise InputError(
            "lobes-outside-lungs",
            "The lobes hardly overlap the lungs of this CT.",
            "They may belong to another CT; choose the lobes made from this one.",
        )
    side = np.zeros(max(Lobe) + 1, dtype=np.uint8)
    side[[int(lobe) for lobe in Lobe]] = [int(lobe.lung) for lobe in Lobe]
    known = (labels > 0) & (lungs > 0)
    wrong = np.count_nonzero(side[labels[known]] != lungs[known])
    if wrong > _MAX_WRONG_SIDE * max(inside, 1):
        raise InputError(
            "lobes-sides-swapped",
            "Left and right lobes are swapped.",
            "The file may have lost its orientation; export the lobes again.",
        )
    centres = centroids_lps(labels, ct)
    for upper, lower in ((Lobe.RUL, Lobe.RLL), (Lobe.LUL, Lobe.LLL)):
        if upper in centres and lower in centres and centres[upper][2] < centres[lower][2]:
            raise InputError(
                "lobes-implausible",
                f"The {upper.long_name} lies below the {lower.long_name}.",
                "Check the names of the lobes and the orientation of the file.",
            )


def join_lobes(
    labels: NDArray[np.uint8],
    ct: CtVolume,
    lungs: LungMask,
    source: LobeSource,
    flags: tuple[str, ...] = (),
) -> Anatomy:
    """Make lungs and lobes agree voxel by voxel, so that the table's sums close.

    What the lobes hold is lung. Lung voxels without a lobe get the nearest lobe of their
    side if that lung's lobes are complete; else they stay without one, because they may be
    the missing lobe.
    """
    lobes = labels.copy()
    joined = lungs.labels.copy()
    missing = missing_lobes(labels)
    lung_count = max(int(np.count_nonzero(joined)), 1)
    inside = int(np.count_nonzero((labels > 0) & (joined > 0)))
    covered = inside / lung_count
    outside = 1.0 - inside / max(int(np.count_nonzero(labels)), 1)
    for lobe in Lobe:
        joined[labels == lobe] = lobe.lung
    fill_complete_sides(lobes, joined, ct.spacing_mm_zyx)
    found = [*lungs.flags, *flags]
    if missing:
        found.append(LOBE_MISSING)
    elif covered < _FULL_COVERAGE:
        found.append(LOBES_COVER_PART)
    if outside > _MOST_OUTSIDE:
        found.append(LOBES_DOUBTFUL)
    return Anatomy(joined, lobes, source, missing, tuple(dict.fromkeys(found)))


def fill_complete_sides(
    lobes: NDArray[np.uint8], lungs: NDArray[np.uint8], spacing: SpacingZyx
) -> None:
    """Give lung voxels without a lobe the nearest one, where their lung has all its lobes.

    Args:
        lobes: uint8 ``[z, y, x]``, labels of `Lobe`; changed in place.
        lungs: uint8 of the same shape, labels of `Lung`.
        spacing: Edge lengths of a voxel in mm, ``(z, y, x)``.
    """
    # Not by counting: that would copy the labels to integers of eight bytes.
    present = {lobe for lobe in Lobe if (lobes == lobe).any()}
    for lung in Lung:
        own = [lobe for lobe in Lobe if lobe.lung is lung]
        if all(lobe in present for lobe in own):
            _fill_nearest(lobes, lungs == lung, own, spacing)


def _fill_nearest(
    lobes: NDArray[np.uint8], lung: Mask, own: list[Lobe], spacing: SpacingZyx
) -> None:
    """Give the lung's voxels without a lobe their nearest lobe, in place.

    Distances are measured on every second or third voxel: neighbours of the gap decide,
    and gaps are wider than that only where no exact border exists anyway.
    """
    gaps = lung & (lobes == 0)
    if not gaps.any():
        return
    box = bounding_box(lung, margin_voxels(0.0, spacing))
    steps = [max(1, round(2.0 / size)) for size in spacing]
    coarse = lobes[box][:: steps[0], :: steps[1], :: steps[2]]
    coarse_spacing = tuple(size * step for size, step in zip(spacing, steps, strict=True))
    z, y, x = coarse_spacing
    distances = np.stack([distance_mm(coarse == lobe, (z, y, x)) for lobe in own])
    nearest = np.array([int(lobe) for lobe in own], dtype=np.uint8)[np.argmin(distances, axis=0)]
    index = np.nonzero(gaps[box])
    coarse_index = tuple(axis // step for axis, step in zip(index, steps, strict=True))
    lobes[box][index] = nearest[coarse_index]


def lobes_by_position(labels: NDArray[np.uint8], ct: CtVolume) -> dict[int, Lobe] | None:
    """Name five unnamed labels by where they lie.

    Two are the left lung's, three the right's; the upper lobe lies above the lower, and of
    the right lung's lower two the middle lobe lies in front.

    Returns:
        Lobe by label, None where position does not decide clearly.
    """
    centres = centroids_lps(labels, ct)
    if len(centres) != len(Lobe):
        return None
    by_x = sorted(centres, key=lambda label: float(centres[label][0]))
    right, left = by_x[:3], by_x[3:]
    if centres[left[0]][0] - centres[right[-1]][0] < _CLEAR_MM:
        return None
    lower_left, upper_left = sorted(left, key=lambda label: float(centres[label][2]))
    *low_right, upper_right = sorted(right, key=lambda label: float(centres[label][2]))
    middle, lower_right = sorted(low_right, key=lambda label: float(centres[label][1]))
    clear = (
        centres[upper_left][2] - centres[lower_left][2],
        centres[upper_right][2] - max(centres[middle][2], centres[lower_right][2]),
        centres[lower_right][1] - centres[middle][1],
    )
    if min(clear) < _CLEAR_MM:
        return None
    order = (upper_right, middle, lower_right, upper_left, lower_left)
    return dict(zip(order, Lobe, strict=True))
