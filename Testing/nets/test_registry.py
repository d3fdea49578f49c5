from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
import torch

from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.nets.complexity import count_macs, count_parameters
from CovidLesionSegLib.nets.config import InputContract, ModelConfig
from CovidLesionSegLib.nets.registry import (
    create_from_config,
    create_model,
    get_family,
    input_contract,
    list_families,
    output_names,
    resolve_config,
)


@pytest.mark.parametrize("name", list_families())
def test_every_family_builds_at_lite_scale_and_names_its_outputs(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name).eval()
    contract = input_contract(model.config)
    size = contract.padded_size(contract.minimum_size)
    images = torch.randn(1, contract.channels, *[size] * contract.dimensions)
    contract.check_shape(tuple(images.shape))
    with torch.no_grad():
        output = model(images)
    assert output.infection.shape == (1, len(get_family(name).classes), *images.shape[2:])
    boundary = () if output.boundary is None else ("boundary",)
    assert ("infection", *boundary, *output.sides) == output_names(model.config)
    maps = [output.infection, *output.sides.values()]
    assert all(logits.shape[2:] == images.shape[2:] for logits in maps)


@pytest.mark.parametrize("name", list_families())
def test_config_survives_json_and_builds_the_same_network(name: str) -> None:
    family = get_family(name)
    for scale in family.presets:
        config = resolve_config(ModelConfig(name, scale))
        restored = ModelConfig.from_dict(json.loads(json.dumps(config.to_dict())))
        assert restored == config
        assert hash(restored) == hash(config)
        assert resolve_config(restored) == config
    config = resolve_config(ModelConfig(name))
    shapes = [
        {key: value.shape for key, value in create_from_config(each).state_dict().items()}
        for each in (ModelConfig(name), config)
    ]
    assert shapes[0] == shapes[1]


def test_config_can_be_copied_but_not_changed() -> None:
    config = resolve_config(ModelConfig("inf-net"))
    assert copy.deepcopy(config) == config
    assert pickle.loads(pickle.dumps(config)) == config
    with pytest.raises(TypeError):
        config.options["width"] = 8  # type: ignore[index]


@pytest.mark.parametrize(
    "values",
    [
        {"family": "inf-net", "colour": "red"},
        {"scale": "lite"},
        {"family": 3},
        {"family": "inf-net", "options": [1]},
        {"family": "inf-net", "encoder": 5},
        {"family": "inf-net", "scale": "huge"},
        {"family": "inf-net", "scale": ["lite"]},
    ],
)
def test_stored_config_with_other_entries_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(CovidLesionSegError):
        ModelConfig.from_dict(values)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"family": "u-net-of-nobody"}, "model-family-unknown"),
        ({"family": "inf-net", "scale": "huge"}, "model-scale-unknown"),
        ({"family": "lung-unet", "scale": "paper"}, "model-scale-unknown"),
        ({"family": "inf-net", "encoder": "vgg16"}, "model-encoder-unknown"),
        ({"family": "inf-net", "depth": 4}, "model-option-unknown"),
        ({"family": "inf-net", "width": 2.5}, "model-option-invalid"),
        ({"family": "inf-net", "width": True}, "model-option-invalid"),
        ({"family": "inf-net", "width": 0}, "model-option-invalid"),
        ({"family": "inf-net", "refine_widths": (8, 8)}, "model-option-invalid"),
        ({"family": "inf-net", "refine_widths": ("a", "b", "c")}, "model-option-invalid"),
        ({"family": "bsnet", "borders": "mirrored"}, "model-option-invalid"),
        ({"family": "inf-net-multi-class", "widths": (8, 8)}, "model-option-invalid"),
        ({"family": "lung-unet", "widths": (8, 8, -1)}, "model-option-invalid"),
        ({"family": "lung-unet", "widths": (True, True, True)}, "model-option-invalid"),
        ({"family": "inf-net", "width": None}, "model-option-invalid"),
        ({"family": "dram", "attention": None}, "model-option-invalid"),
        ({"family": "co-supervision", "decoder_widths": ("a",) * 5}, "model-option-invalid"),
        ({"family": "relation", "widths": (8.5, 8, 8, 8)}, "model-option-invalid"),
    ],
)
def test_wrong_request_is_refused_with_a_way_out(arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(InputError) as caught:
        create_model(**arguments)
    assert caught.value.code == code
    assert caught.value.hint


def test_options_change_the_network_and_are_kept_in_its_config() -> None:
    small = create_model("inf-net", width=8, refine_widths=(8, 8, 8))
    assert small.config.options["width"] == 8
    assert count_parameters(small) < count_parameters(create_model("inf-net"))
    assert output_names(small.config) == (
        "infection",
        "boundary",
        "global",
        "stride_32",
        "stride_16",
    )


def test_contract_pads_up_and_refuses_other_shapes() -> None:
    contract = InputContract(2, 3, 32, (0.0,) * 3, (1.0,) * 3, 64, ("a", "b", "c"))
    assert [contract.padded_size(size) for size in (1, 64, 65, 352)] == [64, 64, 96, 352]
    contract.check_shape((1, 3, 64, 96))
    for shape in ((1, 1, 64, 64), (1, 3, 64, 70), (1, 3, 32, 64), (3, 64, 64), (1, 3, 64, 64, 64)):
        with pytest.raises(InputError, match="multiples of 32"):
            contract.check_shape(shape)


def test_macs_of_a_known_convolution() -> None:
    conv = torch.nn.Conv2d(4, 8, 3, padding=1)
    assert count_macs(conv, (2, 4, 16, 16)) == 2 * 16 * 16 * 8 * 4 * 9
    assert conv.training


@pytest.mark.parametrize(
    ("name", "size", "giga_macs"),
    [
        ("inf-net", 256, 1.1),
        ("bsnet", 256, 1.1),
        ("inf-net-multi-class", 256, 1.1),
        ("lung-unet", 160, 0.3),
    ],
)
def test_lite_scale_stays_affordable_on_a_laptop(name: str, size: int, giga_macs: float) -> None:
    model = create_model(name)
    channels = input_contract(model.config).channels
    assert count_macs(model, (1, channels, size, size)) < giga_macs * 1e9


@pytest.mark.parametrize(
    ("name", "options", "shape", "giga_macs"),
    [
        ("inf-net", {}, (1, 3, 352, 352), 13.84),
        ("inf-net-multi-class", {}, (1, 6, 352, 352), 75.8),
        ("bsnet", {}, (1, 3, 352, 352), 86.4),
        ("dram", {"attention": False}, (1, 1, 40, 40, 40), 57.8),
        ("relation", {"collaborative": False}, (1, 1, 32, 64, 64), 29.5),
    ],
)
def test_paper_scale_costs_what_the_specification_says(
    name: str, options: dict[str, Any], shape: tuple[int, ...], giga_macs: float
) -> None:
    with torch.device("meta"):
        model = create_model(name, scale="paper", **options)
    assert count_macs(model, shape) == pytest.approx(giga_macs * 1e9, rel=2e-3)
