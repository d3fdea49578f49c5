"""The table: one row per lobe, lung and total, and the scores of the patient.

A value that can't be computed is absent with a reason, never zero. All counts come from
`RegionSums`, so rows add up to the voxel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .definitions import (
    CONSOLIDATION_FROM_HU,
    CONVENTIONS,
    DEFINITIONS_VERSION,
    EMPHYSEMA_TO_HU,
    HIGH_OPACITY_FROM_HU,
    WELL_AERATED_HU,
)
from .lungs_inflation import EXPIRATION
from .region_sums import HU_LEVELS, REST_OF_LUNG, InfectedSums, RegionSums
from .result import Anatomy, Lesion, Lobe, Lung, Measure, Prediction, Quantification, RegionRow
from .severity import (
    ct_grade,
    lobe_involvement_score,
    lobe_quarter_score,
    score_measure,
    sum_over_lobes,
)
from .uncertainty import percent_interval
from .volume import CtVolume

__all__ = ["DEFINITIONS_VERSION", "Quantifier", "quantify"]

LUNG_REGIONS = {Lung.RIGHT: "right-lung", Lung.LEFT: "left-lung"}
TOTAL = "total"
_LOBE_FLAGS = ("lobe", "approximate-lobes")
_NO_LOBES = "no lobes are available"
_NO_LESION = "no infection in the region"


def quantify(
    ct: CtVolume,
    infection: NDArray[np.uint8],
    anatomy: Anatomy,
    prediction: Prediction,
    lesions: Sequence[Lesion],
) -> Quantification:
    """Measure the infection per lobe, per lung and in total.

    Args:
        ct: The CT.
        infection: uint8 ``[z, y, x]``, non-zero where infected.
        anatomy: Lungs and lobes.
        prediction: Probability and agreement, for the intervals.
        lesions: Lesions of the infection, for the counts.
    """
    return Quantifier(ct, anatomy, prediction).measure(infection, lesions)


class Quantifier:
    """Measures one CT again and again while its lesions are edited.

    Args:
        ct: The CT.
        anatomy: Lungs and lobes.
        prediction: Probability and agreement.
        sums: Counts of exactly these, if they are already there.
    """

    def __init__(
        self,
        ct: CtVolume,
        anatomy: Anatomy,
        prediction: Prediction,
        sums: RegionSums | None = None,
    ) -> None:
        self._anatomy = anatomy
        self._voxel_ml = ct.voxel_volume_ml
        self._ct_flags = ct.flags
        self._sums = sums or RegionSums(ct, anatomy, prediction)

    def measure(
        self,
        infection: NDArray[np.uint8],
        lesions: Sequence[Lesion],
        reviewed: NDArray[np.bool_] | None = None,
        flags: tuple[str, ...] = (),
        classes: NDArray[np.uint8] | None = None,
    ) -> Quantification:
        """Measure an infection mask.

        Args:
            infection: uint8 ``[z, y, x]``, non-zero where infected.
            lesions: Its lesions.
            reviewed: Boolean ``[z, y, x]``, true where a person decided.
            flags: Added to every row, for example ``("edited",)``.
            classes: uint8 ``[z, y, x]``, labels of `Opacity`, when a person corrected what is
                ground glass; by default the border in HU tells.
        """
        infected = self._sums.infected(infection, reviewed, classes)
        rows = [self._lobe_row(lobe, infected, lesions, flags) for lobe in Lobe]
        rows += [self._lung_row(lung, infected, lesions, flags) for lung in Lung]
        codes = tuple(range(1, max(REST_OF_LUNG.values()) + 1))
        measures = self._measures(codes, infected, "no lung was found")
        measures["lesion_count"] = Measure(len(lesions), "count")
        rows.append(RegionRow(TOTAL, "both lungs", measures, self._flags(flags, lobe=False)))
        return Quantification(tuple(rows), self._scores(rows, infected), dict(CONVENTIONS))

    def _flags(self, added: tuple[str, ...], *, lobe: bool) -> tuple[str, ...]:
        flags = (*self._ct_flags, *self._anatomy.flags, *added)
        return tuple(f for f in dict.fromkeys(flags) if lobe or not f.startswith(_LOBE_FLAGS))

    def _lobe_row(
        self,
        lobe: Lobe,
        infected: InfectedSums,
        lesions: Sequence[Lesion],
        flags: tuple[str, ...],
    ) -> RegionRow:
        absent = f"the {lobe.long_name} is missing"
        if self._anatomy.lobes is None:
            absent = _NO_LOBES
        measures = self._measures((int(lobe),), infected, absent, lobe)
        measures["lesion_count"] = self._lesion_count(
            measures, absent, sum(lesion.lobe == lobe for lesion in lesions)
        )
        percent = measures["infected_percent"]
        measures["involvement_score"] = score_measure(percent, lobe_involvement_score)
        row_flags = self._flags(flags, lobe=True)
        return RegionRow(lobe.name, lobe.long_name, measures, row_flags)

    def _lung_row(
        self,
        lung: Lung,
        infected: InfectedSums,
        lesions: Sequence[Lesion],
        flags: tuple[str, ...],
    ) -> RegionRow:
        codes = (*(int(lobe) for lobe in Lobe if lobe.lung is lung), REST_OF_LUNG[lung])
        name = f"{lung.name.lower()} lung"
        absent = f"the {name} was not found"
        measures = self._measures(codes, infected, absent)
        measures["lesion_count"] = self._lesion_count(
            measures, absent, sum(lesion.lung == lung for lesion in lesions)
        )
        return RegionRow(LUNG_REGIONS[lung], name, measures, self._flags(flags, lobe=False))

    @staticmethod
    def _lesion_count(measures: Mapping[str, Measure], absent: str, count: int) -> Measure:
        if measures["volume_ml"].value is None:
            return Measure(None, "count", reason=absent)
        return Measure(count, "count")

    def _measures(
        self,
        codes: tuple[int, ...],
        infected: InfectedSums,
        absent: str,
        lobe: Lobe | None = None,
    ) -> dict[str, Measure]:
        """Return a region's measures, all absent for an empty region."""
        rows = list(codes)
        every = self._sums.histogram[rows].sum(axis=0)
        lesion = infected.histogram[rows].sum(axis=0)
        volume, count = int(every.sum()), int(lesion.sum())
        if volume == 0:
            units = {**dict.fromkeys(_SHARES, "%"), **dict.fromkeys(_LESION_HU, "HU")}
            units = {"volume_ml": "ml", "infected_ml": "ml", "infected_percent": "%", **units}
            units["uncertainty_percent"] = "%"
            if infected.agreement is not None:
                units["agreement_percent"] = "%"
            return {name: Measure(None, unit, reason=absent) for name, unit in units.items()}
        fewest = self._fewest(count - float(infected.false_positive[rows].sum()), infected, rows)
        most = min(count + float(infected.false_negative[rows].sum()), float(volume))
        moved = () if lobe is None else self._moved(lobe, infected)
        low, high = percent_interval((fewest, most), volume, moved) or (None, None)
        ml = self._voxel_ml
        measures = {
            "volume_ml": Measure(volume * ml, "ml"),
            "infected_ml": Measure(count * ml, "ml", low=fewest * ml, high=most * ml),
            "infected_percent": Measure(100.0 * count / volume, "%", low=low, high=high),
        }
        for name, (of_lesion, first_hu, last_hu) in _SHARES.items():
            bins = slice(*np.searchsorted(HU_LEVELS, (first_hu, last_hu + 1)))
            voxels = int((lesion if of_lesion else every)[bins].sum())
            measures[name] = Measure(100.0 * voxels / volume, "%")
        if infected.consolidated is not None:
            solid = float(infected.consolidated[rows].sum())
            measures["ggo_percent"] = Measure(100.0 * (count - solid) / volume, "%")
            measures["consolidation_percent"] = Measure(100.0 * solid / volume, "%")
        measures.update(_lesion_hu(lesion))
        measures.update(_network_measures(infected, rows, count))
        return measures

    def _fewest(self, certain: float, infected: InfectedSums, rows: list[int]) -> float:
        """Return the lower end of the infected voxels: in expiration, no doubtful ground glass."""
        if EXPIRATION in self._anatomy.flags:
            solid = HU_LEVELS >= CONSOLIDATION_FROM_HU
            sure = (
                infected.histogram[rows][:, solid].sum() + infected.decided[rows][:, ~solid].sum()
            )
            certain = min(certain, float(sure))
        return max(certain, 0.0)

    def _moved(self, lobe: Lobe, infected: InfectedSums) -> tuple[tuple[float, float, float], ...]:
        """Return what the lobe loses and gains when its border moves within the doubt."""
        bit = 1 << (lobe - 1)
        may_leave = np.arange(self._sums.reach.shape[1]) > 0
        may_join = (np.arange(self._sums.reach.shape[1]) & bit) > 0
        certain = infected.reach - infected.false_positive
        possible = infected.reach + infected.false_negative
        others = [int(o) for o in Lobe if o.lung is lobe.lung and o != lobe]
        lost = self._sums.reach[lobe, may_leave].sum()
        gained = self._sums.reach[others][:, may_join].sum()
        if lost == 0 and gained == 0:
            return ()
        return (
            (
                -float(lost),
                -float(certain[lobe, may_leave].sum()),
                -float(possible[lobe, may_leave].sum()),
            ),
            (
                float(gained),
                float(certain[others][:, may_join].sum()),
                float(possible[others][:, may_join].sum()),
            ),
        )

    def _scores(self, rows: Sequence[RegionRow], infected: InfectedSums) -> dict[str, Measure]:
        by_region = {row.region: row.measures for row in rows}
        percents = {lobe: by_region[lobe.name]["infected_percent"] for lobe in Lobe}
        total = by_region[TOTAL]["infected_percent"]
        volume = int(self._sums.histogram[1:].sum())
        high = int(infected.histogram[1:, HU_LEVELS >= HIGH_OPACITY_FROM_HU].sum())
        pho = Measure(100.0 * high / volume, "%") if volume else total
        return {
            "ctss_0_25": sum_over_lobes(percents, lobe_involvement_score, _NO_LOBES),
            "tss_0_20": sum_over_lobes(percents, lobe_quarter_score, _NO_LOBES),
            "ct_grade_0_4": score_measure(total, ct_grade),
            "po_percent": total,
            "pho_percent": pho,
            "outside_lung_ml": Measure(infected.outside * self._voxel_ml, "ml"),
        }


