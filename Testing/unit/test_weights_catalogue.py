"""The catalogue of models and its strict reading."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.weights.catalogue import (
    CatalogueEntry,
    format_catalogue,
    parse_catalogue,
    read_catalogue,
)

VALUES: dict[str, Any] = {
    "id": "inf-net-lite",
    "version": "1",
    "task": "infection",
    "family": "inf-net",
    "scale": "lite",
    "encoder": "efficientnet-lite0",
    "options": {"width": 24, "refine_widths": [64, 32]},
    "recipe": {"window_hu": [-1250.0, 250.0], "pixel_mm": 1.4},
    "file": "inf-net-lite.safetensors",
    "sha256": "0" * 64,
    "bytes": 10,
    "dtype": "float16",
    "threshold": 0.5,
    "temperature": 1.0,
    "licence": "CC-BY-4.0",
    "training_data": "twenty scans",
    "split": "by patient",
    "scores": {"dice": {"value": 0.7, "low": 0.6}},
    "citation": "a paper",
    "intended_use": "research",
    "not_for": "clinical decisions",
}


def refused(values: object) -> CovidLesionSegError:
    with pytest.raises(CovidLesionSegError) as caught:
        parse_catalogue({"schema": 1, "models": [values]})
    assert caught.value.code == "catalogue-invalid"
    return caught.value


def test_round_trip_through_json(tmp_path: Path) -> None:
    entries = parse_catalogue({"schema": 1, "models": [VALUES]})
    path = tmp_path / "models.json"
    path.write_text(format_catalogue(entries), encoding="utf-8")
    assert read_catalogue(path) == entries
    assert entries[0].to_dict() == {**VALUES, "source": {}, "role": "clinical"}


def test_a_research_model_says_so() -> None:
    (entry,) = parse_catalogue({"schema": 1, "models": [{**VALUES, "role": "research"}]})
    assert entry.role == "research"
    assert CatalogueEntry.from_dict(entry.to_dict()) == entry
    assert "'role' must be one of: clinical, research" in refused({**VALUES, "role": ""}).message


@pytest.mark.parametrize(
    "pipeline",
    [None, "good", {}, {"dice_diseased": 0.8}, {"dice_diseased": {"mean": 0.8, "low": 0.7}}],
)
def test_a_score_without_its_interval_is_none(pipeline: object) -> None:
    entry = CatalogueEntry.from_dict({**VALUES, "scores": {"pipeline": pipeline}})
    assert entry.card.pipeline_score("dice_diseased") is None


def test_scores_of_the_pipeline() -> None:
    score = {"mean": 0.8, "low": 0.7, "high": 0.9}
    values = {**VALUES, "scores": {"pipeline": {"dice_diseased": score}}}
    assert CatalogueEntry.from_dict(values).card.pipeline_score("dice_diseased") == score


def test_the_entry_describes_its_network() -> None:
    config = CatalogueEntry.from_dict(VALUES).config
    assert (config.family, config.scale, config.encoder) == (
        "inf-net",
        "lite",
        "efficientnet-lite0",
    )
    assert config.options == {"width": 24, "refine_widths": (64, 32)}


@pytest.mark.parametrize("name", [name for name in VALUES if name != "scores"])
def test_a_missing_value_is_named(name: str) -> None:
    values = {key: value for key, value in VALUES.items() if key != name}
    error = refused(values)
    assert name in error.message
    assert name == "id" or "'inf-net-lite'" in error.message


def test_an_unknown_value_is_named() -> None:
    error = refused({**VALUES, "url": "somewhere"})
    assert "'url'" in error.message
    assert "'inf-net-lite'" in error.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "Inf Net"),
        ("id", "../evil"),
        ("id", "a" * 65),
        ("id", "inf-net\n"),
        ("version", 1),
        ("task", "everything"),
        ("scale", "huge"),
        ("encoder", 3),
        ("options", []),
        ("recipe", None),
        ("file", "../secret.safetensors"),
        ("file", "/etc/passwd.safetensors"),
        ("file", "sub/x.safetensors"),
        ("file", "C:\\x.safetensors"),
        ("file", ".hidden.safetensors"),
        ("file", "weights.pth"),
        ("sha256", "A" * 64),
        ("sha256", "0" * 63),
        ("bytes", 0),
        ("bytes", True),
        ("bytes", 10.0),
        ("dtype", "int8"),
        ("threshold", 0),
        ("threshold", 1),
        ("threshold", "0.5"),
        ("threshold", float("nan")),
        ("temperature", 0),
        ("temperature", float("inf")),
        ("scores", [1]),
        ("licence", None),
    ],
)
def test_a_wrong_value_is_named(name: str, value: object) -> None:
    message = refused({**VALUES, name: value}).message
    assert f"{name!r} must be" in message


def test_the_same_id_twice_is_refused() -> None:
    with pytest.raises(CovidLesionSegError, match="listed twice"):
        parse_catalogue({"schema": 1, "models": [VALUES, VALUES]})


@pytest.mark.parametrize("document", [[], {}, {"schema": 1}, {"schema": 1, "models": {}}, None])
def test_a_document_of_another_shape_is_refused(document: object) -> None:
    with pytest.raises(CovidLesionSegError, match="catalogue"):
        parse_catalogue(document)


def test_a_newer_schema_says_so() -> None:
    with pytest.raises(CovidLesionSegError) as caught:
        parse_catalogue({"schema": 2, "models": []})
    assert caught.value.code == "catalogue-schema"
    assert "newer version" in caught.value.hint


def test_entries_that_are_not_tables_are_refused() -> None:
    refused("inf-net")


@pytest.mark.parametrize("text", ["", "{", '{"schema": 1'])
def test_an_unreadable_file_names_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "models.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CovidLesionSegError) as caught:
        read_catalogue(path)
    assert caught.value.code == "catalogue-unreadable"
    assert str(path) in caught.value.message


def test_the_written_text_is_stable() -> None:
    entries = parse_catalogue({"schema": 1, "models": [VALUES]})
    assert json.loads(format_catalogue(entries)) == {
        "schema": 1,
        "models": [{**VALUES, "source": {}, "role": "clinical"}],
    }
