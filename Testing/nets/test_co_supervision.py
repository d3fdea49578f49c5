"""Co-supervision network: golden outputs, sizes, gradients, import of both code states."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.nets.complexity import count_macs, count_parameters
from CovidLesionSegLib.nets.config import ModelConfig
from CovidLesionSegLib.nets.losses.co_supervision import co_supervision_loss
from CovidLesionSegLib.nets.official import OfficialFormat, load_official_state_dict
from CovidLesionSegLib.nets.registry import (
    create_from_config,
    create_model,
    get_family,
    input_contract,
    output_names,
    recognise_checkpoint,
)
from Testing.support.parity import (
    golden_case,
    golden_shapes,
    golden_state,
    largest_difference,
)

RELEASED = {
    "infection": "prob",
    "boundary": "side0",
    "edge_x2": "side1",
    "edge_x3": "side2",
    "edge_x4": "side3",
    "edge_x5": "side4",
}
OLD = {
    "infection": "prob",
    "edge_s1": "enc0",
    "boundary": "enc1",
    "mask_s3": "enc2",
    "mask_s4": "enc3",
    "mask_s5": "enc4",
}
STATES = {"cosup_released": ("released", RELEASED), "cosup_old": ("old", OLD)}


def layout_of(variant: str) -> OfficialFormat:
    layouts = get_family("co-supervision").official
    return next(item for item in layouts if item.config.options["variant"] == variant)


@pytest.mark.parametrize("name", STATES)
def test_golden_probabilities(golden_dir: Path, name: str) -> None:
    variant, outputs = STATES[name]
    layout = layout_of(variant)
    model = create_from_config(layout.config).eval()
    assert load_official_state_dict(model, layout, golden_state(golden_dir, name)) == ()
    images, expected = golden_case(golden_dir, name)
    with torch.no_grad():
        result = model(images)
    maps = {"infection": result.infection, "boundary": result.boundary, **result.sides}
    assert maps.keys() == outputs.keys()
    for ours, theirs in outputs.items():
        difference = largest_difference(torch.sigmoid(maps[ours]), expected[theirs])
        assert difference < 1e-4, f"{ours}: {difference}"


@pytest.mark.parametrize("name", STATES)
def test_genuine_checkpoint_loads_and_names_what_it_lacks(golden_dir: Path, name: str) -> None:
    variant, _ = STATES[name]
    state = golden_state(golden_dir, name, registered_only=True)
    layout = recognise_checkpoint(state)
    assert layout is layout_of(variant)
    model = create_from_config(layout.config)
    unsaved = load_official_state_dict(model, layout, state)
    assert unsaved
    assert all(key.startswith(("fusion.coarser.", "mask_heads.")) for key in unsaved)


@pytest.mark.parametrize("name", STATES)
def test_incomplete_checkpoint_is_refused(golden_dir: Path, name: str) -> None:
    layout = layout_of(STATES[name][0])
    state = golden_state(golden_dir, name)
    del state["bridge.bridge.1.conv.weight"]
    with pytest.raises(CovidLesionSegError, match=r"unet\.bridge\.1\.conv\.weight"):
        load_official_state_dict(create_from_config(layout.config), layout, state)


@pytest.mark.parametrize("name", STATES)
def test_every_published_parameter_is_accounted_for(golden_dir: Path, name: str) -> None:
    layout = layout_of(STATES[name][0])
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    published = sum(
        torch.Size(shape).numel()
        for key, shape in golden_shapes(golden_dir, name).items()
        if not key.endswith(buffers)
    )
    model = create_from_config(layout.config)
    assert count_parameters(model) + layout.unused_parameters == published


def test_parameters_of_the_paper_variant() -> None:
    model = create_model("co-supervision", "paper")
    unet = model.unet
    assert count_parameters(unet.encoder) == 21_283_392
    assert count_parameters(unet.bridge) == 4_721_664
    assert count_parameters(unet.up_stages) == 3_114_464
    assert count_parameters(model.fusion) == 86_656
    assert count_parameters(model.supervision) == 65 + 65 + 129 + 257 + 513


def test_lite_is_small() -> None:
    model = create_model("co-supervision", "lite")
    assert count_parameters(model) < 4_000_000
    assert count_macs(model, (1, 3, 256, 256)) < 1_000_000_000


@pytest.mark.parametrize(
    ("scale", "variant", "size"),
    [
        ("paper", "paper", (32, 48)),
        ("paper", "released", (48, 32)),
        ("paper", "old", (32, 32)),
        ("lite", "paper", (64, 96)),
        ("lite", "paper", (160, 64)),
    ],
)
def test_outputs_have_input_size_and_the_promised_names(
    scale: str, variant: str, size: tuple[int, int]
) -> None:
    config = ModelConfig("co-supervision", scale, None, {"variant": variant})
    channels = input_contract(config).channels
    with torch.no_grad():
        output = create_from_config(config).eval()(torch.zeros(1, channels, *size))
    assert ("infection", "boundary", *output.sides) == output_names(config)
    for logits in (output.infection, output.boundary, *output.sides.values()):
        assert logits.shape == (1, 1, *size)


@pytest.mark.parametrize("mode", ["intended", "old"])
@pytest.mark.parametrize(("scale", "variant"), [("paper", "paper"), ("lite", "paper")])
def test_every_head_learns(scale: str, variant: str, mode: str) -> None:
    check_gradients(scale, variant, mode)


@pytest.mark.parametrize(("variant", "mode"), [("released", "released"), ("old", "old")])
def test_every_head_of_the_code_states_learns(variant: str, mode: str) -> None:
    check_gradients("paper", variant, mode)


def check_gradients(scale: str, variant: str, mode: str) -> None:
    torch.manual_seed(3)
    model = create_model("co-supervision", scale, variant=variant)
    channels = input_contract(model.config).channels
    mask = torch.zeros(2, 1, 64, 64)
    mask[:, :, 16:40, 20:44] = 1
    edge = torch.zeros_like(mask)
    edge[:, :, 16:40, 20] = 1
    output = model(torch.randn(2, channels, 64, 64))
    co_supervision_loss(output, mask, edge, mode).backward()
    heads = {k: p for k, p in model.named_parameters() if not k.startswith("unet.")}
    silent = [k for k, p in heads.items() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent
    first = next(model.unet.encoder.parameters())
    assert first.grad is not None
    assert first.grad.abs().sum() > 0


def test_published_states_exist_at_paper_scale_only() -> None:
    with pytest.raises(InputError, match="variant"):
        create_model("co-supervision", "lite", variant="released")
