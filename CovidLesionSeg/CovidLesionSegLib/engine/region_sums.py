"""Counts by region that every number of the table is made from.

`RegionSums` goes through the lungs once; after an edit only the infected voxels are counted
again, which takes a fraction of a second for a large CT.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lungs_grid import BlockGrid
from .masks import Box, bounding_box
from .result import Anatomy, Lobe, Lung, Opacity, Prediction
from .steps import Steps, finish
from .uncertainty import binary_entropy, doubt, lobe_reach
from .volume import CtVolume

REGION_COUNT = 8
"""Codes: 0 outside, 1..5 `Lobe`, then the rest of the right and of the left lung."""

REACH_COUNT = 32
REST_OF_LUNG = {Lung.RIGHT: 6, Lung.LEFT: 7}
LOWEST_HU = -1200
HIGHEST_HU = 3100
_BIN_COUNT = HIGHEST_HU - LOWEST_HU + 1
HU_LEVELS: NDArray[np.int64] = np.arange(LOWEST_HU, HIGHEST_HU + 1)
"""HU of each histogram bin; what lies beyond counts in the first or the last."""


@dataclass(frozen=True, eq=False)
class InfectedSums:
    """Counts over the infected voxels, by region code.

    Attributes:
        histogram: ``(8, bins)`` voxels by HU.
        decided: ``(8, bins)`` those of them that a person decided.
        consolidated: ``(8,)`` voxels called consolidation; None when HU alone decide.
        reach: ``(8, 32)`` voxels by the lobes that they might belong to instead.
        false_positive: ``(8, 32)`` expected number of voxels wrongly infected.
        false_negative: ``(8, 32)`` expected number of infected voxels missed.
        entropy: ``(8,)`` summed binary entropy in bits.
        agreement: ``(8,)`` summed agreement of the models; None for a single model.
        outside: Infected voxels outside the lungs.
    """

    histogram: NDArray[np.int64]
    decided: NDArray[np.int64]
    consolidated: NDArray[np.float64] | None
    reach: NDArray[np.int64]
    false_positive: NDArray[np.float64]
    false_negative: NDArray[np.float64]
    entropy: NDArray[np.float64]
    agreement: NDArray[np.float64] | None
    outside: int


class RegionSums:
    """Counts over lungs and lobes that stay the same while lesions are edited.

    Args:
        ct: The CT.
        anatomy: Lungs and lobes.
        prediction: Probability and agreement.
    """

    def __init__(self, ct: CtVolume, anatomy: Anatomy, prediction: Prediction) -> None:
        finish(self._count(ct, anatomy, prediction))

    @classmethod
    def in_steps(cls, ct: CtVolume, anatomy: Anatomy, prediction: Prediction) -> Steps[RegionSums]:
        """Count in steps, for an application that must answer in between."""
        sums = cls.__new__(cls)
        yield from sums._count(ct, anatomy, prediction)
        return sums

    def _count(self, ct: CtVolume, anatomy: Anatomy, prediction: Prediction) -> Steps[None]:
        lung = anatomy.lungs > 0
        self._box: Box = bounding_box(lung) if lung.any() else (slice(0), slice(0), slice(0))
        # Copied once: cutting them out of the CT takes longer than everything after it.
        agreement = prediction.agreement
        self._hu = ct.hu[self._box].ravel()
        self._probability = prediction.infection[self._box].ravel()
        self._agreement = None if agreement is None else agreement[self._box].ravel()
        yield
        self._code = region_codes(anatomy, self._box)
        yield
        self._reach = _reach_bits(ct, anatomy, self._code)
        yield
        inside = np.flatnonzero(self._code)
        code = self._code.ravel()[inside]
        self.histogram = _histogram(code, self._hu[inside])
        yield
        joint = self._joint(code, inside)
        self.reach = _joint_counts(joint)
        p, agreement = self._network(inside)
        yield
        missed = doubt(p, np.zeros(p.shape, dtype=bool), agreement)
        self._missed = _joint_sums(joint, missed)

    def infected(
        self,
        infection: NDArray[np.uint8],
        reviewed: NDArray[np.bool_] | None = None,
        classes: NDArray[np.uint8] | None = None,
    ) -> InfectedSums:
        """Count the infected voxels.

        Args:
            infection: uint8 ``[z, y, x]`` on the CT's grid, non-zero where infected.
            reviewed: Boolean of the same shape, true where a person decided: no doubt is
                left there.
            classes: uint8 of the same shape, labels of `Opacity`, when they are not by HU.
        """
        crop = infection[self._box].ravel()
        where = np.flatnonzero(crop)
        code = self._code.ravel()[where]
        where, code = where[code > 0], code[code > 0]
        joint = self._joint(code, where)
        p, agreement = self._network(where)
        yes = np.ones(p.shape, dtype=bool)
        wrong = doubt(p, yes, agreement)
        missed = self._missed - _joint_sums(joint, doubt(p, ~yes, agreement))
        by_person = np.zeros(where.shape, dtype=bool)
        if reviewed is not None:
            decided = reviewed[self._box].ravel()
            by_person = decided[where]
            wrong[by_person] = 0.0
            missed -= self._missed_among(decided & (crop == 0))
        return InfectedSums(
            histogram=_histogram(code, self._hu[where]),
            decided=_histogram(code[by_person], self._hu[where[by_person]]),
            consolidated=None
            if classes is None
            else _sums(code, classes[self._box].ravel()[where] == Opacity.CONSOLIDATION),
            reach=_joint_counts(joint),
            false_positive=_joint_sums(joint, wrong),
            false_negative=np.maximum(missed, 0.0),
            entropy=_sums(code, binary_entropy(p)),
            agreement=None if agreement is None else _sums(code, agreement),
            outside=int(np.count_nonzero(infection)) - int(where.size),
        )

    def _missed_among(self, mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        where = np.flatnonzero(mask)
        code = self._code.ravel()[where]
        where, code = where[code > 0], code[code > 0]
        p, agreement = self._network(where)
        missed = doubt(p, np.zeros(p.shape, dtype=bool), agreement)
        return _joint_sums(self._joint(code, where), missed)

    def _network(
        self, where: NDArray[np.intp]
    ) -> tuple[NDArray[np.float16], NDArray[np.float16] | None]:
        return (
            self._probability[where],
            None if self._agreement is None else self._agreement[where],
        )

    def _joint(self, code: NDArray[np.uint8], where: NDArray[np.intp]) -> NDArray[np.intp]:
        index = code.astype(np.intp) * REACH_COUNT
        if self._reach is not None:
            index += self._reach.ravel()[where]
        return index


def region_codes(anatomy: Anatomy, box: Box) -> NDArray[np.uint8]:
    """Return the region of every voxel of a box, see `REGION_COUNT`.

    A lobe counts only where it lies in its own lung.

    Args:
        anatomy: Lungs and lobes.
        box: Slices along ``(z, y, x)``.

    Returns:
        uint8 ``[z, y, x]``.
    """
    lungs = anatomy.lungs[box]
    code = np.zeros(lungs.shape, dtype=np.uint8)
    for lung, rest in REST_OF_LUNG.items():
        code[lungs == lung] = rest
    if anatomy.lobes is not None:
        lobes = anatomy.lobes[box]
        side = np.zeros(max(Lobe) + 1, dtype=np.uint8)
        for lobe in Lobe:
            side[lobe] = lobe.lung
        known = (lobes > 0) & (side[lobes] == lungs)
        code[known] = lobes[known]
    return code


def _reach_bits(
    ct: CtVolume, anatomy: Anatomy, code: NDArray[np.uint8]
) -> NDArray[np.uint8] | None:
    """Return the lobes each voxel might belong to instead, found on blocks of 2 mm."""
    if anatomy.lobes is None or anatomy.lobe_uncertainty_mm <= 0 or code.size == 0:
        return None
    factor = BlockGrid.over(ct.shape_zyx, ct.spacing_mm_zyx).factor
    lobes = np.where(code <= max(Lobe), code, 0).astype(np.uint8)
    middle = tuple(
        slice(min(f // 2, size - 1), None, f) for f, size in zip(factor, code.shape, strict=True)
    )
    dz, dy, dx = (s * f for s, f in zip(ct.spacing_mm_zyx, factor, strict=True))
    coarse = lobe_reach(lobes[middle], anatomy.lobe_uncertainty_mm, (dz, dy, dx))
    for axis, count in enumerate(factor):
        index = np.minimum(np.arange(code.shape[axis]) // count, coarse.shape[axis] - 1)
        coarse = np.take(coarse, index, axis=axis)
    return coarse


def _histogram(code: NDArray[np.uint8], hu: NDArray[np.int16]) -> NDArray[np.int64]:
    bins = np.clip(hu, LOWEST_HU, HIGHEST_HU).astype(np.intp)
    bins += code.astype(np.intp) * _BIN_COUNT - LOWEST_HU
    counts = np.bincount(bins, minlength=REGION_COUNT * _BIN_COUNT)
    return counts.reshape(REGION_COUNT, _BIN_COUNT)


def _joint_counts(joint: NDArray[np.intp]) -> NDArray[np.int64]:
    counts = np.bincount(joint, minlength=REGION_COUNT * REACH_COUNT)
    return counts.reshape(REGION_COUNT, REACH_COUNT)


def _joint_sums(joint: NDArray[np.intp], values: NDArray[np.float32]) -> NDArray[np.float64]:
    sums = np.bincount(joint, weights=values, minlength=REGION_COUNT * REACH_COUNT)
    return np.asarray(sums, dtype=np.float64).reshape(REGION_COUNT, REACH_COUNT)


def _sums(
    code: NDArray[np.uint8], values: NDArray[np.floating] | NDArray[np.bool_]
) -> NDArray[np.float64]:
    sums = np.bincount(code, weights=values.astype(np.float64), minlength=REGION_COUNT)
    return np.asarray(sums, dtype=np.float64)
