"""An example of a network family in one file, as `Testing/README.md` describes it.

One convolution, which is enough to show what the registry asks for.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from CovidLesionSegLib.nets.blocks import CT_CHANNELS, CT_MEAN, CT_STD
from CovidLesionSegLib.nets.config import InputContract, ModelConfig
from CovidLesionSegLib.nets.family import Family, FamilyOptions, SegmentationModel, require
from CovidLesionSegLib.nets.outputs import ModelOutput


@dataclass(frozen=True)
class OneConvolutionOptions(FamilyOptions):
    """Size of the kernel.

    Attributes:
        kernel: Odd number of pixels.
    """

    kernel: int = 3

    def __post_init__(self) -> None:
        require(self.kernel % 2 == 1, "kernel", "must be odd")


class OneConvolution(SegmentationModel):
    """Logits of infection from one convolution.

    Args:
        config: Resolved config of the family.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        kernel = int(config.options["kernel"])  # type: ignore[arg-type]
        self.head = nn.Conv2d(3, 1, kernel, padding=kernel // 2)

    def forward(self, images: Tensor) -> ModelOutput:
        """Map images ``(B, 3, H, W)`` to logits ``(B, 1, H, W)``."""
        return ModelOutput(self.head(images), None, {})


FAMILY = Family(
    name="one-convolution",
    title="One convolution",
    reference="none, an example",
    presets={"lite": OneConvolutionOptions()},
    encoders={},
    build=OneConvolution,
    input_contract=lambda _config: InputContract(2, 3, 1, CT_MEAN, CT_STD, 8, CT_CHANNELS),
    output_names=lambda _config: ("infection",),
)
