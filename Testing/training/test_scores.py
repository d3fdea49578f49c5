"""Metrics on hand-made masks, calibration and export."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from CovidLesionSegLib.engine.models import LUNG_MODEL
from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.weights.catalogue import read_catalogue
from CovidLesionSegLib.weights.loading import load_weights_file
from CovidLesionSegLib.weights.store import default_store
from Testing.support.tiny_volumes import tiny_config, tiny_trainer
from training.calibration import LogitHistogram, calibrate, dice_at
from training.config import load_config
from training.data.store import StoredCase
from training.export_weights import export, install, load_average
from training.loop import initial_network
from training.metrics import bootstrap_interval, lesion_f1, overlap_scores, surface_dice
from training.model_cards import card_text, with_scores
from training.origin import CONFIGS, source_of, training_data_of
from training.run_folder import RunFolder, sha256_of

_PUBLIC = "inf-net-lite.json"
_UNIT = (1.0, 1.0, 1.0)


def _box(*ranges: tuple[int, int], shape: tuple[int, int, int] = (12, 12, 12)) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def test_overlap_of_shifted_boxes() -> None:
    truth = _box((2, 6), (2, 6), (2, 6))
    scores = overlap_scores(_box((2, 6), (2, 6), (4, 8)), truth)
    assert scores == {"dice": 0.5, "sensitivity": 0.5, "precision": 0.5}
    half = overlap_scores(_box((2, 6), (2, 6), (2, 4)), truth)
    assert half["precision"] == 1.0
    assert half["sensitivity"] == 0.5
    assert half["dice"] == pytest.approx(2 / 3)


def test_empty_masks_agree_and_have_no_rates() -> None:
    empty = _box((0, 0), (0, 0), (0, 0))
    scores = overlap_scores(empty, empty)
    assert scores["dice"] == 1.0
    assert math.isnan(scores["sensitivity"])
    assert overlap_scores(empty, _box((1, 2), (1, 2), (1, 2)))["dice"] == 0.0
    assert math.isnan(surface_dice(empty, empty, _UNIT, 1.0))
    assert surface_dice(empty, ~empty, _UNIT, 1.0) == 0.0


def test_surface_dice_depends_on_tolerance_and_spacing() -> None:
    truth, moved = _box((2, 8), (2, 8), (2, 8)), _box((2, 8), (2, 8), (4, 10))
    assert surface_dice(truth, truth, _UNIT, 0.5) == pytest.approx(1.0)
    assert surface_dice(moved, truth, _UNIT, 2.5) == pytest.approx(1.0)
    assert surface_dice(moved, truth, _UNIT, 1.0) < 0.9
    assert surface_dice(moved, truth, (1.0, 1.0, 0.4), 1.0) == pytest.approx(1.0)


def test_lesions_are_counted_not_voxels() -> None:
    truth = _box((0, 4), (0, 4), (0, 4)) | _box((8, 11), (8, 11), (8, 11))
    assert lesion_f1(truth, truth, 0.001, 0.01) == 1.0
    found_one = _box((0, 4), (0, 4), (0, 4))
    assert lesion_f1(found_one, truth, 0.001, 0.01) == pytest.approx(2 / 3)
    with_speck = found_one | _box((6, 7), (0, 1), (0, 1))
    assert lesion_f1(with_speck, truth, 0.001, 0.01) == pytest.approx(2 / 3)
    assert math.isnan(lesion_f1(truth & False, truth & False, 0.001))


def test_interval_draws_patients_not_cases() -> None:
    values, alone = [1.0, 1.0, 1.0, 0.0], ["p", "p", "p", "q"]
    mean, low, high = bootstrap_interval(values, alone)
    assert mean == 0.75
    assert (low, high) == (0.0, 1.0)
    assert bootstrap_interval([0.5, math.nan], ["p", "q"]) == (0.5, 0.5, 0.5)
    assert bootstrap_interval(values, alone, seed=1) == bootstrap_interval(values, alone, seed=1)


def _histogram(temperature: float, shift: float = 0.0, pixels: int = 200_000) -> LogitHistogram:
    """Logits whose true probabilities are those of the logit over a temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-1.0, 3.0, pixels)
    lesion = rng.random(pixels) < 1 / (1 + np.exp(-(logits - shift) / temperature))
    edges = np.linspace(-16.0, 16.0, 641)
    positive, negative = (np.histogram(logits[m], edges)[0] for m in (lesion, ~lesion))
    return LogitHistogram("case", positive, negative)


def test_calibration_finds_the_temperature() -> None:
    assert calibrate([_histogram(2.0)]).temperature == pytest.approx(2.0, rel=0.05)


def test_threshold_is_the_best_one_and_ignores_empty_cases() -> None:
    histogram = _histogram(1.0)
    empty = LogitHistogram("healthy", histogram.positive * 0, histogram.negative)
    result = calibrate([histogram, empty])
    scores = {t: dice_at(histogram, t, result.temperature) for t in np.arange(0.2, 0.81, 0.02)}
    assert dice_at(histogram, result.threshold, result.temperature) == max(scores.values())
    assert result.dice["healthy"] == 0.0


