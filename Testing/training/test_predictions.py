"""Predictions kept on disk are those of the same CT and the same weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from CovidLesionSegLib.engine.volume import CtVolume, Provenance
from training import predictions
from training.predictions import CasePrediction, PredictionFolder


class _Model:
    """Stands for a network; nothing runs it."""

    def __init__(self, sha256: str, name: str = "tiny") -> None:
        self.id = name
        self.threshold = 0.5
        self.weights_sha256 = {name: sha256}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def predict(ct: CtVolume, *_: object) -> CasePrediction:
        names.append(ct.provenance.name)
        probability = np.zeros(ct.shape_zyx, np.float16)
        probability[2:4, 2:4, 2:4] = 0.9
        probability[0, 0, 0] = 0.6
        return CasePrediction(probability, np.ones(ct.shape_zyx, np.uint8), 0.5, 1.0)

    monkeypatch.setattr(predictions, "predict_case", predict)
    return names


def _ct(value: int) -> CtVolume:
    array = np.full((4, 4, 4), value, np.int16)
    return CtVolume.from_array(array, np.diag([10.0, 10.0, 10.0, 1.0]), Provenance("array", "c"))


def test_a_prediction_is_made_once_per_ct_and_weights(made: list[str], tmp_path: Path) -> None:
    folder = PredictionFolder(tmp_path / "kept")
    model, lungs = _Model("a"), _Model("a", "lungs")
    first = folder.predict(_ct(0), model, lungs)  # type: ignore[arg-type]
    again = folder.predict(_ct(0), model, lungs)  # type: ignore[arg-type]
    assert made == ["c"]
    assert np.array_equal(first.probability, again.probability)
    assert again.probability.dtype == np.float16
    assert again.candidates().sum() == 8  # the weak voxel has no core
    folder.predict(_ct(1), model, lungs)  # type: ignore[arg-type]
    folder.predict(_ct(0), _Model("b"), lungs)  # type: ignore[arg-type]
    folder.predict(_ct(0), model, _Model("b", "lungs"))  # type: ignore[arg-type]
    assert len(made) == 4
    assert not list((tmp_path / "kept").glob("*partial*"))


def test_a_threshold_is_the_models_not_the_files(made: list[str], tmp_path: Path) -> None:
    folder, model = PredictionFolder(tmp_path), _Model("a")
    folder.predict(_ct(0), model, model)  # type: ignore[arg-type]
    model.threshold = 0.95
    found = folder.predict(_ct(0), model, model)  # type: ignore[arg-type]
    assert made == ["c"]
    assert found.threshold == 0.95
    assert not found.candidates().any()
    assert replace(found, threshold=0.5).candidates().any()


def test_without_a_folder_nothing_is_kept(made: list[str]) -> None:
    folder, model = PredictionFolder(None), _Model("a")
    for _ in range(2):
        folder.predict(_ct(0), model, model)  # type: ignore[arg-type]
    assert made == ["c", "c"]
