"""The models that come with the installation."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from CovidLesionSegLib.engine.flags import RESEARCH_MODEL, UNFITTED, research_flag
from CovidLesionSegLib.engine.lesion_classes import TASK, density_recipe
from CovidLesionSegLib.engine.models import DEFAULT_MODEL, LUNG_MODEL, open_infection_model
from CovidLesionSegLib.engine.tissue_model import TissueRecipe
from CovidLesionSegLib.engine.windowing import SliceRecipe
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.resources import resources_dir
from CovidLesionSegLib.weights.packing import unpack_model
from CovidLesionSegLib.weights.store import StoredModel, WeightsStore

LARGEST_BYTES = 40_000_000  # the extension's repository has to stay small


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> WeightsStore:
    return WeightsStore(resources_dir(), tmp_path_factory.mktemp("nobody"))


@pytest.fixture(scope="module")
def bundled(library: WeightsStore) -> tuple[StoredModel, ...]:
    assert library.problems() == ()
    return library.models()


def test_the_models_that_the_pipeline_needs_are_bundled(bundled: tuple[StoredModel, ...]) -> None:
    tasks = {model.entry.id: model.entry.task for model in bundled}
    assert tasks[DEFAULT_MODEL] == "infection"
    assert tasks[LUNG_MODEL] == "lungs"


def test_every_file_is_intact_and_says_what_the_catalogue_says(
    library: WeightsStore, bundled: tuple[StoredModel, ...]
) -> None:
    for model in bundled:
        entry, content = unpack_model(library.read(model), model.path.name)
        # Scores are measured on the file, so they can't be inside it.
        card = replace(entry.card, scores=model.entry.card.scores)
        assert replace(entry, card=card) == model.entry
        assert content.tensors


def test_catalogue_and_folder_hold_the_same_files(bundled: tuple[StoredModel, ...]) -> None:
    files = {path.name for path in (resources_dir() / "Weights").glob("*.safetensors")}
    assert files == {model.entry.file for model in bundled}


def test_bundled_files_are_small(bundled: tuple[StoredModel, ...]) -> None:
    assert sum(model.entry.bytes for model in bundled) < LARGEST_BYTES


def test_every_card_is_filled_in(bundled: tuple[StoredModel, ...]) -> None:
    for model in bundled:
        card = model.entry.card
        empty = [item.name for item in fields(card) if not getattr(card, item.name)]
        assert not set(empty) - {"source"}, model.entry.id


def test_every_recipe_can_be_followed(bundled: tuple[StoredModel, ...]) -> None:
    readers = {"severity": TissueRecipe.from_dict}
    for model in bundled:
        if model.entry.task == TASK:
            assert dict(model.entry.recipe) == density_recipe()
            continue
        readers.get(model.entry.task, SliceRecipe.from_dict)(dict(model.entry.recipe))


@pytest.mark.parametrize("model", ["relation-lite", "dram-lite"])
def test_the_reader_is_told_how_good_a_research_model_is(model: str, library: WeightsStore) -> None:
    flag, *further = open_infection_model(model, None, "cpu", library).flags
    assert flag.startswith(f"{RESEARCH_MODEL}-dice-")
    assert flag != research_flag(None)
    assert further == ([UNFITTED] if model == "dram-lite" else [])


def test_a_model_over_tissue_joins_no_consensus(library: WeightsStore) -> None:
    with pytest.raises(InputError) as caught:
        open_infection_model("inf-net-lite+dram-lite", None, "cpu", library)
    assert caught.value.code == "consensus-not-possible"
