"""The dRAM network: dense map, and its refinement by attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from CovidLesionSegLib.nets.config import InputContract, ModelConfig
from CovidLesionSegLib.nets.family import FamilyOptions, SegmentationModel, require
from CovidLesionSegLib.nets.outputs import ModelOutput

from .attention import AttentionRefinement
from .unet import LEVELS, DenseUnet
from .voxelwise import VoxelwiseMap

BODIES = ("unet", "voxelwise")


@dataclass(frozen=True)
class DramOptions(FamilyOptions):
    """Width and refinement.

    Attributes:
        width: Channels of the first convolution; every level doubles them.
        attention: Whether attention refines the dense map (version 2 of the paper).
        attention_grid: Edge length of the attention grid in voxels.
        body: ``"unet"`` as published, or ``"voxelwise"`` (ours), see `VoxelwiseMap`, whose
            hidden channels ``width`` then are and which has no attention.
        inputs: Channels of the volume; 1 in the paper.
    """

    width: int = 32
    attention: bool = True
    attention_grid: int = 64
    body: str = "unet"
    inputs: int = 1

    def __post_init__(self) -> None:
        require(self.width > 0, "width", "must be positive")
        require(self.attention_grid >= 2, "attention_grid", "must be at least 2")
        require(self.body in BODIES, "body", f"must be one of {', '.join(BODIES)}")
        require(self.inputs > 0, "inputs", "must be positive")
        if self.body == "voxelwise":
            require(not self.attention, "attention", "needs the features of the U-Net")
        else:
            require(self.inputs == 1, "inputs", "must be 1 for the U-Net")


class DramNet(SegmentationModel):
    """Dense regression activation map of one lobe.

    The input is one lobe, cropped to its bounding box and resized to a cube (80 voxels in
    the paper), with -2048 HU outside the lobe. With attention the infection output is the
    refined map, trained by the pseudo-label loss, and the side output ``dense`` the map
    whose mean over the lobe is regressed on the severity score; without, the infection
    output is the dense map.

    Args:
        config: Resolved config of the family.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        options = options_of(config)
        # Named after the published body, as checkpoints are.
        self.unet: DenseUnet | VoxelwiseMap = (
            DenseUnet(options.width)
            if options.body == "unet"
            else VoxelwiseMap(options.inputs, options.width)
        )
        self.refinement = (
            AttentionRefinement(2 * options.width, 4 * options.width, options.attention_grid)
            if options.attention
            else None
        )

    def forward(self, images: Tensor) -> ModelOutput:
        """Map lobes ``(B, inputs, D, H, W)`` to logits ``(B, 1, D, H, W)``; see the class."""
        dense, fine, middle = self.unet(images)
        if self.refinement is None:
            return ModelOutput(dense, None, {})
        refined = self.refinement(images, fine, middle, dense)
        return ModelOutput(refined, None, {"dense": dense})


def options_of(config: ModelConfig) -> DramOptions:
    """Return the typed options of a resolved config."""
    values: dict[str, Any] = dict(config.options)
    return DramOptions(**values)


def output_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the outputs of a resolved config by name."""
    return ("infection", "dense") if options_of(config).attention else ("infection",)


def input_contract(config: ModelConfig) -> InputContract:
    """Return the input contract; the window is -1000 to -300 HU, without normalisation.

    A voxelwise network takes channels that are prepared elsewhere instead, of any size.
    """
    options = options_of(config)
    if options.body == "voxelwise":
        count = options.inputs
        names = tuple(f"tissue {channel}" for channel in range(count))
        return InputContract(3, count, 1, (0.0,) * count, (1.0,) * count, 1, names)
    return InputContract(3, 1, 2**LEVELS, (0.0,), (1.0,), 2 ** (LEVELS + 1), ("lobe",))
