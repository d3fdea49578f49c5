"""Rules over findings: contrast to the lung around, and values chosen without the patient."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from CovidLesionSegLib.engine import surroundings
from CovidLesionSegLib.engine.volume import CtVolume, Provenance
from training.finding_rules import (
    Finding,
    Scan,
    choose,
    findings_of,
    left_out,
    rule_report,
)
from training.finding_rules_text import report_text, summary_text
from training.predictions import CasePrediction

_SPACING_MM = 3.0


def _ct(hu: np.ndarray[tuple[int, ...], np.dtype[np.int16]]) -> CtVolume:
    affine = np.diag([_SPACING_MM, _SPACING_MM, _SPACING_MM, 1.0])
    return CtVolume.from_array(hu, affine, Provenance("array", "c"))


def _prediction(ct: CtVolume, called: tuple[slice, ...]) -> CasePrediction:
    probability = np.zeros(ct.shape_zyx, np.float16)
    probability[called] = 0.75
    probability[called[0].start, called[1].start, called[2].start] = 0.875
    lungs = np.ones(ct.shape_zyx, np.uint8)
    return CasePrediction(probability, lungs, 0.5, ct.voxel_volume_ml)


@pytest.mark.parametrize("large_box", [10**9, 0])
def test_contrast_is_to_the_lung_around(large_box: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "_LARGE_BOX", large_box)
    hu = np.full((20, 20, 20), -900, np.int16)
    hu[:, 8:] = -650  # dependent lung
    hu[8:12, 12:16, 8:12] = -600
    box = (slice(8, 12), slice(12, 16), slice(8, 12))
    ct = _ct(hu)
    drawn = np.zeros(ct.shape_zyx, bool)
    drawn[8:10, 12:16, 8:12] = True
    (finding,) = findings_of(ct, _prediction(ct, box), drawn)
    assert finding.mean_hu == -600
    assert finding.contrast_hu == 50
    assert finding.density_ratio == finding.density_ratio_unless_large == pytest.approx(400 / 350)
    assert finding.volume_ml == pytest.approx(64 * 0.027)
    assert finding.drawn_ml == pytest.approx(32 * 0.027)
    assert finding.peak_probability == 0.875
    assert 0.75 < finding.mean_probability < 0.76


def test_a_finding_without_lung_around_it_is_kept() -> None:
    ct = _ct(np.full((6, 6, 6), -500, np.int16))
    everything = (slice(0, 6), slice(0, 6), slice(0, 6))
    findings = findings_of(ct, _prediction(ct, everything), np.zeros(ct.shape_zyx, bool))
    assert math.isinf(findings[0].contrast_hu)
    assert math.isinf(findings[0].density_ratio)
    assert Scan(findings, 0.0, 10.0).kept("contrast_hu", 200.0) == findings


def _finding(volume_ml: float, drawn_ml: float, contrast_hu: float) -> Finding:
    return Finding(volume_ml, drawn_ml, -500.0, contrast_hu, 1.0, 1.0, 0.9, 0.7)


def _scans() -> dict[str, Scan]:
    """True findings stand out by 150 HU or more, false ones by less than 100."""
    clear, faint, false = _finding(10, 9, 300), _finding(5, 4, 155), _finding(5, 0, 95)
    return {
        "p9_1": Scan([clear, false], 10.0, 1000.0),
        "p9_4": Scan([clear, faint, false], 15.0, 1000.0),
        "p9_6": Scan([_finding(40, 0, 90), _finding(1, 0, -5)], 0.1, 1000.0),
        "p9_7": Scan([clear], 10.0, 1000.0),
    }


def test_a_rule_is_scored_on_what_it_keeps() -> None:
    scan = _scans()["p9_4"]
    assert scan.dice("contrast_hu", 0.0) == pytest.approx(2 * 13 / (20 + 15))
    assert scan.dice("contrast_hu", 100.0) == pytest.approx(2 * 13 / (15 + 15))
    assert scan.percent("contrast_hu", 100.0) == pytest.approx(1.5)
    assert _scans()["p9_6"].percent("contrast_hu", 0.0) == pytest.approx(4.1)


def test_a_large_finding_has_no_healthy_lung_to_be_compared_with() -> None:
    hu = np.full((20, 20, 20), -650, np.int16)
    hu[:, :4] = -600
    ct = _ct(hu)
    called = (slice(0, 20), slice(0, 4), slice(0, 20))
    (finding,) = findings_of(ct, _prediction(ct, called), np.zeros(ct.shape_zyx, bool))
    assert finding.density_ratio == pytest.approx(400 / 350)
    assert math.isinf(finding.density_ratio_unless_large)


def test_a_value_is_the_strictest_that_costs_the_others_nothing() -> None:
    scans = _scans()
    assert choose(scans, "contrast_hu") == 150.0  # 160 would drop the faint finding of p9_4
    # p9_6 and p9_7 are one patient, and without p9_4 nothing speaks against the largest value.
    assert left_out(scans, "contrast_hu") == {
        "p9_1": 150.0,
        "p9_4": 200.0,
        "p9_6": 150.0,
        "p9_7": 150.0,
    }
    assert scans["p9_4"].dice("contrast_hu", 200.0) < scans["p9_4"].dice("contrast_hu", 0.0)


def test_the_report_says_gain_and_loss() -> None:
    measured = rule_report(_scans(), "contrast_hu")
    values = {row["value"]: row for row in measured["values"]}
    assert values[0.0]["healthy_percent"] == [4.1]
    assert values[100.0]["healthy_percent"] == [0.0]
    assert values[100.0]["largest_loss"] <= 0.0 < values[160.0]["largest_loss"]
    assert values[160.0]["loses_most"] == "p9_4"
    text = report_text({"command": "c", "rules": {"contrast_hu": measured}})
    assert "| p9_6 | 150 | 0.000 | 0.000 | 4.10 | 0.00 |" in text


def _measured(shown: tuple[float, ...], chosen: dict[str, float]) -> dict[str, Any]:
    row = {"dice": 0.8, "largest_loss": 0.25, "loses_most": "p9_1", "healthy_percent": [3.5]}
    values = [{**row, "value": 0.0, "largest_loss": 0.0}, *({**row, "value": v} for v in shown)]
    return {
        "values": values,
        "left_out": {key: {"value": value} for key, value in chosen.items()},
        "diseased": ["p9_1", "p9_4"],
    }


@pytest.mark.parametrize(
    ("value", "said"), [(1.35, "is what this gives for none"), (1.3, "gives for some")]
)
def test_the_readme_says_whether_the_criterion_gives_the_value_in_use(
    value: float, said: str
) -> None:
    chosen = {"p9_1": value, "p9_4": 1.5, "p9_6": value}
    rules = {
        "peak_probability": _measured((0.9, 0.95, 0.98, 0.99), chosen),
        "contrast_hu": _measured((90.0, 100.0, 110.0), chosen),
        "density_ratio_unless_large": _measured((1.25, 1.3, 1.4, 1.45), chosen),
    }
    text = summary_text({"rules": rules})
    assert "`p9_6`: infected %" in text
    assert "| no rule |  | 3.50 | 0.8000 |  |" in text
    assert "| 110 | 3.50 | 0.8000 | 0.2500, `p9_1` |" in text
    assert f"would be {value:g} for 2, 1.5 for 1 of the 3 scans" in text
    assert said in text
