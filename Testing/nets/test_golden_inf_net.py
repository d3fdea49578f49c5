"""Inf-Net, its multi-class stage and BSNet compute what the official code computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from CovidLesionSegLib.errors import CovidLesionSegError
from CovidLesionSegLib.nets.complexity import count_parameters
from CovidLesionSegLib.nets.family import SegmentationModel
from CovidLesionSegLib.nets.official import OfficialFormat, load_official_state_dict
from CovidLesionSegLib.nets.outputs import ModelOutput
from CovidLesionSegLib.nets.registry import create_from_config, recognise_checkpoint
from Testing.support.golden import GoldenModel

NETWORKS = {
    "infnet_res2net50": ("inf-net", "res2net50-v1b", 33_121_721),
    "infnet_resnet50": ("inf-net", "resnet50", 30_911_401),
    "infnet_vgg16": ("inf-net", "vgg16", 34_278_057),
    "infnet_mc_unet": ("inf-net-multi-class", None, 17_269_251),
    "bsnet_res2net50": ("bsnet", "res2net50-v1b", 46_034_759),
}


def _recognised(golden: GoldenModel) -> OfficialFormat:
    layout = recognise_checkpoint(golden.shapes())
    assert layout is not None
    return layout


def _built(layout: OfficialFormat) -> SegmentationModel:
    assert layout.config is not None
    return create_from_config(layout.config)


def _by_official_name(output: ModelOutput) -> dict[str, torch.Tensor]:
    """Name our outputs as the golden data does: map5 is the coarsest, map2 the last."""
    named = dict(zip(("map5", "map4", "map3"), output.sides.values(), strict=False))
    named["map2"] = named["logits"] = output.infection
    if output.boundary is not None:
        named["edge"] = output.boundary
    return named


@pytest.mark.parametrize("name", NETWORKS)
def test_official_weights_give_the_golden_outputs(golden_dir: Path, name: str) -> None:
    golden = GoldenModel(golden_dir, name)
    layout = _recognised(golden)
    model = _built(layout)
    load_official_state_dict(model, layout, golden.state())
    model.eval()
    for images, expected in golden.cases():
        with torch.no_grad():
            ours = _by_official_name(model(images))
        for output, values in expected.items():
            assert np.abs(ours[output].numpy() - values).max() < 1e-4, output


@pytest.mark.parametrize("name", NETWORKS)
def test_checkpoint_is_recognised_and_counts_as_published(golden_dir: Path, name: str) -> None:
    family, encoder, published_parameters = NETWORKS[name]
    golden = GoldenModel(golden_dir, name)
    layout = _recognised(golden)
    assert layout.config is not None
    assert (layout.config.family, layout.config.encoder) == (family, encoder)
    unused = sum(
        int(np.prod(shape)) for key, shape in golden.shapes().items() if layout.our_key(key) is None
    )
    assert unused == layout.unused_parameters
    assert count_parameters(_built(layout)) + unused == published_parameters
    assert golden.facts()["params_registered"] == published_parameters


def test_prefix_of_data_parallel_training_is_accepted(golden_dir: Path) -> None:
    golden = GoldenModel(golden_dir, "infnet_mc_unet")
    state = {f"module.{key}": value for key, value in golden.state().items()}
    layout = recognise_checkpoint(state)
    assert layout is not None
    load_official_state_dict(_built(layout), layout, state)


def test_incomplete_checkpoint_is_refused_by_name_and_changes_nothing(golden_dir: Path) -> None:
    golden = GoldenModel(golden_dir, "infnet_mc_unet")
    layout = _recognised(golden)
    model = _built(layout)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = golden.state()
    state["inc.double_conv.0.weigth"] = state.pop("inc.double_conv.0.weight")
    state["outc.conv.bias"] = torch.zeros(7)
    with pytest.raises(CovidLesionSegError) as caught:
        load_official_state_dict(model, layout, state)
    assert caught.value.code == "checkpoint-mismatch"
    for name in ("encoder.0.0.weight", "inc.double_conv.0.weigth", "outc.conv.bias"):
        assert name in caught.value.message
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_unknown_keys_are_not_recognised() -> None:
    assert recognise_checkpoint(["encoder.weight", "decoder.weight"]) is None
