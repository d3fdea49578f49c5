from __future__ import annotations

import pytest

from CovidLesionSegLib.engine.progress import STAGE_WEIGHTS, Reporter
from CovidLesionSegLib.errors import CancelledError


def test_weights_are_a_whole() -> None:
    assert sum(STAGE_WEIGHTS.values()) == pytest.approx(1.0)


def test_fractions_rise_from_0_to_1_over_all_stages() -> None:
    seen: list[float] = []
    reporter = Reporter(lambda _stage, fraction: seen.append(fraction))
    for stage in STAGE_WEIGHTS:
        with reporter.stage(stage):
            reporter.advance(1, 2)
    assert seen == sorted(seen)
    assert seen[0] == 0.0
    assert seen[-1] == pytest.approx(1.0)
    assert list(reporter.timings_s) == list(STAGE_WEIGHTS)


def test_cancel_ends_the_stage_with_its_own_type() -> None:
    answers = iter([False, True])
    reporter = Reporter(is_cancelled=lambda: next(answers))
    with pytest.raises(CancelledError), reporter.stage("infection"):
        reporter.advance(1, 10)
