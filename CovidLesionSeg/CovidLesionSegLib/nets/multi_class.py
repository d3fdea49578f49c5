"""The multi-class stage of Semi-Inf-Net: ground glass and consolidation.

Fan et al., "Inf-Net", IEEE TMI 39(8), 2020, section III-F. The network sees the CT and, as
prior, the infection map of a binary network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .blocks import CT_CHANNELS, CT_MEAN, CT_STD, IMAGENET_MEAN, IMAGENET_STD, double, resize
from .config import InputContract, ModelConfig
from .encoders import create_encoder
from .family import Family, FamilyOptions, SegmentationModel, require_widths
from .official import OfficialFormat
from .outputs import ModelOutput
from .unet import SkipDecoder

CLASSES = ("ground-glass opacity", "consolidation", "background")
_INPUT_CHANNELS = 6


@dataclass(frozen=True)
class MultiClassOptions(FamilyOptions):
    """Widths of the network.

    Attributes:
        widths: Paper scale: channels of the five encoder levels, from fine to coarse.
            Lite scale: channels of the decoder at strides 16, 8, 4 and 2; three widths leave
            out stride 16 and the encoder's deepest stage, which holds three quarters of the
            weights.
    """

    widths: tuple[int, ...] = (64, 128, 256, 512, 512)

    def __post_init__(self) -> None:
        require_widths("widths", self.widths, 3, 5)


def _double_conv(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for source in (inputs, outputs):
        layers += [nn.Conv2d(source, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class MultiClassUNet(SegmentationModel):
    """The published U-Net: 6 input channels, 3 class logits, each class against the rest.

    Args:
        config: Resolved config of the family.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        widths = _options(config).widths
        require_widths("widths", widths, 5, 5)
        self.encoder = nn.ModuleList(
            _double_conv(inputs, outputs)
            for inputs, outputs in zip((_INPUT_CHANNELS, *widths), widths, strict=False)
        )
        skips = widths[-2::-1]
        results = (*widths[-3::-1], widths[0])
        self.decoder = nn.ModuleList()
        below = widths[-1]
        for skip, result in zip(skips, results, strict=True):
            self.decoder.append(_up_conv(below + skip, result))
            below = result
        self.head = nn.Conv2d(below, len(CLASSES), 1)

    def forward(self, images: Tensor) -> ModelOutput:
        """Map CT and prior ``(B, 6, H, W)`` to class logits ``(B, 3, H, W)``."""
        features = [self.encoder[0](images)]
        for level in self.encoder[1:]:
            features.append(level(nn.functional.max_pool2d(features[-1], 2)))
        hidden = features.pop()
        for step in self.decoder:
            hidden = step(torch.cat([features.pop(), double(hidden)], dim=1))
        return ModelOutput(self.head(hidden), None, {})


class MultiClassLite(SegmentationModel):
    """The same task over EfficientNet-Lite0: three CT slices and their three priors.

    Args:
        config: Resolved config of the family.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        widths = _options(config).widths
        require_widths("widths", widths, 3, 4)
        deepest = 2 ** (len(widths) + 1)
        self.encoder = create_encoder(
            str(config.encoder), input_channels=_INPUT_CHANNELS, deepest_stride=deepest
        )
        self.decoder = SkipDecoder(self.encoder.channels, widths, len(CLASSES))

    def forward(self, images: Tensor) -> ModelOutput:
        """Map CT and prior ``(B, 6, H, W)`` to class logits ``(B, 3, H, W)``."""
        logits = self.decoder(self.encoder(images))
        return ModelOutput(resize(logits, images), None, {})


def _up_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions; the first keeps half of the joined channels, as published."""
    middle = inputs // 2
    return nn.Sequential(
        nn.Conv2d(inputs, middle, 3, padding=1),
        nn.BatchNorm2d(middle),
        nn.ReLU(),
        nn.Conv2d(middle, outputs, 3, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _options(config: ModelConfig) -> MultiClassOptions:
    values: dict[str, Any] = dict(config.options)
    return MultiClassOptions(**values)


def _build(config: ModelConfig) -> SegmentationModel:
    return MultiClassUNet(config) if config.scale == "paper" else MultiClassLite(config)


def _output_names(_config: ModelConfig) -> tuple[str, ...]:
    return ("infection",)


def _input_contract(config: ModelConfig) -> InputContract:
    if config.scale == "lite":
        names = (*CT_CHANNELS, *(f"prior of {name}" for name in CT_CHANNELS))
        return InputContract(2, _INPUT_CHANNELS, 32, CT_MEAN * 2, CT_STD * 2, 64, names)
    colours = ("red", "green", "blue")
    names = (*colours, *(f"prior {name}" for name in colours))
    multiple = 2 ** (len(_options(config).widths) - 1)
    return InputContract(
        2, _INPUT_CHANNELS, multiple, IMAGENET_MEAN * 2, IMAGENET_STD * 2, 2 * multiple, names
    )


_OFFICIAL = OfficialFormat(
    name="Semi-Inf-Net multi-class U-Net",
    config=ModelConfig("inf-net-multi-class", "paper"),
    signature=("inc.double_conv.0.weight", "up4.conv.double_conv.3.weight", "outc.conv.weight"),
    renames=(
        (r"^inc\.double_conv\.", "encoder.0."),
        *((rf"^down{n}\.maxpool_conv\.1\.double_conv\.", f"encoder.{n}.") for n in range(1, 5)),
        *((rf"^up{n}\.conv\.double_conv\.", f"decoder.{n - 1}.") for n in range(1, 5)),
        (r"^outc\.conv\.", "head."),
    ),
)

FAMILY = Family(
    name="inf-net-multi-class",
    title="Inf-Net multi-class stage",
    reference="Fan et al., IEEE TMI 39(8):2626-2637, 2020, doi 10.1109/TMI.2020.2996645",
    presets={"paper": MultiClassOptions(), "lite": MultiClassOptions(widths=(64, 48, 24, 16))},
    encoders={"lite": ("efficientnet-lite0",)},
    build=_build,
    input_contract=_input_contract,
    output_names=_output_names,
    official=(_OFFICIAL,),
    classes=CLASSES,
)
