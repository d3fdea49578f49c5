"""Inf-Net: parallel partial decoder, edge attention and reverse attention.

Fan et al., "Inf-Net: Automatic COVID-19 Lung Infection Segmentation from CT Images",
IEEE Transactions on Medical Imaging 39(8), 2020, doi 10.1109/TMI.2020.2996645.
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
)
from .config import InputContract, ModelConfig
from .edge_guided import EdgeGuidedNet, edge_refinement, receptive_fields
from .encoders import create_encoder
from .family import Family, FamilyOptions, require, require_widths
from .inf_net_heads import PartialDecoder, ReverseAttention
from .official_inf_net import inf_net_formats
from .outputs import ModelOutput


@dataclass(frozen=True)
class InfNetOptions(FamilyOptions):
    """Widths and extent of the decoder.

    Attributes:
        width: Channels of the receptive-field blocks and the partial decoder.
        edge_width: Channels of the edge feature.
        refine_widths: Channels of each reverse attention, from coarse to fine. The paper
            has three (strides 32, 16, 8); each further one refines at half the stride.
        normalised_logits: Whether heads end in a batch normalisation, as published.
        edge_refine_width: Channels of the refinement of the edge map on the finest
            feature; 0 for none, as published.
    """

    width: int = 32
    edge_width: int = 64
    refine_widths: tuple[int, ...] = (256, 64, 64)
    normalised_logits: bool = True
    edge_refine_width: int = 0

    def __post_init__(self) -> None:
        require(self.width > 0, "width", "must be positive")
        require(self.edge_width > 0, "edge_width", "must be positive")
        require(self.edge_refine_width >= 0, "edge_refine_width", "must not be negative")
        require_widths("refine_widths", self.refine_widths, 3, 5)


class InfNet(EdgeGuidedNet):
    """Inf-Net over any encoder with features at four or more consecutive strides.

    Side outputs: ``global`` (the partial decoder's map), then ``stride_<s>`` for every
    reverse attention but the last, which is the infection map. All of them are supervised
    with the infection mask, the boundary with the lesion edge.

    Args:
        config: Resolved config of the family.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        options = _options(config)
        self.encoder = create_encoder(str(config.encoder))
        channels = self.encoder.channels
        refined = channels[::-1][: len(options.refine_widths)]
        require(len(refined) == len(options.refine_widths), "refine_widths", "exceeds the encoder")
        self.receptive = receptive_fields(channels, options.width)
        self.decoder = PartialDecoder(options.width)
        self.edge = EdgeAttention(channels[-4], options.edge_width, options.normalised_logits)
        self.refine = nn.ModuleList(
            _reverse_attention(index, inputs, options) for index, inputs in enumerate(refined)
        )
        self.edge_refine = edge_refinement(
            channels[0], options.edge_width, options.edge_refine_width
        )
        self.side_names = output_names(config)[2:]

    def forward(self, images: Tensor) -> ModelOutput:
        """Map images ``(B, 3, H, W)`` to logits ``(B, 1, H, W)``; see the class."""
        features, (fine, middle, coarse), edge, boundary = self.perceive(images)
        maps = [self.decoder(coarse, middle, fine)]
        for refine, feature in zip(self.refine, reversed(features), strict=False):
            maps.append(refine(feature, edge, maps[-1]))
        return self.named(maps, boundary, images)


def _options(config: ModelConfig) -> InfNetOptions:
    values: dict[str, Any] = dict(config.options)
    return InfNetOptions(**values)


def _reverse_attention(index: int, inputs: int, options: InfNetOptions) -> ReverseAttention:
    """Return the reverse attention of step ``index``; the coarsest one sees further."""
    coarsest = index == 0
    return ReverseAttention(
        inputs,
        options.edge_width,
        options.refine_widths[index],
        kernel=5 if coarsest else 3,
        depth=3 if coarsest else 2,
        head_kernel=1 if coarsest else 3,
        normalised_logits=options.normalised_logits,
    )


def output_names(config: ModelConfig) -> tuple[str, ...]:
    """Return the outputs of a resolved config by name."""
    deepest = 16 if config.encoder == "vgg16" else 32
    steps = len(_options(config).refine_widths)
    sides = (f"stride_{deepest >> step}" for step in range(steps - 1))
    return ("infection", "boundary", "global", *sides)


def input_contract(config: ModelConfig) -> InputContract:
    """Return the input contract of a resolved config."""
    if config.scale == "paper":
        return InputContract(2, 3, 32, IMAGENET_MEAN, IMAGENET_STD, 64, ("red", "green", "blue"))
    return InputContract(2, 3, 32, CT_MEAN, CT_STD, 64, CT_CHANNELS)


FAMILY = Family(
    name="inf-net",
    title="Inf-Net",
    reference="Fan et al., IEEE TMI 39(8):2626-2637, 2020, doi 10.1109/TMI.2020.2996645",
    presets={
        "paper": InfNetOptions(),
        "lite": InfNetOptions(
            width=24,
            edge_width=24,
            refine_widths=(64, 32, 32, 24, 12),
            normalised_logits=False,
            edge_refine_width=12,
        ),
    },
    encoders={
        "paper": ("res2net50-v1b", "resnet50", "vgg16"),
        "lite": ("efficientnet-lite0",),
    },
    build=InfNet,
    input_contract=input_contract,
    output_names=output_names,
    official=inf_net_formats(),
)
