"""The committed reports are about the committed weights, and about each other's networks.

If one fails, run the command that the report names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.engine.models import DEFAULT_MODEL, LUNG_MODEL
from CovidLesionSegLib.engine.postprocess import LEAST_DENSITY_RATIO
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.weights.catalogue import read_catalogue
from training.anatomy.evaluate_lungs import RESULTS, kept_rows, write_rows
from training.export_weights import RESOURCES
from training.readme_tables import DRAM, FINDING_RULES, K_FOLD, REPORTS, SEMISEG

_BUNDLED = {entry.id: entry.sha256 for entry in read_catalogue(RESOURCES / "models.json")}


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_rules_over_findings_were_measured_with_the_networks_of_the_k_fold() -> None:
    folds = {name: fold["weights_sha256"] for name, fold in _read(K_FOLD)["folds"].items()}
    report = _read(FINDING_RULES)
    assert report["weights_sha256"] == {**folds, "lungs": _BUNDLED[LUNG_MODEL]}
    drawn = {key: case["pipeline"] for key, case in _read(K_FOLD)["cases"].items()}
    used = report["rules"]["density_ratio_unless_large"]
    assert set(used["left_out"]) == set(drawn)
    mean = sum(drawn[key]["dice"] for key in used["diseased"]) / len(used["diseased"])
    (kept,) = (row["dice"] for row in used["values"] if row["value"] == LEAST_DENSITY_RATIO)
    assert kept == pytest.approx(mean, abs=1e-4)


@pytest.mark.parametrize("name", ["lungs.json", "infected_percent.json"])
def test_lungs_and_percentages_are_of_the_bundled_networks(name: str) -> None:
    wanted = {model: _BUNDLED[model] for model in (LUNG_MODEL, DEFAULT_MODEL)}
    assert _read(RESULTS / name)["weights_sha256"] == wanted


def test_rows_of_other_networks_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "lungs.json"
    assert kept_rows(path, {"lungs": "a"}) == {}
    write_rows(path, {"case": {"dice": 0.5}}, {"lungs": "a"})
    assert kept_rows(path, {"lungs": "a"}) == {"case": {"dice": 0.5}}
    with pytest.raises(InputError) as caught:
        kept_rows(path, {"lungs": "b"})
    assert caught.value.code == "scores-of-other-weights"


def test_the_class_rules_hold_the_bundled_network_as_it_was_measured() -> None:
    rules = _read(REPORTS / "lesion-classes.json")
    network = _read(REPORTS / "density-classes-lite.json")
    assert network["weights_sha256"]["density-classes-lite"] == _BUNDLED["density-classes-lite"]
    learned, measured = rules["rules"]["learned densities"], network["summary"]["held-out slices"]
    assert {name: learned[name] for name in measured} == measured
    assert len(rules["checkpoints_sha256"]) == len(rules["choices"]["chosen border"])


def test_the_table_of_dram_holds_the_bundled_network_as_users_get_it() -> None:
    (bundled,) = (part for part in _read(DRAM) if part["split"] == "bundled")
    measured = _read(REPORTS / "dram-lite.json")
    assert measured["weights_sha256"]["dram-lite"] == _BUNDLED["dram-lite"]
    for key, scores in measured["cases"].items():
        dice = scores["pipeline"]["dice_diseased"]
        assert bundled["cases"][key]["findings"]["dice"] == (
            None if dice is None else pytest.approx(dice, abs=0.002)
        )


def test_rows_of_bundled_models_are_of_their_weights() -> None:
    rows = [row["maps"] for row in _read(SEMISEG)["rows"]]
    alone = [maps for maps in rows if str(maps.get("run", "")).startswith("bundled ")]
    parts = [member for maps in rows for member in maps.get("members", [])]
    digests = [maps["weights_sha256"] for maps in (*alone, *parts) if "weights_sha256" in maps]
    assert len(digests) >= len(alone) > 0
    for model, digest in (pair for found in digests for pair in found.items()):
        assert digest == _BUNDLED[model]
