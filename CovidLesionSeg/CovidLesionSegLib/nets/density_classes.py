"""Ground glass or consolidation of a pixel, from the densities around it (ours).

Some fifty labelled slices can't tell a convolutional network what consolidation looks like; they
can fit the few hundred weights of one that is told the densities around a pixel at several
scales. What they are is in `CovidLesionSegLib.engine.lesion_classes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .config import InputContract, ModelConfig
from .family import Family, FamilyOptions, SegmentationModel, require
from .outputs import ModelOutput

_SCALES = 4
INPUTS = 1 + 2 * _SCALES
"""HU, then mean and standard deviation at every scale."""


@dataclass(frozen=True)
class DensityClassesOptions(FamilyOptions):
    """Size of the network.

    Attributes:
        hidden: Channels of both hidden layers.
    """

    hidden: int = 16

    def __post_init__(self) -> None:
        require(1 <= self.hidden <= 1024, "hidden", "must be from 1 to 1024")


class DensityClasses(SegmentationModel):
    """Logit of consolidation against ground glass, pixel by pixel, in the ``infection`` output.

    Args:
        config: Resolved config of the family.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        values: dict[str, Any] = dict(config.options)
        hidden = DensityClassesOptions(**values).hidden
        self.layers = nn.Sequential(
            nn.Conv2d(INPUTS, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 1),
        )

    def forward(self, images: Tensor) -> ModelOutput:
        """Map densities ``(B, 9, H, W)`` to logits ``(B, 1, H, W)``."""
        return ModelOutput(self.layers(images), None, {})


def _output_names(_config: ModelConfig) -> tuple[str, ...]:
    return ("infection",)


def _input_contract(_config: ModelConfig) -> InputContract:
    names = ("HU", *(f"{what} {i}" for i in range(_SCALES) for what in ("mean", "deviation")))
    return InputContract(2, INPUTS, 1, (0.0,) * INPUTS, (1.0,) * INPUTS, 1, names)


FAMILY = Family(
    name="density-classes",
    title="Lesion classes from densities",
    reference="CovidLesionSeg",
    presets={"lite": DensityClassesOptions()},
    encoders={},
    build=DensityClasses,
    input_contract=_input_contract,
    output_names=_output_names,
    classes=("consolidation",),
)
