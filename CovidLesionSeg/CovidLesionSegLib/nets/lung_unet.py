"""A small 2.5D network for the lungs, so that lesions are sought inside them only.

A U-Net (Ronneberger et al., MICCAI 2015, arXiv 1505.04597) over the first stages of
EfficientNet-Lite0. The lungs are large and smooth, so stride 2 is fine enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .blocks import CT_CHANNELS, CT_MEAN, CT_STD, resize
from .config import InputContract, ModelConfig
from .encoders import create_encoder
from .family import Family, FamilyOptions, SegmentationModel, require_widths
from .outputs import ModelOutput
from .unet import SkipDecoder

LUNG_CLASSES = ("background", "right lung", "left lung")


@dataclass(frozen=True)
class LungUNetOptions(FamilyOptions):
    """Widths of the decoder.

    Attributes:
        widths: Channels of the decoder at strides 8, 4 and 2.
    """

    widths: tuple[int, ...] = (48, 32, 16)

    def __post_init__(self) -> None:
        require_widths("widths", self.widths, 3, 3)


class LungUNet(SegmentationModel):
    """Class logits of background, right and left lung in the ``infection`` output.

    The classes exclude each other: use a softmax over the channels. Right and left are the
    patient's.

    Args:
        config: Resolved config of the family.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        values: dict[str, Any] = dict(config.options)
        options = LungUNetOptions(**values)
        self.encoder = create_encoder(str(config.encoder), deepest_stride=16)
        self.decoder = SkipDecoder(self.encoder.channels, options.widths, len(LUNG_CLASSES))

    def forward(self, images: Tensor) -> ModelOutput:
        """Map images ``(B, 3, H, W)`` to class logits ``(B, 3, H, W)``."""
        logits = self.decoder(self.encoder(images))
        return ModelOutput(resize(logits, images), None, {})


def _output_names(_config: ModelConfig) -> tuple[str, ...]:
    return ("infection",)


def _input_contract(_config: ModelConfig) -> InputContract:
    return InputContract(2, 3, 16, CT_MEAN, CT_STD, 64, CT_CHANNELS)


FAMILY = Family(
    name="lung-unet",
    title="Lung U-Net",
    reference="Ronneberger et al., MICCAI 2015, arXiv 1505.04597",
    presets={"lite": LungUNetOptions()},
    encoders={"lite": ("efficientnet-lite0",)},
    build=LungUNet,
    input_contract=_input_contract,
    output_names=_output_names,
    classes=LUNG_CLASSES,
)
