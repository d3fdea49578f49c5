"""Reliability of probabilities, and what the cards say about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.errors import InputError
from Testing.support.tiny_volumes import tiny_config, tiny_trainer
from training.calibration import (
    LOGIT_CENTRES,
    LogitHistogram,
    calibrate,
    load_histograms,
    save_histograms,
)
from training.card_sections import calibration_section
from training.data.store import StoredCase
from training.export_weights import export
from training.reliability import draw, expected_calibration_error, reliability
from training.run_folder import RunFolder


def _believable(temperature: float, key: str = "case", pixels: float = 1e6) -> LogitHistogram:
    """Logits whose true probabilities are those of the logit over a temperature."""
    counts = pixels * np.exp(-0.5 * ((LOGIT_CENTRES + 2.0) / 3.0) ** 2)
    truth = 1.0 / (1.0 + np.exp(-LOGIT_CENTRES / temperature))
    return LogitHistogram(
        key,
        np.rint(counts * truth).astype(np.int64),
        np.rint(counts * (1 - truth)).astype(np.int64),
    )


def test_the_right_temperature_makes_probabilities_believable() -> None:
    histograms = [_believable(2.0)]
    assert expected_calibration_error(histograms, 2.0) < 1e-4
    assert expected_calibration_error(histograms, 1.0) > 0.02
    found = calibrate(histograms).temperature
    assert expected_calibration_error(histograms, found) < 1e-3


def test_every_case_weighs_the_same() -> None:
    believable, doubtful = _believable(1.0), _believable(4.0)
    many = LogitHistogram("many", 1000 * doubtful.positive, 1000 * doubtful.negative)
    few = expected_calibration_error([believable, doubtful], 1.0)
    assert expected_calibration_error([believable, many], 1.0) == pytest.approx(few, abs=1e-5)


def test_a_bin_without_pixels_says_nothing() -> None:
    counts = np.where(LOGIT_CENTRES < -3.0, 5, 0)
    bins = reliability([LogitHistogram("case", counts, 3 * counts)], 1.0)
    assert sum(share for share in bins["share"] if share) == pytest.approx(1.0)
    assert bins["observed"][0] == pytest.approx(0.25)
    assert bins["observed"][9] is None
    assert bins["probability"][9] is None


def test_histograms_survive_the_disk(tmp_path: Path) -> None:
    made = [_believable(2.0, "a"), _believable(1.0, "b")]
    save_histograms(tmp_path / "kept.json", made)
    loaded = load_histograms(tmp_path / "kept.json")
    assert [h.key for h in loaded] == ["a", "b"]
    assert all(
        (x.positive == y.positive).all() and (x.negative == y.negative).all()
        for x, y in zip(made, loaded, strict=True)
    )


def test_a_card_shows_the_bins_and_the_errors_of_every_case(
    recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    config = tiny_config("lungs", "lung-unet", recipe, steps=1)
    tiny_trainer(config, cases, tmp_path / "run").run()
    entry, _ = export(RunFolder(tmp_path / "run"), [], "1")
    histograms = [_believable(2.0, "p9_6")]
    sides = {
        name: {
            "calibration_error": error,
            "cases": {"p9_6": error},
            "bins": reliability(histograms, 2.0),
        }
        for name, error in (("before", 0.0512), ("after", 0.0123))
    }
    report = {"command": "c", "models": {"tiny": {"sha256": entry.sha256, **sides}}}
    text = calibration_section(entry, report)
    assert "| p9_6 | 0.0512 | 0.0123 |" in text
    assert "(tiny-reliability.png)" in text
    assert text.count(" to 0.") + text.count(" to 1.") == 10
    assert calibration_section(entry, {"models": {}}) == ""
    report["models"]["tiny"]["sha256"] = "0" * 64  # type: ignore[index]
    with pytest.raises(InputError):
        calibration_section(entry, report)


def test_the_diagram_is_a_small_picture(tmp_path: Path) -> None:
    histograms = [_believable(2.0)]
    measured = {
        name: {
            "calibration_error": expected_calibration_error(histograms, temperature),
            "bins": reliability(histograms, temperature),
        }
        for name, temperature in (("before", 1.0), ("after", 2.0))
    }
    draw(measured, tmp_path / "diagram.png")
    assert 2_000 < (tmp_path / "diagram.png").stat().st_size < 40_000
