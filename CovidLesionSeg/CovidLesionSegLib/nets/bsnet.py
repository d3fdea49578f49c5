"""BSNet: dual-branch semantic enhancement and mirror-symmetric boundary guidance.

Cong et al., "Boundary Guided Semantic Learning for Real-time COVID-19 Lung Infection
Segmentation System", IEEE Transactions on Consumer Electronics, 2022,
doi 10.1109/TCE.2022.3205376.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .blocks import (
    CT_CHANNELS,
    CT_MEAN,
    CT_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    EdgeAttention,
    resize,
)
from .bsnet_heads import MirrorGuidance, ProgressiveBranch, TopLevelBranch
from .config import InputContract, ModelConfig
from .edge_guided import EdgeGuidedNet, edge_refinement, receptive_fields
from .encoders import create_encoder
from .family import Family, FamilyOptions, require, require_choice
from .official_inf_net import bsnet_formats
from .outputs import ModelOutput

_UNITS = 3


@dataclass(frozen=True)
class BsNetOptions(FamilyOptions):
    """Widths and variant of the decoder.

    Attributes:
        width: Channels of the receptive-field blocks and the semantic branches.
        edge_width: Channels of the edge feature.
        guide_width: Channels of the mirror-symmetric boundary guidance (MBG) units.
        fine_width: Channels of a further guidance unit at stride 2; 0 for none, as
            published.
        borders: ``"released"`` leaves the dilated convolutions of the progressive branch
            unpadded, ``"padded"`` keeps its map in place.
        normalised_logits: Whether the edge head ends in a batch normalisation, as
            published.
        edge_refine_width: Channels of the refinement of the edge map at stride 2; 0 for
            none, as published.
    """

    width: int = 32
    edge_width: int = 64
    guide_width: int = 256
    fine_width: int = 0
    borders: str = "released"
    normalised_logits: bool = True
    edge_refine_width: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "edge_width", "guide_width"):
            require(getattr(self, name) > 0, name, "must be positive")
        for name in ("fine_width", "edge_refine_width"):
            require(getattr(self, name) >= 0, name, "must not be negative")
        require_choice("borders", self.borders, ("released", "padded"))


class BsNet(EdgeGuidedNet):
    """BSNet over any encoder with features at strides 2 to 32.

    Side outputs: ``global`` (the semantic location map), then ``stride_<s>`` for every
    guidance unit but the last, named after the encoder feature that it uses. The last is
    the infection map.

    Args:
        config: Resolved config of the family.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        options = _options(config)
        self.encoder = create_encoder(str(config.encoder))
        channels = self.encoder.channels
        self.receptive = receptive_fields(channels, options.width)
        self.top_level = TopLevelBranch(options.width)
        self.progressive = ProgressiveBranch(options.width, options.borders == "padded")
        self.edge = EdgeAttention(channels[-4], options.edge_width, options.normalised_logits)
        self.guide = nn.ModuleList(
            MirrorGuidance(options.edge_width, inputs, options.guide_width)
            for inputs in channels[: -_UNITS - 1 : -1]
        )
        self.head = nn.Conv2d(options.guide_width, 1, 1)
        self.edge_refine = edge_refinement(
            channels[0], options.edge_width, options.edge_refine_width
        )
        self.fine_guide, self.fine_head = _fine_parts(channels[0], options)
        self.side_names = output_names(config)[2:]

    def forward(self, images: Tensor) -> ModelOutput:
        """Map images ``(B, 3, H, W)`` to logits ``(B, 1, H, W)``; see the class."""
        features, semantic, edge, boundary = self.perceive(images)
        maps = self._cascade(features, edge, self._location(*semantic))
        return self.named(maps, boundary, images)

    def _location(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        """Return the semantic location map, the sum of both branches."""
        top: Tensor = self.top_level(coarse)
        return resize(self.progressive(fine, middle, coarse), top) + top

    def _cascade(
        self, features: tuple[Tensor, ...], edge: Tensor, location: Tensor
    ) -> list[Tensor]:
        """Return the location map and the map of every guidance unit.

        Each unit starts from the previous unit's own map; only the result adds the two.
        """
        maps, previous = [location], location
        for guide, feature in zip(self.guide, reversed(features), strict=False):
            current = self.head(guide(edge, feature, previous))
            maps.append(current + resize(previous, current))
            previous = current
        if self.fine_guide is not None and self.fine_head is not None:
            finest = features[0]
            guided = self.fine_guide(resize(edge, finest), finest, maps[-1])
            maps.append(self.fine_head(guided) + resize(maps[-1], finest))
        return maps


def _options(config: ModelConfig) -> BsNetOptions:
    values: dict[str, Any] = dict(config.options)
    return BsNetOptions(**values)


def _fine_parts(
    inputs: int, options: BsNetOptions
) -> tuple[MirrorGuidance | None, nn.Conv2d | None]:
    """Return the stride-2 unit that the published network does not have (ours, lite)."""
    if not options.fine_width:
        return None, None
    guide = MirrorGuidance(options.edge_width, inputs, options.fine_width)
    return guide, nn.Conv2d(options.fine_width, 1, 1)


def output_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the outputs of a resolved config by name."""
    names = ("infection", "boundary", "global", "stride_32", "stride_16")
    return (*names, "stride_8") if _options(config).fine_width else names


def input_contract(config: ModelConfig) -> InputContract:
    """Return the input contract of a resolved config."""
    # Unpadded, the coarsest feature needs five pixels.
    minimum = 160 if _options(config).borders == "released" else 64
    if config.scale == "paper":
        names = ("red", "green", "blue")
        return InputContract(2, 3, 32, IMAGENET_MEAN, IMAGENET_STD, minimum, names)
    return InputContract(2, 3, 32, CT_MEAN, CT_STD, minimum, CT_CHANNELS)


FAMILY = Family(
    name="bsnet",
    title="BSNet",
    reference="Cong et al., IEEE Trans. Consumer Electronics, 2022, doi 10.1109/TCE.2022.3205376",
    presets={
        "paper": BsNetOptions(),
        "lite": BsNetOptions(
            width=24,
            edge_width=24,
            guide_width=20,
            fine_width=8,
            borders="padded",
            normalised_logits=False,
            edge_refine_width=12,
        ),
    },
    encoders={"paper": ("res2net50-v1b", "resnet50"), "lite": ("efficientnet-lite0",)},
    build=BsNet,
    input_contract=input_contract,
    output_names=output_names,
    official=bsnet_formats(),
)
