"""A chest that lies otherwise than its header says is noticed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from CovidLesionSegLib.engine.flags import FLAG_TEXTS
from CovidLesionSegLib.engine.lungs import ORIENTATION, SIDES, segment_lungs
from CovidLesionSegLib.engine.lungs_orientation import left_heart, mirrored
from CovidLesionSegLib.engine.result import Lung
from CovidLesionSegLib.engine.volume import CtVolume
from Testing.support.plain_chest import PlainChest, plain_chest

Hu = NDArray[np.int16]


@pytest.fixture(scope="module")
def cone() -> PlainChest:
    """A chest whose lungs are pointed at the top, as lungs are."""
    chest = plain_chest()
    hu = chest.ct.hu.copy()
    centre = np.where(chest.x < 190, 118, 262)
    rest = np.abs(chest.x - centre) > 8 + 0.25 * (240 - chest.z)
    hu[(chest.lungs > 0) & rest] = 40
    return PlainChest(
        CtVolume.from_array(hu, chest.ct.affine_lps), chest.lungs, chest.z, chest.y, chest.x
    )


def _flags(chest: PlainChest, turn: Callable[[Hu], Hu]) -> tuple[str, ...]:
    turned = np.ascontiguousarray(turn(chest.ct.hu))
    return segment_lungs(CtVolume.from_array(turned, chest.ct.affine_lps)).flags


def test_as_it_should_be(cone: PlainChest) -> None:
    assert ORIENTATION not in _flags(cone, lambda hu: hu)
    assert ORIENTATION not in _flags(cone, lambda hu: hu[:, :, ::-1])


@pytest.mark.parametrize(
    "turn",
    [lambda hu: hu[::-1], lambda hu: hu[:, ::-1], lambda hu: hu[:, ::-1, ::-1]],
    ids=["upside down", "back to front", "LPS taken for RAS"],
)
def test_turned(cone: PlainChest, turn: Callable[[Hu], Hu]) -> None:
    assert ORIENTATION in _flags(cone, turn)


def test_a_part_of_the_lungs_says_nothing_about_up_and_down(cone: PlainChest) -> None:
    assert ORIENTATION not in _flags(cone, lambda hu: hu[::-1][:40])


def test_the_flag_has_a_sentence() -> None:
    assert "orientation" in FLAG_TEXTS[ORIENTATION]


def _chest_with_heart(x: slice) -> NDArray[np.uint8]:
    """Two blocks of lung with a heart cut out of them in front, below."""
    labels = np.zeros((40, 40, 80), dtype=np.uint8)
    labels[2:38, 4:36, 5:34] = Lung.RIGHT
    labels[2:38, 4:36, 46:75] = Lung.LEFT
    labels[4:22, 6:24, x] = 0
    return labels


def test_a_heart_on_the_right_makes_the_sides_doubtful() -> None:
    usual, turned = _chest_with_heart(slice(30, 62)), _chest_with_heart(slice(18, 50))
    assert left_heart(usual) > 1.5
    assert not mirrored(usual)
    assert mirrored(turned)


def test_mirroring_changes_the_sign() -> None:
    usual = _chest_with_heart(slice(30, 62))
    flipped = usual[..., ::-1]
    swapped = np.where(flipped == 0, 0, Lung.RIGHT + Lung.LEFT - flipped).astype(np.uint8)
    assert left_heart(swapped) == pytest.approx(-left_heart(usual))


def test_a_heart_in_the_middle_says_nothing() -> None:
    middle = _chest_with_heart(slice(28, 52))
    assert left_heart(middle) == pytest.approx(0.0, abs=1e-6)


def test_the_flag_of_the_sides_has_a_sentence() -> None:
    assert "mirrored" in FLAG_TEXTS[SIDES]
