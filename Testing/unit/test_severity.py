"""Scores at and around their borders."""

from __future__ import annotations

import pytest

from CovidLesionSegLib.engine.result import Lobe, Measure
from CovidLesionSegLib.engine.severity import (
    CtssConvention,
    ct_grade,
    lobe_involvement_score,
    lobe_quarter_score,
    score_measure,
    sum_over_lobes,
)


@pytest.mark.parametrize(
    ("percent", "radboud", "francone"),
    [
        (0.0, 0, 0),
        (0.5, 0, 1),
        (1.0, 1, 1),
        (4.999, 1, 1),
        (5.0, 2, 2),
        (24.99, 2, 2),
        (25.0, 3, 2),
        (25.01, 3, 3),
        (50.0, 4, 3),
        (74.99, 4, 4),
        (75.0, 5, 4),
        (75.01, 5, 5),
        (100.0, 5, 5),
    ],
)
def test_involvement_score(percent: float, radboud: int, francone: int) -> None:
    assert lobe_involvement_score(percent) == radboud
    assert lobe_involvement_score(percent, CtssConvention.FRANCONE) == francone


@pytest.mark.parametrize(
    ("percent", "score"),
    [(0.0, 0), (0.99, 0), (1.0, 1), (25.0, 1), (25.1, 2), (50.0, 2), (75.0, 3), (75.1, 4)],
)
def test_quarter_scores(percent: float, score: int) -> None:
    assert lobe_quarter_score(percent) == score
    assert ct_grade(percent) == score


def test_score_of_an_interval() -> None:
    score = score_measure(Measure(24.0, "%", low=4.0, high=51.0), lobe_involvement_score)
    assert (score.value, score.low, score.high, score.unit) == (2, 1, 4, "score")


def test_score_of_an_absent_value_keeps_its_reason() -> None:
    score = score_measure(Measure(None, "%", reason="no lobes"), lobe_involvement_score)
    assert score.value is None
    assert score.reason == "no lobes"


def test_sum_needs_all_five_lobes() -> None:
    percents = {lobe: Measure(30.0, "%", low=20.0, high=60.0) for lobe in Lobe}
    total = sum_over_lobes(percents, lobe_involvement_score, "none")
    assert (total.value, total.low, total.high) == (15, 10, 20)
    percents[Lobe.RML] = Measure(None, "%", reason="the right middle lobe is missing")
    total = sum_over_lobes(percents, lobe_involvement_score, "none")
    assert total.value is None
    assert "right middle lobe" in total.reason
    nothing = {lobe: Measure(None, "%", reason="-") for lobe in Lobe}
    assert sum_over_lobes(nothing, lobe_involvement_score, "none").reason == "none"
