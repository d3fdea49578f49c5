"""Import of published checkpoints: they give the published output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from CovidLesionSegLib.engine.windowing import SliceRecipe, normalise
from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.nets.registry import recognise_checkpoint
from CovidLesionSegLib.weights.importer import ImportOptions, import_checkpoint
from CovidLesionSegLib.weights.loading import load_model
from CovidLesionSegLib.weights.store import WeightsStore
from Testing.support.checkpoints import State, hollow_state, saved
from Testing.support.golden import GoldenModel
from Testing.support.models import forbid_network
from Testing.support.parity import golden_shapes, golden_state

LAYOUTS = {
    "infnet_res2net50": ("inf-net", "res2net50-v1b"),
    "infnet_resnet50": ("inf-net", "resnet50"),
    "infnet_vgg16": ("inf-net", "vgg16"),
    "infnet_mc_unet": ("inf-net-multi-class", None),
    "bsnet_res2net50": ("bsnet", "res2net50-v1b"),
    "cosup_released": ("co-supervision", None),
    "cosup_old": ("co-supervision", None),
    "dram_dc3d": ("dram", None),
    "dram_dc3d_att16": ("dram", None),
}


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightsStore:
    forbid_network(monkeypatch)
    return WeightsStore(None, tmp_path / "user")


@pytest.fixture
def dram(golden_dir: Path) -> State:
    return hollow_state(golden_dir, "dram_dc3d")


def wrapped_and_prefixed(state: State) -> dict[str, Any]:
    return {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 100}


WRITERS: dict[str, Callable[[Path, State], Path]] = {
    "infnet_vgg16": lambda path, state: saved(path, wrapped_and_prefixed(state)),
    "cosup_released": lambda path, state: saved(
        path, {"model": state}, _use_new_zipfile_serialization=False
    ),
    "dram_dc3d": lambda path, state: (save_file(state, path), path)[1],
}
# The published map that our map of this name has to equal. The file of dRAM with attention
# does not say that its golden maps were made on a smaller attention grid, hence its dense map.
PUBLISHED = {
    "infnet_res2net50": ("infection", "map2"),
    "infnet_resnet50": ("infection", "map2"),
    "infnet_vgg16": ("infection", "map2"),
    "infnet_mc_unet": ("infection", "logits"),
    "bsnet_res2net50": ("infection", "map2"),
    "cosup_released": ("infection", "prob"),
    "cosup_old": ("infection", "prob"),
    "dram_dc3d": ("infection", "dense"),
    "dram_dc3d_att16": ("dense", "dense"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "ours", "theirs"), [(k, *v) for k, v in PUBLISHED.items()])
def test_an_imported_checkpoint_gives_the_published_output(
    golden_dir: Path,
    library: WeightsStore,
    tmp_path: Path,
    name: str,
    ours: str,
    theirs: str,
) -> None:
    state = golden_state(golden_dir, name)
    path = WRITERS.get(name, saved)(tmp_path / "published.pth", state)
    report = import_checkpoint(path, library, ImportOptions(licence="MIT"))
    module, entry = load_model(report.model.entry, library)
    assert entry == library.find(entry.id).entry
    assert entry.card.licence == "MIT"
    assert entry.card.source["file"] == "published.pth"
    assert not module.training

    image, expected = next(GoldenModel(golden_dir, name).cases())
    with torch.inference_mode():
        output = module(image)
    logits = output.infection if ours == "infection" else output.sides[ours]
    found = logits.sigmoid() if theirs == "prob" else logits
    np.testing.assert_allclose(found.numpy(), expected[theirs], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_publication_is_recognised(golden_dir: Path, name: str, prefix: str) -> None:
    layout = recognise_checkpoint(prefix + key for key in golden_shapes(golden_dir, name))
    assert layout is not None
    assert layout.config is not None
    assert (layout.config.family, layout.config.encoder) == LAYOUTS[name]


def test_the_entry_says_what_was_imported(
    library: WeightsStore, tmp_path: Path, dram: State
) -> None:
    report = import_checkpoint(saved(tmp_path / "x.pth", dram), library, ImportOptions("mine"))
    entry = report.model.entry
    assert entry.id == "mine"
    assert (entry.family, entry.task, entry.dtype) == ("dram", "infection", "float32")
    assert entry.recipe == {}
    assert "arXiv" in entry.card.citation or "doi" in entry.card.citation
    assert entry.card.source["format"] == report.layout
    assert report.random == ()


def test_a_published_picture_network_keeps_its_normalisation(
    golden_dir: Path, library: WeightsStore, tmp_path: Path
) -> None:
    state = hollow_state(golden_dir, "infnet_vgg16")
    report = import_checkpoint(saved(tmp_path / "x.pth", state), library)
    assert len(report.unused) == 12
    assert all(key.startswith(("vgg.conv4_2.", "vgg.conv5_2.")) for key in report.unused)
    recipe = SliceRecipe.from_dict(dict(report.model.entry.recipe))
    assert recipe.context_slices(5.0) == 0
    assert SliceRecipe.from_dict(recipe.to_dict()) == recipe
    white = normalise(torch.full((2, 3, 1, 1), 255, dtype=torch.uint8), recipe)
    expected = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    torch.testing.assert_close(white[1, :, 0, 0], expected)


def test_an_imported_file_can_be_imported_elsewhere(
    library: WeightsStore, tmp_path: Path, dram: State
) -> None:
    first = import_checkpoint(saved(tmp_path / "x.pth", dram), library).model
    elsewhere = WeightsStore(None, tmp_path / "elsewhere")
    second = import_checkpoint(first.path, elsewhere).model
    assert second.entry == first.entry
    renamed = import_checkpoint(first.path, elsewhere, ImportOptions("renamed")).model
    assert renamed.entry.card == first.entry.card
    load_model(renamed.entry, elsewhere)


def test_layers_that_were_never_saved_are_said_so(
    golden_dir: Path, library: WeightsStore, tmp_path: Path
) -> None:
    genuine = hollow_state(golden_dir, "cosup_released", registered_only=True)
    path = saved(tmp_path / "genuine.pth", genuine)
    with pytest.raises(CovidLesionSegError, match="never saved") as caught:
        import_checkpoint(path, library)
    assert caught.value.code == "checkpoint-never-saved"
    assert library.models() == ()
    report = import_checkpoint(path, library, ImportOptions(incomplete=True))
    assert report.random
    assert report.model.entry.task == "pretraining"
