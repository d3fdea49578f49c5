"""Reports with a part per model: some measured anew, the others kept as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.weights.catalogue import CatalogueEntry
from training import failure_cases, reliability
from training.model_reports import bundled_infection_models, measure_models

_ENTRIES = bundled_infection_models()
_FIRST, _SECOND, *_ = (entry.id for entry in _ENTRIES)


def _measure(entry: CatalogueEntry) -> dict[str, Any]:
    return {"sha256": entry.sha256, "figure": "new"}


def _run(path: Path, *wanted: str) -> dict[str, Any]:
    measure_models(path, {"command": "c"}, _ENTRIES, wanted, _measure)
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def test_models_of_tissue_are_measured_too() -> None:
    assert {"inf-net-lite", "dram-lite"} <= {entry.id for entry in _ENTRIES}
    assert "lung-unet-lite" not in {entry.id for entry in _ENTRIES}


def test_one_model_is_measured_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    _run(path)
    old = path.read_text(encoding="utf-8").replace("new", "0.1000000000000000055")
    path.write_text(old, encoding="utf-8")
    figures = {name: part["figure"] for name, part in _run(path, _SECOND)["models"].items()}
    assert figures.pop(_SECOND) == "new"
    assert set(figures.values()) == {"0.1000000000000000055"}
    assert list(_run(path, _FIRST)["models"]) == [entry.id for entry in _ENTRIES]
    again = {part["figure"] for part in _run(path)["models"].values()}
    assert again == {"new"}


def test_a_model_that_was_never_measured_stays_out(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    assert list(_run(path, _SECOND)["models"]) == [_SECOND]
    assert list(_run(path, _FIRST)["models"]) == [_FIRST, _SECOND]


def test_what_is_kept_is_of_the_same_weights(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    content = _run(path)
    content["models"][_FIRST]["sha256"] = "0" * 64
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        _run(path, _SECOND)
    assert caught.value.code == "scores-of-other-weights"
    assert _run(path, _FIRST)["models"][_FIRST]["figure"] == "new"


def test_the_commands_know_their_models(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    for command in (reliability.main, failure_cases.main):
        assert command(["--data", str(tmp_path), "--json", str(path), "--model", "nobody"]) != 0
        assert not path.exists()
