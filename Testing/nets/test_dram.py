"""dRAM: golden maps, neighbour attention, lobe pooling, gradients."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.complexity import count_macs, count_parameters
from CovidLesionSegLib.nets.config import ModelConfig
from CovidLesionSegLib.nets.dram.attention import (
    AttentionRefinement,
    NeighbourAttention,
    neighbour_mask,
)
from CovidLesionSegLib.nets.dram.pooling import lobe_mean
from CovidLesionSegLib.nets.losses.dram import COVID_INTERVALS, interval_regression_loss
from CovidLesionSegLib.nets.official import OfficialFormat, load_official_state_dict
from CovidLesionSegLib.nets.registry import (
    create_from_config,
    create_model,
    get_family,
    output_names,
    recognise_checkpoint,
)
from Testing.support.parity import (
    golden_array,
    golden_arrays,
    golden_case,
    golden_shapes,
    golden_state,
    largest_difference,
)

PCM_NAMES = {"query": "theta", "key": "phi", "value": "G", "output": "r"}
GRID = (6, 7, 8)
TINY = (3, 4, 5)


def layout_of(attention: bool) -> OfficialFormat:
    layouts = get_family("dram").official
    return next(item for item in layouts if item.config.options["attention"] is attention)


@pytest.mark.parametrize(("name", "attention"), [("dram_dc3d", False), ("dram_dc3d_att16", True)])
def test_golden_maps(golden_dir: Path, name: str, attention: bool) -> None:
    layout = layout_of(attention)
    options = {"attention": attention, "attention_grid": 16}
    model = create_from_config(ModelConfig("dram", "paper", None, options)).eval()
    state = golden_state(golden_dir, name)
    assert recognise_checkpoint(state) is layout
    assert load_official_state_dict(model, layout, state) == ()
    volume, expected = golden_case(golden_dir, name)
    with torch.no_grad():
        output = model(volume)
    dense = output.sides["dense"] if attention else output.infection
    assert largest_difference(dense, expected["dense"]) < 1e-4
    if attention:
        assert largest_difference(output.infection, expected["refined"]) < 1e-5


@pytest.fixture
def published_attention(golden_dir: Path) -> NeighbourAttention:
    state = golden_state(golden_dir, "dram_pcm")
    module = NeighbourAttention(golden_shapes(golden_dir, "dram_pcm")["theta.weight"][1])
    module.load_state_dict(
        {
            f"{ours}.{leaf}": state[f"{theirs}.{leaf}"]
            for ours, theirs in PCM_NAMES.items()
            for leaf in ("weight", "bias")
        }
    )
    return module


def test_golden_attention(golden_dir: Path, published_attention: NeighbourAttention) -> None:
    # The golden file was made from three times the named logits, and from constant ones of 1.5.
    features = golden_array(golden_dir, "dram_pcm:features", (2, 17, *GRID))
    logits = 3 * golden_array(golden_dir, "dram_pcm:logits", (2, 1, *GRID))
    expected = golden_arrays(golden_dir, "dram_pcm")
    assert largest_difference(published_attention(logits, features), expected["refined"]) < 1e-5
    constant = published_attention(torch.full_like(logits, 1.5), features)
    assert largest_difference(constant, expected["refined_of_constant"]) < 1e-5
    counts = neighbour_mask(logits).sum(dim=1)[0]
    np.testing.assert_array_equal(counts.numpy(), expected["neighbours"])


def test_neighbour_counts() -> None:
    counts = neighbour_mask(torch.zeros(1, 1, *GRID)).sum(dim=1)[0]
    inside, face, edge, corner = counts[2, 3, 4], counts[0, 3, 4], counts[0, 0, 4], counts[0, 0, 0]
    assert (inside, face, edge, corner) == (18, 13, 9, 6)


def test_attention_equals_its_definition_voxel_by_voxel() -> None:
    torch.manual_seed(7)
    attention = NeighbourAttention(features=3, width=4).double()
    features = torch.randn(1, 3, *TINY, dtype=torch.float64)
    logits = torch.randn(1, 1, *TINY, dtype=torch.float64)
    with torch.no_grad():
        refined = attention(logits, features)
        for centre in itertools.product(*map(range, TINY)):
            expected = refine_one(attention, logits, features, centre)
            assert refined[0, 0][centre].item() == pytest.approx(expected, abs=1e-12)


def refine_one(
    attention: NeighbourAttention, logits: Tensor, features: Tensor, centre: tuple[int, ...]
) -> float:
    """The published rule for a single voxel, with loops."""
    query = attention.query(features[0, :, centre[0], centre[1], centre[2]])
    affinities, values = [], []
    for z, y, x in itertools.product(*map(range, TINY)):
        steps = [abs(a - b) for a, b in zip((z, y, x), centre, strict=True)]
        if max(steps) == 1 and sum(steps) <= 2:
            affinity = torch.relu(query @ attention.key(features[0, :, z, y, x]))
            affinities.append(affinity)
            values.append(attention.value(logits[0, :, z, y, x]))
    weights = torch.softmax(torch.stack(affinities) / math.sqrt(len(affinities)), dim=0)
    mixed = (weights[:, None] * torch.stack(values)).sum(dim=0)
    return float(attention.output(mixed))


def test_attention_keeps_a_constant_map_constant() -> None:
    attention = NeighbourAttention(features=3)
    with torch.no_grad():
        refined = attention(torch.full((2, 1, *GRID), 0.7), torch.randn(2, 3, *GRID))
    assert refined.std() < 1e-6


def test_fresh_attention_averages_neighbours() -> None:
    attention = NeighbourAttention(4)
    logits = torch.full((1, 1, 4, 4, 4), 2.5)
    with torch.no_grad():
        refined = attention(logits, torch.randn(1, 4, 4, 4, 4))
    torch.testing.assert_close(refined, logits)


def test_affinities_do_not_train_the_encoder_but_the_logits_do() -> None:
    refinement = AttentionRefinement(fine=4, middle=6, grid=4)
    volume, fine, middle, logits = (
        torch.randn(2, channels, 8, 8, 8, requires_grad=True) for channels in (1, 4, 6, 1)
    )
    refinement(volume, fine, middle, logits).square().sum().backward()
    assert volume.grad is None
    assert fine.grad is None
    assert middle.grad is None
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0
    silent = [name for name, p in refinement.named_parameters() if p.grad is None]
    assert not silent


def test_regression_trains_the_encoder() -> None:
    torch.manual_seed(11)
    model = create_model("dram", "lite", attention_grid=8)
    output = model(torch.rand(2, 1, 16, 16, 16))
    lobe = torch.ones(2, 1, 16, 16, 16)
    loss = interval_regression_loss(
        output.sides["dense"], lobe, torch.zeros_like(lobe), torch.tensor([5, 5]), torch.ones(6)
    )
    loss.backward()
    unet = [parameter.grad for parameter in model.unet.parameters()]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in unet)
    assert all(parameter.grad is None for parameter in model.refinement.parameters())


def test_lobe_mean() -> None:
    lobe = torch.zeros(3, 1, 4, 4, 4)
    lobe[0, :, :2] = 1
    lobe[1, :, 0, 0, 0] = 1
    values = torch.full_like(lobe, 0.25)
    values[1, :, 0, 0, 0] = 0.75
    values[0, :, 2:] = 99.0
    torch.testing.assert_close(lobe_mean(values, lobe), torch.tensor([0.25, 0.75, 0.0]))


@pytest.mark.parametrize(("attention", "expected"), [(True, 16_319_818), (False, 16_317_921)])
def test_parameters_of_the_paper_scale(attention: bool, expected: int) -> None:
    assert count_parameters(create_model("dram", "paper", attention=attention)) == expected


def test_lite_is_small() -> None:
    model = create_model("dram", "lite")
    assert count_parameters(model) < 1_100_000
    paper = create_model("dram", "paper")
    shape = (1, 1, 16, 16, 16)
    assert count_macs(model.unet, shape) * 12 < count_macs(paper.unet, shape)


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("size", [(16, 24, 32), (40, 16, 16)])
def test_outputs_have_input_size_and_the_promised_names(
    attention: bool, size: tuple[int, int, int]
) -> None:
    model = create_model("dram", "lite", attention=attention, attention_grid=12).eval()
    with torch.no_grad():
        output = model(torch.zeros(1, 1, *size))
    assert ("infection", *output.sides) == output_names(model.config)
    assert output.boundary is None
    for logits in (output.infection, *output.sides.values()):
        assert logits.shape == (1, 1, *size)


def test_severity_table_is_contiguous() -> None:
    ends = [high for _, high in COVID_INTERVALS[:-1]]
    assert ends == [low for low, _ in COVID_INTERVALS[1:]]


def test_a_voxelwise_map_sees_one_voxel() -> None:
    options = {"body": "voxelwise", "inputs": 3, "width": 4, "attention": False}
    model = create_from_config(ModelConfig("dram", "lite", None, options)).eval()
    assert count_parameters(model) == 3 * 4 + 4 + 4 + 1
    volume = torch.zeros(1, 3, *TINY)
    changed = volume.clone()
    changed[..., 1, 2, 3] = 1.0
    with torch.no_grad():
        difference = (model(volume).infection - model(changed).infection).abs() > 0
    assert difference.sum() == 1
    assert difference[..., 1, 2, 3].all()


@pytest.mark.parametrize(
    "options",
    [{"body": "voxelwise", "attention": True}, {"body": "lstm"}, {"inputs": 3}, {"inputs": 0}],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        create_model("dram", **options)
