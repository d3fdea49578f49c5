"""The published protocol against golden values and against the published predictions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from CovidLesionSegLib.errors import InputError
from training.evaluate import main
from training.semiseg_evaluation import score_folder, score_image, summarise, thresholds

_TOLERANCE = 1e-9


def test_curves_equal_the_golden_ones(golden_dir: Path) -> None:
    golden = np.load(golden_dir / "evaluator.npz")
    numbers = json.loads((golden_dir / "evaluator.json").read_text(encoding="utf-8"))["synthetic"]
    assert np.array_equal(thresholds(), golden["thresholds"])
    for name, expected in numbers.items():
        scores = score_image(golden[f"map_{name}"], golden[f"gt_{name}"].astype(bool))
        curves = {
            "Dice": scores.dice,
            "Sen": scores.sensitivity,
            "Spe": scores.specificity,
            "Egt": scores.e_measure,
        }
        for curve, found in curves.items():
            np.testing.assert_allclose(found, golden[f"{curve}_{name}"], atol=_TOLERANCE)
        assert scores.s_measure == pytest.approx(expected["Sm"], abs=_TOLERANCE)
        assert scores.mae == pytest.approx(expected["MAE"], abs=_TOLERANCE)


@pytest.mark.data
@pytest.mark.parametrize("model", ["Inf-Net", "Semi-Inf-Net"])
def test_published_numbers_are_reproduced(data_dir: Path, golden_dir: Path, model: str) -> None:
    numbers = json.loads((golden_dir / "evaluator.json").read_text(encoding="utf-8"))
    golden = numbers["sets"][model]
    folder = data_dir / "covid_semiseg"
    images = score_folder(
        folder / "published_predictions" / model, folder / "TestingSet/LungInfection-Test/GT"
    )
    assert len(images) == golden["images"]
    summary = summarise(list(images.values()))
    names = {
        "mean_dice": "meanDic",
        "mean_sensitivity": "meanSen",
        "mean_specificity": "meanSpe",
        "mean_e_measure": "meanEm",
        "max_dice": "maxDic",
        "s_measure": "Sm",
        "mae": "mae",
    }
    for ours, theirs in names.items():
        published = golden["published_vs_reproduced"][theirs]["published"]
        assert summary["published_protocol"][ours] == pytest.approx(published, abs=_TOLERANCE)
    half = golden["fixed_threshold_half_no_minmax_meanDice"]
    assert summary["threshold_0.5"]["dice"] == pytest.approx(half, abs=_TOLERANCE)


def _write(path: Path, levels: np.ndarray) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(levels.astype(np.uint8)).save(path)


def test_the_command_writes_every_score(tmp_path: Path) -> None:
    mask = np.zeros((12, 10))
    mask[3:8, 2:7] = 255
    _write(tmp_path / "gt" / "1.png", mask)
    _write(tmp_path / "maps" / "1.png", mask)
    folders = ["--predictions", str(tmp_path / "maps"), "--gt", str(tmp_path / "gt")]
    assert main(["semiseg", *folders, "--json", str(tmp_path / "out.json")]) == 0
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert report["summary"]["threshold_0.5"]["dice"] == 1.0
    # The lowest threshold calls everything lesion, whatever the map.
    lowest = 2 * 25 / (25 + 120)
    expected = (255 + lowest) / 256
    assert report["summary"]["published_protocol"]["mean_dice"] == pytest.approx(expected)


def test_maps_without_masks_are_named(tmp_path: Path) -> None:
    _write(tmp_path / "gt" / "1.png", np.zeros((4, 4)))
    _write(tmp_path / "maps" / "2.png", np.zeros((4, 4)))
    with pytest.raises(InputError) as caught:
        score_folder(tmp_path / "maps", tmp_path / "gt")
    assert caught.value.code == "training-data-mismatch"
    assert "1, 2" in caught.value.message
