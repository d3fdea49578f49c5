"""What shipping asks of every lite network: it can be exported, and runs in half precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from CovidLesionSegLib.nets.outputs import ModelOutput
from CovidLesionSegLib.nets.registry import create_model, input_contract, list_families
from Testing.support.parity import settle_normalisation

# The attention grid costs most of the time and has no part in what is tested.
_OPTIONS: dict[str, dict[str, int]] = {"dram": {"attention_grid": 8}}
_MEAN_DIFFERENCE = {torch.float16: 0.01, torch.bfloat16: 0.05}


class Settled(NamedTuple):
    """A network in evaluation mode with statistics of real features, input and output."""

    model: nn.Module
    images: Tensor
    output: ModelOutput


@pytest.fixture(scope="module", params=list_families())
def settled(request: pytest.FixtureRequest) -> Settled:
    torch.manual_seed(5)
    model = create_model(request.param, **_OPTIONS.get(request.param, {}))
    contract = input_contract(model.config)
    size = contract.padded_size(2 * contract.minimum_size // (contract.dimensions - 1))
    images = torch.randn(2, contract.channels, *[size] * contract.dimensions)
    settle_normalisation(model, images)
    with torch.no_grad():
        return Settled(model.eval(), images, model(images))


def test_exported_network_gives_the_same_output(settled: Settled) -> None:
    exported = torch.export.export(settled.model, (settled.images,)).module()
    with torch.no_grad():
        found = exported(settled.images)
    _compare(found, settled.output, _same)


@pytest.mark.parametrize("dtype", _MEAN_DIFFERENCE)
def test_half_precision_moves_probabilities_little(settled: Settled, dtype: torch.dtype) -> None:
    with torch.no_grad(), torch.autocast("cpu", dtype):
        found = settled.model(settled.images)

    # Random weights find structural faults only (overflow, long sums in half precision); the
    # tolerance of a trained model is measured on CT and stated by its card.
    def close(half: Tensor, full: Tensor, name: str) -> None:
        assert full.std() > 0.02, "the map is constant, so nothing is compared"
        difference = (torch.sigmoid(half.float()) - torch.sigmoid(full)).abs().mean()
        assert difference < _MEAN_DIFFERENCE[dtype], name

    _compare(found, settled.output, close)


def _same(found: Tensor, expected: Tensor, name: str) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5, msg=lambda text: name + text)


def _compare(
    found: ModelOutput, expected: ModelOutput, check: Callable[[Tensor, Tensor, str], None]
) -> None:
    """Compare every output by name."""
    maps = [
        {"infection": output.infection, "boundary": output.boundary, **output.sides}
        for output in (found, expected)
    ]
    assert maps[0].keys() == maps[1].keys()
    for name, logits in maps[1].items():
        if logits is None:
            assert maps[0][name] is None
        else:
            check(maps[0][name], logits, name)