_SHARES: dict[str, tuple[bool, float, float]] = {
    "ggo_percent": (True, -np.inf, CONSOLIDATION_FROM_HU - 1),
    "consolidation_percent": (True, CONSOLIDATION_FROM_HU, np.inf),
    "wal_percent": (False, WELL_AERATED_HU[0] + 1, WELL_AERATED_HU[1]),
    "laa950_percent": (False, -np.inf, EMPHYSEMA_TO_HU),
}
"""Share of the region: whether of lesions only, first and last HU."""

_LESION_HU = ("mean_hu", "hu_p10", "hu_p50", "hu_p90")


def _lesion_hu(histogram: NDArray[np.int64]) -> dict[str, Measure]:
    """Return mean and percentiles of the infected voxels' HU."""
    count = int(histogram.sum())
    if count == 0:
        return {name: Measure(None, "HU", reason=_NO_LESION) for name in _LESION_HU}
    cumulative = np.cumsum(histogram)
    measures = {"mean_hu": Measure(float((histogram * HU_LEVELS).sum()) / count, "HU")}
    for percent in (10, 50, 90):
        # Nearest rank: the lowest HU that at least this share of the voxels does not exceed.
        rank = max(1, -(-percent * count // 100))
        level = int(HU_LEVELS[np.searchsorted(cumulative, rank)])
        measures[f"hu_p{percent}"] = Measure(level, "HU")
    return measures


def _network_measures(infected: InfectedSums, rows: list[int], count: int) -> dict[str, Measure]:
    """Return how sure the network was about the infected voxels."""
    sums = {"uncertainty_percent": infected.entropy}
    if infected.agreement is not None:
        sums["agreement_percent"] = infected.agreement
    if count == 0:
        return {name: Measure(None, "%", reason=_NO_LESION) for name in sums}
    return {
        name: Measure(100.0 * float(values[rows].sum()) / count, "%")
        for name, values in sums.items()
    }
