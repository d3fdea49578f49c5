"""Severity scores: from the involved share of a lobe or of the lungs to a number.

A reader gives 0 to a lobe without lesions, but a segmentation is never exactly empty: a few
voxels along vessels remain. Where a score does not say how to treat them, less than
`TRACE_PERCENT` counts as none.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from enum import Enum

from .result import Lobe, Measure

TRACE_PERCENT = 1.0
"""98 of 100 healthy people had less than 1% opacity in Chaganti et al., Radiol Artif Intell
2(4), 2020."""


class CtssConvention(str, Enum):
    """How a lobe's percentage becomes a score of 0..5; the borders belong to one side."""

    RADBOUD = "radboud"
    """Lower border included: [0,1), [1,5), [5,25), [25,50), [50,75), [75,100]; as in the
    public code of CORADS-AI (Lessmann et al., Radiology 298(1), 2021)."""

    FRANCONE = "francone"
    """Upper border included: 0 | <5 | 5-25 | 26-50 | 51-75 | >75; Francone et al., Eur Radiol
    30, 2020."""


def lobe_involvement_score(
    percent: float, convention: CtssConvention = CtssConvention.RADBOUD
) -> int:
    """Return the involvement score 0..5 of a lobe.

    Args:
        percent: Infected share of the lobe, 0..100.
        convention: To which side the borders belong.
    """
    if convention is CtssConvention.RADBOUD:
        return bisect_right((TRACE_PERCENT, 5.0, 25.0, 50.0, 75.0), percent)
    if percent <= 0.0:
        return 0
    if percent < 5.0:
        return 1
    return 2 + bisect_left((25.0, 50.0, 75.0), percent)


def lobe_quarter_score(percent: float) -> int:
    """Return the score 0..4 of a lobe: none, up to 25, 50, 75 and 100%.

    Li et al., Eur Radiol 30, 2020 (total severity score) and Chaganti et al. 2020 (lung
    severity score); less than `TRACE_PERCENT` is none.
    """
    if percent < TRACE_PERCENT:
        return 0
    return 1 + bisect_left((25.0, 50.0, 75.0), percent)


def ct_grade(percent: float) -> int:
    """Return CT-0..CT-4 of MosMedData from the infected share of both lungs.

    Morozov et al., 2020: none, up to 25, up to 50, up to 75, more; less than
    `TRACE_PERCENT` is none.
    """
    return lobe_quarter_score(percent)


def score_measure(percent: Measure, score: Callable[[float], int]) -> Measure:
    """Apply a score to a percentage and to both ends of its interval."""
    if percent.value is None:
        return Measure(None, "score", reason=percent.reason)
    if percent.low is None or percent.high is None:
        return Measure(score(percent.value), "score")
    return Measure(score(percent.value), "score", low=score(percent.low), high=score(percent.high))


def sum_over_lobes(
    percents: Mapping[Lobe, Measure], score: Callable[[float], int], no_lobes: str
) -> Measure:
    """Add the scores of the five lobes; absent unless all five have one.

    Args:
        percents: Infected percentage by lobe.
        score: Score of one lobe.
        no_lobes: Reason to give if no lobe has a percentage.
    """
    scores = {lobe: score_measure(percents[lobe], score) for lobe in Lobe}
    absent = [lobe.long_name for lobe in Lobe if scores[lobe].value is None]
    if len(absent) == len(Lobe):
        return Measure(None, "score", reason=no_lobes)
    if absent:
        return Measure(
            None, "score", reason=f"the score needs all lobes; {', '.join(absent)} missing"
        )
    parts = list(scores.values())
    total = sum(part.value or 0 for part in parts)
    if any(part.low is None or part.high is None for part in parts):
        return Measure(total, "score")
    low, high = sum(part.low or 0 for part in parts), sum(part.high or 0 for part in parts)
    return Measure(total, "score", low=low, high=high)
