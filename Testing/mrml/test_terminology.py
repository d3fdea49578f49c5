"""Slicer's terminology logic knows our list and understands every entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import slicer

from CovidLesionSegLib.export.segments import Code, segment_definitions
from CovidLesionSegLib.resources import resources_dir

if TYPE_CHECKING:
    from typing import Any

    from CovidLesionSegLib.mrml.headless import HeadlessApplication

pytestmark = pytest.mark.mrml

TERM_FILE = "SegmentationCategoryTypeModifier-CovidLesionSeg.term.json"


def _code(found: Any) -> Code | None:
    if found is None or not found.GetCodeValue():
        return None
    return Code(found.GetCodingSchemeDesignator(), found.GetCodeValue(), found.GetCodeMeaning())


@pytest.fixture
def terminologies(application: HeadlessApplication) -> Any:
    logic = slicer.vtkSlicerTerminologiesModuleLogic()
    logic.SetMRMLApplicationLogic(application.logic)
    return logic


def test_the_list_loads_under_the_name_that_the_entries_use(terminologies: Any) -> None:
    name = terminologies.LoadTerminologyFromFile(str(resources_dir() / TERM_FILE))

    assert {definition.terminology_context for definition in segment_definitions()} == {name}


@pytest.mark.parametrize("definition", segment_definitions(), ids=lambda item: item.id)
def test_an_entry_is_understood(terminologies: Any, definition: Any) -> None:
    terminologies.LoadTerminologyFromFile(str(resources_dir() / TERM_FILE))
    entry = slicer.vtkSlicerTerminologyEntry()

    assert terminologies.DeserializeTerminologyEntry(definition.terminology_entry, entry)

    assert _code(entry.GetCategoryObject()) == definition.category
    assert _code(entry.GetTypeObject()) == definition.type
    assert _code(entry.GetTypeModifierObject()) == definition.type_modifier
    assert _code(entry.GetRegionObject()) == definition.region
