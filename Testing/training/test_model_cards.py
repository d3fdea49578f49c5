"""The committed cards say what the committed reports say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from CovidLesionSegLib.weights.catalogue import CatalogueEntry, read_catalogue
from training.export_weights import RESOURCES
from training.model_cards import REPORTS, card_text, drawn_part, further_sections
from training.reliability import CARDS, digest_of, drawn_from

_ENTRIES = read_catalogue(RESOURCES / "models.json")


def _report(entry: CatalogueEntry) -> dict[str, Any] | None:
    path = REPORTS / f"{entry.id}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


@pytest.mark.parametrize("entry", _ENTRIES, ids=lambda entry: entry.id)
def test_a_card_is_what_its_command_writes(entry: CatalogueEntry) -> None:
    report = _report(entry)
    text = card_text(entry, report, further_sections(entry, report))
    assert (CARDS / f"{entry.id}.md").read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "entry", [entry for entry in _ENTRIES if entry.task != "lungs"], ids=lambda entry: entry.id
)
def test_every_card_of_infection_tells_its_doubts(entry: CatalogueEntry) -> None:
    text = (CARDS / f"{entry.id}.md").read_text(encoding="utf-8")
    assert text.count("## Calibration\n") == text.count("## Failure cases\n") == 1
    diagram = CARDS / f"{entry.id}-reliability.png"
    assert f"({diagram.name})" in text
    assert 10_000 < diagram.stat().st_size < 40_000
    part = drawn_part(entry, _report(entry))
    assert part is not None
    assert drawn_from(diagram) == digest_of(part), "run training.model_cards --diagrams"
