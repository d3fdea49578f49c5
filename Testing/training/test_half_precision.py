"""Half precision: the shipped weights keep what their cards promise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.weights.catalogue import read_catalogue
from CovidLesionSegLib.weights.loading import load_model
from CovidLesionSegLib.weights.store import default_store
from training.data.store import wanted_volumes
from training.data.volumes import load_volume
from training.export_weights import RESOURCES
from training.half_precision import (
    SOURCES,
    broken,
    bundled_slice_models,
    measure_case,
    still_valid,
    tolerance,
)
from training.model_cards import HALF_PRECISION, card_text, with_half_precision

_ENTRIES = {entry.id: entry for entry in read_catalogue(RESOURCES / "models.json")}
_MODELS = [entry.id for entry in bundled_slice_models()]
_FIGURES = {"mean_difference": 0.0002, "largest_difference": 0.1, "changed_percent": 0.03}


@pytest.mark.data
@pytest.mark.parametrize("name", _MODELS)
def test_shipped_weights_keep_the_tolerance_of_their_card(name: str, data_dir: Path) -> None:
    entry = _ENTRIES[name]
    promised = entry.card.scores[HALF_PRECISION]
    model, _ = load_model(entry, default_store())
    (files,) = wanted_volumes(data_dir, SOURCES, ("p9_9",))
    measured = measure_case(model, entry, load_volume(files))
    assert not broken(measured, promised)
    assert measured["bfloat16"]["mean_difference"] > measured["float16"]["mean_difference"] > 0


def test_a_promise_is_a_little_more_than_what_was_measured() -> None:
    measured = {"bfloat16": _FIGURES}
    promised = tolerance(measured)
    assert promised["bfloat16"]["mean_difference"] == pytest.approx(0.0003)
    assert not broken(measured, promised)
    worse = {"bfloat16": {**_FIGURES, "changed_percent": 0.1}}
    assert broken(worse, promised) == ["bfloat16 changed_percent 0.1 > 0.045"]


def test_what_was_measured_of_the_same_weights_is_kept(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    assert still_valid(report, list(_ENTRIES.values())) == {}
    first, second = (_ENTRIES[name] for name in _MODELS[:2])
    found = {first.id: {"sha256": first.sha256}, second.id: {"sha256": "0" * 64}}
    found["gone"] = {"sha256": first.sha256}
    report.write_text(json.dumps({"models": found}))
    assert still_valid(report, [first, second]) == {first.id: {"sha256": first.sha256}}


def test_the_card_states_the_tolerance_of_exactly_these_weights() -> None:
    entry = _ENTRIES["inf-net-lite"]
    found = {"sha256": entry.sha256, "tolerance": {"bfloat16": _FIGURES}}
    report = {"command": "c", "models": {entry.id: found}}
    text = card_text(with_half_precision(entry, report), None)
    assert "| bfloat16 | 0.0002 | 0.1 | 0.03% |" in text
    assert with_half_precision(replace(entry, id="other"), report).id == "other"
    with pytest.raises(InputError) as caught:
        with_half_precision(replace(entry, sha256="0" * 64), report)
    assert caught.value.code == "scores-of-other-weights"
