"""A family is one file and one line: the example is built, packed, loaded and run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from CovidLesionSegLib.errors import InputError
from CovidLesionSegLib.nets import registry
from CovidLesionSegLib.nets.complexity import count_parameters
from CovidLesionSegLib.weights.loading import load_weights_file
from CovidLesionSegLib.weights.packing import pack_model
from Testing.support import new_family
from Testing.support.models import toy_description


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    # In the package this is a file of nets/ and the line in the registry.
    monkeypatch.setitem(sys.modules, "CovidLesionSegLib.nets.one_convolution", new_family)
    monkeypatch.setitem(registry._MODULES, "one-convolution", "one_convolution")


def test_the_registry_builds_it_with_its_options() -> None:
    assert "one-convolution" in registry.list_families()
    assert count_parameters(registry.create_model("one-convolution")) == 3 * 9 + 1
    assert count_parameters(registry.create_model("one-convolution", kernel=5)) == 3 * 25 + 1
    with pytest.raises(InputError, match="kernel"):
        registry.create_model("one-convolution", kernel=4)


def test_its_weights_are_packed_and_loaded_like_any_others(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = registry.create_model("one-convolution").eval()
    tensors = {key: value.numpy() for key, value in model.state_dict().items()}
    config = model.config.to_dict()
    entry, data = pack_model(toy_description("example", dtype="float32", **config), tensors)
    (tmp_path / entry.file).write_bytes(data)
    loaded, found = load_weights_file(tmp_path / entry.file)
    assert found.family == "one-convolution"
    images = torch.randn(2, 3, 16, 24)
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(images).infection, model(images).infection)