def test_nothing_is_chosen_where_no_lesion_is_to_be_seen(
    recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    counts = _histogram(1.0)
    healthy = LogitHistogram("healthy", counts.positive * 0, counts.negative)
    config = tiny_config("infection", "inf-net", recipe, steps=1)
    tiny_trainer(config, cases, tmp_path / "run").run()
    choices = (
        lambda: calibrate([]),
        lambda: calibrate([healthy]),
        lambda: export(RunFolder(tmp_path / "run"), [], "1"),
    )
    for choose in choices:
        with pytest.raises(InputError, match="no validation case shows a lesion") as caught:
            choose()
        assert "split file" in caught.value.hint


def test_an_exported_model_answers_as_the_averaged_one(
    recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    config = tiny_config("infection", "inf-net", recipe, steps=1)
    tiny_trainer(config, cases, tmp_path / "run").run()
    run = RunFolder(tmp_path / "run")
    entry, data = export(run, cases[2:], "1")
    path = install(entry, data, tmp_path / "resources")
    loaded, found = load_weights_file(path)
    expected, step = load_average(run, config)
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(loaded(images).infection, expected(images).infection)
    assert step == 1
    assert (found.task, found.recipe) == ("infection", recipe.to_dict())
    assert 0 < found.threshold < 1
    assert read_catalogue(tmp_path / "resources" / "models.json") == (entry,)
    assert entry.bytes == path.stat().st_size
    assert export(run, cases[2:], "1")[1] == data


@pytest.mark.parametrize("start", ["nothing", "bundled", "other"])
def test_a_model_of_ones_own_says_what_it_was_made_from(
    start: str, recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    config = tiny_config("lungs", "lung-unet", recipe, steps=1)
    tiny_trainer(config, cases, tmp_path / "run").run()
    run = RunFolder(tmp_path / "run")
    bundled = default_store().find(LUNG_MODEL).path
    digest = {"nothing": None, "bundled": sha256_of(bundled), "other": "0" * 64}[start]
    provenance = json.loads(run.provenance.read_text(encoding="utf-8"))
    provenance["initial_weights_sha256"] = digest
    run.provenance.write_text(json.dumps(provenance), encoding="utf-8")
    card = export(run, [], "1")[0].card
    expected = {"steps": 1, "run": "run", "initial_weights_sha256": digest}
    assert card.source == {name: value for name, value in expected.items() if value is not None}
    on_top = {"nothing": "", "bundled": f", on top of {LUNG_MODEL}, ", "other": f" {'0' * 64}"}
    assert card.training_data.startswith("Cases of tiny")
    assert card.training_data.endswith(". synthetic")
    assert on_top[start] in card.training_data


def test_a_card_copied_from_a_bundled_model_does_not_speak_of_its_data(tmp_path: Path) -> None:
    committed = load_config(CONFIGS / "inf-net-lite.json")
    public = committed.card["training_data"]
    run = RunFolder(tmp_path / "run")
    assert training_data_of(run, committed) == public
    assert source_of(run, committed, 7) == {"steps": 7, "config": f"training/configs/{_PUBLIC}"}
    ward = replace(committed, data=replace(committed.data, sources=("ward",)))
    assert training_data_of(run, ward) == "Cases of ward."
    named = replace(
        ward, name="ward-net", card={**ward.card, "training_data": "Our own. " + public}
    )
    assert training_data_of(run, named) == f"Cases of ward. Our own. {public}"
    assert source_of(run, named, 7) == {"steps": 7, "run": "run"}


def test_scores_of_other_weights_are_refused(
    recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    config = tiny_config("lungs", "lung-unet", recipe, steps=1)
    tiny_trainer(config, cases, tmp_path / "run").run()
    entry, _ = export(RunFolder(tmp_path / "run"), [], "1")
    report = {"command": "c", "weights_sha256": {"tiny": entry.sha256}, "summary": {"x": 1}}
    assert with_scores(entry, report).card.scores == {"command": "c", "x": 1}
    with pytest.raises(InputError) as caught:
        with_scores(entry, {**report, "weights_sha256": {"tiny": "0" * 64}})
    assert caught.value.code == "scores-of-other-weights"


def test_a_run_continues_from_a_model(
    recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    config = tiny_config("lungs", "lung-unet", recipe, steps=1)
    tiny_trainer(config, cases, tmp_path / "run").run()
    entry, data = export(RunFolder(tmp_path / "run"), [], "1")
    path = install(entry, data, tmp_path / "resources")
    started = initial_network(config, pretrained=True, weights=path).state_dict()
    expected = load_weights_file(path)[0].state_dict()
    assert all(torch.equal(started[name], expected[name]) for name in expected)
    # The encoder of this family does not reach deep enough.
    other = tiny_config("infection", "inf-net", recipe)
    with pytest.raises(CovidLesionSegError) as caught:
        initial_network(other, pretrained=False, weights=path)
    assert caught.value.code == "checkpoint-mismatch"


def test_a_card_shows_what_was_measured_and_on_what(
    recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    config = tiny_config("lungs", "lung-unet", recipe, steps=1)
    tiny_trainer(config, cases, tmp_path / "run").run()
    entry, _ = export(RunFolder(tmp_path / "run"), [], "1")
    report = {
        "command": "measure it",
        "weights_sha256": {"tiny": entry.sha256},
        "cases": {"c": {"network": {"dice": 0.9123, "nsd": None}}},
        "summary": {
            "network": {
                "dice": {"mean": 0.9123, "low": 0.8, "high": 0.95},
                "nsd": {"mean": None, "low": None, "high": None},
            }
        },
    }
    text = card_text(entry, report)
    assert "| c | 0.912 | - |" in text
    assert "0.912 (0.800 to 0.950)" in text
    assert entry.sha256 in text
    assert "Not measured yet." in card_text(entry, None)
