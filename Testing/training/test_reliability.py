"""Reliability of probabilities, and what the cards say about it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.weights.store import default_store
from Testing.support.tiny_volumes import tiny_config, tiny_trainer, write_case
from training.calibration import (
    LOGIT_CENTRES,
    LogitHistogram,
    calibrate,
    load_histograms,
    save_histograms,
)
from training.card_sections import calibration_section
from training.data.store import StoredCase
from training.data.volumes import find_volumes, load_volume
from training.export_weights import export
from training.predictions import CasePrediction, PredictionFolder
from training.reliability import (
    digest_of,
    draw,
    drawn_from,
    expected_calibration_error,
    map_histogram,
    measure,
    measured_sides,
    reliability,
)
from training.run_folder import RunFolder
from training.splits import load_split


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
    sides = measured_sides(histograms, 2.0)
    for name, error in (("before", 0.0512), ("after", 0.0123)):
        sides[name]["cases"]["p9_6"] = error
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
    measured = measured_sides(histograms, 2.0)
    draw(measured, tmp_path / "diagram.png")
    assert 2_000 < (tmp_path / "diagram.png").stat().st_size < 40_000


def test_a_diagram_names_what_it_was_drawn_from(tmp_path: Path) -> None:
    measured = measured_sides([_believable(2.0)], 2.0)
    draw(measured, tmp_path / "diagram.png")
    read = json.loads(json.dumps(dict(reversed(measured.items()))))
    assert drawn_from(tmp_path / "diagram.png") == digest_of(read)
    read["after"]["bins"]["share"][3] += 1e-9
    assert drawn_from(tmp_path / "diagram.png") != digest_of(read)
    Image.new("L", (2, 2)).save(tmp_path / "other.png")
    assert drawn_from(tmp_path / "other.png") is None


def test_one_without_temperature_has_one_curve(tmp_path: Path) -> None:
    histograms = [_believable(2.0, "p9_6")]
    given = measured_sides(histograms, None)
    assert list(measured_sides(histograms, 1.0)) == ["before", "after"]  # fitted, and found 1
    assert list(given) == ["as given"]
    assert given["as given"]["cases"]["p9_6"] == expected_calibration_error(histograms, 1.0)
    draw(given, tmp_path / "one.png")
    draw(measured_sides(histograms, 2.0), tmp_path / "two.png")
    orange = np.array([255, 127, 14])
    shown = [
        (np.abs(np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")) - orange) < 10)
        for name in ("one", "two")
    ]
    assert [bool(pixels.all(axis=2).any()) for pixels in shown] == [False, True]
    entry = default_store().find("dram-lite").entry
    found = {"sha256": entry.sha256, "temperature": 1.0, **given}
    text = calibration_section(entry, {"command": "c", "models": {entry.id: found}})
    assert f"| p9_6 | {given['as given']['cases']['p9_6']:.4f} |\n" in text
    assert "No temperature was fitted" in text
    assert "before temperature" not in text
    assert "infected in the scores" not in text
    scores = {"cases": {"p9_6": {"pipeline": {"infected_percent": 0.123}}}}
    text = calibration_section(entry, {"command": "c", "models": {entry.id: found}}, scores)
    assert f"p9_6 has the largest error, {given['as given']['cases']['p9_6']:.4f}," in text
    assert "beside 0.12% infected in the scores" in text


def test_a_card_says_plainly_what_the_upper_bins_hold() -> None:
    believable = measured_sides([_believable(1.0)], None)
    uncertain = measured_sides([_believable(3.0)], None)
    low = np.where(LOGIT_CENTRES < -3.0, 5, 0)
    empty = measured_sides([LogitHistogram("case", low, 3 * low)], None)
    entry = default_store().find("dram-lite").entry

    def text(given: dict[str, Any]) -> str:
        found = {"sha256": entry.sha256, **given}
        return calibration_section(entry, {"command": "c", "models": {entry.id: found}})

    assert "given 0.5 to 0.9, 55 to 85% are infection" in text(believable)
    assert "over the others it is 0.000" in text(believable)
    assert "given 0.5 to 0.9, 52 to 64% are infection" in text(uncertain)
    assert "100% of the pixels are given less than 0.1" in text(empty)
    assert "Plainly" not in text(empty)


def test_a_map_counts_inside_the_expert_s_lungs(tmp_path: Path) -> None:
    write_case(tmp_path, "a", seed=0, unlabelled=[3])
    volume = load_volume(find_volumes(tmp_path)[0])
    assert volume.lung is not None
    probability = (volume.infection * 0.9).astype(np.float16)
    probability[volume.lung == 0] = 0.9  # nobody counts that
    histogram = map_histogram(volume, probability)
    labelled = np.delete(volume.lung, 3, axis=0)
    pixels = int(histogram.positive.sum() + histogram.negative.sum())
    assert pixels > int((labelled == 1).sum())  # and what may be lung where none is drawn
    assert pixels < int((labelled == 1).sum()) + volume.lung[3].size
    assert int(histogram.positive.sum()) == int(volume.infection.sum())
    bins = reliability([histogram], 1.0)
    assert bins["observed"][8] == 1.0 or bins["observed"][9] == 1.0
    assert bins["observed"][0] == 0.0
    assert bins["probability"][0] == pytest.approx(0.0, abs=1e-6)


def test_a_map_is_not_counted_outside_lungs_that_nobody_drew(tmp_path: Path) -> None:
    write_case(tmp_path, "a", seed=0)
    volume = replace(load_volume(find_volumes(tmp_path)[0]), lung=None)
    with pytest.raises(InputError) as refused:
        map_histogram(volume, np.zeros(volume.ct.shape_zyx, np.float16))
    assert refused.value.code == "no-lung-mask"


@pytest.mark.parametrize("right", [True, False])
def test_a_model_of_tissue_is_measured_by_the_engine_s_map(
    right: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = load_split("bundled").validation
    for seed, key in enumerate(held_out):
        source = "coronacases" if key.startswith("coronacases") else "medseg_p9"
        write_case(tmp_path / source, key, seed)

    def predict(_: PredictionFolder, ct: CtVolume, *_models: object) -> CasePrediction:
        probability = (ct.hu > -600) == right
        lungs = np.ones(ct.shape_zyx, np.uint8)
        return CasePrediction(probability.astype(np.float16), lungs, 0.5, 1.0)

    monkeypatch.setattr(PredictionFolder, "predict", predict)
    entry = default_store().find("dram-lite").entry
    found = measure(entry, tmp_path, tmp_path / "cache", PredictionFolder(None))
    assert (found["sha256"], found["temperature"]) == (entry.sha256, 1.0)
    assert set(found["as given"]["cases"]) == set(held_out)
    assert found["as given"]["calibration_error"] == pytest.approx(0.0 if right else 1.0, abs=0.01)
