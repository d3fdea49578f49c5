"""From the store or a file to a network that is ready to run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from CovidLesionSegLib.engine.models import open_infection_model
from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.nets.config import ModelConfig
from CovidLesionSegLib.nets.registry import create_from_config, create_model, input_contract
from CovidLesionSegLib.nets.skeleton import build_skeleton
from CovidLesionSegLib.resources import resources_dir
from CovidLesionSegLib.weights.loading import load_model, load_weights_file
from CovidLesionSegLib.weights.packing import pack_model
from CovidLesionSegLib.weights.store import StoredModel, WeightsStore
from CovidLesionSegLib.weights.tensorfile import Tensors, parse_tensor_file, serialise_tensor_file
from Testing.support.models import toy_description


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(1)
    return create_model("lung-unet", "lite").eval()


@pytest.fixture(scope="module")
def description(network: Any) -> dict[str, Any]:
    return toy_description(
        "lungs-test",
        task="lungs",
        **network.config.to_dict(),
        recipe={"pixel_mm": 1.4},
        threshold=0.4,
        temperature=1.2,
    )


@pytest.fixture(scope="module")
def tensors(network: nn.Module) -> Tensors:
    return {name: tensor.numpy() for name, tensor in network.state_dict().items()}


@pytest.fixture
def library(tmp_path: Path) -> WeightsStore:
    return WeightsStore(None, tmp_path / "user")


@pytest.fixture
def stored(library: WeightsStore, description: dict[str, Any], tensors: Tensors) -> StoredModel:
    return library.add(*pack_model(description, tensors))


def assert_same(left: nn.Module, right: nn.Module, atol: float) -> None:
    for (name, ours), theirs in zip(
        left.state_dict().items(), right.state_dict().values(), strict=True
    ):
        assert ours.dtype == theirs.dtype, name
        torch.testing.assert_close(ours, theirs, rtol=0, atol=atol, msg=name)


def test_half_precision_is_stored_and_single_precision_is_loaded(
    library: WeightsStore, stored: StoredModel, network: nn.Module
) -> None:
    module, entry = load_model(stored.entry, library)
    assert entry == stored.entry
    assert not module.training
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert_same(module, network, atol=2e-3)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert entry.bytes < 2.5 * parameters


def test_a_loaded_network_can_be_trained_on(library: WeightsStore, stored: StoredModel) -> None:
    module, _ = load_model(stored.entry, library)
    parameter = next(module.parameters())
    before = stored.path.read_bytes()
    with torch.no_grad():
        parameter.add_(1)
    assert stored.path.read_bytes() == before


def test_a_file_of_its_own_needs_no_catalogue(
    stored: StoredModel, network: nn.Module, tmp_path: Path
) -> None:
    copy = tmp_path / "my weights.safetensors"
    copy.write_bytes(stored.path.read_bytes())
    module, entry = load_weights_file(copy)
    assert_same(module, network, atol=2e-3)
    assert entry.file == "my weights.safetensors"
    assert (entry.sha256, entry.threshold, entry.temperature, dict(entry.recipe)) == (
        stored.entry.sha256,
        0.4,
        1.2,
        {"pixel_mm": 1.4},
    )


def test_a_damaged_model_of_the_store_is_not_opened(
    library: WeightsStore, stored: StoredModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(stored.path.read_bytes())
    data[-1] ^= 1
    stored.path.write_bytes(bytes(data))

    def opened(_: bytes) -> None:
        raise AssertionError("the file was parsed before it was checked")

    monkeypatch.setattr("CovidLesionSegLib.weights.loading.parse_tensor_file", opened)
    with pytest.raises(CovidLesionSegError) as caught:
        load_model(stored.entry, library)
    assert caught.value.code == "weights-damaged"


def test_a_file_that_says_nothing_about_its_network(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    path.write_bytes(serialise_tensor_file({"a": np.zeros(3)}))
    with pytest.raises(CovidLesionSegError) as caught:
        load_weights_file(path)
    assert caught.value.code == "weights-undescribed"
    assert "models import" in caught.value.hint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"schema": 9, "model": {}}',
        '{"schema": 1, "model": []}',
        '{"schema": 1, "model": {"sha256": "0"}}',
        '{"schema": 1, "model": {"id": "x"}}',
    ],
)
def test_a_file_with_a_broken_description(tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(serialise_tensor_file({"a": np.zeros(3)}, {"covid-lesion-seg": text}))
    with pytest.raises(CovidLesionSegError) as caught:
        load_weights_file(path)
    assert caught.value.code == "catalogue-invalid"


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_weights_file(tmp_path / "nowhere.safetensors")
    assert caught.value.code == "weights-unreadable"


def test_a_file_with_values_that_are_not_numbers(stored: StoredModel, tmp_path: Path) -> None:
    content = parse_tensor_file(stored.path.read_bytes())
    broken = {name: array.copy() for name, array in content.tensors.items()}
    next(array for array in broken.values() if array.dtype == np.float16).flat[0] = np.nan
    path = tmp_path / "nan.safetensors"
    path.write_bytes(serialise_tensor_file(broken, content.metadata))
    with pytest.raises(CovidLesionSegError) as caught:
        load_weights_file(path)
    assert caught.value.code == "weights-not-finite"


def test_tensors_that_do_not_fit_are_named(
    library: WeightsStore, description: dict[str, Any], tensors: Tensors
) -> None:
    name = next(iter(tensors))
    changed = {key: value for key, value in tensors.items() if key != name}
    stored = library.add(*pack_model(description, {**changed, "surplus": np.zeros(2)}))
    with pytest.raises(CovidLesionSegError) as caught:
        load_model(stored.entry, library)
    assert caught.value.code == "checkpoint-mismatch"
    assert f"1 missing: {name}" in caught.value.message
    assert "1 unexpected: surplus" in caught.value.message


def test_absurd_widths_are_refused_without_taking_memory(
    library: WeightsStore, description: dict[str, Any], tensors: Tensors
) -> None:
    options = {"options": {"widths": [10**7, 10**7, 10**7]}}
    stored = library.add(*pack_model({**description, **options}, tensors))
    with pytest.raises(CovidLesionSegError) as caught:
        load_model(stored.entry, library)
    assert caught.value.code == "checkpoint-mismatch"


def test_loading_leaves_the_random_numbers_of_the_caller_alone(
    library: WeightsStore, stored: StoredModel
) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load_model(stored.entry, library)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    "change",
    [
        {"family": "unheard-of"},
        {"options": {"unheard_of": 1}},
        {"options": {"widths": None}},
        {"options": {"widths": [10**15, 8, 8]}},
    ],
)
def test_a_network_of_a_newer_version_says_so(
    library: WeightsStore,
    description: dict[str, Any],
    tensors: Tensors,
    change: dict[str, Any],
) -> None:
    stored = library.add(*pack_model({**description, **change}, tensors))
    with pytest.raises(CovidLesionSegError) as caught:
        load_model(stored.entry, library)
    assert caught.value.code == "weights-network-unknown"
    assert "newer version" in caught.value.hint


def test_every_bundled_model_runs(tmp_path: Path) -> None:
    library = WeightsStore(resources_dir(), tmp_path / "user")
    assert library.models()
    for stored in library.models():
        module, entry = load_model(stored.entry, library)
        contract = input_contract(entry.config)
        size = max(contract.minimum_size, contract.size_multiple)
        shape = (1, contract.channels, *[size] * contract.dimensions)
        with torch.inference_mode():
            output = module(torch.zeros(shape))
        assert torch.isfinite(output.infection).all()
        assert output.infection.shape[2:] == shape[2:]


def test_a_skeleton_has_every_tensor_and_no_memory() -> None:
    config = ModelConfig("inf-net", "lite", "efficientnet-lite0", {})
    skeleton, network = build_skeleton(config), create_from_config(config)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert {name: tensor.shape for name, tensor in skeleton.state_dict().items()} == shapes
    assert all(tensor.is_meta for tensor in skeleton.state_dict().values())
    assert skeleton.config == network.config


def test_a_recipe_that_the_network_cannot_be_fed_with_is_refused(
    tmp_path: Path, description: dict[str, Any], tensors: Tensors
) -> None:
    recipe = {**description["recipe"], "size_multiple": 8}
    path = tmp_path / "x.safetensors"
    path.write_bytes(pack_model({**description, "task": "infection", "recipe": recipe}, tensors)[1])
    with pytest.raises(InputError) as caught:
        open_infection_model("", path, "cpu")
    assert caught.value.code == "model-input-shape"
    assert "multiples of 16" in caught.value.hint
