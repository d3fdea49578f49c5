"""Cross-validation by patient: folds, calibration on the others, and what is said of it."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.config import ModelConfig
from Testing.support.tiny_volumes import tiny_config, tiny_trainer
from training import k_fold
from training.calibration import LogitHistogram, calibrate
from training.card_sections import k_fold_section
from training.config import DataConfig
from training.data.store import StoredCase
from training.export_weights import export, split_text
from training.k_fold import Fold, calibration_from_others, check_folds, fold_report
from training.k_fold_consensus import by_family
from training.k_fold_text import case_table, k_fold_text
from training.run_folder import RunFolder
from training.splits import load_split
from training.volume_evaluation import summarise


def _histogram(key: str, shift: float) -> LogitHistogram:
    rng = np.random.default_rng(0)
    edges = np.linspace(-16.0, 16.0, 641)
    logits = rng.normal(-1.0, 3.0, 20_000)
    lesion = rng.random(logits.size) < 1 / (1 + np.exp(-(logits - shift) / 1.5))
    positive, negative = (np.histogram(logits[m], edges)[0] for m in (lesion, ~lesion))
    return LogitHistogram(key, positive, negative)


def _fold(tmp_path: Path, split: str, shift: float) -> Fold:
    config = tiny_config("infection", "inf-net", SliceRecipe())
    config = replace(config, data=DataConfig(split=split))
    held_out = load_split(split).validation
    return Fold(RunFolder(tmp_path / split), config, [_histogram(k, shift) for k in held_out])


def test_a_fold_is_calibrated_on_the_patients_of_the_others(tmp_path: Path) -> None:
    folds = [_fold(tmp_path, f"fold-{i}", shift) for i, shift in enumerate((0.0, 2.0, -2.0))]
    chosen = calibration_from_others(folds, 0)
    assert chosen == calibrate([*folds[1].histograms, *folds[2].histograms])
    assert not set(chosen.dice) & set(folds[0].held_out)
    assert chosen.threshold != calibrate(folds[0].histograms).threshold


def test_every_patient_is_held_out_once(tmp_path: Path) -> None:
    folds = [_fold(tmp_path, f"fold-{i}", 0.0) for i in range(3)]
    check_folds(folds)
    held_out = [case for fold in folds for case in fold.held_out]
    assert len(held_out) == len(set(held_out)) == 12
    with pytest.raises(InputError) as caught:
        check_folds([*folds, _fold(tmp_path, "without-p9_9", 0.0)])
    assert caught.value.code == "folds-overlap"
    assert "p9_9" in caught.value.message
    assert "coronacases_003" in caught.value.message
    with pytest.raises(InputError) as caught:
        check_folds(folds[:1])
    assert caught.value.code == "folds-too-few"


def test_the_file_says_what_its_calibration_was_chosen_on(
    recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    config = tiny_config("infection", "inf-net", recipe, steps=1)
    tiny_trainer(config, cases, tmp_path / "run").run()
    calibration = replace(calibrate([_histogram("elsewhere", 1.0)]), temperature=1.75)
    run = RunFolder(tmp_path / "run")
    entry, _ = export(run, [], "1", calibration)
    assert (entry.temperature, entry.threshold) == (1.75, calibration.threshold)
    assert "chosen on elsewhere" in entry.card.split
    report = fold_report(Fold(run, config, [_histogram("c", 0.0)]), calibration, entry.sha256)
    assert report["calibrated_on"] == ["elsewhere"]
    assert report["dice_in_lungs"]["own"]["c"] >= report["dice_in_lungs"]["used"]["c"]
    assert report["steps"] == 1


def test_a_split_says_so_where_it_was_calibrated_on_itself() -> None:
    split = load_split("fold-1")
    assert "validation (the scores here)" in split_text(split)
    assert "temperature, threshold and the scores here" in split_text(split, split.validation)
    assert "general encoder" not in split_text(split)
    assert "; general encoder on p, q; validation" in split_text(split, (), ("p", "q"))


@pytest.fixture
def report() -> dict[str, Any]:
    def scores(dice: float) -> dict[str, dict[str, float]]:
        figures = {"dice_diseased": dice, "nsd": 0.9, "infected_percent": 7.0, "percent_error": 1.0}
        return {"pipeline": figures}

    cases = {"a": scores(0.8), "b": scores(0.6), "c": scores(0.7)}
    fold = {
        "steps": 5,
        "temperature": 2.0,
        "threshold": 0.5,
        "own": {"temperature": 1.0, "threshold": 0.4},
        "dice_in_lungs": {"used": {"a": 0.5}, "own": {"a": 0.75}},
        "calibration_error": {"uncalibrated": 0.1, "used": 0.02, "own": 0.01},
    }
    return {
        "command": "measure it",
        "lungs_trained_on": ["b"],
        "folds": {
            "one": {**fold, "config": "training/configs/tiny.json", "held_out": ["a"]},
            "two": {**fold, "config": "training/configs/tiny-2.json", "held_out": ["b", "c"]},
        },
        "cases": cases,
        "summary": summarise(cases, {}),
    }


def test_the_table_has_a_row_per_scan_and_marks_lungs_that_were_seen(
    report: dict[str, Any],
) -> None:
    table = case_table(report)
    assert "| a | one | 0.800 | 0.900 | 7.0 | 1.0 |" in table
    assert "| b\\* | two | 0.600 |" in table
    assert "0.700 (0.600 to 0.800)" in table
    assert "| one | 2.00, 0.50 | 1.00, 0.40 | 0.500 | 0.750 |" in k_fold_text(report)


def test_a_healthy_scan_has_no_surface_that_could_be_missed(report: dict[str, Any]) -> None:
    healthy = {"dice_diseased": None, "nsd": 0.0, "infected_percent": 1.0, "percent_error": 1.0}
    report["cases"]["c"]["pipeline"] = healthy
    report["summary"]["pipeline"]["nsd"] = {"mean": 0.6, "low": 0.0, "high": 0.9}
    assert "| c | two | - | - | 1.0 | 1.0 |" in case_table(report)
    assert "0.900 (0.900 to 0.900)" in case_table(report)
    assert "0.600 (0.000" not in k_fold_text(report)
    assert "NSD, scans with disease" in k_fold_text(report)


def test_only_the_card_of_a_cross_validated_config_says_so(
    report: dict[str, Any], recipe: SliceRecipe, cases: list[StoredCase], tmp_path: Path
) -> None:
    config = tiny_config("lungs", "lung-unet", recipe, steps=1)
    tiny_trainer(config, cases, tmp_path / "run").run()
    entry, _ = export(RunFolder(tmp_path / "run"), [], "1")
    assert case_table(report) in k_fold_section(entry, report)
    report["folds"]["one"]["config"] = "training/configs/other.json"
    assert k_fold_section(entry, report) == ""


def test_scores_that_are_kept_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def evaluate(_: str, files: Any, *_rest: Any) -> tuple[dict[str, Any], dict[str, str]]:
        made.append(files)
        return {files: {"pipeline": {"dice": 0.5, "dice_diseased": float("nan")}}}, {}

    class Store:
        def find(self, model: str) -> Any:
            return type("Found", (), {"entry": type("Entry", (), {"sha256": model * 16})})

    monkeypatch.setattr(k_fold, "evaluate", evaluate)
    monkeypatch.setattr(k_fold, "select_cases", lambda _data, _split, keys: keys[0])
    args = ("p9_4", "tiny", Store(), tmp_path, tmp_path)
    first, second = (k_fold.score_case(*args) for _ in range(2))  # type: ignore[arg-type]
    assert made == ["p9_4"]
    assert json.dumps(first) == json.dumps(second)
    k_fold.score_case("p9_4", "tiny+other", *args[2:])  # type: ignore[arg-type]
    assert made == ["p9_4", "p9_4"]


def test_a_consensus_needs_every_family_in_every_fold(tmp_path: Path) -> None:
    inf_net = [_fold(tmp_path, f"fold-{i}", 0.0) for i in range(3)]
    bsnet = [
        replace(fold, config=replace(fold.config, model=ModelConfig("bsnet"))) for fold in inf_net
    ]
    families = by_family([bsnet[2], *inf_net, bsnet[0], bsnet[1]])
    assert list(families) == ["inf-net", "bsnet"]
    assert families["bsnet"] == bsnet
    for runs in (inf_net, [*inf_net, *bsnet[:2]], [*inf_net, bsnet[0], bsnet[1], bsnet[1]]):
        with pytest.raises(InputError) as caught:
            by_family(runs)
        assert caught.value.code == "folds-incomplete"


def test_the_consensus_stands_beside_the_single_network(report: dict[str, Any]) -> None:
    consensus = copy.deepcopy(report)
    consensus["cases"]["a"]["pipeline"]["dice_diseased"] = 0.9
    consensus["summary"] = summarise(consensus["cases"], {})
    table = case_table(report, consensus)
    assert "| a | one | 0.800 | 0.900 | 7.0 | 1.0 | 0.900 | 1.0 |" in table
    assert "0.733 (0.600 to 0.900)" in table
