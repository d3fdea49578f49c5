"""The review begins where it matters: on the findings of a real CT, as two models made them.

`support/coronacases_003_*.lesions.csv` are lesion lists that the panel exported for Coronacases
003 before anybody had reviewed them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from CovidLesionSegLib.engine.definitions import CONVENTIONS, SMALL_LESION_ML
from CovidLesionSegLib.engine.result import Lesion
from CovidLesionSegLib.engine.review_values import (
    doubt_of,
    is_small,
    review_rank,
    volume_in_doubt_ml,
)
from CovidLesionSegLib.export.review_files import read_lesions_csv

SUPPORT = Path(__file__).resolve().parents[1] / "support"


@pytest.fixture(params=["consensus", "inf-net-lite"])
def lesions(request: pytest.FixtureRequest) -> list[Lesion]:
    found = read_lesions_csv(SUPPORT / f"coronacases_003_{request.param}.lesions.csv")
    return sorted(found, key=review_rank)


def test_a_few_lesions_hold_most_of_the_doubt(lesions: list[Lesion]) -> None:
    total = sum(map(volume_in_doubt_ml, lesions))
    first = sum(map(volume_in_doubt_ml, lesions[:6]))
    assert first > 0.95 * total
    # Sorted by the share of doubt, the first six would be specks.
    by_share = sorted(lesions, key=lambda lesion: -doubt_of(lesion))[:6]
    assert sum(map(volume_in_doubt_ml, by_share)) < 0.01 * total


def test_small_lesions_come_last_and_move_no_number(lesions: list[Lesion]) -> None:
    small = [is_small(lesion) for lesion in lesions]
    assert 0.3 < sum(small) / len(lesions) < 0.6
    assert small == sorted(small)
    volume = sum(lesion.volume_ml for lesion in lesions)
    assert sum(lesion.volume_ml for lesion in lesions if is_small(lesion)) < 0.005 * volume


def test_the_doubt_is_a_part_of_the_lesion(lesions: list[Lesion]) -> None:
    for lesion in lesions:
        assert lesion.doubt_ml is not None
        assert 0 < lesion.doubt_ml < lesion.volume_ml


def test_lists_of_earlier_versions_are_sorted_by_what_they_have(lesions: list[Lesion]) -> None:
    old = [replace(lesion, doubt_ml=None) for lesion in lesions]
    assert [lesion.id for lesion in sorted(old, key=review_rank)[:2]] == [
        lesion.id for lesion in sorted(old, key=lambda item: -doubt_of(item) * item.volume_ml)[:2]
    ]


def test_the_definition_names_the_size() -> None:
    assert f"below {SMALL_LESION_ML:g} ml" in CONVENTIONS["doubt_ml"]
