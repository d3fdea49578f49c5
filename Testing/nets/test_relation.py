"""Relation-driven network: sizes, streams, gradients, and the relation losses' properties."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets.complexity import count_macs, count_parameters
from CovidLesionSegLib.nets.losses.relation import (
    collaborative_loss,
    relation_matrix,
    relation_ramp,
    sample_relation_loss,
    voxel_relation_loss,
)
from CovidLesionSegLib.nets.registry import create_model, output_names
from CovidLesionSegLib.nets.relation import without_general_decoder

SMALL = (8, 8, 8, 8, 8)


@pytest.mark.parametrize(
    ("widths", "collaborative", "millions"),
    [
        ((32, 64, 128, 256, 320), True, 28.05),
        ((32, 64, 128, 256, 320), False, 16.55),
        ((16, 32, 64, 128, 256), True, 10.03),
        ((16, 32, 64, 128, 256), False, 5.65),
    ],
)
def test_parameters_of_the_specification(
    widths: tuple[int, ...], collaborative: bool, millions: float
) -> None:
    model = create_model("relation", "paper", widths=widths, collaborative=collaborative)
    light = count_parameters(model.general_decoder) if collaborative else 0
    # Ours has one logit instead of two softmax channels.
    second_channel = widths[0] + 1
    total = count_parameters(model) - light + second_channel
    assert round(total / 1e6, 2) == millions
    assert light < 25_000


def test_lite_size() -> None:
    model = create_model("relation", "lite")
    assert count_parameters(model) < 6_500_000
    assert count_macs(model, (1, 3, 256, 256)) < 1_400_000_000


@pytest.mark.parametrize("collaborative", [True, False])
def test_lite_outputs(collaborative: bool) -> None:
    model = create_model("relation", "lite", collaborative=collaborative).eval()
    with torch.no_grad():
        output = model(torch.zeros(1, 3, 64, 96))
    assert ("infection", *output.sides) == output_names(model.config)
    for logits in (output.infection, *output.sides.values()):
        assert logits.shape == (1, 1, 64, 96)


def test_a_shallow_general_encoder_makes_a_smaller_network() -> None:
    model = create_model("relation", "lite", general_levels=4).eval()
    assert count_parameters(model) < 4_100_000
    with torch.no_grad():
        output, features = model.forward_with_features(torch.zeros(1, 3, 64, 96))
    assert output.infection.shape == output.sides["general"].shape == (1, 1, 64, 96)
    assert [feature.shape[1] for feature in features.target] == [16, 24, 40, 112, 320]
    assert [feature.shape[1] for feature in features.general] == [16, 24, 40, 112]
    assert [feature.shape for feature in features.related] == [(1, 112, 4, 6)] * 2


@pytest.mark.parametrize("levels", [5, 4])
def test_what_inference_does_not_need_can_be_left_out(levels: int) -> None:
    model = create_model("relation", "lite", general_levels=levels).eval()
    slim = without_general_decoder(model)
    assert output_names(slim.config) == ("infection",)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(slim(images).infection, model(images).infection)
        assert slim(images).sides == {}
    left_out = set(model.state_dict()) - set(slim.state_dict())
    assert left_out
    assert all(name.startswith("general_decoder.") for name in left_out)
    with pytest.raises(InputError, match="general"):
        slim.forward_general(images)


@pytest.mark.parametrize("anisotropic", [True, False])
def test_volume_outputs(anisotropic: bool) -> None:
    model = create_model("relation", "paper", widths=SMALL, anisotropic=anisotropic)
    volume = torch.zeros(1, 1, 32, 48, 32)
    output, features = model.forward_with_features(volume)
    assert output.infection.shape == volume.shape
    assert output.sides["general"].shape == volume.shape
    depth = 4 if anisotropic else 2
    assert features.target[-1].shape == features.general[-1].shape == (1, 8, depth, 3, 2)


def test_general_stream_alone_gives_the_same_map() -> None:
    model = create_model("relation", "lite").eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.forward_general(images), model(images).sides["general"])


def test_baseline_has_no_general_stream() -> None:
    model = create_model("relation", "lite", collaborative=False)
    with pytest.raises(InputError, match="general"):
        model.forward_general(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("scale", "options"),
    [
        ("lite", {"widths": (1, 2, 3, 4, 5)}),
        ("lite", {"anisotropic": True}),
        ("lite", {"general_levels": 1}),
        ("lite", {"general_levels": 6}),
        ("lite", {"general_width": -1}),
        ("paper", {"general_levels": 4}),
    ],
)
def test_options_that_do_not_fit_are_refused(scale: str, options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        create_model("relation", scale, **options)


@pytest.mark.parametrize("consistency", [sample_relation_loss, voxel_relation_loss])
def test_relation_loss_reaches_both_encoders(consistency: object) -> None:
    torch.manual_seed(2)
    model = create_model("relation", "paper", widths=SMALL)
    _, features = model.forward_with_features(torch.randn(2, 1, 32, 32, 32))
    consistency(features.target[-1], features.general[-1]).backward()
    assert norm(model.target) > 0
    assert norm(model.general) > 0
    assert norm(model.decoder) == 0


def test_every_head_learns() -> None:
    torch.manual_seed(2)
    model = create_model("relation", "lite")
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, 20:40, 20:40] = 1
    collaborative_loss(model(torch.randn(2, 3, 64, 64)), mask, mask).backward()
    for part in (model.target, model.general, model.decoder, model.general_decoder):
        assert norm(part) > 0
    heads = [*model.decoder.head.parameters(), *model.general_decoder.parameters()]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in heads)


def norm(module: nn.Module) -> float:
    return sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_relations_ignore_the_scale_of_features(scale: float) -> None:
    features = torch.randn(4, 6, 3, 3)
    assert sample_relation_loss(features, scale * features) < 1e-10
    assert voxel_relation_loss(features, scale * features) < 1e-10


def test_relations_notice_permuted_samples() -> None:
    torch.manual_seed(1)
    features = torch.randn(4, 6, 3, 3)
    assert sample_relation_loss(features, features[[1, 2, 3, 0]]) > 0.01


def test_single_sample_has_no_relations() -> None:
    target = torch.randn(1, 6, 3, 3, requires_grad=True)
    loss = sample_relation_loss(target, torch.randn(1, 6, 3, 3))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert target.grad is not None
    assert target.grad.abs().max() < 1e-6
    assert voxel_relation_loss(target, torch.randn(1, 6, 3, 3)) > 0.01


def test_sample_relation_by_hand() -> None:
    # Rows (1, 0), (0, 1) against (1, 0), (1, 0): relations I against all 1/sqrt(2).
    target = torch.eye(2).view(2, 2, 1)
    general = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).view(2, 2, 1)
    root = math.sqrt(0.5)
    expected = (1 - root) ** 2 + root**2
    assert sample_relation_loss(target, general).item() == pytest.approx(expected, rel=1e-6)


def test_relation_rows_have_length_one() -> None:
    rows = relation_matrix(torch.randn(5, 7)).norm(dim=-1)
    torch.testing.assert_close(rows, torch.ones(5))


def test_ramp_rises_to_one_and_stays() -> None:
    values = [relation_ramp(step, 10) for step in range(14)]
    assert values[0] == pytest.approx(math.exp(-5))
    assert values == sorted(values)
    assert values[10:] == [1.0] * 4
    assert relation_ramp(0, 0) == 1.0
