"""The definition of the segments, and the terminology list that must agree with it."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np

from CovidLesionSegLib.engine.result import Lobe, Lung, Opacity
from CovidLesionSegLib.export.segments import (
    Code,
    SegmentDefinition,
    segment_definition,
    segment_definitions,
    segment_layers,
)
from CovidLesionSegLib.resources import resources_dir
from Testing.support.results import make_result

TERM_FILE = "SegmentationCategoryTypeModifier-CovidLesionSeg.term.json"


def _code(entry: dict[str, Any]) -> Code:
    return Code(entry["CodingSchemeDesignator"], entry["CodeValue"], entry["CodeMeaning"])


def _listed() -> dict[tuple[Code, Code, Code | None], tuple[int, ...]]:
    """Colour of every category, type and modifier in the terminology list."""
    content = json.loads((resources_dir() / TERM_FILE).read_text(encoding="utf-8"))
    found = {}
    for category in content["SegmentationCodes"]["Category"]:
        for kind in category["Type"]:
            for modifier in kind.get("Modifier", [None]):
                shown = modifier or kind
                key = (_code(category), _code(kind), _code(modifier) if modifier else None)
                found[key] = tuple(shown["recommendedDisplayRGBValue"])
    return found


def test_the_terminology_list_holds_exactly_our_segments() -> None:
    ours = {
        (definition.category, definition.type, definition.type_modifier): definition.color_rgb
        for definition in segment_definitions()
    }

    assert ours == _listed()


def test_labels_are_those_of_the_arrays() -> None:
    labels = {definition.id: definition.label for definition in segment_definitions()}

    assert {lobe.name: int(lobe) for lobe in Lobe}.items() <= labels.items()
    assert labels["right-lung"] == Lung.RIGHT
    assert labels["left-lung"] == Lung.LEFT
    assert labels["ground-glass"] == Opacity.GROUND_GLASS
    assert labels["consolidation"] == Opacity.CONSOLIDATION


def test_an_entry_has_seven_fields_of_three_codes() -> None:
    for definition in segment_definitions():
        fields = definition.terminology_entry.split("~")
        assert len(fields) == 7
        for number in (1, 2, 3, 5, 6):
            assert fields[number].count("^") == 2
        assert bool(fields[4]) == (definition.region is not None)


def test_the_covid_infiltrate_is_coded_as_totalsegmentator_does() -> None:
    infection = segment_definition("infection")

    assert str(infection.type) == "SCT^47351003^Infiltrate"
    assert str(infection.type_modifier) == "SCT^840539006^COVID-19"


def _seen_with_deuteranopia(definition: SegmentDefinition) -> np.ndarray[Any, Any]:
    """Colour without the red-green difference (Viénot, Brettel and Mollon 1999)."""
    linear = (np.array(definition.color_rgb) / 255.0) ** 2.2
    confusion = np.array(
        [[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]]
    )
    seen: np.ndarray[Any, Any] = np.clip(confusion @ linear, 0.0, 1.0) ** (1.0 / 2.2)
    return seen


def test_colours_of_a_layer_stay_apart_without_red_and_green() -> None:
    for first, second in itertools.combinations(segment_definitions(), 2):
        if first.layer == second.layer:
            difference = _seen_with_deuteranopia(first) - _seen_with_deuteranopia(second)
            assert np.linalg.norm(difference) > 0.15, (first.id, second.id)


def test_a_result_has_the_segments_that_were_found() -> None:
    def ids(**options: Any) -> list[str]:
        layers = segment_layers(make_result(**options))
        return [definition.id for layer in layers for definition in layer.segments]

    assert ids() == [definition.id for definition in segment_definitions()]
    assert ids(burden="none", with_opacity=False, with_lobes=False) == [
        "infection",
        "right-lung",
        "left-lung",
    ]
