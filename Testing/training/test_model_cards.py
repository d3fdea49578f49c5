"""The committed cards say what the committed reports say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from CovidLesionSegLib.weights.catalogue import CatalogueEntry, read_catalogue
from training.card_sections import nearly_healthy_section
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


@pytest.mark.parametrize(("percent", "verdict"), [(0.29, "keeps"), (0.3, "**misses**")])
def test_a_card_says_whether_a_healthy_lung_stays_so(percent: float, verdict: str) -> None:
    healthy = {"dice_diseased": None, "infected_percent": percent, "percent_error": percent - 0.01}
    diseased = {"dice_diseased": 0.8, "infected_percent": 9.0, "percent_error": 1.0}
    cases = {"p9_1": {"pipeline": diseased}, "p9_6": {"pipeline": healthy}}
    text = nearly_healthy_section({"cases": cases})
    assert f"{percent:.2f}% of the lungs of p9_6, where experts drew 0.01%" in text
    assert f"this one {verdict}." in text
    assert "p9_1" not in text
    assert nearly_healthy_section({"cases": {"p9_1": {"pipeline": diseased}}}) == ""
    assert nearly_healthy_section({"cases": {"p9_1": {"network": {}}}}) == ""
