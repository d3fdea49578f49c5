"""A model taught by severity scores alone, in the pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from CovidLesionSegLib.engine.flags import RESEARCH_MODEL, UNFITTED
from CovidLesionSegLib.engine.lungs_infection import predict_with_lungs
from CovidLesionSegLib.engine.models import open_infection_model
from CovidLesionSegLib.engine.progress import Reporter
from CovidLesionSegLib.engine.result import Anatomy, LobeSource
from CovidLesionSegLib.engine.tissue import CHANNELS
from CovidLesionSegLib.engine.tissue_model import TissueModel, TissueRecipe, predict_tissue
from CovidLesionSegLib.engine.volume import CtVolume
from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.config import ModelConfig
from CovidLesionSegLib.nets.outputs import ModelOutput
from CovidLesionSegLib.nets.registry import create_from_config
from CovidLesionSegLib.weights.catalogue import RESEARCH
from CovidLesionSegLib.weights.packing import pack_model
from Testing.support.models import toy_description


class Doubts(torch.nn.Module):
    """Gives every block the same probability."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: torch.Tensor) -> ModelOutput:
        assert x.shape[1] == len(CHANNELS)
        return ModelOutput(torch.full((1, 1, *x.shape[2:]), self.probability).logit(), None, {})


def model_of(probability: float, odds: float = 4.0) -> TissueModel:
    return TissueModel("tissue", Doubts(probability), "cpu", odds, 0.5, "0" * 64)


def scan() -> tuple[CtVolume, np.ndarray]:
    """A lung of which a quarter is dense."""
    hu = np.full((12, 44, 47), -850, dtype=np.int16)
    hu[:6, :, 24:] = -300
    lungs = np.zeros(hu.shape, dtype=np.uint8)
    lungs[1:11, 4:40, 4:44] = 1
    return CtVolume.from_array(hu, np.diag([2.0, 2.0, 5.0, 1.0])), lungs


def test_density_is_evidence_beside_the_network() -> None:
    ct, lungs = scan()
    found = predict_tissue(ct, lungs, None, model_of(0.5), Reporter()).infection
    inside = lungs > 0
    dense = inside & (ct.hu > -500)
    assert (found[~inside] == 0).all()
    assert np.median(found[dense].astype(np.float32)) == pytest.approx(0.8, abs=0.01)
    assert np.median(found[inside & ~dense].astype(np.float32)) == pytest.approx(0.2, abs=0.01)
    sure = predict_tissue(ct, lungs, None, model_of(0.9), Reporter()).infection
    assert (sure[inside] > 0.5).all()


def test_without_odds_the_network_decides_alone() -> None:
    ct, lungs = scan()
    found = predict_tissue(ct, lungs, lungs, model_of(0.25, odds=1.0), Reporter()).infection
    assert found[lungs > 0].astype(np.float32) == pytest.approx(0.25, abs=1e-3)
    empty = predict_tissue(ct, np.zeros_like(lungs), None, model_of(0.9), Reporter())
    assert not empty.infection.any()


@pytest.mark.parametrize(
    "values",
    [{}, {"block_mm": 9.0, "candidate_odds": 2.0}, {"block_mm": 5.0, "candidate_odds": 0}],
)
def test_a_recipe_of_another_version_is_refused(values: dict[str, float]) -> None:
    assert TissueRecipe.from_dict(TissueRecipe().to_dict()) == TissueRecipe()
    with pytest.raises(InputError) as caught:
        TissueRecipe.from_dict(values)
    assert caught.value.code == "tissue-recipe-invalid"


def packed(folder: Path, options: dict[str, Any], recipe: dict[str, float]) -> Path:
    torch.manual_seed(2)
    network = create_from_config(ModelConfig("dram", "lite", None, options))
    description = toy_description(
        "weak", task="severity", role=RESEARCH, recipe=recipe, **network.config.to_dict()
    )
    tensors = {name: value.numpy() for name, value in network.state_dict().items()}
    path = folder / "weak.safetensors"
    path.write_bytes(pack_model(description, tensors)[1])
    return path


VOXELWISE = {"body": "voxelwise", "inputs": len(CHANNELS), "width": 4, "attention": False}


def test_a_weight_file_becomes_a_research_model_of_the_pipeline(tmp_path: Path) -> None:
    path = packed(tmp_path, VOXELWISE, TissueRecipe(candidate_odds=3.0).to_dict())
    model = open_infection_model("any", path, "cpu")
    assert isinstance(model, TissueModel)
    assert (model.id, model.candidate_odds) == ("weak", 3.0)
    assert model.flags == (RESEARCH_MODEL, UNFITTED)
    ct, lungs = scan()
    anatomy = Anatomy(lungs=lungs, lobes=None, lobe_source=LobeSource.NONE)
    prediction, after = predict_with_lungs(ct, anatomy, model, Reporter())
    assert after is anatomy
    assert prediction.boundary is None
    inside = prediction.infection[lungs > 0]
    assert (inside > 0).all()
    assert inside.std() > 0.01


@pytest.mark.parametrize(
    ("options", "recipe", "code"),
    [
        ({"width": 2, "attention_grid": 8}, {}, "model-wrong-task"),
        ({"width": 2, "attention_grid": 8}, TissueRecipe().to_dict(), "model-input-shape"),
        ({**VOXELWISE, "inputs": 3}, TissueRecipe().to_dict(), "model-input-shape"),
    ],
)
def test_networks_over_other_lobes_are_refused(
    tmp_path: Path, options: dict[str, Any], recipe: dict[str, float], code: str
) -> None:
    with pytest.raises(InputError) as caught:
        open_infection_model("any", packed(tmp_path, options, recipe), "cpu")
    assert caught.value.code == code
