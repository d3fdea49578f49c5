"""Where the class network fails, how far it can be believed, and what its card says of both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from CovidLesionSegLib.engine.lesion_classes import BORDER_SCORES, OWN_SCORES
from CovidLesionSegLib.weights.store import default_store
from training.lesion_classes.card_sections import class_sections
from training.lesion_classes.failures import FALSE, MISSED, draw, worst_slices
from training.lesion_classes.head import calibration, report_doubts
from training.lesion_classes.learned import calls_by_logits
from training.lesion_classes.scale import GreyScale
from training.lesion_classes.slices import ClassSlice

_SCALE = GreyScale(20.0, 200.0, None, 6.0, -1120.0)
_CLASSES = np.zeros((60, 80), dtype=np.uint8)
_CLASSES[20:40, 20:60] = 1
_CLASSES[20:40, 20:30] = 2


def _slice(key: str) -> ClassSlice:
    hu = np.where(_CLASSES == 2, -100.0, -700.0).astype(np.float32)
    return ClassSlice(key, hu, _CLASSES, 1.0, _SCALE)


def _logits(called: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Certain logits of a mask, row by row of the infection."""
    return np.where(called[_CLASSES > 0], 5.0, -5.0).astype(np.float32)


_SLICES = [_slice(key) for key in ("right", "some", "none", "all")]
_HALF = (_CLASSES == 2) & (np.arange(80) < 25)
_CALLED = {
    "right": _logits(_CLASSES == 2),
    "some": _logits(_HALF),
    "none": _logits(np.zeros_like(_CLASSES, dtype=bool)),
    "all": _logits(_CLASSES > 0),
}
_RULE = calls_by_logits(_SLICES, _CALLED)


def test_each_direction_has_its_worst_slices() -> None:
    worst = worst_slices(_SLICES, _CALLED, _RULE, {item.key: _RULE["some"] for item in _SLICES})
    assert [(wrong.key, wrong.kind) for wrong in worst] == [
        ("none", MISSED),
        ("some", MISSED),
        ("all", FALSE),
    ]
    nothing, some, everything = worst
    assert (everything.wrong_percent, everything.false_percent) == (75.0, 75.0)
    assert (everything.missed_percent, everything.drawn_percent) == (0.0, 25.0)
    assert (nothing.missed_percent, nothing.false_percent) == (25.0, 0.0)
    assert some.wrong_percent == everything.border_wrong_percent == 12.5
    assert (everything.wrong_hu, nothing.wrong_hu) == (-700.0, -100.0)


def test_a_slice_wrong_in_both_directions_is_of_both() -> None:
    both = {"some": _logits((_CLASSES > 0) & (np.arange(80) >= 25))}
    rule = calls_by_logits(_SLICES[1:2], both)
    missed, false = worst_slices(_SLICES[1:2], both, rule, rule)
    assert (missed.kind, missed.percent_of_kind, missed.wrong_hu) == (MISSED, 12.5, -100.0)
    assert (false.kind, false.percent_of_kind, false.wrong_hu) == (FALSE, 75.0, -700.0)
    assert missed.wrong_percent == false.wrong_percent == 87.5


def test_certainty_is_measured_against_the_expert_inside_the_infection() -> None:
    measured = calibration(_SLICES, _CALLED)["as given"]
    assert measured["cases"]["right"] == pytest.approx(0.0, abs=0.01)
    assert measured["cases"]["all"] == pytest.approx(0.75, abs=0.01)
    # A quarter of each slice is consolidation; "right", half of "some" and "all" are called.
    assert measured["bins"]["share"][9] == pytest.approx((0.25 + 0.125 + 1.0) / 4.0)
    assert measured["bins"]["observed"][9] == pytest.approx((0.25 + 0.125 + 0.25) / 1.375)


def test_a_picture_shows_infection_expert_and_model(tmp_path: Path) -> None:
    (worst,) = worst_slices(_SLICES[1:2], _CALLED, _RULE, _RULE)
    path = tmp_path / "new" / "picture.png"
    draw(_SLICES[1], _CALLED["some"], worst, "tiny", path)
    assert path.stat().st_size < 80_000
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    for outline in ((0, 208, 255), (255, 140, 0)):
        places = np.nonzero(np.abs(picture - outline).max(axis=2) < 60)[1]
        assert len(places) > 30
        assert places.min() > picture.shape[1] / 2  # beside the bare slice


def test_the_card_says_both(tmp_path: Path) -> None:
    variants = {OWN_SCORES: _RULE, BORDER_SCORES: _RULE}
    doubts = report_doubts(_SLICES, _CALLED, variants, "tiny", tmp_path, tmp_path)
    entry = default_store().find("density-classes-lite").entry
    calibrated, failed = class_sections(entry, {"command": "c", **doubts})
    assert "(density-classes-lite-reliability.png)" in calibrated
    measured = doubts["calibration"]["as given"]
    assert f"ECE {measured['calibration_error']:.4f} over all 4 slices" in calibrated
    assert f"{measured['cases']['all']:.4f} at worst" in calibrated
    assert (
        "| all | ground glass called consolidation | 75.0 | 0.0 | 75.0 | 25.0 | -700 | 75.0 |"
        in failed
    )
    assert "COVID-SemiSeg" in failed
    assert class_sections(entry, {"command": "c", "cases": {}}) == []
