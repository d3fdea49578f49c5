"""Measuring models on cases of one's own."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.engine.models import LUNG_MODEL
from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.weights.store import WeightsStore
from Testing.support.tiny_volumes import tiny_config, tiny_trainer
from training import evaluate
from training.config import DataConfig
from training.data.store import StoredCase
from training.data.volumes import VolumeFiles
from training.export_weights import export, install
from training.run_folder import RunFolder


@pytest.fixture
def ours(tiny_data: Path, recipe: SliceRecipe) -> Path:
    """The config of a training on three cases of two patients."""
    split_file = tiny_data / "split.json"
    patients = {"P1": ["a"], "P2": ["b", "c"]}
    splits = {"ours": {"validation": ["P2"]}, "all": {"validation": []}}
    split_file.write_text(json.dumps({"patients": patients, "splits": splits}), encoding="utf-8")
    config = tiny_config("infection", "inf-net", recipe)
    config = replace(config, data=DataConfig(("tiny",), "ours", str(split_file)))
    path = tiny_data / "config.json"
    path.write_text(json.dumps(config.to_dict()), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("asked", "expected", "command"),
    [
        ([], ["b", "c"], "volumes --config {config} --split ours --model tiny"),
        (["--cases", "a"], ["a"], "volumes --config {config} --cases a --model tiny"),
    ],
)
def test_ones_own_cases_are_measured_with_ones_own_model(
    asked: list[str],
    expected: list[str],
    command: str,
    ours: Path,
    cases: list[StoredCase],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = tiny_config("infection", "inf-net", SliceRecipe(pixel_mm=6.0, size_multiple=32), 1)
    tiny_trainer(config, cases, tmp_path / "run").run()
    install(*export(RunFolder(tmp_path / "run"), cases[2:], "1"), tmp_path / "models")
    scores = {"pipeline": {"dice": 0.5}}

    def measured(
        _task: str, files: Sequence[VolumeFiles], store: WeightsStore, model: str, *_rest: Any
    ) -> tuple[dict[str, Any], dict[str, str]]:
        digests = {name: store.find(name).entry.sha256 for name in (LUNG_MODEL, model)}
        return {entry.key: scores for entry in files}, digests

    monkeypatch.setattr(evaluate, "evaluate", measured)
    report = tmp_path / "report.json"
    places = ["--data", str(ours.parent), "--models", str(tmp_path / "models"), "--json"]
    arguments = ["volumes", *places, str(report), "--config", str(ours), "--model", "tiny", *asked]
    assert evaluate.main(arguments) == 0
    found = json.loads(report.read_text(encoding="utf-8"))
    assert list(found["cases"]) == expected
    assert found["command"] == f"python -m training.evaluate {command.format(config=ours)}"
    assert set(found["weights_sha256"]) == {LUNG_MODEL, "tiny"}


def test_patients_are_those_of_the_split_file_in_use(ours: Path) -> None:
    data = evaluate.load_config(ours).data
    assert evaluate.patients_by_case(data) == {"a": "P1", "b": "P2", "c": "P2"}
    assert evaluate.patients_by_case()["p9_6"] == evaluate.patients_by_case()["p9_7"]


def test_a_split_that_holds_nothing_out_is_refused(ours: Path) -> None:
    with pytest.raises(InputError, match="'all' holds no patient out"):
        evaluate.select_cases(ours.parent, "all", (), evaluate.load_config(ours).data)


def test_models_are_looked_for_in_a_folder_that_exists(
    ours: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["volumes", "--data", str(ours.parent), "--models", str(ours.parent / "absent")]
    with caplog.at_level(logging.ERROR, "training"):
        assert evaluate.main(arguments) == 2
    assert "There is no folder 'absent' with models." in caplog.text


def test_no_head_of_a_table_loses_its_end_on_a_narrow_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    figures = {"mean": 0.8123, "low": 0.7, "high": 0.9}
    names = "dice sensitivity precision dice_diseased nsd lesion_f1 infected_percent percent_error"
    summary = {"pipeline": dict.fromkeys(names.split(), figures)}
    scores = {"pipeline": dict.fromkeys(names.split(), 0.8123)}
    evaluate.print_table({"coronacases_001": scores}, summary)
    text = capsys.readouterr().out
    assert "…" not in text
    assert text.count("0.812") >= 2 * len(names.split())
