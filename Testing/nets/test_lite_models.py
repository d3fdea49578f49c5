"""Properties that every network of Inf-Net's kin must have to be trained and shipped."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from CovidLesionSegLib.nets.family import SegmentationModel
from CovidLesionSegLib.nets.folding import fold_batch_norm
from CovidLesionSegLib.nets.fusing import fuse_convolutions, fusing_works
from CovidLesionSegLib.nets.losses.multi_class import multi_class_loss
from CovidLesionSegLib.nets.losses.structure import deep_structure_loss, structure_loss
from CovidLesionSegLib.nets.registry import create_model, input_contract

BINARY = ("inf-net", "bsnet")
LITE = (*BINARY, "inf-net-multi-class", "lung-unet")


def _images(model: SegmentationModel, height: int = 64, width: int = 96) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    channels = input_contract(model.config).channels
    return torch.randn(2, channels, height, width, generator=generator)


@pytest.fixture(scope="module", params=LITE)
def settled(request: pytest.FixtureRequest) -> SegmentationModel:
    """A lite network in evaluation mode with statistics of real features."""
    torch.manual_seed(0)
    model = create_model(request.param)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        for _ in range(2):
            model(_images(model, 128, 128))
    return model.eval()


def _targets(images: Tensor) -> tuple[Tensor, Tensor]:
    mask = torch.zeros_like(images[:, :1])
    mask[..., 20:44, 30:60] = 1
    edge = mask.clone()
    edge[..., 21:43, 31:59] = 0
    return mask, edge


@pytest.mark.parametrize("name", BINARY)
def test_every_parameter_learns_from_the_total_loss(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name)
    images = _images(model)
    deep_structure_loss(model(images), *_targets(images)).backward()  # type: ignore[no-untyped-call]
    silent = [key for key, value in model.named_parameters() if not _learns(value)]
    assert not silent


@pytest.mark.parametrize(
    ("name", "encoder", "options"),
    [
        ("inf-net", "res2net50-v1b", {}),
        ("inf-net", "vgg16", {}),
        ("bsnet", "res2net50-v1b", {"guide_width": 32, "borders": "padded"}),
    ],
)
def test_every_parameter_of_the_paper_scale_learns(
    name: str, encoder: str, options: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    model = create_model(name, "paper", encoder, **options)
    images = _images(model)
    deep_structure_loss(model(images), *_targets(images)).backward()  # type: ignore[no-untyped-call]
    assert not [key for key, value in model.named_parameters() if not _learns(value)]


@pytest.mark.parametrize("name", ["inf-net-multi-class", "lung-unet"])
def test_every_parameter_of_the_class_networks_learns(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name)
    images = _images(model)
    labels = _targets(images)[0][:, 0].long()
    multi_class_loss(model(images).infection, labels).backward()  # type: ignore[no-untyped-call]
    assert not [key for key, value in model.named_parameters() if not _learns(value)]


def _learns(parameter: nn.Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.abs().max() > 0)


@pytest.mark.parametrize("name", BINARY)
def test_each_supervised_head_alone_reaches_the_encoder(name: str) -> None:
    torch.manual_seed(0)
    model = create_model(name)
    images = _images(model)
    mask, edge = _targets(images)
    output = model(images)
    stem = model.get_parameter("encoder._conv_stem.weight")
    heads = {"infection": output.infection, "boundary": output.boundary, **output.sides}
    for head, logits in heads.items():
        target = edge if head == "boundary" else mask
        gradient = torch.autograd.grad(structure_loss(logits, target), stem, retain_graph=True)[0]
        assert gradient.abs().max() > 0, head


def test_infection_of_lite_inf_net_is_finer_than_the_papers_stride() -> None:
    """Between two cells of stride 8 an upsampled map is nearly straight; ours is not."""
    torch.manual_seed(0)
    model = create_model("inf-net")
    with torch.no_grad():
        output = model(_images(model))

    def bend(logits: Tensor) -> float:
        return float(logits.diff(n=2, dim=-1).abs().mean())

    assert bend(output.infection) > 2 * bend(output.sides["stride_8"])


@pytest.mark.slow
def test_exported_inf_net_serves_other_sizes() -> None:
    model = create_model("inf-net").eval()
    multiple = input_contract(model.config).size_multiple
    height, width = (multiple * torch.export.Dim(axis, min=2, max=40) for axis in ("h", "w"))
    shapes = {"images": {0: torch.export.Dim("batch"), 2: height, 3: width}}
    exported = torch.export.export(model, (_images(model),), dynamic_shapes=shapes).module()
    _assert_same_output(model, exported, _images(model, 160, 128).repeat(2, 1, 1, 1))


def _assert_same_output(model: nn.Module, other: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        expected, found = model(images), other(images)
    assert torch.allclose(expected.infection, found.infection, atol=1e-5)
    assert (expected.boundary is None) == (found.boundary is None)
    if expected.boundary is not None:
        assert torch.allclose(expected.boundary, found.boundary, atol=1e-5)
    assert expected.sides.keys() == found.sides.keys()
    for name, logits in expected.sides.items():
        assert torch.allclose(logits, found.sides[name], atol=1e-5)


def test_folded_network_computes_the_same_without_normalisation(
    settled: SegmentationModel,
) -> None:
    images = _images(settled)
    folded = fold_batch_norm(settled)
    assert not [m for m in folded.modules() if isinstance(m, nn.BatchNorm2d)]
    assert [m for m in settled.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        expected, found = settled(images).infection, folded(images).infection
    assert torch.allclose(expected, found, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.skipif(not fusing_works(), reason="this build of torch has no fused convolution")
def test_fused_network_computes_the_same(settled: SegmentationModel) -> None:
    images = _images(settled).contiguous(memory_format=torch.channels_last)
    folded = fold_batch_norm(settled)
    fused = fuse_convolutions(folded)
    left = [m for m in fused.modules() if isinstance(m, nn.Conv2d)]
    assert not left
    assert not [m for m in fused.modules() if isinstance(m, nn.ReLU6)]
    with torch.no_grad():
        expected, found = folded(images), fused(images)
    assert torch.allclose(expected.infection, found.infection, atol=1e-4)
    if expected.boundary is not None:
        assert torch.allclose(expected.boundary, found.boundary, atol=1e-4)


def test_an_activation_that_comes_later_is_not_fused() -> None:
    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 1)
            self.relu = nn.ReLU()

        def forward(self, images: Tensor) -> Tensor:
            return self.relu(self.conv(images) + images)

    model = Shortcut().eval()
    images = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(fuse_convolutions(model)(images), model(images), atol=1e-5)


@pytest.mark.parametrize("size", [256, 352, 448])
@pytest.mark.parametrize("name", BINARY)
def test_outputs_have_the_size_of_the_input(name: str, size: int) -> None:
    model = create_model(name).eval()
    with torch.no_grad():
        output = model(torch.zeros(1, 3, size, size))
    for logits in (output.infection, output.boundary, *output.sides.values()):
        assert logits.shape == (1, 1, size, size)


@pytest.mark.parametrize(("borders", "cells"), [("released", 4), ("padded", 20)])
def test_bsnet_maps_have_the_specified_sizes(borders: str, cells: int) -> None:
    model = create_model(
        "bsnet", scale="paper", encoder="resnet50", guide_width=16, borders=borders
    ).eval()
    shapes: dict[str, tuple[int, ...]] = {}
    for name in ("top_level", "progressive", "guide.2"):
        model.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: shapes.update({name: output.shape})
        )
    with torch.no_grad():
        model(torch.zeros(1, 3, 160, 160))
    assert shapes["top_level"] == (1, 1, 20, 20)
    assert shapes["progressive"] == (1, 1, cells, cells)
    assert shapes["guide.2"] == (1, 16, 40, 40)
